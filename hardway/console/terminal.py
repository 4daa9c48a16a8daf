"""The terminal that pages are printed for."""

import shutil
import sys


def page_width() -> int:
    """In columns: the terminal's, within reason; 80 where the page goes to a file or a program."""
    return max(60, min(shutil.get_terminal_size((80, 24)).columns, 120)) if sys.stdout.isatty() else 80
