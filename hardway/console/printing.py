"""What commands print beside a run's events: pages, documents, questions."""

from __future__ import annotations

import sys
from io import TextIOWrapper
from typing import TextIO

from hardway.console.jsonl import document
from hardway.console.streams import encodable
from hardway.console.visible import visible


def print_text(text: str, *, end: str = "\n", stream: TextIO | None = None) -> None:
    """Prints text that may hold what machines said, on standard output unless there is another stream."""
    stream = stream or sys.stdout
    encoding = getattr(stream, "encoding", None) or "utf-8"
    print(encodable(visible(text), encoding), end=end, file=stream, flush=True)


def print_document(text: str, *, end: str = "\n") -> None:
    """Prints what a program is to read, a script, YAML or a picture: UTF-8 in a file, whatever the locale's."""
    if isinstance(sys.stdout, TextIOWrapper) and not sys.stdout.isatty():
        sys.stdout.reconfigure(encoding="utf-8")
    print_text(text, end=end)


def print_json(value: object, *, indent: int | None = 1) -> None:
    """Prints a document: all that was said is in it, as JSON escapes where a terminal would obey it."""
    print(document(value, indent=indent), flush=True)


def ask(question: str) -> str:
    """The line that somebody answers at the terminal, stripped."""
    print_text(f"{question} ", end="")
    return sys.stdin.readline().strip()
