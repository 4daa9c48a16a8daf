"""Explanations as a person reads them: plain text within a width."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from hardway.console.words import counted, hanging, typed
from hardway.explain.chapter import ChapterPage, Contents, Next, Row, Wrong

_HEAD = 7
"""The width of the headings WHY, MORE and PROVE."""


def contents_lines(page: Contents, width: int = 80) -> list[str]:
    """Every chapter in one line, and how to ask further."""
    lines = [f"{page.cluster}: what hardway puts where, and why   ({page.inventory})", ""]
    lines += aligned([("CHAPTER", "WHY"), *page.phases], width)
    return [*lines, "", *following("ASK", page.more, width)]


def chapter_lines(page: ChapterPage, width: int = 80, verbose: bool = False, given: str = "") -> list[str]:
    """One screen; `verbose` says what each thing is, and leaves nothing out. `given` is what commands repeat."""
    everything = Next(typed(f"hardway explain {page.name} -v", given), "all, and what each is")
    asks = page.more if verbose else (*page.more, everything)
    proofs = f"{counted(page.proofs, 'proof')} on {page.proving}" if page.proofs else "nothing to ask"
    above = [*_title(page, width), "", *hanging(f"{'WHY':<{_HEAD}}", page.why, width), "", *_rows(page, width, verbose)]
    below = [
        "",
        *following("MORE", asks, width),
        *following("PROVE", [Next(typed(f"hardway verify {page.name}", given), proofs)], width),
    ]
    wrong = [pitfall(one, page.name, width, given) for one in page.wrong]
    middle = _fitting(wrong, sys.maxsize if verbose else _SCREEN - len(above) - len(below))
    return [*above, *(["", "EASY TO GET WRONG", *middle] if middle else []), *below]


_SCREEN = 30


def _fitting(pitfalls: Sequence[list[str]], room: int) -> list[str]:
    """The lines of as many as there is room for, and of the first one in any case."""
    shown: list[str] = []
    for lines in pitfalls:
        room -= len(lines)
        if shown and room < 2:
            break
        shown += lines
    return shown


def _title(page: ChapterPage, width: int) -> list[str]:
    counts = ", ".join(f"{count} {kind}" for kind, count in page.counts)
    facts = [f"chapter {page.number} of {page.of}", counts, f"inventory: {page.cluster}"]
    return hanging(page.name.upper() + "   ", " | ".join(filter(None, facts)), width)


def _rows(page: ChapterPage, width: int, verbose: bool) -> list[str]:
    rows = [row for row in page.rows if verbose or not row.detail]
    if not rows:
        return ["Nothing of this is declared for this inventory."]
    heads = (page.grouping, "THING", "ON", "READ OR CHECKED BY")
    grouped = any(row.group for row in rows)
    cells = [heads if grouped else heads[1:]]
    group = ""
    for row in rows:
        own = (row.name, row.on, row.reader)
        cells.append((row.group if row.group != group else "", *own) if grouped else own)
        group = row.group
    lines = aligned(cells, width)
    return lines if not verbose else [*lines, "", *_explained(rows, width)]


def aligned(rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Columns of which only the last is wrapped: what stands in the others is to be typed, so nothing is cut."""
    *columns, _ = zip(*rows, strict=True)
    widths = [max(map(len, column)) for column in columns]
    lines = []
    for row in rows:
        head = "".join(f"{cell:<{wide}}  " for cell, wide in zip(row, widths, strict=False))
        lines += hanging(head, row[-1], max(width, len(head) + 20))
    return lines


def _explained(rows: Iterable[Row], width: int) -> list[str]:
    lines: list[str] = []
    for row in rows:
        lines += [row.name, *hanging("   ", row.what, width)]
    return lines


def pitfall(wrong: Wrong, phase: str, width: int, given: str = "") -> list[str]:
    """What is easy to get wrong, and where that shows when it is not in this chapter."""
    shows = f" Shows in {wrong.shows}." if wrong.shows != phase else ""
    fault = f" Try it: {typed(f'hardway lab break {wrong.fault}', given)}" if wrong.fault else ""
    return hanging(" - ", f"{wrong.text}{shows}{fault}", width)


def following(head: str, asks: Sequence[Next], width: int) -> list[str]:
    """Commands to type with what they give, below one heading."""
    rows = [("PROVE", "", "")]
    for one in asks:
        rows.append((head, one.command, one.gives))
        head = ""
    return aligned(rows, width)[1:]
