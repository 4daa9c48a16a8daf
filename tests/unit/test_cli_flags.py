"""One policy for all commands: the flags that each takes are those that docs/decisions/flags.md says."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from in_process import tree

from hardway.cli.chapters import SUMMARIES

PAGE = Path(__file__).parents[2] / "docs/decisions/flags.md"
FLAGS = ("-i", "-v", "--workspace", "-o", "-l", "--yes")


def leaves(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Every command that does something: also a group that does when it is called bare."""
    inner = getattr(command, "commands", {})
    if path and (not inner or getattr(command, "invoke_without_command", False)):
        yield " ".join(path), command
    for name, one in inner.items():
        yield from leaves(one, (*path, name))


COMMANDS = dict(leaves(tree()))


def untaken(page: str) -> dict[str, set[str]]:
    """By flag the commands that do not take it, as the table says."""
    found: dict[str, set[str]] = {flag: set() for flag in FLAGS}
    for flags, names, _ in re.findall(r"^\| (`.*?) \| (.*?) \| (.*?) \|$", page, re.M):
        named = set(re.findall(r"`(.*?)`", names))
        if "the chapters" in names:
            named |= set(SUMMARIES)
        for flag in re.findall(r"`(.*?)`", flags):
            found[flag] |= COMMANDS.keys() - named if names.startswith("all but") else named
    return found


TABLE = untaken(PAGE.read_text(encoding="utf-8"))


@pytest.mark.parametrize("flag", FLAGS)
def test_each_flag_is_taken_by_all_commands_but_those_of_the_table(flag: str) -> None:
    taking = {name for name, command in COMMANDS.items() if any(flag in one.opts for one in command.params)}
    assert COMMANDS.keys() - taking == TABLE[flag]


def test_the_table_names_commands_that_there_are() -> None:
    assert set().union(*TABLE.values()) <= COMMANDS.keys()
