"""The documentation names what is there: links, chapters, commands with their flags, inventory keys."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from in_process import chosen, tree

from hardway.cli.chapters import SUMMARIES
from hardway.inventory.load import load
from hardway.inventory.schema import json_schema

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / "components").glob("*.md")])
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"(?:^|[;&|(] *|\bdo +|^(?:\.venv/bin/))hardway +(.+)$")
PLACEHOLDER = re.compile(r"\[|…|\.\.\.")


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def headings(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = FENCE.sub("", page.read_text())
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_link_leads_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text())
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        place = (page.parent / path).resolve() if path else page
        assert place.exists(), f"{target} is not there"
        assert place.is_relative_to(ROOT), f"{target} leads out of the repository"
        if anchor:
            assert anchor in headings(place), f"{target}: no such heading"


def test_every_chapter_has_a_page_of_its_number() -> None:
    wanted = {f"{number:02}-{name}.md" for number, name in enumerate(SUMMARIES, 1)}
    assert {path.name for path in (DOCS / "chapters").glob("*.md")} == wanted | {"00-preflight.md", "13-reset.md"}


def typed(page: Path) -> Iterator[str]:
    """The command lines that a page's code blocks tell a reader to type, without `hardway`."""
    for language, block in FENCE.findall(page.read_text()):
        if language in ("", "sh", "bash"):
            for line in block.replace("\\\n", " ").splitlines():
                if found := COMMAND.search(line):
                    yield found[1]


def mentioned(page: Path) -> Iterator[str]:
    """The command lines that a page mentions in its text, without `hardway`; they may lack arguments."""
    text = FENCE.sub("", page.read_text())
    for line in re.findall(r"`hardway ([^`]+)`", text.replace("\n", " ")):
        words = PLACEHOLDER.split(line)[0].strip()
        if words and not words.split()[0].isupper():
            yield words


def arguments(line: str) -> list[str]:
    """The words of a shell line, up to a comment, a pipe, or whatever else is the shell's."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>()")
    lexer.commenters = "#"
    lexer.whitespace_split = True
    words = []
    for word in lexer:
        if set(word) <= set("|&;<>()"):
            break
        words.append(word)
    return words


def takes_arguments(command: Any) -> bool:
    return any(parameter.param_type_name == "argument" for parameter in command.params)


@pytest.mark.parametrize(
    "line", sorted({f"{named(page)}: {line}" for page in PAGES for line in typed(page)}), ids=lambda line: line
)
def test_every_command_in_a_code_block_parses(line: str) -> None:
    words = arguments(line.partition(": ")[2])
    command, rest = chosen(words)
    assert command.name != "hardway", f"there is no command {words[0]}"
    if hasattr(command, "commands") and not takes_arguments(command):
        assert not rest or rest[0].startswith("-"), f"{command.name} has no {rest[0]}"
    command.make_context(command.name, rest)


@pytest.mark.parametrize(
    "line", sorted({f"{named(page)}: {line}" for page in PAGES for line in mentioned(page)}), ids=lambda line: line
)
def test_every_command_in_the_text_exists_with_its_flags(line: str) -> None:
    words = arguments(line.partition(": ")[2])
    command, rest = chosen(words)
    if command.name == "hardway":
        assert all(word.startswith("-") for word in rest), f"there is no command {words[0]}"
    if command.name == "kubectl":
        return
    known = {flag for parameter in command.params for flag in parameter.opts} | {"-h", "--help", "-vv"}
    before_dashes = rest[: rest.index("--")] if "--" in rest else rest
    assert {word for word in before_dashes if word.startswith("-")} <= known
    if hasattr(command, "commands"):
        assert not rest or rest[0].startswith("-") or rest[0].isupper(), f"{command.name} has no {rest[0]}"


def test_hosted_ci_types_what_the_readme_tells_people_to_type() -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]
    run = [line for job in jobs.values() for step in job["steps"] for line in step.get("run", "").splitlines()]
    told = {" ".join(line.partition("  #")[0].split()) for _, block in FENCE.findall((ROOT / "README.md").read_text())
            for line in block.splitlines()}  # fmt: skip
    assert "make test" in run
    assert [line for line in run if line not in told] == []


def test_long_series_that_the_readme_names_are_those_of_make_soak() -> None:
    named = set(re.findall(r"HARDWAY_[A-Z]+=\w+", (ROOT / "README.md").read_text()))
    assert named
    assert named <= set(re.findall(r"HARDWAY_[A-Z]+=\w+", (ROOT / "Makefile").read_text()))


def commands(path: str, group: Any) -> Iterator[str]:
    """Every command that does something by itself, with the names above it."""
    for name, command in getattr(group, "commands", {}).items():
        here = f"{path} {name}".strip()
        if getattr(command, "invoke_without_command", True):
            yield here
        yield from commands(here, command)


@pytest.mark.parametrize("command", sorted(commands("", tree())))
def test_the_readme_has_every_command_at_a_glance(command: str) -> None:
    table = (ROOT / "README.md").read_text().partition("## The command line at a glance")[2].partition("\n## ")[0]
    above, _, name = command.rpartition(" ")
    # In a row whose commands have the same name above them it is said once.
    rows = [row for row in table.splitlines() if row.startswith("|") and re.search(rf"`(hardway )?{above}\b", row)]
    assert any(re.search(rf"`(hardway )?({above} )?{name}\b", row) for row in rows)


@pytest.mark.parametrize("page", sorted((DOCS / "operate").glob("*.md")), ids=named)
def test_a_page_for_operators_is_linked_where_they_begin(page: Path) -> None:
    name = f"operate/{page.name}"
    assert f"({name}" in (DOCS / "index.md").read_text()
    assert f"(docs/{name}" in (ROOT / "README.md").read_text()


def keys(schema: dict[str, Any], node: dict[str, Any], path: str) -> Iterator[str]:
    """Every path below a node of the JSON Schema, machines as `machines.NAME`."""
    for name, body in node.get("properties", {}).items():
        here = f"{path}{name}"
        yield here
        several = body.get("additionalProperties")
        inner = [body, *body.get("anyOf", []), *(several.get("anyOf", []) if isinstance(several, dict) else [])]
        for option in inner:
            if "$ref" in option:
                definition = schema["$defs"][option["$ref"].rpartition("/")[2]]
                below = f"{here}.NAME." if name == "machines" else f"{here}."
                yield from keys(schema, definition, below)


def test_every_key_of_the_inventory_is_explained() -> None:
    schema = json_schema()
    text = (DOCS / "inventory.md").read_text()
    explained = set(re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE))
    # What a machine's own ssh shares with the cluster's is explained once.
    wanted = {re.sub(r"^machines\.NAME\.ssh\.(?!host$)", "ssh.", key) for key in keys(schema, schema, "")}
    groups = {key for key in wanted if any(other.startswith(f"{key}.") for other in wanted)} - {"machines"}
    assert wanted - groups - explained == set()


@pytest.mark.parametrize("page", [ROOT / "README.md", DOCS / "inventory.md"], ids=named)
def test_every_inventory_that_is_shown_whole_is_one(page: Path, tmp_path: Path) -> None:
    shown = [block for language, block in FENCE.findall(page.read_text()) if language == "yaml"]
    whole = [block for block in shown if re.search(r"^cluster:", block, re.MULTILINE)]
    assert whole
    for number, block in enumerate(whole):
        path = tmp_path / f"{number}.yaml"
        path.write_text(block)
        load(path)
