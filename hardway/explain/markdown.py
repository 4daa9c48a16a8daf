"""Explanations as Markdown: for the documentation, and for pasting into a wiki."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from hardway.explain import Book, ChapterPage, Contents, MessagePage, Page, TermPage, ThingPage, ValuePage
from hardway.explain.chapter import Cited, Next, Row, Wrong
from hardway.explain.message import message_page
from hardway.explain.thing import Field, Place


def contents_markdown(page: Contents) -> list[str]:
    return [f"# {page.cluster}", "", *table(("chapter", "why"), [(f"`{name}`", why) for name, why in page.phases])]


def chapter_markdown(page: ChapterPage, level: int = 2) -> list[str]:
    """Everything that there is about a chapter, below headings of this level; no title."""
    mark = "#" * level
    lines = [f"{mark} Why", "", page.why, "", f"{mark} What is put where", ""]
    lines += _things(page) if page.rows else ["Nothing of this is declared for this inventory."]
    if page.wrong:
        lines += ["", f"{mark} Easy to get wrong", "", *_pitfalls(page.wrong, page.name)]
    if page.proved:
        lines += ["", f"{mark} The proof", "", f"`hardway verify {page.name}` asks, and changes nothing:", ""]
        lines += map(_proof, page.proved)
    return [*lines, "", f"{mark} To ask further", "", *_asks(page.more)]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table; bars within cells are escaped."""
    lines = [f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
    for row in rows:
        cells = [cell.replace("|", "\\|") for cell in row]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _things(page: ChapterPage) -> list[str]:
    grouped = any(row.group for row in page.rows)
    head = ("thing", "on", "what it is", "read or checked by")
    if not grouped:
        return table(head, map(_row, page.rows))
    return table((page.grouping.lower(), *head), [(row.group, *_row(row)) for row in page.rows])


def _row(row: Row) -> tuple[str, ...]:
    return f"`{row.name}`", row.on, row.what, row.reader


def _pitfalls(pitfalls: Iterable[Wrong], phase: str) -> Iterator[str]:
    for wrong in pitfalls:
        shows = f" Shows in {wrong.shows}." if wrong.shows != phase else ""
        fault = f" Try it: `hardway lab break {wrong.fault}`." if wrong.fault else ""
        yield f"- {wrong.text}{shows}{fault}"


def _proof(one: Cited) -> str:
    return f"- {one.name} ({one.on}): {one.why}"


def _field(one: Field) -> tuple[str, ...]:
    return f"`{one.name or one.value}`", f"`{one.value}`" if one.name and one.value else "", one.why


def _place(one: Place) -> tuple[str, ...]:
    return f"`{one.path}`", one.on, " ".join(filter(None, (one.kind, one.mode, one.owner)))


def _asks(asks: Sequence[Next]) -> list[str]:
    return [f"- `{one.command}`: {one.gives}" for one in asks]


def thing_markdown(page: ThingPage) -> list[str]:
    lines = [f"# {page.name}", "", page.what]
    if page.fields:
        lines += ["", f"## What it says{f' on {page.of}' if page.of else ''}", ""]
        lines += table(("name", "value", "why"), map(_field, page.fields))
    if page.places:
        lines += ["", "## Where it is", "", *table(("path", "on", "kept as"), map(_place, page.places))]
    if page.readers:
        refer = [(f"`{one.by}`", one.on, one.needs, one.why) for one in page.readers]
        lines += ["", "## Who refers to it", "", *table(("by", "on", "a change needs", "why"), refer)]
    lines += ["", "## Without it", "", page.without]
    if page.wrong:
        lines += ["", "## Easy to get wrong", "", *_pitfalls(page.wrong, page.phase)]
    if page.proofs:
        lines += ["", "## Proofs", "", *map(_proof, page.proofs)]
    return [*lines, "", "## To ask further", "", *_asks(page.more)]


def value_markdown(page: ValuePage) -> list[str]:
    lines = [
        f"# {page.asked}",
        "",
        f"{page.title}{f' ({page.place})' if page.place else ''}".strip(),
        "",
        page.text,
        "",
    ]
    lines += [f"{number}. {step}" for number, step in enumerate(page.steps, 1)]
    lines += [f"- `{one.by}` = `{one.value}` ({one.on}). {one.why}" for one in page.stated]
    if page.uses:
        lines += ["", "Stands in", "", *(f"- `{one.by}` ({one.on})" for one in page.uses)]
    lines += ["", f"Not used by {page.not_used}"] if page.not_used else []
    lines += ["", f"Without it: {page.without}"] if page.without else []
    return [*lines, "", *(f"- `{one.command}`" for one in page.more)]


def markdown(page: Page) -> list[str]:
    """Any page, with its title."""
    match page:
        case Contents():
            return contents_markdown(page)
        case ChapterPage():
            return [f"# {page.name}", "", *chapter_markdown(page)]
        case ThingPage():
            return thing_markdown(page)
        case MessagePage():
            return [f"# {page.message}", "", *message_markdown(page)]
        case TermPage():
            return [f"# {page.asked}", "", page.text, "", *(f"- `{one.command}`" for one in page.more)]
    return value_markdown(page)


def message_markdown(page: MessagePage) -> list[str]:
    """Everything that is said of an error message; no title."""
    chapters = ", ".join(f"`{name}`" for name in page.phases)
    lines = [page.text, "", f"Printed by: {page.by}. Chapters: {chapters}.", ""]
    for number, one in enumerate(page.causes, 1):
        lines.append(f"{number}. {one.cause} `{one.ask}`: {one.shows}")
    asks = ", ".join(f"`{one.command}`" for one in page.more)
    return [*lines, *(["", f"More: {asks}."] if asks else [])]


def errors_markdown(book: Book) -> list[str]:
    """Every error message that is known, each below a heading of its own."""
    lines: list[str] = []
    for one in book.messages:
        page = message_page(book, one.message)
        if page is not None:
            lines += [f"### {_literal(one.message)}", "", *message_markdown(page), ""]
    return lines[:-1]


def _literal(text: str) -> str:
    """A heading in which nothing is a tag."""
    return text.replace("<", "&lt;")


def absent_markdown(book: Book) -> list[str]:
    """What this cluster does not have, as a table."""
    names = [(", ".join((one.word, *one.also)), one.text) for one in book.absent]
    return table(("asked for", "answer"), names)


def glossary_markdown(book: Book) -> list[str]:
    """Every word with what it means here, in the order of the alphabet, each below a heading of its own."""
    lines: list[str] = []
    for term in sorted(book.terms, key=lambda one: one.word.casefold()):
        also = f"\n\n*Also: {', '.join(term.also)}.*" if term.also else ""
        asks = ", ".join(f"`hardway explain {one}`" for one in term.see)
        lines += [f"### {term.word}", "", f"{term.text}{also}", *(["", f"More: {asks}."] if asks else []), ""]
    return lines[:-1]
