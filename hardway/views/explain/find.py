"""From what somebody asks to the page that answers it."""

from __future__ import annotations

from difflib import get_close_matches

from hardway.errors import UsageError
from hardway.phases import CHAPTER_NAMES
from hardway.phases.base import Model
from hardway.plan import Declaration
from hardway.views.explain.chapter import ChapterPage, Contents, chapter_page, contents

Page = Contents | ChapterPage


def explanation(model: Model, declaration: Declaration, what: str | None) -> Page:
    """The page for a chapter, a thing or a value; raises UsageError, with the nearest names, for what is unknown."""
    if what is None:
        return contents(model)
    if what in CHAPTER_NAMES:
        return chapter_page(model, declaration, what)
    near = get_close_matches(what, CHAPTER_NAMES, 3)
    raise UsageError(
        f"nothing of this cluster is called {what!r}",
        hint=f"did you mean {', '.join(near)}?" if near else "hardway explain lists what there is",
    )
