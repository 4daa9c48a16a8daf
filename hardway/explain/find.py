"""From what somebody asks to the page that answers it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches

from hardway.declare.phases import PHASE_NAMES
from hardway.errors import UsageError
from hardway.explain.book import Book
from hardway.explain.chapter import ChapterPage, Contents, Next, chapter_page, contents, explain_next
from hardway.explain.message import MessagePage, is_message, message_page
from hardway.explain.prose import Term
from hardway.explain.thing import ThingPage, instance_of, thing_page
from hardway.explain.things import Thing
from hardway.explain.value import ValuePage, find_known, setting_names, value_page


@dataclass(frozen=True)
class TermPage:
    """A word of the field."""

    asked: str
    text: str
    also: tuple[str, ...]
    more: tuple[Next, ...]


Page = Contents | ChapterPage | ThingPage | ValuePage | TermPage | MessagePage


def answer(book: Book, what: str | None) -> Page:
    """The page for a chapter, a thing, a value or a word; raises UsageError, with the nearest names, otherwise."""
    if what is None:
        return contents(book.model)
    is_flag = what.startswith("--")
    what = bare(what)
    if not what.strip():
        raise UsageError("nothing to explain: the name is empty", hint="hardway explain lists what can be asked")
    # Who copies a flag asks for its value, also where a word of the field sounds like it.
    if is_flag and (value := value_page(book, what)):
        return value
    readings = tuple(dict.fromkeys(_readings(what)))
    for asked in readings:
        if page := _named(book, asked):
            return page
    if term := _written(book, what):
        return term
    for asked in readings:
        if found := _said(book, asked):
            return found
    raise _unknown(book, what)


def _named(book: Book, what: str) -> Page | None:
    """A chapter or a thing of that name."""
    if what in PHASE_NAMES:
        return chapter_page(book.model, book.declaration, what)
    if found := find_things(book, what):
        others = [thing.name for thing in found[1:]]
        return thing_page(book, found[0], instance_of(found[0], what.removeprefix("certs/")), others)
    return None


def _said(book: Book, what: str) -> Page | None:
    """A value or an error message; the message where it is called so, and for several words, which may hold a value."""
    if " " in what or (is_message(book.messages, what) and not book.has_value(what)):
        return message_page(book, what) or value_page(book, what)
    return value_page(book, what) or message_page(book, what)


def _readings(what: str) -> Iterator[str]:
    """The same name as others write it: `kube proxy` for kube-proxy, `pod-cidr` for pod_cidr, `nodes` for node."""
    for word in (what, _singular(what)):
        yield word
        yield word.casefold().replace(" ", "-").replace("_", "-")
        yield word.casefold().replace(" ", "_").replace("-", "_")


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
    """A word of the glossary, unless something of the cluster is called so; or what this cluster does not have."""
    if book.has_value(what):
        return None
    term = find_term(book.terms, what, str.casefold)
    if term is None and not find_known(book, what):
        term = find_term(book.terms, what, _bare_word)
    if term:
        return TermPage(term.word, term.text, term.also, explain_next(book.there(term.see)))
    if term := find_term(book.absent, what, _bare_word):
        # Without the others, which have nothing in common but that they are not there.
        return TermPage(what, term.text, (), explain_next(book.there(term.see)))
    return None


def find_term(known: Iterable[Term], what: str, plain: Callable[[str], str]) -> Term | None:
    """The one that is called so, or also; `plain` says what makes two names the same."""
    for term in known:
        if plain(what) in map(plain, (term.word, *term.also)):
            return term
    return None


def _bare_word(text: str) -> str:
    """The same for `service accounts`, `service-account` and `ServiceAccount`."""
    return _singular(re.sub(r"[\s_-]+", "", text.casefold()))


def _singular(word: str) -> str:
    """By the rules of English, which suffice for comparing."""
    if word.endswith("ies"):
        return f"{word[:-3]}y"
    if word.endswith(("sses", "xes", "ches")):
        return word[:-2]
    return word.removesuffix("s") if not word.endswith(("ss", "us", "is")) else word


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
    for term in (*book.terms, *book.absent):
        yield from (term.word, *term.also)


def _unknown(book: Book, what: str) -> UsageError:
    by_folded = {name.casefold(): name for name in names(book)}
    near = [by_folded[one] for one in get_close_matches(what.casefold(), by_folded, 3, 0.6)]
    return UsageError(
        f"this cluster has nothing named {what!r}",
        hint=f"did you mean {', '.join(near)}?" if near else "hardway explain lists what there is",
    )
