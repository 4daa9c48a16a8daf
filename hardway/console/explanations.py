"""An explanation in the form that was asked for."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Literal

from hardway.console.explain_markdown import chapter_markdown, contents_markdown
from hardway.console.explain_page import chapter_lines, contents_lines
from hardway.console.words import clean
from hardway.views.explain import ChapterPage, Page


def told(page: Page, form: Literal["text", "markdown", "json"], *, width: int, verbose: bool) -> list[str]:
    """Its lines; `json` is one document of the same values, with the kind of the page."""
    if form == "json":
        return json.dumps({"kind": _kind(page), **asdict(page)}, indent=1, default=str).splitlines()
    return [clean(line) for line in (_markdown(page) if form == "markdown" else _text(page, width, verbose))]


def _kind(page: Page) -> str:
    return "chapter" if isinstance(page, ChapterPage) else "contents"


def _text(page: Page, width: int, verbose: bool) -> list[str]:
    return chapter_lines(page, width, verbose) if isinstance(page, ChapterPage) else contents_lines(page, width)


def _markdown(page: Page) -> list[str]:
    if isinstance(page, ChapterPage):
        return [f"# {page.name}", "", *chapter_markdown(page)]
    return contents_markdown(page)
