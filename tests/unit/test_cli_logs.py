"""`hardway logs`: whose journal is asked for, and several of them as one."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from in_process import ran

from hardway.cli.journals import Journals

INVENTORY = """\
cluster: real
machines:
  c0: {role: controller, address: 192.0.2.10}
  c1: {role: controller, address: 192.0.2.11}
  c2: {role: controller, address: 192.0.2.12, ssh: {user: root, become: none}}
  worker-0: {role: worker, address: 192.0.2.20}
endpoint: 192.0.2.9
"""
SSH = """\
#!{python}
import os, sys
words = sys.argv[sys.argv.index("-F") + 2:]
open("ssh.log", "a").write(" ".join(words) + "\\n")
name = words[0]
if name in os.environ["OFF"].split():
    print("ssh: connect to host " + name + " port 22: No route to host", file=sys.stderr)
    sys.exit(255)
second = {{"c0": "3", "c1": "1", "c2": "2"}}.get(name, "9")
if "--output=json" in words:
    print('{{"__REALTIME_TIMESTAMP": "170000000' + second + '", "MESSAGE": "m"}}')
else:
    print("-- Boot 1a --")
    print("2026-11-27T20:51:0" + second + ".000000+00:00 host kube-apiserver[1]: from \\x1b[31m" + name)
"""
Logs = Callable[..., tuple[int, str, str]]


@pytest.fixture
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Logs:
    """Runs `hardway logs` with machines of which those `off` do not answer."""
    (tmp_path / "real.yaml").write_text(INVENTORY)
    (tmp_path / "ssh").write_text(SSH.format(python=sys.executable))
    (tmp_path / "ssh").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    def run(*words: str, off: str = "") -> tuple[int, str, str]:
        monkeypatch.setenv("OFF", off)
        return ran(monkeypatch, capsys, "logs", "-i", "real.yaml", *words)

    return run


def asked(folder: Path) -> dict[str, str]:
    """The command on each machine that was asked."""
    lines = (folder / "ssh.log").read_text().splitlines()
    return dict(line.split(" ", 1) for line in lines)


@pytest.mark.parametrize("unit", ["kube-apiserver", "kube-apiserver.service"])
def test_a_component_is_shown_of_all_machines_that_run_it_in_the_order_of_time(
    logs: Logs, tmp_path: Path, unit: str
) -> None:
    code, out, err = logs(unit, "-n", "7")
    assert (code, err) == (0, "")
    lines = [line for line in out.splitlines() if "Boot" not in line]
    assert [(line.split()[0], line.split()[1][17:19]) for line in lines] == [("c1", "01"), ("c2", "02"), ("c0", "03")]
    assert lines[0].endswith("from \\x1b[31mc1")
    journal = "journalctl --no-pager --lines=7 --output=short-iso-precise --utc --unit=kube-apiserver.service"
    assert asked(tmp_path) == {"c0": f"sudo {journal}", "c1": f"sudo {journal}", "c2": journal}


def test_a_machine_that_does_not_answer_keeps_no_other_from_being_shown(logs: Logs) -> None:
    code, out, err = logs("etcd", off="c1")
    assert code == 1
    assert {line.split()[0] for line in out.splitlines()} == {"c0", "c2"}
    assert err == "c1  ssh: connect to host c1 port 22: No route to host\n"


def test_json_is_as_journalctl_has_it_with_the_machine(logs: Logs) -> None:
    code, out, err = logs("etcd", "-o", "json")
    assert (code, err) == (0, "")
    assert [json.loads(line)["MACHINE"] for line in out.splitlines()] == ["c1", "c2", "c0"]
    assert {json.loads(line)["MESSAGE"] for line in out.splitlines()} == {"m"}


def test_a_component_that_one_machine_runs_is_shown_with_its_name(logs: Logs, tmp_path: Path) -> None:
    code, out, _ = logs("kubelet")
    assert code == 0
    assert out.splitlines()[-1].startswith("worker-0  2026-11-27T20:51:09")
    assert asked(tmp_path).keys() == {"worker-0"}


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("worker-0", "etcd"), "it runs on c0, c1, c2: hardway logs etcd"),
        (("c0", "nonsense"), "one of: etcd.service"),
        (("nonsense",), "one of: c0, c1, c2, worker-0, containerd, etcd, kube-apiserver"),
    ],
)
def test_what_runs_nowhere_is_a_usage_error_that_says_what_does(logs: Logs, words: tuple[str, ...], hint: str) -> None:
    code, out, err = logs(*words)
    assert (code, out) == (2, "")
    assert hint in " ".join(err.split())


def test_a_greeting_is_no_part_of_the_json(capsys: pytest.CaptureFixture[str]) -> None:
    greeting = 'echo Welcome; echo \'{"__REALTIME_TIMESTAMP": "1"}\''
    assert Journals({"a": ["sh", "-c", greeting]}, is_json=True, follow=False).show(1) == 0
    said = capsys.readouterr()
    assert (json.loads(said.out)["MACHINE"], said.err) == ("a", "a  Welcome\n")


def test_what_is_followed_is_printed_as_it_comes(capsys: pytest.CaptureFixture[str]) -> None:
    commands = {"a": ["sh", "-c", "echo 2 later; echo 1 earlier"], "bee": ["sh", "-c", "echo gone >&2; exit 255"]}
    assert Journals(commands, is_json=False, follow=True).show(1) == 1
    said = capsys.readouterr()
    assert said.out == "a    2 later\na    1 earlier\n"
    assert said.err == "bee  gone\n"
