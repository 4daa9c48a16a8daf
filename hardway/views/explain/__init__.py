"""Why each piece and each value is there, as values; they follow from the declaration and from templates/prose."""

from hardway.views.explain.chapter import ChapterPage, Contents, chapter_page, contents
from hardway.views.explain.find import Page, explanation

__all__ = ["ChapterPage", "Contents", "Page", "chapter_page", "contents", "explanation"]
