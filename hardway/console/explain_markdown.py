"""Explanations as Markdown: for the documentation, and for pasting into a wiki."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hardway.console.words import counted
from hardway.views.explain.chapter import ChapterPage, Contents, Next, Row, Wrong


def contents_markdown(page: Contents) -> list[str]:
    return [f"# {page.cluster}", "", *table(("chapter", "why"), [(f"`{name}`", why) for name, why in page.chapters])]


def chapter_markdown(page: ChapterPage, level: int = 2) -> list[str]:
    """Everything that there is about a chapter, below headings of this level; no title."""
    mark = "#" * level
    lines = [f"{mark} Why", "", page.why, "", f"{mark} What is put where", ""]
    lines += _things(page) if page.rows else ["Nothing of this is declared for this inventory."]
    if page.wrong:
        lines += ["", f"{mark} Easy to get wrong", "", *(_pitfall(one, page.name) for one in page.wrong)]
    if page.proofs:
        proofs = f"{counted(page.proofs, 'question')} to {page.proving}: `hardway verify {page.name}`."
        lines += ["", f"{mark} The proof", "", proofs]
    return [*lines, "", f"{mark} To ask further", "", *_asks(page.more)]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table; bars within cells are escaped."""
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return [f"| {' | '.join(row)} |" for row in lines]


def _things(page: ChapterPage) -> list[str]:
    grouped = any(row.group for row in page.rows)
    head = ("thing", "on", "what it is", "read or checked by")
    rows = [((row.group, *_row(row)) if grouped else _row(row)) for row in page.rows]
    return table((page.grouping.lower(), *head) if grouped else head, rows)


def _row(row: Row) -> tuple[str, ...]:
    return f"`{row.name}`", row.on, row.what, row.reader


def _pitfall(wrong: Wrong, chapter: str) -> str:
    shows = f" Shows in {wrong.shows}." if wrong.shows != chapter else ""
    fault = f" Try it: `hardway lab break {wrong.fault}`." if wrong.fault else ""
    return f"- {wrong.text}{shows}{fault}"


def _asks(asks: Sequence[Next]) -> list[str]:
    return [f"- `{one.command}`: {one.gives}" for one in asks]
