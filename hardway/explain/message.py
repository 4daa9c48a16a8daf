"""An error message as a component prints it: what it means, its causes in order, how to tell them apart here."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hardway.explain.book import Book
from hardway.explain.chapter import Next, explain_next
from hardway.explain.prose import Cause, Message


@dataclass(frozen=True)
class MessagePage:
    """`by` is who prints it, `phases` the chapters that it belongs to; the first cause is where to look first."""

    asked: str
    message: str
    by: str
    phases: tuple[str, ...]
    text: str
    causes: tuple[Cause, ...]
    more: tuple[Next, ...]


def message_page(book: Book, asked: str) -> MessagePage | None:
    """The page of the message that somebody copied, whole or in part; None where it is none that is known."""
    found = find_message(book.messages, asked)
    if found is None:
        return None
    see = book.there(dict.fromkeys((*found.see, *found.chapters)))
    return MessagePage(asked, found.message, found.by, found.chapters, found.text, found.causes, explain_next(see))


def find_message(messages: tuple[Message, ...], asked: str) -> Message | None:
    """The first of which a text is in what was asked, else the first that holds what was asked."""
    line = _plain(asked)
    for one in messages:
        if _is(one, line) or any(_holds(line, _plain(text)) for text in one.prints):
            return one
    for one in messages:
        if _is_phrase(line) and any(_holds(_plain(text), line) for text in (one.message, *one.prints, *one.also)):
            return one
    for one in messages:
        if any(_is_phrase(_plain(text)) and _holds(line, _plain(text)) for text in one.also):
            return one
    return None


_PHRASE = 8
"""Letters of the shortest part of a message that is looked for."""


def is_message(messages: tuple[Message, ...], asked: str) -> bool:
    """Whether one is called just so."""
    return any(_is(one, _plain(asked)) for one in messages)


def _is(message: Message, line: str) -> bool:
    return line in map(_plain, (message.message, *message.prints, *message.also))


def _holds(text: str, part: str) -> bool:
    """Whether it has the part as whole words."""
    before = r"(?<!\w)" if part[:1].isalnum() else ""
    after = r"(?!\w)" if part[-1:].isalnum() else ""
    return part in text and re.search(f"{before}{re.escape(part)}{after}", text) is not None


def _is_phrase(line: str) -> bool:
    """Whether it says enough to be looked for within messages: `not` and `is not` are in every second one."""
    return " " in line and len(line) >= _PHRASE


def _plain(text: str) -> str:
    return " ".join(text.casefold().split()).strip(" .:\"'")
