"""Rows as aligned columns within a width."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence

from hardway.console.terminal import page_width
from hardway.console.visible import visible

_GAP = 2
_LEAST = 8
_NAME = 24
_NUMBER = re.compile(r"-|[\d.,]+( ?(B|kB|MB|GB|%|s|ms))?")


def table(head: Sequence[str], rows: Sequence[Sequence[str]], width: int | None = None) -> str:
    """Head and rows in aligned columns; numbers to the right.

    Within `width` (default: the page's) the last column is wrapped below itself where it is text, and
    then the widest ones are cut; a path or a name that is cut ends in an ellipsis.
    """
    columns = width or page_width()
    cells = [list(map(_one_line, row)) for row in (head, *rows)]
    numeric = list(map(_is_numeric, zip(*cells, strict=True)))
    widths = _widths(cells, columns)
    lines: list[str] = []
    for row in cells:
        lines += _lines(row, widths, numeric)
    return "\n".join(lines)


def _one_line(cell: str) -> str:
    return visible(cell).replace("\n", " ")


def _is_numeric(column: Sequence[str]) -> bool:
    """Whether there are rows below the head, and only numbers in them."""
    return len(column) > 1 and all(map(_NUMBER.fullmatch, column[1:]))


def _widths(cells: Sequence[Sequence[str]], width: int) -> list[int]:
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    room = width - _GAP * (len(widths) - 1)
    least = [min(max(_LEAST, len(name)), natural) for name, natural in zip(cells[0], widths, strict=True)]
    if widths:
        # Half of the room is enough for a column that can go on below itself.
        widths[-1] = max(min(widths[-1], room // 2), min(widths[-1], room - sum(widths[:-1])))
    while sum(widths) > room:
        # The first column says whose row it is: names of an ordinary length are cut last.
        spares: list[tuple[bool, int, int]] = []
        for n, (have, need) in enumerate(zip(widths, least, strict=True)):
            if have > need:
                spares.append((n > 0 or have > _NAME, have - need, n))
        if not spares:
            break
        widest = max(spares)[2]
        widths[widest] -= 1
    return widths


def _lines(row: Sequence[str], widths: Sequence[int], numeric: Sequence[bool]) -> list[str]:
    *firsts, last = row
    wrapped = textwrap.wrap(last, max(widths[-1], 1), break_on_hyphens=False) or [""]
    lines = []
    for piece in wrapped:
        cells: list[str] = []
        for cell, width, right in zip([*firsts, piece], widths, numeric, strict=True):
            fitted = cell if cell is piece else _fit(cell, width)
            cells.append(fitted.rjust(width) if right else fitted.ljust(width))
        lines.append((" " * _GAP).join(cells).rstrip())
        firsts = [""] * len(firsts)
    return lines


def _fit(cell: str, width: int) -> str:
    return cell if len(cell) <= width else cell[: width - 1] + "…"
