"""The command `hardway`, run in this process."""

import functools
import sys
from typing import Any

import pytest
import typer.main

from hardway.cli.app import app, load


def ran(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Exit code, standard output and error of the command with these words."""
    from hardway.cli import main

    monkeypatch.setattr(sys, "argv", ["hardway", *words])
    code: object = 0
    try:
        main()
    except SystemExit as end:
        code = end.code
    said = capsys.readouterr()
    return code if isinstance(code, int) else int(code is not None), said.out, said.err


@functools.cache
def tree() -> Any:
    """The whole tree of commands, each from its own file."""
    group: Any = typer.main.get_group(app)
    group.commands = {name: load(name) for name in group.commands}
    return group


def chosen(words: list[str]) -> tuple[Any, list[str]]:
    """The command of the tree that these words name, and what is left for it."""
    command = tree()
    while words and words[0] in getattr(command, "commands", {}):
        command, words = command.commands[words[0]], words[1:]
    return command, words
