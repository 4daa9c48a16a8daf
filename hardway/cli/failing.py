"""What may end a command, as the error that a user reads."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from itertools import pairwise
from types import FrameType

from hardway.cli.computer import folder_is_gone, is_folder_gone
from hardway.errors import HardwayError, Interrupted

AGAIN = "run the same command again; finished steps are skipped"


class InternalError(HardwayError):
    """A mistake of hardway's own."""


def as_error(error: BaseException) -> HardwayError:
    """The error itself where it is ours, else in our words; a mistake of ours where nobody foresaw it."""
    match error:
        case HardwayError():
            return error
        case KeyboardInterrupt():
            by = f" by {error.args[0]}" if error.args else ""
            return Interrupted(f"interrupted{by}", hint=AGAIN)
        case FileNotFoundError() if is_folder_gone():
            return folder_is_gone()
        case OSError(strerror=str(why)):
            name = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else ""
            return HardwayError(f"{name}: {why}" if name else why, hint=_remedy(error))
    return InternalError(
        f"hardway met something it does not know: {type(error).__name__}: {error}",
        hint="run it again with HARDWAY_DEBUG=1 and report what it prints",
    )


def wants_json(words: Sequence[str]) -> bool:
    """Whether a command line asks for JSON; what is behind `--` is another program's."""
    own = words[: words.index("--")] if "--" in words else words
    apart = any(option in ("-o", "--output") and form == "json" for option, form in pairwise(own))
    return apart or "-ojson" in own or "--output=json" in own


def _remedy(error: OSError) -> str:
    match error:
        case PermissionError():
            return "run it as the user whose file that is, or give yourself access to it"
        case FileNotFoundError() | NotADirectoryError() | IsADirectoryError():
            return "check the path, then run the same command again"
    return "this computer refused it: fix that, then run the same command again"


def end_as_interrupted() -> None:
    """SIGTERM (a CI job, systemd, kill) and SIGHUP (a terminal that is gone) end a command as Ctrl-C does.

    What is ignored already, as nohup does it, stays ignored.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt(signal.Signals(number).name)
