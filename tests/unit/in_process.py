"""The command `hardway`, run in this process."""

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


def tree() -> Any:
    """The whole tree of commands, each from its own file."""
    group: Any = typer.main.get_group(app)
    group.commands = {name: load(name) for name in group.commands}
    return group
