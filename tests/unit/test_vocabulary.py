"""One word for each thing: what docs/terminology.md rules out is used neither in code nor in text."""

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TERMINOLOGY = ROOT / "docs" / "terminology.md"
PLACES = ("hardway/**/*.py", "templates/**/*", "tools/**/*.py", "docs/**/*.md", "components/*.md", "*.md", "Makefile")

FORMATS = ("hardway/state.py", "hardway/journal.py", "docs/decisions/0004-journal-and-state.md")
FORMER = frozenset({"ledger", "roster", '"begun"', '"formed"'})
"""Names of an earlier format: its migration reads them."""


def forbidden() -> list[str]:
    """The left column of the last table of docs/terminology.md."""
    _, _, table = TERMINOLOGY.read_text(encoding="utf-8").partition("## Words we do not use")
    words = []
    for line in table.splitlines():
        if line.startswith("| `"):
            words += re.findall(r"`([^`]+)`", line.split("|")[1])
    return words


def pattern(word: str) -> re.Pattern[str]:
    """A whole word: `_` is no letter, `*` stands for letters, a space for any white space."""
    text = re.escape(word).replace(r"\*", "[a-z]*").replace(r"\ ", r"\s+")
    before = r"(?<![A-Za-z])" if word[0].isalpha() else ""
    after = r"(?![A-Za-z])" if word[-1].isalpha() else ""
    return re.compile(before + text + after, re.IGNORECASE if word == word.lower() else 0)


@cache
def texts() -> dict[str, str]:
    """Everything that is held to the table, by its path in the repository."""
    found = {}
    for place in PLACES:
        for path in ROOT.glob(place):
            if path.is_file() and path != TERMINOLOGY:
                found[str(path.relative_to(ROOT))] = path.read_text(encoding="utf-8")
    return found


@pytest.mark.parametrize("word", forbidden())
def test_a_word_that_is_ruled_out_is_used_nowhere(word: str) -> None:
    search = pattern(word)
    uses: list[str] = []
    for path, text in texts().items():
        if word in FORMER and path in FORMATS:
            continue
        lines = [text.count("\n", 0, match.start()) + 1 for match in search.finditer(text)]
        uses += [f"{path}:{line}" for line in lines]
    assert uses == [], "docs/terminology.md says which word to use"


def test_every_place_is_read() -> None:
    for start in ("hardway/", "templates/prose/", "docs/chapters/", "tools/", "README.md"):
        assert [path for path in texts() if path.startswith(start)]


FOUND = [
    ("mend*", "mended"),
    ("mend*", "Mend it"),
    ("ledger", "LEDGER=x"),
    ("Seat", "class Seat:"),
    ("books", "keep_books"),
    ("by the way", "by\nthe way"),
    (".foreign", "plan.foreign"),
]
PASSED = [
    ("mend*", "recommended"),
    ("hole", "the whole"),
    ("Seat", "a seat"),
    ("books", "notebooks"),
    (".foreign", "ca-foreign"),
    ("formed", "performed"),
]


@pytest.mark.parametrize(("word", "text"), FOUND)
def test_a_word_is_found(word: str, text: str) -> None:
    assert pattern(word).search(text)


@pytest.mark.parametrize(("word", "text"), PASSED)
def test_a_part_of_another_word_is_not(word: str, text: str) -> None:
    assert not pattern(word).search(text)
