"""What commands print beside a run's events: pages, documents, questions."""

from __future__ import annotations

import sys
from typing import TextIO

from hardway.console.jsonl import document
from hardway.console.visible import visible


def print_text(text: str, *, end: str = "\n", stream: TextIO | None = None) -> None:
    """Prints text that may hold what machines said, on standard output unless there is another stream."""
    print(visible(text), end=end, file=stream or sys.stdout, flush=True)


def print_json(value: object, *, indent: int | None = 1) -> None:
    """Prints a document: all that was said is in it, as JSON escapes where a terminal would obey it."""
    print(document(value, indent=indent))


def ask(question: str) -> str:
    """The line that somebody answers at the terminal, stripped."""
    print_text(f"{question} ", end="")
    return sys.stdin.readline().strip()
