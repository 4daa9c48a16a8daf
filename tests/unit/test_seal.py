"""Sealed workspaces: what comes back, and what is refused."""

from pathlib import Path

import pytest

from hardway.errors import WorkspaceError
from hardway.operations import age, seal
from hardway.state import State, advanced
from hardway.workspace import Workspace

pyrage = pytest.importorskip("pyrage")
KEY = pyrage.x25519.Identity.generate()


def workspace(root: Path) -> Workspace:
    made = Workspace(root)
    made.create()
    return made


def filled(root: Path) -> Workspace:
    made = workspace(root)
    for name in ("pki/ca.key", "retired/pki/sa.key", "known_hosts", "logs/run.jsonl", "lab/disk", "lock"):
        made.write(name, f"of {name}".encode(), 0o600)
    made.write("pki/ca.crt", b"certificate", 0o644)
    made.save_state(State("kube", "id", generation=3))
    return made


def sealed(source: Workspace, file: Path) -> seal.Sealed:
    return seal.seal(source, file, age.encrypter([str(KEY.to_public())], None))


def opened(target: Workspace, file: Path, cluster: str = "kube") -> seal.Sealed:
    return seal.open_sealed(target, cluster, file, lambda source, target: pyrage.decrypt_io(source, target, [KEY]))


def change(target: Workspace, generation: int) -> None:
    state = target.load_state()
    assert state is not None
    target.save_state(advanced(state, smoke_tested=generation))


def content(target: Workspace) -> dict[str, tuple[bytes, int]]:
    files = {}
    for path in target.root.rglob("*"):
        if path.is_file() and path.name != seal.LINEAGE:
            files[str(path.relative_to(target.root))] = (path.read_bytes(), path.stat().st_mode & 0o777)
    return files


def test_what_was_sealed_comes_back_without_what_is_local(tmp_path: Path) -> None:
    source, target = filled(tmp_path / "a"), workspace(tmp_path / "b")
    sealed(source, tmp_path / "f")
    opened(target, tmp_path / "f")
    shared = {"pki/ca.key", "pki/ca.crt", "retired/pki/sa.key", "state.json"}
    assert content(target) == {name: file for name, file in content(source).items() if name in shared}
    assert b"of pki/ca.key" not in (tmp_path / "f").read_bytes()
    assert (tmp_path / "f").stat().st_mode & 0o777 == 0o600


def test_keys_come_out_for_their_owner_alone(tmp_path: Path) -> None:
    source, target = filled(tmp_path / "a"), workspace(tmp_path / "b")
    for path in (source.root / "pki/ca.key", source.root / "state.json"):
        path.chmod(0o644)
    sealed(source, tmp_path / "f")
    opened(target, tmp_path / "f")
    modes = {name: mode for name, (_, mode) in content(target).items()}
    assert (modes["pki/ca.key"], modes["state.json"], modes["pki/ca.crt"]) == (0o600, 0o600, 0o644)
    # Also where the same file is there already.
    (target.root / "pki/ca.key").chmod(0o644)
    opened(target, tmp_path / "f")
    assert content(target)["pki/ca.key"][1] == 0o600


def test_snapshots_stay_where_they_are(tmp_path: Path) -> None:
    source, target = filled(tmp_path / "a"), workspace(tmp_path / "b")
    source.write("snapshots/kubernetes-1.db", b"all of etcd", 0o600)
    source.write(".opened-x", b"all of etcd", 0o600)
    source.write(".recover-x/own.db", b"all of etcd", 0o600)
    sealed(source, tmp_path / "f")
    opened(target, tmp_path / "f")
    assert all(b"all of etcd" not in file for file, _ in content(target).values())
    # Nor does another snapshot make it another workspace.
    source.write("snapshots/kubernetes-2.db", b"all of etcd", 0o600)
    assert seal.compare(source, seal.note_of(tmp_path / "f")) == "same"


def test_copies_follow_each_other(tmp_path: Path) -> None:
    one, two = filled(tmp_path / "a"), workspace(tmp_path / "b")
    sealed(one, tmp_path / "f")
    opened(two, tmp_path / "f")
    change(two, 7)
    two.retire("pki/ca.key")
    assert seal.compare(two, seal.note_of(tmp_path / "f")) == "workspace-newer"
    with pytest.raises(WorkspaceError, match="has changed since"):
        opened(two, tmp_path / "f")
    sealed(two, tmp_path / "f")
    assert seal.compare(one, seal.note_of(tmp_path / "f")) == "sealed-newer"
    opened(one, tmp_path / "f")
    assert not (one.root / "pki/ca.key").exists()
    assert (one.root / "retired/pki/ca.key").exists()
    assert (one.root / "known_hosts").exists()


def test_copies_that_diverged_are_refused(tmp_path: Path) -> None:
    one, two = filled(tmp_path / "a"), workspace(tmp_path / "b")
    sealed(one, tmp_path / "f")
    opened(two, tmp_path / "f")
    change(one, 5)
    change(two, 6)
    sealed(two, tmp_path / "f")
    before = content(one)
    for attempt in (opened, sealed):
        with pytest.raises(WorkspaceError):
            attempt(one, tmp_path / "f")
    assert seal.compare(one, seal.note_of(tmp_path / "f")) == "diverged"
    assert content(one) == before


def test_a_seal_that_was_cut_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, write = filled(tmp_path / "a"), Workspace.write
    sealed(one, tmp_path / "f")
    change(one, 4)

    def but_the_note(target: Workspace, name: str, data: bytes, mode: int) -> None:
        if name == "f.json":
            raise KeyboardInterrupt
        write(target, name, data, mode)

    monkeypatch.setattr(Workspace, "write", but_the_note)
    with pytest.raises(KeyboardInterrupt):
        sealed(one, tmp_path / "f")
    monkeypatch.undo()
    sealed(one, tmp_path / "f")
    assert seal.compare(one, seal.note_of(tmp_path / "f")) == "same"
    assert not (one.root / seal.SEALING).exists()


def test_an_open_that_was_cut_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = filled(tmp_path / "a")
    sealed(one, tmp_path / "f")
    writes = 0
    while True:
        target, left = workspace(tmp_path / f"b{writes}"), [writes]

        def write(name: str, data: bytes, mode: int, target: Workspace = target, left: list[int] = left) -> None:
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            Workspace.write(target, name, data, mode)

        monkeypatch.setattr(target, "write", write)
        try:
            opened(target, tmp_path / "f")
            break
        except KeyboardInterrupt:
            monkeypatch.undo()
        opened(target, tmp_path / "f")
        assert seal.compare(target, seal.note_of(tmp_path / "f")) == "same"
        writes += 1
    assert writes == 6


@pytest.mark.parametrize("damage", [b"", b"no age file"])
def test_what_is_no_sealed_workspace_is_refused(tmp_path: Path, damage: bytes) -> None:
    target = workspace(tmp_path / "b")
    (tmp_path / "f").write_bytes(damage)
    with pytest.raises(WorkspaceError):
        opened(target, tmp_path / "f")
    assert content(target) == {}


def test_of_another_cluster_or_with_another_key_nothing_is_opened(tmp_path: Path) -> None:
    target = workspace(tmp_path / "b")
    sealed(filled(tmp_path / "a"), tmp_path / "f")
    with pytest.raises(WorkspaceError, match="of the cluster"):
        opened(target, tmp_path / "f", "other")
    stranger = pyrage.x25519.Identity.generate()
    with pytest.raises(WorkspaceError, match="decrypted"):
        seal.open_sealed(target, "kube", tmp_path / "f", lambda *streams: pyrage.decrypt_io(*streams, [stranger]))
    assert content(target) == {}


def test_a_passphrase_opens_it(tmp_path: Path) -> None:
    target = workspace(tmp_path / "b")
    seal.seal(filled(tmp_path / "a"), tmp_path / "f", age.encrypter((), "several words"))
    assert seal.open_sealed(target, "kube", tmp_path / "f", age.decrypter(None, "several words")).generation == 3
