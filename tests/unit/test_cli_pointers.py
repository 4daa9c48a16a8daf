"""Words that are no command of hardway's lead to what hardway has in their place."""

import re

import pytest
from in_process import chosen, ran

from hardway import __version__
from hardway.cli.commands import COMMANDS
from hardway.cli.pointers import POINTERS

Said = pytest.CaptureFixture[str]


@pytest.mark.parametrize("word", ["update", "restore", "destroy", "join"])
@pytest.mark.parametrize("more", [(), ("--yes", "controller-0"), ("-i", "x.yaml")])
def test_a_word_that_is_no_command_leads_on(
    monkeypatch: pytest.MonkeyPatch, capsys: Said, word: str, more: tuple[str, ...]
) -> None:
    code, out, err = ran(monkeypatch, capsys, word, *more)
    assert (code, out) == (2, "")
    assert f"hardway has no command {word}: " in err
    assert "Traceback" not in err


@pytest.mark.parametrize("word", POINTERS)
def test_a_pointer_names_commands_that_there_are(word: str) -> None:
    assert word not in COMMANDS
    named = [one.strip() for one in re.findall(r"\bhardway ([^,;:]+)", POINTERS[word].next)]
    assert named
    for line in named:
        command, rest = chosen(line.split())
        assert getattr(command, "invoke_without_command", True), f"hardway {line} names a group, and no command of it"
        command.make_context(command.name, rest)


@pytest.mark.parametrize(
    ("word", "first"),
    [
        ("remove", "hardway node remove NAME"),
        ("delete", "hardway node remove NAME"),
        ("destroy", "hardway reset"),
        ("renew", "hardway certs check"),
        ("restore", "hardway etcd restore FILE --rehearse"),
        ("rollback", "hardway upgrade rollback"),
        ("defrag", "hardway etcd defrag"),
        ("cordon", "hardway node drain NAME"),
        ("reboot", "hardway node reboot NAME"),
        ("rotate", "hardway certs rotate-ca all"),
    ],
)
def test_what_comes_first_destroys_least(word: str, first: str) -> None:
    assert re.split("[,;]", POINTERS[word].next)[0] == first


def test_version_and_help_are_answered(monkeypatch: pytest.MonkeyPatch, capsys: Said) -> None:
    assert ran(monkeypatch, capsys, "version") == (0, f"{__version__}\n", "")
    code, out, _ = ran(monkeypatch, capsys, "help")
    assert code == 0
    assert "smoke-test" in out
    asked = ran(monkeypatch, capsys, "help", "logs")
    assert asked == ran(monkeypatch, capsys, "logs", "--help")
    assert ran(monkeypatch, capsys, "help", "lab", "up") == ran(monkeypatch, capsys, "lab", "up", "--help")


def test_a_mistyped_command_is_an_error_as_before(monkeypatch: pytest.MonkeyPatch, capsys: Said) -> None:
    code, _, err = ran(monkeypatch, capsys, "verfiy")
    assert code == 2
    assert "No such command" in err
