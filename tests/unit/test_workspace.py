"""The operator's folder: private, whole, and held by one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hardway.cli.looking import _reading
from hardway.cli.options import Options
from hardway.cli.running import require_current
from hardway.cli.site import Site
from hardway.errors import Locked, WorkspaceError
from hardway.inventory.load import load
from hardway.state import State
from hardway.workspace import Workspace

KEY = b"-----BEGIN PRIVATE KEY-----\nMC4=\n-----END PRIVATE KEY-----\n"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace(tmp_path / ".hardway" / "one")
    made.create()
    return made


def test_it_lies_beside_the_inventory_and_is_nobody_elses(tmp_path: Path) -> None:
    inventory = tmp_path / "prod.yaml"
    inventory.write_text("cluster: prod\nmachines: {k1: {role: [controller, worker], address: 10.0.0.1}}\n")
    made = Workspace.of(load(inventory), None)
    made.create()
    assert made.root == tmp_path / ".hardway" / "prod"
    assert made.root.stat().st_mode & 0o777 == 0o700
    assert (tmp_path / ".hardway" / ".gitignore").read_text() == "*\n"
    assert Workspace.of(load(inventory), tmp_path / "other").root == tmp_path / "other"


def test_a_folder_that_others_could_read_is_closed(tmp_path: Path) -> None:
    made = Workspace(tmp_path / "open")
    made.root.mkdir(mode=0o755)
    made.create()
    assert made.root.stat().st_mode & 0o777 == 0o700


def test_a_place_that_cannot_be_a_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkspaceError, match="file/one cannot be written"):
        Workspace(tmp_path / "file" / "one").create()


def test_files_have_their_mode_and_come_back_by_name(workspace: Workspace) -> None:
    workspace.write("pki/etcd/ca.key", KEY, 0o600)
    workspace.write("kubeconfig", b"text", 0o644)
    assert (workspace.root / "pki/etcd/ca.key").stat().st_mode & 0o777 == 0o600
    assert workspace.values() == {
        "workspace/path": str(workspace.root).encode(),
        "pki/etcd/ca.key": KEY,
        "kubeconfig": b"text",
    }


def test_half_a_file_of_a_killed_run_is_not_a_value(workspace: Workspace) -> None:
    workspace.write("pki/ca.key", KEY, 0o600)
    (workspace.root / "pki/.new-1234").write_bytes(b"ha")
    assert set(workspace.values()) == {"workspace/path", "pki/ca.key"}


def test_a_file_that_cannot_be_written_leaves_the_old_one(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace.write("pki/ca.key", KEY, 0o600)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WorkspaceError, match=r"pki/ca.key could not be written: No space left on device"):
        workspace.write("pki/ca.key", b"new", 0o600)
    assert sorted(path.name for path in (workspace.root / "pki").iterdir()) == ["ca.key"]
    assert workspace.values()["pki/ca.key"] == KEY


def test_state_is_kept_and_forgotten(workspace: Workspace) -> None:
    assert workspace.load_state() is None
    workspace.save_state(State("one", "id", generation=3))
    assert workspace.load_state() == State("one", "id", generation=3)
    workspace.forget_state()
    workspace.forget_state()
    assert workspace.load_state() is None


def test_a_damaged_state_says_which_file_it_is(workspace: Workspace) -> None:
    (workspace.root / "state.json").write_text("{")
    with pytest.raises(WorkspaceError, match=r"\.hardway/one/state\.json is damaged"):
        workspace.load_state()


def test_who_comes_second_is_told_who_holds_it(workspace: Workspace) -> None:
    with (
        workspace.lock("ann@office (pid 7): hardway init"),
        pytest.raises(Locked, match=r"is in use by ann@office \(pid 7\): hardway init"),
        workspace.lock("bob"),
    ):
        raise AssertionError("two hold it")
    with workspace.lock("bob"):
        pass


def test_a_killed_holder_holds_nothing(workspace: Workspace) -> None:
    code = (
        "import os, sys; from pathlib import Path; from hardway.workspace import Workspace\n"
        "with Workspace(Path(sys.argv[1])).lock('ann'): print('held', flush=True); os.kill(os.getpid(), 9)"
    )
    ran = subprocess.run([sys.executable, "-c", code, workspace.root], capture_output=True, text=True, check=False)
    assert (ran.stdout, ran.returncode) == ("held\n", -9)
    with workspace.lock("bob"):
        assert (workspace.root / "lock").read_text() == "bob"


def test_the_half_key_of_a_killed_run_is_gone_once_the_next_one_has_the_lock(workspace: Workspace) -> None:
    code = (
        "import os, sys; from pathlib import Path; from hardway.workspace import Workspace\n"
        "os.fsync = lambda descriptor: os.kill(os.getpid(), 9)\n"
        "workspace = Workspace(Path(sys.argv[1]))\n"
        "with workspace.lock('ann'): workspace.write('pki/etcd/ca.key', b'PRIVATE', 0o600)"
    )
    ran = subprocess.run([sys.executable, "-c", code, workspace.root], check=False)
    [half] = (workspace.root / "pki/etcd").iterdir()
    assert (ran.returncode, half.read_bytes(), half.stat().st_mode & 0o777) == (-9, b"PRIVATE", 0o600)
    with workspace.lock("bob"):
        assert list((workspace.root / "pki/etcd").iterdir()) == []


def test_host_keys_that_are_accepted_while_looking_are_forgotten_and_all_else_is_there(tmp_path: Path) -> None:
    given = tmp_path / "ca.crt"
    given.write_bytes(b"theirs")
    kept = Workspace(tmp_path / "w", given={"given/ca.crt": given})
    kept.create()
    with _reading(kept, Options(accept_new_host_keys=True)) as looked:
        assert looked.known_hosts != kept.known_hosts
        assert looked.values() == kept.values()
        assert looked.values()["given/ca.crt"] == b"theirs"


def test_a_state_that_another_run_wrote_is_not_written_over(workspace: Workspace) -> None:
    cluster = load(Path(__file__).parents[2] / "inventories/single.yaml")
    here = Site(cluster, workspace, State("one", "feed", generation=3), (), 3)
    require_current(here)
    workspace.save_state(State("one", "feed", generation=3))
    require_current(here)
    workspace.save_state(State("one", "feed", generation=4))
    with pytest.raises(WorkspaceError, match="another run has changed the cluster"):
        require_current(here)
    with pytest.raises(WorkspaceError, match="is newer"):
        workspace.save_state(here.state)
