"""A restore and a recovery that are cut anywhere are ended by the same command, on played machines."""

import base64
import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest
from fake.cluster import FakeCluster, keys
from fake.machine import Cut
from test_rollout_cut import CONTROLLERS, THREE

from hardway.declare.phases import PHASE_NAMES
from hardway.declare.phases.paths import ENCRYPTION_CONFIG
from hardway.engine.blockers import Blocked
from hardway.engine.selection import Selection
from hardway.errors import HardwayError
from hardway.operations import etcd_recover, etcd_restore, snapshot_objects
from hardway.operations.etcd_bootstrap import BOOTSTRAP
from hardway.operations.etcd_restore import Source
from hardway.operations.run import taken_up
from hardway.remote import ConnectionLost
from hardway.state import Generations, OperationState, State, advanced

CONTENT = b"all that etcd knew on Monday"
# What a real etcd reads in a snapshot is tests/contract/test_etcd_data.py's.
REHEARSED = "echo keys 9; echo namespaces 4; echo system bmFtZXNwYWNl; echo whole secrets"
COPIED = f"""\
mkdir -p {etcd_restore.FOLDER}
cat {etcd_restore.DATA}/member/snap/db >{etcd_restore.FOLDER}/own.db
echo file
stat -c %s {etcd_restore.FOLDER}/own.db
echo '{{"revision": 7}}'
"""


@pytest.fixture
def played_proofs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etcd_restore, "rehearsal", lambda source, resources: REHEARSED)
    monkeypatch.setattr(etcd_recover, "COPY", COPIED)
    for proofs in ("_serving", "_same", "_ready"):  # no real TLS answers here
        monkeypatch.setattr(etcd_restore, proofs, lambda session: ())


@pytest.fixture
def three(built_cluster: Callable[[str], FakeCluster], played_proofs: None) -> FakeCluster:
    made = built_cluster(THREE)
    for name in CONTROLLERS:
        made.machines[name].run("mkdir -p /var/lib/etcd/member/snap", timeout=10, what="give it data")
        made.machines[name].write("/var/lib/etcd/member/snap/db", f"what {name} has")
    return made


def restore(three: FakeCluster) -> None:
    path = three.root / "monday.db"
    path.write_bytes(CONTENT)
    source = Source(path, hashlib.sha256(CONTENT).hexdigest(), len(CONTENT), taken="Monday")
    underway = taken_up(three.state(), "etcd restore", ("monday.db",), by="ada@desk")
    selection = Selection(PHASE_NAMES, frozenset(three.machines), BOOTSTRAP, operation=underway.command)
    wanted, store = three.resolver(), three.store
    etcd_restore.restore(three.session(), three.state(), source, underway, selection, wanted, store)


def recover(three: FakeCluster) -> None:
    state = etcd_restore.superseded(three.state(), "hardway etcd recover")
    underway = taken_up(state, "etcd recover", (), by="ada@desk")
    selection = Selection(PHASE_NAMES, frozenset(three.machines), BOOTSTRAP, operation=underway.command)
    etcd_recover.recover(three.session(), state, underway, selection, three.resolver(), three.store)


def lose(three: FakeCluster, *names: str) -> None:
    for name in names:
        three.machines[name].run("systemctl stop etcd.service; rm -rf /var/lib/etcd/member", timeout=10, what="lose it")


def on_all(three: FakeCluster, path: str) -> set[str]:
    return {three.machines[name].read(f"/var/lib/etcd/member/{path}") for name in CONTROLLERS}


def aside(three: FakeCluster, name: str) -> list[str]:
    kept = sorted((three.machines[name].root / "var/lib/etcd").glob("before-restore-*"))
    return [(folder / "snap/db").read_text() for folder in kept]


def runs_on(three: FakeCluster, name: str) -> bool:
    return three.machines[name].has("/fake/units/kube-apiserver.service")


def test_all_members_get_the_snapshot_and_keep_what_they_had(three: FakeCluster) -> None:
    restore(three)
    assert on_all(three, "snap/db") == {CONTENT.decode()}
    assert on_all(three, "token") == {f"{three.state().etcd_token}\n"}
    assert [aside(three, name) for name in CONTROLLERS] == [[f"what {name} has"] for name in CONTROLLERS]
    assert not any(three.machines[name].has(etcd_restore.FOLDER) for name in CONTROLLERS)
    assert three.state().operation is None
    assert keys(three.init().changes) == []


# While members stop, get the snapshot (at each step on the first and the last of them), start, and afterwards.
@pytest.mark.parametrize(
    ("machine", "call", "command"),
    [("c0", 8, 1), *(("c0", 9, command) for command in (3, 6, 8, 9, 10)), ("c2", 6, 6), ("c0", 11, 1), ("c2", 10, 1),
     ("c0", 16, 1), ("c0", 18, 1)],
)  # fmt: skip
def test_cut_anywhere_the_same_command_goes_on(three: FakeCluster, machine: str, call: int, command: int) -> None:
    three.machines[machine].restored(Cut(call, command))
    with suppress(ConnectionLost, HardwayError):
        restore(three)
    three.machines[machine].restored()
    token = three.state().operation and etcd_restore.token_of(three.state())
    if token:
        with pytest.raises(Blocked, match="etcd restore was started"):
            three.init()
    restore(three)
    assert on_all(three, "snap/db") == {CONTENT.decode()}
    assert len(on_all(three, "token")) == 1
    assert token is None or on_all(three, "token") == {f"{token}\n"}
    for name in CONTROLLERS:
        assert f"what {name} has" in aside(three, name)
    assert three.state().operation is None
    assert keys(three.init().changes) == []


def test_a_worker_that_is_down_does_not_keep_etcd_from_coming_back(
    built_cluster: Callable[[str], FakeCluster], played_proofs: None
) -> None:
    made = built_cluster(f"{THREE}  w0: {{role: worker, address: 10.240.0.20}}\n")
    del made.machines["w0"]
    restore(made)
    assert on_all(made, "snap/db") == {CONTENT.decode()}
    assert made.state().operation is None


OLDER = b"k8s:enc:aescbc:v1:key1:" + bytes(16)


def test_a_key_of_before_is_declared_once_it_has_opened_the_snapshot(
    three: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = advanced(three.state(), encryption_keys=("key2",))
    (three.workspace().root / "secrets/encryption-key-key2").write_bytes(bytes(32))
    three.workspace().save_state(before)
    said = f"{REHEARSED}; echo object secrets /registry/secrets/default/one {base64.b64encode(OLDER).decode()}"
    monkeypatch.setattr(etcd_restore, "rehearsal", lambda source, resources: said)
    with pytest.raises(HardwayError, match="another key1"):
        restore(three)
    assert three.state() == before
    monkeypatch.setattr(snapshot_objects, "opens", lambda provider, key, text: True)
    restore(three)
    state = three.state()
    assert (state.encryption_keys, state.encryption_providers["key1"]) == (("key2", "key1"), "aescbc")
    assert "aescbc" in three.machines["c1"].read(ENCRYPTION_CONFIG)


# A Secret's token of another key, until it is emptied; the played API has neither Secrets nor this ConfigMap.
KUBECTL = """\
#!/bin/sh
case "$*" in
*"get secrets"*) [ -e /fake/signed ] || echo "default robot $(printf '{"kid":"old"}' | base64 | base64 -w0)" ;;
*"patch secret robot -n default"*) echo "$*" >/fake/signed; echo "secret/robot patched" ;;
*"patch configmap extension-apiserver-authentication"*) touch /fake/pruned ;;
*) exec /fake/kubectl "$@" ;;
esac
"""


@pytest.mark.parametrize("rotated", [True, False])
def test_what_went_out_of_use_since_is_not_brought_back(three: FakeCluster, rotated: bool) -> None:
    home, pki = three.machines["c0"], three.workspace().root / "pki"
    home.run("cp /usr/local/bin/kubectl /fake/kubectl", timeout=10, what="keep it")
    home.write("/usr/local/bin/kubectl", KUBECTL)
    if rotated:
        for old, new in (
            ("sa.key", "sa-2.key"),
            ("sa.pub", "sa-2.pub"),
            ("ca.key", "ca-2.key"),
            ("ca.crt", "ca-2.crt"),
        ):
            (pki / new).write_bytes((pki / old).read_bytes())
        second = Generations((2,), 2)
        state = advanced(three.state(), service_account_keys=second, authorities={"kubernetes": second})
        three.workspace().save_state(state)
    restore(three)
    assert home.has("/fake/signed") is rotated
    assert home.has("/fake/pruned") is rotated


def test_another_clusters_snapshot_is_refused_before_anything_stops(three: FakeCluster) -> None:
    for name in CONTROLLERS:
        three.machines[name].write("/usr/local/bin/kubectl", "#!/bin/sh\necho 1f0e-uid\n")
    with pytest.raises(HardwayError, match="its namespace kube-system is another one"):
        restore(three)
    assert runs_on(three, "c0")
    assert not three.machines["c0"].has(etcd_restore.FOLDER)
    assert three.state().operation is None


# While the survivor is copied, gets its own snapshot, and starts; while another one gets it, and starts.
@pytest.mark.parametrize(
    ("machine", "call", "command"),
    [("c2", 6, 1), ("c2", 14, 6), ("c2", 14, 9), ("c2", 16, 1), ("c2", 18, 1), ("c0", 15, 3), ("c0", 17, 1)],
)
def test_a_recovery_cut_anywhere_goes_on_and_loses_nothing(
    three: FakeCluster, machine: str, call: int, command: int
) -> None:
    lose(three, "c0", "c1")
    three.machines[machine].restored(Cut(call, command))
    with suppress(ConnectionLost, HardwayError):
        recover(three)
    three.machines[machine].restored()
    assert three.state().operation is not None
    recover(three)
    assert on_all(three, "snap/db") == {"what c2 has"}
    assert len(on_all(three, "token")) == 1
    assert three.state().operation is None
    assert keys(three.init().changes) == []


def test_machines_that_start_again_in_the_middle_of_a_recovery_do_not_end_it(three: FakeCluster) -> None:
    lose(three, "c0", "c1")
    three.machines["c2"].restored(Cut(14, 1))
    with suppress(ConnectionLost, HardwayError):
        recover(three)
    three.machines["c2"].restored()
    for name in CONTROLLERS:
        three.machines[name].run("systemctl start etcd.service || true", timeout=10, what="boot")
    recover(three)
    assert len(on_all(three, "token")) == 1
    assert {three.machines[name].read("/var/lib/etcd/member/snap/db") for name in CONTROLLERS} == {"what c2 has"}
    assert three.state().operation is None


def test_a_majority_that_serves_is_left_alone(three: FakeCluster) -> None:
    lose(three, "c1")
    with pytest.raises(HardwayError, match="a majority of etcd serves: c0, c2") as refused:
        recover(three)
    assert refused.value.hint == "hardway etcd replace c1"
    assert three.state().operation is None


def test_nothing_stops_where_no_member_has_data(three: FakeCluster) -> None:
    lose(three, *CONTROLLERS)
    with pytest.raises(HardwayError, match="no controller has etcd's data any more") as refused:
        recover(three)
    assert refused.value.hint == "hardway etcd restore FILE, from a snapshot"
    assert runs_on(three, "c0")


def test_nothing_stops_where_a_disk_is_too_small(three: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etcd_recover, "ROOM", 10**15)
    lose(three, "c0", "c1")
    with pytest.raises(HardwayError, match="are needed"):
        recover(three)
    assert runs_on(three, "c2")
    assert three.state().operation is None


def test_a_restore_takes_over_where_a_recovery_does_not_get_on() -> None:
    begun = OperationState("etcd recover", (), "restore", "ada@desk", "2026-11-28T00:00:00+00:00")
    state = replace(State("one", "feed"), operation=begun)
    assert etcd_restore.superseded(state, "hardway etcd restore monday.db").operation is None
    assert etcd_restore.superseded(state, "hardway etcd recover") is state


@pytest.mark.parametrize(
    ("name", "stage", "again"),
    [("encryption rotate", "retire", "read"), ("certs rotate-sa", "retire", "renew"),
     ("certs rotate-sa", "sign", "sign"), ("certs rotate-ca", "users", "trust"),
     ("certs rotate-ca", "retire", "retire"), ("upgrade", "workers", "workers")],
)  # fmt: skip
def test_a_rotation_proves_again_what_was_in_etcd(name: str, stage: str, again: str) -> None:
    begun = OperationState(name, (), stage, "ada@desk", "2026-11-28T00:00:00+00:00")
    state = replace(State("one", "feed"), operation=begun)
    interrupted = etcd_restore.superseded(state, "hardway etcd restore monday.db").interrupted
    assert interrupted == replace(begun, stage=again)


def test_what_was_under_way_goes_on_once_etcd_is_back(three: FakeCluster) -> None:
    rotation = OperationState("certs rotate-sa", (), "sign", "ada@desk", "2026-11-28T00:00:00+00:00")
    before = three.state()
    three.workspace().save_state(advanced(before, operation=rotation))
    lose(three, "c0", "c1")
    three.machines["c2"].restored(Cut(14, 6))
    with suppress(ConnectionLost, HardwayError):
        recover(three)
    three.machines["c2"].restored()
    underway = three.state().operation
    assert underway is not None
    assert underway.name == "etcd recover"
    recover(three)
    assert on_all(three, "snap/db") == {"what c2 has"}
    assert three.state().operation == rotation
    assert three.state().interrupted is None
