"""What a run says of a workspace of which something is lost or damaged, or that is another copy; and that it helps."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from fake.cluster import PAIR, FakeCluster, keys
from refusing import files, kinds, refused

from hardway.declare.generations import CAS
from hardway.engine.blockers import Blocked
from hardway.errors import WorkspaceError
from hardway.state import Generations, State, advanced
from hardway.workspace import Workspace

NewCluster = Callable[[str], FakeCluster]
STATE = "/var/lib/hardway/state.json"

SSH = """\
import sys
from pathlib import Path
from fake.machine import FakeMachine

_, _, config, name, *words = sys.argv
root = Path({root!r})
command = " ".join(words).removeprefix("sudo ")
sys.stdout.buffer.write(FakeMachine(name, root / name, root / "net").run(command, timeout=10, what="ssh").stdout)
"""


@pytest.fixture
def pair(built_cluster: NewCluster) -> FakeCluster:
    return built_cluster(PAIR)


def typed(made: FakeCluster, hint: str | None) -> None:
    """Types the command that a hint ends with: the real `hardway`, and an ssh that leads to the played machines."""
    programs = made.root / "programs"
    programs.mkdir(exist_ok=True)
    tests = Path(__file__).parents[1]
    python = f"PYTHONPATH={tests}:{tests.parent} exec {sys.executable}"
    (programs / "ssh.py").write_text(SSH.format(root=str(made.root)))
    (programs / "ssh").write_text(f'#!/bin/sh\n{python} {programs}/ssh.py "$@"\n')
    (programs / "hardway").write_text(f'#!/bin/sh\n{python} -m hardway "$@"\n')
    for name in ("ssh", "hardway"):
        (programs / name).chmod(0o755)
    command = (hint or "").splitlines()[-1]
    assert command.startswith("    ")
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "HARDWAY_INVENTORY": str(made.inventory)}
    subprocess.run(["sh", "-ec", command], check=True, env=environment, cwd=made.root)


def with_state(made: FakeCluster, name: str, state: State) -> None:
    """A machine whose copy of the State is this one."""
    made.machines[name].write(STATE, state.to_json())


def state_of(made: FakeCluster, name: str) -> State:
    return State.from_json(made.machines[name].read(STATE), name)


class Killed(BaseException):
    """The operator's process is gone."""


LOST = {
    "pki/ca.key": "pki/ca.crt",
    "pki/etcd/ca.key": "pki/etcd/ca.crt",
    "pki/front-proxy-ca.key": "pki/front-proxy-ca.crt",
    "pki/sa.key": "pki/sa.pub",
    "pki/break-glass.key": "pki/break-glass.crt",
}


@pytest.mark.parametrize("path", LOST)
def test_a_key_is_lost_where_what_belongs_to_it_is_there(pair: FakeCluster, path: str) -> None:
    (pair.workspace().root / path).unlink()
    error = refused(pair)
    assert kinds(error) == [("lost-key", "")]
    assert f"{path} is lost, but {LOST[path]} belongs to it and is there" in error.what
    assert not (pair.workspace().root / path).exists()


@pytest.mark.parametrize("path", ["pki/ca", "pki/etcd/ca", "pki/front-proxy-ca", "pki/sa"])
def test_a_key_is_lost_where_machines_have_what_it_signed(pair: FakeCluster, path: str) -> None:
    """Also where the workspace has nothing of it any more."""
    root = pair.workspace().root
    for ending in (".key", ".crt", ".pub"):
        (root / f"{path}{ending}").unlink(missing_ok=True)
    names = [ca.common_name for ca in CAS if ca.path == path]
    for one in (root / "pki").rglob("*.crt"):
        issuer = x509.load_pem_x509_certificate(one.read_bytes()).issuer.rfc4514_string()
        if issuer in [f"CN={name}" for name in names]:
            one.unlink()
    assert ("lost-key", "head") in kinds(refused(pair))
    assert not (root / f"{path}.key").exists()


def test_a_lost_encryption_key_is_found_on_the_machine_that_has_it(pair: FakeCluster) -> None:
    (pair.workspace().root / "secrets/encryption-key").unlink()
    error = refused(pair)
    assert kinds(error) == [("lost-key", "head")]
    assert "secrets/encryption-key is lost, but /etc/kubernetes/encryption-config.yaml on this machine" in error.what


def test_a_pair_that_is_nowhere_is_made(pair: FakeCluster) -> None:
    """The break-glass pair lies in the workspace alone, and what is said of its lost key helps."""
    (pair.workspace().root / "pki/break-glass.key").unlink()
    typed(pair, refused(pair).hint)
    assert "pki/break-glass.key" in pair.init().made


def test_a_leaf_of_which_nothing_is_left_is_issued_again(pair: FakeCluster) -> None:
    for ending in ("key", "crt"):
        (pair.workspace().root / f"pki/kubelet-hand.{ending}").unlink()
    assert "pki/kubelet-hand.key" in pair.init().made
    assert pair.init().changes == []


def test_a_ca_of_which_the_workspace_has_nothing_is_remembered_by_a_machine_without_files_of_it(
    pair: FakeCluster,
) -> None:
    """Of etcd's CA a worker has no file."""
    root = pair.workspace().root
    shutil.rmtree(root / "pki/etcd")
    for ending in ("key", "crt"):
        (root / f"pki/apiserver-etcd-client.{ending}").unlink()
    before = files(pair)
    with pytest.raises(Blocked) as caught:
        pair.init(names=["hand"])
    assert kinds(caught.value) == [("lost-key", "hand")]
    assert "pki/etcd/ca.key is lost, but the State on this machine remembers its certificate" in caught.value.what
    assert files(pair) == before


NEXT: Mapping[str, dict[str, object]] = {
    "pki/ca-2.key": {"authorities": {"kubernetes": Generations((1, 2), 1)}},
    "pki/etcd/ca-2.key": {"authorities": {"etcd": Generations((1, 2), 1)}},
    "pki/front-proxy-ca-2.key": {"authorities": {"front-proxy": Generations((1, 2), 2)}},
    "pki/sa-2.key": {"service_account_keys": Generations((1, 2), 1)},
    "secrets/encryption-key-key2": {"encryption_keys": ("key1", "key2")},
}


@pytest.mark.parametrize("path", NEXT)
def test_a_key_of_a_next_generation_is_made_once(pair: FakeCluster, path: str) -> None:
    """Machines have the files in which it will be, and they are of the generation before."""
    root = pair.workspace().root
    pair.workspace().save_state(advanced(pair.state(), **NEXT[path]))
    assert path in pair.init().made
    assert pair.init().changes == []
    stem = path.removesuffix(".key")
    for name in (path, f"{stem}.crt", f"{stem}.pub"):
        (root / name).unlink(missing_ok=True)
        assert {kind for kind, _ in kinds(refused(pair))} == {"lost-key"}
    assert not (root / path).exists()


def test_a_ca_that_is_trusted_and_signs_no_more_keeps_its_key(pair: FakeCluster) -> None:
    pair.workspace().save_state(advanced(pair.state(), authorities={"front-proxy": Generations((1, 2), 2)}))
    pair.init()
    (pair.workspace().root / "pki/front-proxy-ca.key").unlink()
    error = refused(pair)
    assert kinds(error) == [("lost-key", "")]
    assert "pki/front-proxy-ca.key is lost, but pki/front-proxy-ca.crt belongs to it" in error.what


DAMAGED = "-----BEGIN PRIVATE KEY-----\nMIGHAgEA\n-----END PRIVATE KEY-----\n"
"""Whole to look at, and no key."""


@pytest.mark.parametrize("path", ["pki/ca.key", "pki/sa.key", "pki/kubelet-hand.key"])
def test_a_damaged_key_is_not_overwritten(pair: FakeCluster, path: str) -> None:
    (pair.workspace().root / path).write_text(DAMAGED)
    error = refused(pair)
    assert ("damaged-key", "") in kinds(error)
    assert f"restore {path} from a backup of the workspace" in str(error)


def test_a_damaged_leaf_is_made_again_as_it_says(pair: FakeCluster) -> None:
    (pair.workspace().root / "pki/kubelet-hand.key").write_text(DAMAGED)
    typed(pair, refused(pair).hint)
    assert "pki/kubelet-hand.key" in pair.init().made


@pytest.mark.parametrize(("path", "kind"), [("pki/sa.key", "damaged-key"), ("pki/ca.key", "lost-key")])
def test_before_there_is_a_cluster_a_key_is_made_again_as_it_says(
    new_cluster: NewCluster, path: str, kind: str
) -> None:  # fmt: skip
    made = new_cluster(PAIR)
    made.init(("hosts",))
    made.init(("certs", "encryption"), names=["hand"])
    key = made.workspace().root / path
    key.unlink() if kind == "lost-key" else key.write_text(DAMAGED)
    for machine in made.machines.values():
        machine.run("rm -rf /etc/kubernetes", timeout=5, what="as if it had not come so far")
    error = refused(made, "certs", "encryption")
    assert kinds(error) == [(kind, "")]
    typed(made, error.hint)
    assert path in made.init().made


def test_a_lost_state_is_fetched_from_a_machine_as_it_says(pair: FakeCluster) -> None:
    path = pair.workspace().root / "state.json"
    content = path.read_text()
    path.unlink()
    error = refused(pair)
    assert kinds(error) == [("lost-state", "head")]
    typed(pair, error.hint)
    assert path.read_text() == content
    assert pair.init().changes == []


def test_a_damaged_state_is_replaced_as_it_says(pair: FakeCluster) -> None:
    path = pair.workspace().root / "state.json"
    content = path.read_text()
    path.write_text(content[:100])
    with pytest.raises(WorkspaceError) as caught:
        Workspace(path.parent).load_state()
    typed(pair, caught.value.hint)
    typed(pair, refused(pair).hint)
    assert path.read_text() == content


def test_a_damaged_copy_on_a_machine_is_written_again_as_it_says(pair: FakeCluster) -> None:
    pair.machines["hand"].write(STATE, '{"format": 1, "clus')
    error = refused(pair)
    assert kinds(error) == [("unreadable-state", "hand")]
    assert f"hand:{STATE} is damaged" in error.what
    typed(pair, error.hint)
    assert pair.init().changes == []
    assert state_of(pair, "hand") == pair.state()


@pytest.mark.parametrize("name", ["head", "hand"])
@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("older-workspace", {"generation": 99999}),
        ("other-workspace", {"fixed": {}}),
        ("other-authority", {"fingerprints": {"pki/etcd/ca.crt": ("0123456789abcdef",)}}),
    ],
)
def test_one_machine_that_differs_from_the_others_is_named_with_the_way_on(
    pair: FakeCluster, name: str, kind: str, changes: dict[str, object]
) -> None:
    with_state(pair, name, replace(pair.state(), **changes))  # type: ignore[arg-type]
    error = refused(pair)
    assert kinds(error) == [(kind, name)]
    assert error.said == "one other machine agrees with this workspace"
    typed(pair, error.hint)
    assert pair.init().changes == []
    assert state_of(pair, name) == pair.state()


def test_where_all_machines_are_newer_no_way_on_with_this_workspace_is_named(pair: FakeCluster) -> None:
    for name in pair.machines:
        with_state(pair, name, replace(pair.state(), generation=99999))
    error = refused(pair)
    assert (error.said, error.hint) == (None, "use the workspace of the last run (state.json, pki/, secrets/)")


def test_a_copy_of_the_workspace_is_older_once_a_certificate_was_renewed(pair: FakeCluster, tmp_path: Path) -> None:
    root = pair.workspace().root
    shutil.copytree(root, tmp_path / "copy")
    for name in ("admin.crt", "admin.key"):
        (root / "pki" / name).unlink()
    assert "pki/admin.crt" in pair.init().made
    shutil.rmtree(root)
    shutil.copytree(tmp_path / "copy", root)
    assert {kind for kind, _ in kinds(refused(pair))} == {"older-workspace"}


def test_copies_that_made_a_ca_each_are_told_apart_whatever_their_generations(
    pair: FakeCluster, tmp_path: Path
) -> None:
    root = pair.workspace().root
    (root / "pki/front-proxy-ca.crt").unlink()
    shutil.copytree(root, tmp_path / "copy")
    pair.init(names=["head"])
    shutil.rmtree(root)
    shutil.copytree(tmp_path / "copy", root)
    for _ in range(3):  # this copy's generation passes the other's
        pair.init(names=["hand"])
        (root / "pki/break-glass.crt").unlink()
    assert pair.state().generation > state_of(pair, "head").generation
    error = refused(pair)
    assert kinds(error) == [("other-authority", "head")]
    assert error.what.startswith("pki/front-proxy-ca.crt in ")


def test_a_ca_from_another_copy_is_refused_beside_the_right_state(pair: FakeCluster, tmp_path: Path) -> None:
    root = pair.workspace().root
    shutil.copytree(root / "pki", tmp_path / "older")
    (root / "pki/ca.crt").unlink()
    pair.init()
    shutil.rmtree(root / "pki")
    shutil.copytree(tmp_path / "older", root / "pki")
    assert set(kinds(refused(pair))) == {("other-authority", "head"), ("other-authority", "hand")}


@pytest.mark.parametrize("path", ["pki/ca.crt", "pki/etcd/ca.crt", "pki/front-proxy-ca.crt"])
def test_a_ca_that_this_workspace_issued_again_is_no_other_copy_s(pair: FakeCluster, path: str) -> None:
    """Its key is there, so that is allowed; one machine hears of it first."""
    (pair.workspace().root / path).unlink()
    assert path in pair.init(names=["head"]).made
    pair.init()
    assert pair.init().changes == []
    assert [len(history) for history in pair.state().fingerprints.values()].count(2) == 1
    assert state_of(pair, "hand").fingerprints == pair.state().fingerprints


@pytest.mark.parametrize("written", [0, 1])
def test_a_run_killed_while_it_issues_a_ca_again_goes_on(
    pair: FakeCluster, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    (pair.workspace().root / "pki/ca.crt").unlink()
    write = Workspace.write
    names: list[str] = []

    def killed(self: Workspace, name: str, content: bytes, mode: int) -> None:
        if len(names) > written:
            raise Killed
        names.append(name)
        write(self, name, content, mode)

    monkeypatch.setattr(Workspace, "write", killed)
    with suppress(Killed):
        pair.init()
    monkeypatch.undo()
    assert names == ["state.json", "pki/ca.crt"][: written + 1]
    assert (pair.workspace().root / "pki/ca.crt").exists() == bool(written)
    pair.init()
    assert pair.init().changes == []


def test_a_run_that_changes_nothing_writes_nothing(pair: FakeCluster) -> None:
    pair.init()
    workspace = files(pair)
    machines = {name: one.tree() for name, one in pair.machines.items()}
    outcome = pair.init()
    assert (keys(outcome.changes), outcome.made) == ([], [])
    assert files(pair) == workspace
    assert {name: one.tree() for name, one in pair.machines.items()} == machines


def test_what_a_killed_run_had_half_written_is_swept(pair: FakeCluster) -> None:
    workspace = pair.workspace()
    for name in ("pki/etcd/.new-abc", ".upload-abc"):
        (workspace.root / name).write_text("PRIVATE")
    with workspace.lock("a test"):
        assert not list(workspace.root.rglob(".*-abc"))


@pytest.mark.parametrize("name", ["pki/ca.key", "secrets/encryption-key", "kubeconfigs/admin.conf", "pki/old-ca.key"])
def test_a_secret_that_others_can_read_is_a_finding(pair: FakeCluster, name: str) -> None:
    root = pair.workspace().root
    shutil.copy(root / "pki/ca.key", root / "pki/old-ca.key")  # of a CA that is declared no more
    (root / name).chmod(0o644)
    [finding] = pair.plan().findings
    assert (finding.rule, f"{name} has mode 0644: " in finding.what) == ("workspace-mode", True)
    subprocess.run(["sh", "-c", finding.fix], check=True)
    assert list(pair.plan().findings) == []
