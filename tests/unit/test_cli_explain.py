"""explain on the command line: it needs an inventory and nothing else."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from in_process import tree
from typer.testing import CliRunner

from hardway.cli.app import app
from hardway.cli.chapters import SUMMARIES
from hardway.cli.commands import COMMANDS
from hardway.cli.explain import complete_what
from hardway.errors import UsageError
from hardway.state import Node, State

INVENTORY = """\
cluster: pair
machines:
  head: {role: controller, address: 10.240.0.10}
  hand: {role: worker, address: 10.240.0.20}
"""


@pytest.fixture
def inventory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "hardway.yaml"
    path.write_text(INVENTORY)
    monkeypatch.chdir(tmp_path)
    return path


def said(*words: str) -> str:
    result = CliRunner().invoke(app, ["explain", *words], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_without_a_question_it_lists_what_can_be_asked(inventory: Path) -> None:
    assert "hardway explain anonymous-auth" in said()


def test_each_grain_is_answered_and_nothing_is_written(inventory: Path) -> None:
    assert said("certs").startswith("CERTS   chapter 2 of 12")
    assert said("certs/kubelet").startswith("certs/kubelet")
    assert said("system:node:hand").startswith("system:node:hand   the kubelet of hand")
    assert sorted(inventory.parent.iterdir()) == [inventory]


def test_json_is_one_document_and_markdown_has_a_title(inventory: Path) -> None:
    assert json.loads(said("dns", "-o", "json"))["kind"] == "chapter"
    assert said("dns", "-o", "markdown").startswith("# dns\n")


def test_shell_types_a_chapter_a_thing_or_everything(inventory: Path) -> None:
    thing, phase, whole = said("certs/sa", "-o", "shell"), said("certs", "-o", "shell"), said("--all", "-o", "shell")
    assert thing.startswith("#!/usr/bin/env bash\n# pair, certs/sa\n")
    assert len(thing) < len(phase) < len(whole)


def test_shell_types_the_same_for_a_cluster_that_was_formed_long_ago(inventory: Path) -> None:
    before = said("--all", "-o", "shell")
    nodes = {"head": Node(("controller",), "10.240.0.10"), "hand": Node(("worker",), "10.240.0.20")}
    state = State("pair", "id", generation=7, nodes=nodes, etcd="initialized", etcd_token="drawn-by-lot")
    folder = inventory.parent / ".hardway" / "pair"
    folder.mkdir(parents=True)
    (folder / "state.json").write_text(state.to_json())
    assert said("--all", "-o", "shell") == before
    assert "ETCD_INITIAL_CLUSTER_TOKEN=pair\n" in said("etcd", "-o", "shell")


@pytest.mark.parametrize("words", [("443", "-o", "shell"), ("-o", "shell"), ("", "-o", "shell"), ("--all",)])
def test_what_nobody_types_is_a_usage_error(inventory: Path, words: tuple[str, ...]) -> None:
    with pytest.raises(UsageError):
        CliRunner().invoke(app, ["explain", *words], catch_exceptions=False)


def test_verbose_leaves_nothing_out(inventory: Path) -> None:
    assert "break-glass" not in said("certs")
    assert "break-glass" in said("certs", "-v")


def test_what_is_unknown_is_a_usage_error_with_the_nearest_names(inventory: Path) -> None:
    with pytest.raises(UsageError) as error:
        CliRunner().invoke(app, ["explain", "anonymus-auth"], catch_exceptions=False)
    assert error.value.exit_code == 2
    assert "anonymous-auth" in str(error.value.hint)


@pytest.mark.parametrize("what", ["", " "])
def test_an_empty_word_is_no_question(inventory: Path, what: str) -> None:
    with pytest.raises(UsageError, match="the name is empty"):
        CliRunner().invoke(app, ["explain", what], catch_exceptions=False)


@pytest.mark.parametrize(
    ("what", "lines"),
    [
        ("load-balancer", ["hardway explain -i s.yaml 10.240.0.10", "hardway verify -i s.yaml load-balancer"]),
        ("certs/kubelet", ["hardway explain -i s.yaml certs", "hardway verify -i s.yaml certs"]),
        ("10.240.0.10", ["hardway explain -i s.yaml hosts"]),
    ],
)
def test_what_to_ask_next_repeats_the_inventory(inventory: Path, what: str, lines: list[str]) -> None:
    inventory.rename(inventory.with_name("s.yaml"))
    told = said("-i", "s.yaml", what)
    assert [line for line in lines if line not in told] == []
    assert set(re.findall(r"hardway (?:explain|verify) (\S+)", told)) == {"-i"}
    asks = json.loads(said("-i", "s.yaml", what, "-o", "json"))["more"]
    assert {one["command"].split()[2] for one in asks} == {"-i"}


@pytest.mark.parametrize("what", ["--anonymous-auth", "--anonymous-auth=false", "anonymous-auth"])
def test_a_flag_is_asked_as_it_stands_in_a_unit(inventory: Path, what: str) -> None:
    assert said(what).startswith("anonymous-auth\n  kube-apiserver --anonymous-auth=false")
    assert json.loads(said(what, "-o", "json"))["asked"] == "anonymous-auth"


def test_a_mistyped_option_is_a_name_that_is_unknown(inventory: Path) -> None:
    with pytest.raises(UsageError, match="this cluster has nothing named 'otput'"):
        CliRunner().invoke(app, ["explain", "--otput=json"], catch_exceptions=False)


def test_one_thing_and_everything_are_two_questions(inventory: Path) -> None:
    with pytest.raises(UsageError) as error:
        CliRunner().invoke(app, ["explain", "etcd", "--all", "-o", "shell"], catch_exceptions=False)
    assert error.value.hint == "hardway explain etcd -o shell, or --all -o shell alone"


NO_CHAPTERS = sorted(COMMANDS.keys() - SUMMARIES.keys() - {"kubectl"})
"""Of kubectl the cluster has a file."""


@pytest.mark.parametrize("name", NO_CHAPTERS)
def test_a_command_that_is_no_chapter_is_told_by_its_help(inventory: Path, name: str) -> None:
    title, *text, ask = said(name).splitlines()
    assert (title, ask) == (name, f"Ask           hardway {name} --help")
    shown = CliRunner().invoke(app, [name, "--help"]).output
    first = " ".join(text).split("A command. ")[1].split()[:4]
    assert " ".join(first) in " ".join(shown.split())
    assert json.loads(said(name, "-o", "json"))["kind"] == "term"


def test_a_command_is_told_before_there_is_an_inventory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HARDWAY_INVENTORY", raising=False)
    assert said("init").startswith("init\n  A command. Build the cluster")
    with pytest.raises(UsageError):
        CliRunner().invoke(app, ["explain", "hosts"], catch_exceptions=False)


def below(path: str, group: Any) -> Iterator[str]:
    """Each command that is below another, with the names above it."""
    for name, command in getattr(group, "commands", {}).items():
        yield f"{path} {name}".strip()
        yield from below(f"{path} {name}".strip(), command)


@pytest.mark.parametrize("command", sorted(name for name in below("", tree()) if " " in name))
def test_a_command_of_a_group_is_told_by_its_help(inventory: Path, command: str) -> None:
    title, *text, ask, beside = said(*command.split()).splitlines()
    group = command.split()[0]
    assert (title, ask) == (command, f"Ask           hardway {command} --help")
    assert beside.split() in (["hardway", "explain", group], ["hardway", group, "--help"])
    shown = CliRunner().invoke(app, [*command.split(), "--help"]).output
    first = " ".join(text).split("A command. ")[1].split()[:4]
    assert " ".join(first) in " ".join(shown.split())


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("rotate-sa", "certs rotate-sa"),
        ("hardway etcd snapshot", "etcd snapshot"),
        ("reboot", "node reboot"),
        ("rollback", "upgrade rollback"),
        ("seal", "workspace seal"),
        ("hardway upgrade plan", "upgrade plan"),
        ("user add", "access user add"),
    ],
)
def test_a_command_of_a_group_is_found_by_its_last_word(inventory: Path, asked: str, name: str) -> None:
    assert said(*asked.split()).splitlines()[0] == name


def test_a_command_that_another_chapter_has_is_none(inventory: Path) -> None:
    with pytest.raises(UsageError):
        CliRunner().invoke(app, ["explain", "etcd", "rotate-ca"], catch_exceptions=False)


def test_a_ca_with_two_files_on_a_machine_is_told_once(inventory: Path) -> None:
    fields = json.loads(said("certs/ca", "-o", "json"))["fields"]
    assert [one["name"] for one in fields] == ["CN", "signed by", "days", "key"]


def test_what_the_cluster_has_of_a_commands_name_comes_first(inventory: Path) -> None:
    told = said("-i", "hardway.yaml", "kubectl")
    assert told.startswith("control-plane/kubectl   cluster pair")
    assert "hardway kubectl --help" in told


class Asked:
    params: dict[str, object] = {}  # noqa: RUF012


def test_completion_knows_chapters_things_and_flags(inventory: Path) -> None:
    assert "certs" in set(complete_what(Asked(), "cer"))  # type: ignore[arg-type]
    assert "anonymous-auth" in set(complete_what(Asked(), "anon"))  # type: ignore[arg-type]
    assert "certs/kubelet" in set(complete_what(Asked(), "certs/"))  # type: ignore[arg-type]


def test_completion_without_an_inventory_knows_the_chapters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert list(complete_what(Asked(), "certs")) == ["certs"]  # type: ignore[arg-type]
