"""The documentation says what the program says, and is a site whose links all lead somewhere."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hardway.declare.phases import PHASE_NAMES

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tools import docs, site  # noqa: E402

PAGES = sorted((ROOT / "docs").rglob("*.md"))


def test_what_is_made_is_as_explain_prints_it() -> None:
    model, declaration = docs.declared()
    old = [path.name for path in PAGES if docs.made(path.read_text(), model, declaration) != path.read_text()]
    assert old == [], "run: python -m tools.docs"


def test_every_chapter_and_the_glossary_have_their_marks() -> None:
    marked = [name for path in PAGES for _, name, _ in docs.MADE.findall(path.read_text())]
    assert sorted(marked) == sorted([*PHASE_NAMES, *docs.WHOLE, "kubeadm-map"])


def test_what_is_by_hand_stays_and_what_is_made_is_replaced() -> None:
    model, declaration = docs.declared()
    page = docs.made("before\n<!-- explain dns -->\nold\n<!-- end -->\nafter\n", model, declaration)
    assert page.startswith("before\n<!-- explain dns -->\n") and page.endswith("<!-- end -->\nafter\n")
    assert "old" not in page and "10.32.0.10" in page
    assert docs.made(page, model, declaration) == page


def test_the_site_has_every_page_and_no_broken_link(tmp_path: Path) -> None:
    # A process of its own: mkdocs sets up logging for good.
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    built = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, timeout=120
    )
    assert built.returncode == 0, built.stderr
    made = {str(path.relative_to(tmp_path / "site")) for path in (tmp_path / "site").rglob("index.html")}
    for path in PAGES:
        name = path.relative_to(ROOT / "docs").with_suffix("")
        there = name.parent if name.name in ("index", "README") else name
        assert str(there / "index.html") in made, path


@pytest.mark.parametrize(
    ("link", "left"),
    [
        ("[a](../operate/lab.md)", "[a](../operate/lab.md)"),
        ("[rules](../../hardway/rules/)", "rules"),
        ("[x](https://example.net/y)", "[x](https://example.net/y)"),
        ("[here](#below)", "[here](#below)"),
    ],
)
def test_links_out_of_the_documentation_become_words(link: str, left: str) -> None:
    class File:
        src_uri = "chapters/02-certs.md"

    class Page:
        file = File()

    config = {"docs_dir": str(ROOT / "docs")}
    assert site.on_page_markdown(link, page=Page(), config=config) == left
