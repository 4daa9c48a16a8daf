"""Why each piece and each value is there, as values; they follow from the declaration and from templates/prose."""

from hardway.views.explain.book import Book
from hardway.views.explain.chapter import ChapterPage, Contents, chapter_page, contents
from hardway.views.explain.find import Page, TermPage, answer, find_things, names
from hardway.views.explain.thing import ThingPage
from hardway.views.explain.value import ValuePage, find_known

__all__ = [
    "Book", "ChapterPage", "Contents", "Page", "TermPage", "ThingPage", "ValuePage", "answer", "chapter_page",
    "contents", "find_known", "find_things", "names",
]  # fmt: skip
