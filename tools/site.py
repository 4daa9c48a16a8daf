"""Hooks of mkdocs: the order of pages, and links out of docs/: what they name is in the repository, not on the site."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

FIRST = ("index.md", "tutorial-map.md")
FOLDERS = {"chapters": "Chapters", "operate": "Operate"}
THEN = ("inventory.md", "workshop.md", "terminology.md", "glossary.md", "what-next.md")
LAST = {"decisions": "Decisions"}
_LINK = re.compile(r"\[([^\]]+)\]\(([^)\s]+)\)")


def on_config(config: Any) -> Any:
    """Every page of docs/ in the site, in the order of reading; what nobody placed comes before the decisions."""
    root = Path(config["docs_dir"])
    pages = {path.name for path in root.glob("*.md")}
    others = sorted(pages - {*FIRST, *THEN})
    config["nav"] = [*FIRST, *_folders(root, FOLDERS), *THEN, *others, *_folders(root, LAST)]
    return config


def _folders(root: Path, titles: dict[str, str]) -> list[dict[str, list[str]]]:
    return [
        {title: [str(path.relative_to(root)) for path in sorted((root / name).glob("*.md"), key=_readme_first)]}
        for name, title in titles.items()
    ]


def _readme_first(path: Path) -> tuple[bool, str]:
    return path.name != "README.md", path.name


def on_page_markdown(markdown: str, *, page: Any, config: Any, **_: Any) -> str:
    """Keeps the words of a link to a source file, and leaves the link out."""
    root = Path(config["docs_dir"]).resolve()
    here = (root / page.file.src_uri).parent

    def inside(match: re.Match[str]) -> str:
        target = match[2].partition("#")[0]
        if not target or "://" in target or (here / target).resolve().is_relative_to(root):
            return match[0]
        return match[1]

    return _LINK.sub(inside, markdown)
