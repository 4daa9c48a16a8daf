"""The terminal that pages are printed for."""

import shutil
import sys
from typing import TextIO

UNWRAPPED = 100_000
"""The width of what goes to a file or a program: a sentence stays on its line, so that grep finds it."""


def page_width(stream: TextIO | None = None) -> int:
    """In columns: the terminal's, within reason; UNWRAPPED where standard output (or `stream`) is none."""
    stream = stream or sys.stdout
    return max(60, min(shutil.get_terminal_size((80, 24)).columns, 120)) if stream.isatty() else UNWRAPPED
