"""Why each piece and each value is there, as values; they follow from the declaration and from templates/prose."""

from hardway.explain.book import Book
from hardway.explain.chapter import ChapterPage, Contents, chapter_page, contents
from hardway.explain.find import Page, TermPage, answer, find_things, names
from hardway.explain.message import MessagePage
from hardway.explain.thing import ThingPage
from hardway.explain.value import ValuePage, find_known

__all__ = [
    "Book", "ChapterPage", "Contents", "MessagePage", "Page", "TermPage", "ThingPage", "ValuePage", "answer",
    "chapter_page", "contents", "find_known", "find_things", "names",
]  # fmt: skip
