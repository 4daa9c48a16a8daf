"""What a run says of a workspace of which something is lost or damaged; and that it helps."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from cryptography import x509
from fake.cluster import PAIR, FakeCluster
from refusing import files, kinds, refused

from hardway.declare.generations import CAS
from hardway.engine.blockers import Blocked
from hardway.state import Authority, KeyGenerations, State, advanced

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
    "pki/ca-2.key": {"authorities": {"kubernetes": Authority((1, 2), 1)}},
    "pki/etcd/ca-2.key": {"authorities": {"etcd": Authority((1, 2), 1)}},
    "pki/front-proxy-ca-2.key": {"authorities": {"front-proxy": Authority((1, 2), 2)}},
    "pki/sa-2.key": {"service_account_keys": KeyGenerations((1, 2), 1)},
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
    pair.workspace().save_state(advanced(pair.state(), authorities={"front-proxy": Authority((1, 2), 2)}))
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


@pytest.mark.parametrize(("path", "kind"), [("pki/sa.key", "damaged-key")])
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
