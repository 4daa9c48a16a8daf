"""The standard streams of this process: open, and able to take every character, whatever they lead to."""

from __future__ import annotations

import codecs
import os
import sys
from io import TextIOWrapper

from hardway.errors import HardwayError

ERRORS = "hardway-spelled"
"""How text is encoded for a stream whose encoding lacks a character: spelled with those that every encoding has."""
_SPELLED = str.maketrans(
    {
        "…": "...", "→": "->", "►": ">", "·": "-", "─": "-", "━": "-", "│": "|", "■": "#", "✗": "x", "⟦": "[[",
        "–": "-", "—": "-", "“": '"', "”": '"', "„": '"', "‘": "'", "’": "'", "«": '"', "»": '"', "×": "x", "⟧": "]]",
    }
)  # fmt: skip


def _spell(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    spelled = error.object[error.start : error.end].translate(_SPELLED)
    return spelled.encode("ascii", errors="replace").decode("ascii"), error.end


codecs.register_error(ERRORS, _spell)


def encodable(text: str, encoding: str) -> str:
    """The text with what that encoding lacks spelled in ASCII, or as `?`."""
    return text.encode(encoding, errors=ERRORS).decode(encoding)


class OutputLost(HardwayError):
    """What was printed can be written nowhere."""

    def __init__(self, error: OSError) -> None:
        super().__init__(
            f"standard output could not be written: {error.strerror}",
            hint="send it to a terminal, or to a disk with space; then run it again",
        )


class _Output(TextIOWrapper):
    """Standard output. That it is full or closed is told apart from all else that may be wrong with files."""

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError as error:
            raise _lost(error) from error

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            raise _lost(error) from error


def _lost(error: OSError) -> OSError | OutputLost:
    """That the reader left (`| head`) is nobody's mistake, and stays what it is."""
    return error if isinstance(error, BrokenPipeError) else OutputLost(error)


def prepare() -> None:
    """Before anything is opened or printed, so that no file or connection takes the place of a closed stream.

    A closed standard output stays one that cannot be written, so that who wants a page is told; a closed standard
    error leaves nobody who could be told.
    """
    for descriptor, flags in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, flags), True)
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if type(sys.stdout) is TextIOWrapper:
        encoding, by_line = sys.stdout.encoding, sys.stdout.line_buffering
        sys.stdout = _Output(sys.stdout.detach(), encoding=encoding, line_buffering=by_line)
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    for stream, errors in ((sys.stdin, "replace"), (sys.stdout, ERRORS), (sys.stderr, ERRORS)):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors=errors)


def finish() -> OutputLost | None:
    """Writes what waits to be written; what cannot be is dropped: Python would try again when it ends, and complain."""
    lost = None
    try:
        sys.stdout.flush()
    except (OSError, OutputLost) as error:
        lost = error if isinstance(error, OutputLost) else None
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    return lost
