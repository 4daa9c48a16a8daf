"""Rows as aligned columns within a width."""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Sequence

from hardway.console.words import clean

_GAP = 2
_LEAST = 8
_NAME = 24
_NUMBER = re.compile(r"-|[\d.,]+( ?(B|kB|MB|GB|%|s|ms))?")


def table(head: Sequence[str], rows: Sequence[Sequence[str]], width: int | None = None) -> str:
    """Head and rows in aligned columns; numbers to the right.

    Within `width` (default: the terminal's, or 80) the last column is wrapped below itself where it is text, and
    then the widest ones are cut; a path or a name that is cut ends in an ellipsis.
    """
    columns = width or shutil.get_terminal_size((80, 24)).columns
    cells = [[clean(cell).replace("\n", " ") for cell in row] for row in (head, *rows)]
    numeric = [len(cells) > 1 and all(_NUMBER.fullmatch(row[n]) for row in cells[1:]) for n in range(len(head))]
    widths = _widths(cells, columns)
    lines: list[str] = []
    for row in cells:
        lines += _lines(row, widths, numeric)
    return "\n".join(lines)


def _widths(cells: Sequence[Sequence[str]], width: int) -> list[int]:
    widths = [max(len(cell) for cell in column) for column in zip(*cells, strict=True)]
    room = width - _GAP * (len(widths) - 1)
    least = [min(max(_LEAST, len(name)), natural) for name, natural in zip(cells[0], widths, strict=True)]
    if widths:
        # Half of the room is enough for a column that can go on below itself.
        widths[-1] = max(min(widths[-1], room // 2), min(widths[-1], room - sum(widths[:-1])))
    while sum(widths) > room:
        # The first column says whose row it is: names of an ordinary length are cut last.
        spares = [
            (n > 0 or have > _NAME, have - need, n) for n, (have, need) in enumerate(zip(widths, least, strict=True))
        ]
        possible = [one for one in spares if one[1] > 0]
        if not possible:
            break
        widest = max(possible)[2]
        widths[widest] -= 1
    return widths


def _lines(row: Sequence[str], widths: Sequence[int], numeric: Sequence[bool]) -> list[str]:
    *firsts, last = row
    wrapped = textwrap.wrap(last, max(widths[-1], 1), break_on_hyphens=False) or [""]
    lines = []
    for number, piece in enumerate(wrapped):
        fitted = [_fit(cell if not number else "", width) for cell, width in zip(firsts, widths, strict=False)]
        lines.append(
            (" " * _GAP)
            .join(
                cell.rjust(width) if right else cell.ljust(width)
                for cell, width, right in zip([*fitted, piece], widths, numeric, strict=True)
            )
            .rstrip()
        )
    return lines


def _fit(cell: str, width: int) -> str:
    return cell if len(cell) <= width else cell[: width - 1] + "…"
