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
from hardway.operations import drain, etcd_recover, etcd_restore, snapshot_objects
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
    return with_data(built_cluster(THREE))


def with_data(made: FakeCluster) -> FakeCluster:
    for name in CONTROLLERS:
        made.machines[name].run("mkdir -p /var/lib/etcd/member/snap", timeout=60, what="give it data")
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


def recover(three: FakeCluster, *gone: str) -> None:
    arguments = tuple(word for name in gone for word in ("--gone", name))
    command = OperationState.command_of("etcd recover", arguments)
    state = etcd_restore.superseded(three.state(), command)
    underway = taken_up(state, "etcd recover", arguments, by="ada@desk")
    session = three.session(names=[name for name in three.machines if name not in gone])
    selection = Selection(PHASE_NAMES, frozenset(session.machines), BOOTSTRAP, operation=command)
    etcd_recover.recover(session, state, underway, selection, three.resolver(), three.store, gone=gone)


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


def burn(made: FakeCluster, *names: str) -> None:
    """These machines are no more."""
    for name in names:
        made.machines[name].run("systemctl stop etcd.service", timeout=60, what="burn it")
        made.off.add(name)


def serves_alone(made: FakeCluster, inventory: str) -> None:
    """Once the inventory lists what is left, nothing differs, and nobody is asked who is gone."""
    made.inventory.write_text(inventory)
    made.machines = {"c0": made.machines["c0"]}
    assert list(made.state().nodes) == ["c0"]
    assert made.state().operation is None
    assert made.machines["c0"].read("/var/lib/etcd/member/snap/db") == "what c0 has"
    unit = made.machines["c0"].read("/etc/systemd/system/kube-apiserver.service")
    assert "--etcd-servers=https://10.240.0.10:2379 " in unit
    assert "10.240.0.11" not in made.machines["c0"].read("/etc/hosts")
    assert keys(made.init().changes) == []


ALONE = """\
cluster: three
endpoint: api.example.net
machines:
  c0: {role: [controller, worker], address: 10.240.0.10}
"""
LISTED = ALONE + "".join(f"  c{number}: {{role: controller, address: 10.240.0.1{number}}}\n" for number in (1, 2))


@pytest.fixture
def two(
    built_cluster: Callable[[str], FakeCluster], played_proofs: None, monkeypatch: pytest.MonkeyPatch
) -> FakeCluster:
    """Two controllers that are part of the cluster, and a third one that was never added."""
    three = with_data(built_cluster(LISTED))
    monkeypatch.setattr(drain, "delete_node", lambda session, name: None)  # a real API server's
    state = three.state()
    nodes = {name: node for name, node in state.nodes.items() if name != "c2"}
    three.workspace().save_state(advanced(state, nodes=nodes))
    members = (three.root / "net" / "members").read_text().splitlines(keepends=True)
    (three.root / "net" / "members").write_text("".join(line for line in members if " c2 " not in line))
    (three.root / "net" / "etcd-c2").unlink()
    del three.machines["c2"]
    return three


# While the survivor is copied, gets its own snapshot, starts, and is converged.
@pytest.mark.parametrize(("call", "command"), [(None, 0), (8, 1), (14, 6), (20, 1)])
def test_one_of_two_that_burnt_is_gone_and_the_other_serves_alone(
    two: FakeCluster, call: int | None, command: int
) -> None:
    burn(two, "c1")
    if call is not None:
        two.machines["c0"].restored(Cut(call, command))
        with suppress(ConnectionLost, HardwayError):
            recover(two, "c1")
        two.machines["c0"].restored()
        assert two.state().operation is not None
    recover(two, "c1")
    serves_alone(two, ALONE)


def test_who_has_data_or_answers_is_not_gone(two: FakeCluster) -> None:
    with pytest.raises(HardwayError, match="a majority of etcd serves: c0"):
        recover(two, "c1")
    two.machines["c1"].run("systemctl stop etcd.service", timeout=60, what="stop it")
    with pytest.raises(HardwayError, match="c1 is not gone: it has data"):
        recover(two, "c1")
    assert runs_on(two, "c0")
    assert two.state().operation is None
    assert "c1" in two.state().nodes


def test_a_machine_that_was_installed_again_is_gone(two: FakeCluster) -> None:
    two.machines["c1"].run(
        "systemctl stop etcd.service; rm -rf /var/lib/etcd /usr/local/bin/etcd*", timeout=60, what="install it again"
    )
    with pytest.raises(HardwayError, match="etcd is not installed here any more") as refused:
        recover(two)
    assert "hardway etcd recover --gone c1" in (refused.value.hint or "")
    recover(two, "c1")
    serves_alone(two, ALONE)


def test_what_was_begun_for_a_machine_that_is_gone_is_given_up(two: FakeCluster) -> None:
    adding = OperationState("node add", ("c1",), "ask", "ada@desk", "2026-11-28T00:00:00+00:00")
    two.workspace().save_state(advanced(two.state(), operation=adding))
    burn(two, "c1")
    recover(two, "c1")
    assert two.state().interrupted is None
    serves_alone(two, ALONE)


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
