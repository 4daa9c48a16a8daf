"""Another program's output, made harmless for the terminal on its way."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from typing import IO, Literal, TextIO

from hardway.cli.reach import missing
from hardway.console.jsonl import document
from hardway.console.printing import print_text
from hardway.errors import INTERRUPTED


def relay(argv: Sequence[str], output: Literal["text", "json"]) -> int:
    """Runs a program and prints its lines as they come; the exit code, 130 after Ctrl-C.

    Its standard input and its terminal stay its own: ssh asks there for passwords. Raises HardwayError where it is
    not installed.
    """
    try:
        program = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except FileNotFoundError as error:
        raise missing(argv[0]) from error
    assert program.stdout and program.stderr
    beside = threading.Thread(target=_pass_on, args=(program.stderr, sys.stderr, str), daemon=True)
    beside.start()
    try:
        _pass_on(program.stdout, sys.stdout, _entry if output == "json" else str)
        status = program.wait()
        beside.join()
    except KeyboardInterrupt:
        # The usual end of --follow; there is nothing to say of it.
        return INTERRUPTED
    finally:
        program.terminate()
    return status if status >= 0 else 128 - status


def _pass_on(source: IO[bytes], stream: TextIO, shown: Callable[[str], str]) -> None:
    for line in source:
        text = line.decode("utf-8", errors="backslashreplace")
        print_text(shown(text.rstrip("\r\n")), stream=stream)


def _entry(line: str) -> str:
    """A journal's entry in the same form, all ASCII; journalctl itself leaves DEL and U+202E as they are."""
    try:
        return document(json.loads(line))
    except ValueError:
        return line
