"""Rotations on played machines: what each stage changes, what is there at the end, and that a cut one goes on."""

import base64
import shutil
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import yaml
from fake.authorities import Company, company
from fake.cluster import PAIR, FakeCluster, keys, room
from fake.machine import Cut
from hypothesis import given, settings
from hypothesis import strategies as st
from test_engine_cut import assert_nothing_is_left_to_do
from test_rollout_cut import CONTROLLERS, EXAMPLES, NO_SHRINKING, THREE, authorities, served

from hardway.declare import pki
from hardway.declare.phases import PHASE_NAMES
from hardway.declare.phases.base import Model, Proof
from hardway.declare.pki import read, split
from hardway.engine.pending import pending
from hardway.engine.plan import Plan
from hardway.engine.prove import prove
from hardway.engine.selection import Selection
from hardway.errors import HardwayError
from hardway.inventory.model import Encryption
from hardway.operations import rotate_ca, rotate_encryption, rotate_sa, users
from hardway.operations.etcd_bootstrap import BOOTSTRAP
from hardway.operations.etcd_restore import superseded
from hardway.operations.old_certificates import Shown
from hardway.operations.run import run_operation
from hardway.operations.stage import Operation, nothing_to_do, nothing_to_prove
from hardway.operations.users import User
from hardway.remote import ConnectionLost
from hardway.state import ENCRYPTED_RESOURCES, Generations, State, advanced

PKI = "/etc/kubernetes/pki"


@pytest.fixture
def made(built_cluster: Callable[[str], FakeCluster], monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    monkeypatch.setattr(rotate_ca, "prune", lambda session, model: None)  # its ConfigMap is a real API server's
    return built_cluster(PAIR)


def engine_only(operation: Operation) -> Operation:
    """Without what only a real API server answers: the lab has that."""
    stages = tuple(
        replace(stage, gate=nothing_to_prove, act=stage.act if stage.name == "retire" else nothing_to_do)
        for stage in operation.stages
    )
    return replace(operation, stages=stages)


class Declined(Exception):
    """Stands for what ends a run between two stages."""


def rotate(made: FakeCluster, operation: Operation, *, until: str = "") -> list[set[str]]:
    """The units that each stage restarted, the machine before each; `until` names a stage that is cut at its plan."""
    session = made.session()
    state = session.workspace.load_state()
    assert state is not None
    left = [stage.name for stage in operation.stages]
    if state.operation:
        left = left[left.index(state.operation.stage) :]
    restarted: list[set[str]] = []

    def review(plan: Plan) -> None:
        if left[len(restarted)] == until:
            made.workspace().save_state(plan.state)
            raise Declined
        units = {
            f"{change.machine} {change.key.removeprefix('service:')}" for change in plan.changes if change.restarts
        }
        restarted.append(units)

    selection = Selection(PHASE_NAMES, frozenset(session.machines), BOOTSTRAP)
    run_operation(
        session, state, engine_only(operation), selection, made.resolver(), made.store, by="ada@desk", review=review
    )
    return restarted


def assert_over(made: FakeCluster) -> State:
    state = made.state()
    assert state.operation is None
    assert keys(made.init().changes) == []
    return state


HEAD_API = "head kube-apiserver.service"
HEAD_MANAGER = "head kube-controller-manager.service"


def test_the_service_account_key(made: FakeCluster) -> None:
    head = made.machines["head"]
    before = head.read(f"{PKI}/sa.pub")
    restarted = rotate(made, rotate_sa.operation())
    assert restarted == [{HEAD_API}, {HEAD_API, HEAD_MANAGER}, set(), {HEAD_API}]
    assert assert_over(made).service_account_keys.trusted == (2,)
    assert head.read(f"{PKI}/sa-2.pub") != before
    assert not (head.root / f"{PKI}/sa.pub".lstrip("/")).exists()
    assert not (head.root / f"{PKI}/sa.key".lstrip("/")).exists()
    assert "sa-2.pub" in head.read("/etc/systemd/system/kube-apiserver.service")
    root = made.workspace().root
    assert not (root / "pki/sa.key").exists()
    assert (root / "retired/pki/sa.key").exists()


def test_the_encryption_key(made: FakeCluster) -> None:
    assert rotate(made, rotate_encryption.operation(Encryption())) == [set(), set(), set(), set()]
    assert assert_over(made).encryption_keys == ("key2",)
    config = made.machines["head"].read("/etc/kubernetes/encryption-config.yaml")
    assert config.count("name: key") == 1
    # An older snapshot of etcd needs the key before.
    assert (made.workspace().root / "secrets/encryption-key").exists()


def test_a_key_in_other_hands_is_out_in_one_roll(made: FakeCluster) -> None:
    operation = rotate_sa.operation(compromised=True)
    assert rotate(made, operation) == [{HEAD_API, HEAD_MANAGER}]
    assert assert_over(made).service_account_keys == Generations((2,), 2)
    assert not (made.machines["head"].root / f"{PKI}/sa.pub".lstrip("/")).exists()


def test_a_replaced_key_that_was_cut_is_not_replaced_once_more(made: FakeCluster) -> None:
    operation = rotate_sa.operation(compromised=True)
    with pytest.raises(Declined):
        rotate(made, operation, until="replace")
    rotate(made, operation)
    assert assert_over(made).service_account_keys == Generations((2,), 2)


def test_a_ca_in_other_hands_is_waited_for_by_nobody(made: FakeCluster) -> None:
    operation = rotate_ca.operation(["kubernetes"], rotate_ca.Farewell(compromised=True))
    assert [stage.name for stage in operation.stages] == ["trust", "sign", "retire"]
    rotate(made, operation)
    assert assert_over(made).authority("kubernetes") == Generations((2,), 2)


SEEN = Shown("ann", "ab" * 32, "10.0.0.7", 3)


@pytest.mark.parametrize("force", [False, True])
def test_a_ca_that_somebody_uses_stays_until_that_is_wanted(
    made: FakeCluster, monkeypatch: pytest.MonkeyPatch, force: bool
) -> None:
    monkeypatch.setattr(rotate_ca, "still_shown", lambda session, model, span: [SEEN])
    operation = rotate_ca.operation(["kubernetes"], rotate_ca.Farewell(force=force))
    [unused] = [stage for stage in operation.stages if stage.name == "users"]
    model = Model(made.cluster, made.state(), {})
    with nullcontext() if force else pytest.raises(HardwayError, match="1 certificate"):
        unused.act(made.session(), model)


def has_kubeconfig(made: FakeCluster, name: str, *authorities: str, **changes: Any) -> None:
    """Notes that somebody was given a kubeconfig with these CAs of the workspace in it."""
    values, workspace = made.workspace().values(), made.workspace()
    trusts = tuple(pki.fingerprint(values[path]) for path in authorities)
    user = User(name, (), "2999-01-01T00:00:00+00:00", "A1", f"{name}.kubeconfig", trusts=trusts)
    users._record(workspace, [*users.users(workspace), replace(user, **changes)])


def test_no_api_server_shows_a_certificate_that_a_known_kubeconfig_does_not_trust(made: FakeCluster) -> None:
    has_kubeconfig(made, "ann", "pki/ca.crt")
    has_kubeconfig(made, "old")
    has_kubeconfig(made, "gone", "pki/ca.crt", revoked=True)
    has_kubeconfig(made, "late", "pki/ca.crt", until="2020-01-01T00:00:00+00:00")
    operation = rotate_ca.operation(["kubernetes"])
    with pytest.raises(Declined):
        rotate(made, operation, until="sign")
    [clients] = [stage for stage in operation.stages if stage.name == "clients"]
    model = Model(made.cluster, made.state(), {})
    before = read(made.machines["head"].read(f"{PKI}/kube-apiserver.crt").encode()).issuer
    with pytest.raises(HardwayError, match="ann, old: their kubeconfigs do not know the next CA"):
        clients.act(made.session(), model)
    assert before == "CN=kubernetes-ca"
    [forced] = [one for one in rotate_ca.operation(["kubernetes"], rotate_ca.Farewell(force=True)).stages
                if one.name == "clients"]  # fmt: skip
    forced.act(made.session(), model)
    # A next one, and the one before may be kept.
    has_kubeconfig(made, "ann", "pki/ca.crt", "pki/ca-2.crt")
    has_kubeconfig(made, "old", "pki/ca-2.crt")
    clients.act(made.session(), model)
    [paused] = [one for one in rotate_ca.operation(["kubernetes"], rotate_ca.Farewell(pause=True)).stages
                if one.name == "clients"]  # fmt: skip
    with pytest.raises(HardwayError, match="as --pause says"):
        paused.act(made.session(), model)


def test_a_kubeconfig_is_noted_with_the_cas_that_it_knows(made: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    values = made.workspace().values()
    monkeypatch.setattr(users, "_signed", lambda *asked: values["pki/admin.crt"])
    add = partial(users.add, made.session(), "head", "ann", [], timedelta(hours=8))
    first = pki.fingerprint(values["pki/ca.crt"])
    assert add(made.root / "one").trusts == (first,)
    with pytest.raises(Declined):
        rotate(made, rotate_ca.operation(["kubernetes"]), until="clients")
    second = pki.fingerprint(made.workspace().values()["pki/ca-2.crt"])
    assert add(made.root / "two").trusts == (first, second)
    assert [one.trusts for one in users.users(made.workspace())] == [(first,), (first, second)]


CONFIG = "/etc/kubernetes/encryption-config.yaml"
WIDGETS = "widgets.example.org"


def providers(made: FakeCluster) -> dict[str, list[str]]:
    """By resource the providers and keys that the API server has, in order."""
    found = {}
    for entry in yaml.safe_load(made.machines["head"].read(CONFIG))["resources"]:
        names = []
        for provider in entry["providers"]:
            [(name, of)] = provider.items()
            names += [f"{name} {key['name']}" for key in of["keys"]] if of else [name]
        for resource in entry["resources"]:
            found[resource] = names
    return found


def test_another_provider_and_other_resources_are_one_rotation(made: FakeCluster) -> None:
    made.rewrite(
        "cluster: pair\n", f"cluster: pair\nencryption: {{provider: aesgcm, resources: [secrets, {WIDGETS}]}}\n"
    )
    waiting = [(one.subject, one.have, one.want, one.command) for one in pending(made.cluster, made.state())]
    assert waiting == [
        ("encryption.provider", "secretbox", "aesgcm", "hardway encryption rotate"),
        ("encryption.resources", "secrets", f"secrets, {WIDGETS}", "hardway encryption rotate"),
    ]
    operation = rotate_encryption.operation(made.cluster.encryption)
    seen = []
    for stage in ("write", "rewrite", "retire"):
        with pytest.raises(Declined):
            rotate(made, operation, until=stage)
        seen.append(providers(made))
    read = ["secretbox key1", "aesgcm key2"]
    assert seen[0] == {"secrets": read, WIDGETS: ["identity", *read]}
    write = {"secrets": ["aesgcm key2", "secretbox key1"], WIDGETS: ["aesgcm key2", "secretbox key1", "identity"]}
    assert seen[1:] == [write, write]
    rotate(made, operation)
    assert providers(made) == {"secrets": ["aesgcm key2"], WIDGETS: ["aesgcm key2"]}
    state = assert_over(made)
    assert (state.encryption_providers, state.encryption_changing) == ({}, ())


def test_what_is_no_longer_encrypted_is_written_plain_before_its_key_goes(made: FakeCluster) -> None:
    wanted = "cluster: pair\nencryption: {resources: [configmaps, secrets]}\n"
    made.rewrite("cluster: pair\n", wanted)
    rotate(made, rotate_encryption.operation(made.cluster.encryption))
    assert pending(made.cluster, made.state()) == ()
    made.rewrite(wanted, "cluster: pair\n")
    operation = rotate_encryption.operation(made.cluster.encryption)
    with pytest.raises(Declined):
        rotate(made, operation, until="write")
    assert providers(made)["configmaps"] == ["secretbox key2", "secretbox key3", "identity"]
    with pytest.raises(Declined):
        rotate(made, operation, until="rewrite")
    assert providers(made)["configmaps"] == ["identity", "secretbox key3", "secretbox key2"]
    rotate(made, operation)
    assert providers(made) == {"secrets": ["secretbox key3"]}
    assert_over(made)


def restored(made: FakeCluster, **changes: Any) -> State:
    """What a restore leaves: another key that reads, say."""
    state = advanced(made.state(), **changes)
    made.workspace().save_state(state)
    return state


def test_after_a_restore_the_next_key_is_a_new_one_and_no_key_goes_before_all_is_written(made: FakeCluster) -> None:
    rotate(made, rotate_encryption.operation(Encryption()))
    restored(made, encryption_keys=("key2", "key1"), encryption_providers={"key2": "secretbox", "key1": "aescbc"})
    operation = rotate_encryption.operation(Encryption(), ["key1", "key2", "key4"])
    seen = []
    for stage in ("write", "rewrite", "retire"):
        with pytest.raises(Declined):
            rotate(made, operation, until=stage)
        seen.append(providers(made)["secrets"])
    written = ["secretbox key5", "secretbox key2", "aescbc key1"]
    assert seen == [[*written[1:], written[0]], written, written]
    rotate(made, operation)
    assert providers(made) == {"secrets": ["secretbox key5"]}
    assert assert_over(made).encryption_providers == {}


def test_one_key_of_a_restore_without_a_note_of_providers_is_no_rotation_that_was_begun(made: FakeCluster) -> None:
    rotate(made, rotate_encryption.operation(Encryption()))
    restored(made, encryption_keys=("key2", "key1"))
    rotate(made, rotate_encryption.operation(Encryption()))
    assert assert_over(made).encryption_keys == ("key3",)


def test_a_rotation_that_a_restore_interrupted_as_its_key_went_writes_everything_again(made: FakeCluster) -> None:
    operation = rotate_encryption.operation(Encryption())
    with pytest.raises(Declined):
        rotate(made, operation, until="retire")
    state = superseded(made.state(), "hardway etcd restore monday.db")
    assert state.interrupted
    restored(made, operation=state.interrupted, encryption_keys=("key2", "key1"), encryption_providers={})
    assert len(rotate(made, operation)) == 4
    assert assert_over(made).encryption_keys == ("key2",)


@pytest.mark.parametrize(
    ("resources", "before", "after"),
    [
        (("secrets", "configmaps"), ["identity", "secretbox key1", "secretbox key2"],
         ["secretbox key2", "secretbox key1", "identity"]),
        (("secrets",), ["secretbox key1", "secretbox key2", "identity"],
         ["identity", "secretbox key2", "secretbox key1"]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("fixed", ["secrets", "secrets, configmaps"])
def test_what_a_restore_left_in_both_forms_is_read_in_both_until_it_is_written(
    made: FakeCluster, resources: tuple[str, ...], before: list[str], after: list[str], fixed: str
) -> None:
    known = {**made.state().fixed, ENCRYPTED_RESOURCES: fixed}
    restored(made, encryption_changing=("configmaps",), fixed=known)
    operation = rotate_encryption.operation(Encryption(resources=resources))
    seen = []
    for stage in ("write", "retire"):
        with pytest.raises(Declined):
            rotate(made, operation, until=stage)
        seen.append(providers(made)["configmaps"])
    assert seen == [before, after]
    rotate(made, operation)
    assert made.state().fixed[ENCRYPTED_RESOURCES] == ", ".join(resources)
    assert providers(made) == {name: ["secretbox key2"] for name in resources}


def test_all_cas(made: FakeCluster) -> None:
    head, hand = made.machines["head"], made.machines["hand"]
    before = {name: head.read(f"{PKI}/{name}") for name in ("ca.crt", "etcd/ca.crt", "front-proxy-ca.crt")}
    trust, _, sign, _, retire = rotate(made, rotate_ca.operation(["kubernetes", "etcd", "front-proxy"]))
    assert {HEAD_API, "head etcd.service"} <= trust
    assert {HEAD_API, "head etcd.service"} & sign == set()
    assert {HEAD_API, "head etcd.service"} <= retire
    state = assert_over(made)
    for name, old in before.items():
        [now] = split(head.read(f"{PKI}/{name}").encode())
        assert read(now).fingerprint != read(old.encode()).fingerprint
    assert {one.signing for one in state.authorities.values()} == {2}
    assert read(hand.read(f"{PKI}/kubelet.crt").encode()).issuer == "CN=kubernetes-ca-2"
    old = before["ca.crt"].strip()
    left = sorted(path.name for path in (made.workspace().root / "pki").rglob("*ca*") if path.is_file())
    assert left == sorted(f"{name}-2.{end}" for name in ("ca", "ca", "front-proxy-ca") for end in ("crt", "key"))
    for machine in (head, hand):
        for path in (machine.root / "etc").rglob("*"):
            assert not path.is_file() or old not in path.read_text(errors="replace"), path


@pytest.mark.parametrize(
    "operation", [rotate_sa.operation(), rotate_encryption.operation(Encryption()), rotate_ca.operation(["kubernetes"])]
)
def test_cut_at_any_stage_the_same_command_goes_on(made: FakeCluster, operation: Operation) -> None:
    for stage in operation.stages[1:]:
        with pytest.raises(Declined):
            rotate(made, operation, until=stage.name)
    rotate(made, operation)
    assert_over(made)


ROOT = company("Root")
OWN = "certs: {authorities: {kubernetes: {certificate: my.crt, key: my.key}}}\n"


def brings(made: FakeCluster, ca: Company) -> None:
    """The operator's files of a CA, beside the inventory."""
    (made.root / "my.crt").write_bytes(ca.crt + ROOT.crt)
    (made.root / "my.key").write_bytes(ca.pem_key)


def issuer(made: FakeCluster) -> str:
    return read(made.machines["hand"].read(f"{PKI}/kubelet.crt").encode()).issuer


def test_from_hardways_ca_to_the_operators_to_its_successor_and_back(made: FakeCluster) -> None:
    ours = made.machines["head"].read(f"{PKI}/ca.crt")
    first, second = company("First", ROOT), company("Second", ROOT)
    brings(made, first)
    made.rewrite("cluster: pair\n", f"{OWN}cluster: pair\n")
    [waiting] = pending(made.cluster, made.state())
    assert (waiting.have, waiting.want, waiting.command) == (
        "hardway's", "your own", "hardway certs rotate-ca kubernetes",
    )  # fmt: skip
    operation = rotate_ca.operation(["kubernetes"], given=["kubernetes"])
    with pytest.raises(Declined):
        rotate(made, operation, until="sign")
    assert split(made.machines["head"].read(f"{PKI}/ca.crt").encode()) == [*split(ours.encode()), *split(first.crt)]
    rotate(made, operation)
    assert_over(made)
    assert issuer(made) == "CN=First,O=Corp"
    assert made.machines["head"].read(f"{PKI}/ca.crt").encode() == first.crt
    assert made.machines["head"].read(f"{PKI}/ca-bundle.crt").encode() == first.crt + ROOT.crt

    brings(made, second)
    rotate(made, operation)
    assert_over(made)
    assert issuer(made) == "CN=Second,O=Corp"
    assert made.machines["head"].read(f"{PKI}/ca.crt").encode() == second.crt

    made.rewrite(OWN, "")
    rotate(made, rotate_ca.operation(["kubernetes"]))
    state = assert_over(made)
    assert issuer(made) == "CN=kubernetes-ca-4"
    assert (state.authority("kubernetes"), state.own_authorities) == (Generations((4,), 4), {})
    assert not (made.machines["head"].root / f"{PKI}/ca-bundle.crt".lstrip("/")).exists()
    left = sorted(path.name for path in (made.workspace().root / "pki").glob("ca*"))
    assert left == ["ca-4.crt", "ca-4.key"]


def test_a_second_rotation_follows_the_first(made: FakeCluster) -> None:
    for _ in range(2):
        rotate(made, rotate_sa.operation())
        rotate(made, rotate_encryption.operation(Encryption()))
        rotate(made, rotate_ca.operation(["etcd"]))
    state = assert_over(made)
    assert (state.service_account_keys.trusted, state.encryption_keys) == ((3,), ("key3",))
    assert state.authority("etcd").trusted == (3,)
    assert state.authority("kubernetes").trusted == (1,)


VOLUME = "var/lib/kubelet/pods/one/volumes/kubernetes.io~projected/api"


def holds(made: FakeCluster, proof: Proof) -> bool:
    [proved] = prove(made.session(), [("pods", proof)])
    return proved.holds


def in_a_pod(made: FakeCluster, name: str, content: bytes) -> None:
    folder = made.machines["hand"].root / VOLUME
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


def test_a_ca_in_a_pod_is_waited_for_where_it_is_the_clusters(made: FakeCluster) -> None:
    values = made.workspace().values()
    model = Model(made.cluster, made.state(), {})
    [proof] = [one for one in rotate_ca._spread(model) if one.machine == "hand"]
    assert holds(made, proof)
    in_a_pod(made, "ca.crt", values["pki/ca.crt"])
    assert holds(made, proof)
    # Of a database, say: it never becomes what the cluster trusts.
    in_a_pod(made, "ca.crt", values["pki/etcd/ca.crt"])
    assert holds(made, proof)
    in_a_pod(made, "ca.crt", values["pki/ca.crt"] + values["pki/etcd/ca.crt"])
    assert not holds(made, proof)


def token(kid: str) -> bytes:
    head = base64.urlsafe_b64encode(f'{{"alg":"RS256","kid":"{kid}"}}'.encode()).rstrip(b"=")
    return head + b".e30.c2ln"


@pytest.mark.parametrize(
    ("content", "is_old"),
    [(token("old"), True), (token("new"), False), (token("of-a-licence"), False), (b'eyJhdXRocyI6e319', False),
     (b"text", False)],
)  # fmt: skip
def test_a_token_in_a_pod_is_renewed_where_a_key_that_goes_has_signed_it(
    made: FakeCluster, content: bytes, is_old: bool
) -> None:
    in_a_pod(made, "token", content)
    model = Model(made.cluster, made.state(), {})
    [proof] = [one for one in rotate_sa._tokens(model, "new", ["old"]) if one.machine == "hand"]
    assert holds(made, proof) is not is_old


# Calls: of each stage observing, the intents, the upload, each chapter with its roll, observing again.
cuts = st.builds(Cut, st.integers(0, 70), st.one_of(st.integers(1, 40), st.integers(1, 400)), st.just(True))
MORE = Encryption("aescbc", ("secrets", "configmaps"))
OPERATIONS = {
    "service account": rotate_sa.operation(),
    "encryption": rotate_encryption.operation(Encryption()),
    "encryption of more, by another provider": rotate_encryption.operation(MORE),
    "compromised": rotate_sa.operation(compromised=True),
    "CAs": rotate_ca.operation(rotate_ca.ALL),
    "CAs, and one is the operator's": rotate_ca.operation(rotate_ca.ALL, given=["kubernetes"]),
}


@settings(max_examples=EXAMPLES, deadline=None, phases=NO_SHRINKING)
@given(what=st.sampled_from(sorted(OPERATIONS)), name=st.sampled_from(CONTROLLERS), cut=cuts)
def test_a_rotation_that_is_killed_anywhere_is_ended_by_the_same_command(what: str, name: str, cut: Cut) -> None:
    place, prune = room(), rotate_ca.prune
    rotate_ca.prune = lambda session, model: None
    try:
        made = FakeCluster.new(place, THREE)
        made.init()
        if "another provider" in what:
            made.rewrite("machines:\n", "encryption: {provider: aescbc, resources: [secrets, configmaps]}\nmachines:\n")
        members = (made.root / "net" / "members").read_text()
        for machine in made.machines.values():
            machine.restored()
        if "the operator's" in what:
            brings(made, company("First", ROOT))
            made.rewrite("machines:\n", f"{OWN}machines:\n")
        made.machines[name].restored(cut)
        with suppress(ConnectionLost):
            rotate(made, OPERATIONS[what])
        # A majority never stopped serving, and no key that was made is made once more.
        assert len(served(made)) >= 2
        known = authorities(made)
        made.machines[name].restored()
        # Killed before it began, it has still to be done where the inventory wants it.
        if made.state().operation is not None or pending(made.cluster, made.state()):
            rotate(made, OPERATIONS[what])
        assert made.state().operation is None
        assert_nothing_is_left_to_do(made)
        left = authorities(made)
        assert {path: digest for path, digest in known.items() if path in left}.items() <= left.items()
        assert (made.root / "net" / "members").read_text() == members
    finally:
        rotate_ca.prune = prune
        shutil.rmtree(place)
