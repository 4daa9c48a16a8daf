"""An explanation in the form that was asked for."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Literal

from hardway.console.words import typed
from hardway.explain import ChapterPage, Contents, MessagePage, Page, TermPage, ThingPage
from hardway.explain.markdown import markdown
from hardway.explain.page import chapter_lines, contents_lines
from hardway.explain.things_page import message_lines, term_lines, thing_lines, value_lines

KINDS = {"Contents": "contents", "ChapterPage": "chapter", "ThingPage": "thing", "ValuePage": "value",
          "TermPage": "term", "MessagePage": "message"}  # fmt: skip


def told(
    page: Page, form: Literal["text", "markdown", "json"], *, width: int, verbose: bool, given: str = ""
) -> list[str]:
    """Its lines; `json` is one document of the same values, with the kind of the page.

    `given` is what commands repeat: the commands that lead on repeat it.
    """
    page = replace(page, more=tuple(replace(one, command=typed(one.command, given)) for one in page.more))
    if isinstance(page, MessagePage):
        page = replace(page, causes=tuple(replace(one, ask=typed(one.ask, given)) for one in page.causes))
    if form == "json":
        kind = KINDS[type(page).__name__]
        return json.dumps({"kind": kind, **asdict(page)}, indent=1, ensure_ascii=False).splitlines()
    return markdown(page) if form == "markdown" else _text(page, width, verbose, given)


def _text(page: Page, width: int, verbose: bool, given: str) -> list[str]:
    match page:
        case Contents():
            return contents_lines(page, width)
        case ChapterPage():
            return chapter_lines(page, width, verbose, given)
        case ThingPage():
            return thing_lines(page, width, verbose, given)
        case TermPage():
            return term_lines(page, width)
        case MessagePage():
            return message_lines(page, width)
    return value_lines(page, width, verbose, given)
