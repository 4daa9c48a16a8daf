"""From what somebody asks to the page that answers it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches

from hardway.declare.phases import PHASE_NAMES
from hardway.errors import UsageError
from hardway.explain.book import Book
from hardway.explain.chapter import ChapterPage, Contents, Next, chapter_page, contents, explain_next
from hardway.explain.prose import Term
from hardway.explain.thing import ThingPage, instance_of, thing_page
from hardway.explain.things import Thing
from hardway.explain.value import ValuePage, setting_names, value_page


@dataclass(frozen=True)
class TermPage:
    """A word of the field."""

    asked: str
    text: str
    also: tuple[str, ...]
    more: tuple[Next, ...]


Page = Contents | ChapterPage | ThingPage | ValuePage | TermPage


def answer(book: Book, what: str | None) -> Page:
    """The page for a chapter, a thing, a value or a word; raises UsageError, with the nearest names, otherwise."""
    if what is None:
        return contents(book.model)
    what = bare(what)
    if not what.strip():
        raise UsageError("nothing to explain: the name is empty", hint="hardway explain lists what can be asked")
    if what in PHASE_NAMES:
        return chapter_page(book.model, book.declaration, what)
    found = find_things(book, what)
    if found:
        others = [thing.name for thing in found[1:]]
        return thing_page(book, found[0], instance_of(found[0], what.removeprefix("certs/")), others)
    page = _written(book, what) or value_page(book, what)
    if page is None:
        raise _unknown(book, what)
    return page


def bare(what: str) -> str:
    """A flag as somebody copies it from a unit, `--anonymous-auth=false`, by its name; anything else as it is."""
    return what.lstrip("-").partition("=")[0] if what.startswith("-") else what


def find_things(book: Book, what: str) -> list[Thing]:
    """Things of that name, the most particular way of naming first."""
    ways: tuple[Callable[[Thing], bool], ...] = (
        lambda thing: what == thing.name,
        lambda thing: what in thing.keys,
        lambda thing: _has(thing, what) or _has(thing, f"{what}.service"),
        lambda thing: thing.entry.name in (what, f"{what}.service"),
        lambda thing: what in _names(thing),
        lambda thing: what in thing.local_names,
    )
    found: dict[Thing, None] = {}
    for way in ways:
        found.update(dict.fromkeys(filter(way, book.things)))
    return list(found)


def _has(thing: Thing, what: str) -> bool:
    """Whether one of its resources is a file, folder, unit or image of that name."""
    kinds = ("file", "operator-file", "directory", "binary", "service", "image", "block")
    return any(one.resource.kind in kinds and one.resource.name == what for one in thing.placed)


def _names(thing: Thing) -> Iterator[str]:
    """`certs/kubelet-worker-1` for `pki/kubelet-worker-1.crt`."""
    for local in thing.local:
        bare = (local.path.rpartition(".")[0] or local.path).removeprefix("pki/")
        yield f"{thing.phase}/{bare}"
        yield f"{thing.phase}/{bare.replace('/', '-')}"


def _written(book: Book, what: str) -> TermPage | None:
    """A word of the glossary, unless something of the cluster is called so."""
    term = find_term(book, what)
    if term is None or book.has_value(what):
        return None
    return TermPage(term.word, term.text, term.also, explain_next(book.there(term.see)))


def find_term(book: Book, what: str) -> Term | None:
    word = what.casefold()
    for term in book.terms:
        if word in map(str.casefold, (term.word, *term.also)):
            return term
    return None


def names(book: Book) -> Iterator[str]:
    """Everything that may be asked by a name of its own."""
    yield from PHASE_NAMES
    for thing in book.things:
        yield thing.name
        yield thing.entry.name
        yield from thing.paths
        for local in thing.local:
            yield local.path
    yield from setting_names(book)
    for known in book.known:
        yield from filter(None, (known.value, known.key, known.key.rpartition(".")[2], *known.keys))
    for term in book.terms:
        yield from (term.word, *term.also)


def _unknown(book: Book, what: str) -> UsageError:
    by_folded = {name.casefold(): name for name in names(book)}
    near = [by_folded[one] for one in get_close_matches(what.casefold(), by_folded, 3, 0.6)]
    return UsageError(
        f"this cluster has nothing named {what!r}",
        hint=f"did you mean {', '.join(near)}?" if near else "hardway explain lists what there is",
    )
