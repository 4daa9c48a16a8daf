"""Writes what `hardway explain` prints into the documentation: `python -m tools.docs`.

The text between `<!-- explain NAME -->` and `<!-- end -->` is made; all around it is by hand. A chapter's name gives
its page for inventories/lab.yaml, `words` the glossary, `errors` the error messages, `absent` what is not there,
`kubeadm-map` the map of that name. Between `<!-- by-hand CHAPTER -->` and `<!-- end by-hand -->` is what a person types
for it.
`--check` writes nothing and fails where something is old.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

from hardway import data
from hardway.artifacts.catalogue import releases_for
from hardway.declare.declaration import Declaration, declare
from hardway.declare.phases.base import Model
from hardway.explain import Book, chapter_page
from hardway.explain.kubeadm import counterpart_markdown, counterparts
from hardway.explain.markdown import absent_markdown, chapter_markdown, errors_markdown, glossary_markdown
from hardway.explain.shell.by_hand import by_hand, expected
from hardway.inventory.allot import allot_pod_cidrs, resolve
from hardway.inventory.load import load
from hardway.state import State

ROOT = Path(__file__).resolve().parents[1]
MADE = re.compile(r"(?s)(<!-- explain (\S+) -->\n).*?(<!-- end -->)")
BY_HAND = re.compile(r"(?s)(<!-- by-hand (\S+) -->\n).*?(<!-- end by-hand -->)")


WHOLE = {"words": glossary_markdown, "errors": errors_markdown, "absent": absent_markdown}
"""What is not of one chapter."""


def declared() -> tuple[Model, Declaration]:
    """The seven machines before their first run."""
    cluster = load(data.folder("inventories") / "lab.yaml")
    cluster = allot_pod_cidrs(resolve(cluster, {}, _no_lookup), {})
    versions = {name: one.version for name, one in releases_for(cluster.kubernetes).items()}
    model = Model(cluster, State(cluster.name, ""), versions)
    return model, declare(model)


def _no_lookup(name: str) -> IPv4Address:
    raise OSError(f"{name}: the documentation asks no DNS")


def made(page: str, model: Model, declaration: Declaration) -> str:
    """A page with everything between its marks generated again; raises KeyError for a mark that names nothing."""

    def put(match: re.Match[str]) -> str:
        name = match[2]
        if name in WHOLE:
            lines = WHOLE[name](Book(model, declaration))
        elif name == "kubeadm-map":
            lines = counterpart_markdown(counterparts())
        else:
            lines = chapter_markdown(chapter_page(model, declaration, name))
        return f"{match[1]}\n{chr(10).join(lines)}\n\n{match[3]}"

    def type_out(match: re.Match[str]) -> str:
        return f"{match[1]}\n{chr(10).join(_by_hand(model, declaration, match[2]))}\n\n{match[3]}"

    return BY_HAND.sub(type_out, MADE.sub(put, page))


def _by_hand(model: Model, declaration: Declaration, phase: str) -> Iterator[str]:
    """A chapter's commands, and what its proofs print."""
    if typed := by_hand(model, declaration, phase):
        yield from ("```bash", *typed, "```", "")
    yield "These print only what apt, openssl and kubectl did. Then each of these, and what it prints:"
    yield from ("", "```bash", *expected(declaration, phase), "```")


def main(check: bool) -> int:
    model, declaration = declared()
    old = []
    for path in sorted((ROOT / "docs").rglob("*.md")):
        before = path.read_text(encoding="utf-8")
        if (after := made(before, model, declaration)) == before:
            continue
        old.append(str(path.relative_to(ROOT)))
        if not check:
            path.write_text(after, encoding="utf-8")
    print("\n".join(f"{'old' if check else 'written'}: {name}" for name in old) or "all as explain prints it")
    return 1 if old and check else 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
