"""State as a text that outlives versions, and what an ordinary run must not change in it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardway.errors import WorkspaceError
from hardway.state import API_SERVERS, Generations, Node, OperationState, State, Upgrade, advanced

nodes_of = st.builds(
    Node,
    st.lists(st.sampled_from(["controller", "worker", "load-balancer"]), unique=True).map(tuple),
    st.ip_addresses(v=4).map(str),
    st.text("0123456789abcdef", max_size=32),
    st.one_of(st.none(), st.just("10.200.1.0/24")),
    st.sampled_from(["", "1.36.4"]),
    st.booleans(),
)
generations = st.lists(st.integers(1), min_size=1, max_size=3).map(tuple)
operations = st.builds(
    OperationState,
    st.text(),
    st.lists(st.text(), max_size=2).map(tuple),
    st.text(),
    st.text(),
    st.text(),
    st.dictionaries(st.text(), st.text(), max_size=2),
)
states = st.builds(
    State,
    cluster=st.text(min_size=1),
    cluster_id=st.text(),
    generation=st.integers(0),
    nodes=st.dictionaries(st.text(min_size=1), nodes_of, max_size=4),
    etcd=st.sampled_from(["absent", "bootstrapping", "initialized"]),
    etcd_token=st.text(),
    fixed=st.dictionaries(st.text(), st.text(), max_size=3),
    authorities=st.dictionaries(
        st.sampled_from(["kubernetes", "etcd", "front-proxy"]), st.builds(Generations, generations, st.integers(1))
    ),
    service_account_keys=st.builds(Generations, generations, st.integers(1)),
    encryption_keys=st.lists(st.text(min_size=1), min_size=1, max_size=3).map(tuple),
    encryption_providers=st.dictionaries(st.text(min_size=1), st.text(min_size=1), max_size=2),
    encryption_changing=st.lists(st.text(min_size=1), max_size=2).map(tuple),
    own_authorities=st.none() | st.dictionaries(st.text(min_size=1), st.booleans(), max_size=2),
    operation=st.none() | operations,
    upgrade=st.none() | st.builds(Upgrade, st.text(), st.text(), st.lists(st.text(), max_size=3).map(tuple)),
    smoke_tested=st.integers(-1),
    removed=st.dictionaries(st.text(), st.text(), max_size=2),
    fingerprints=st.dictionaries(st.text(), st.lists(st.text(min_size=1), max_size=3).map(tuple), max_size=3),
)


@given(states)
def test_what_is_written_is_what_is_read(state: State) -> None:
    assert State.from_json(state.to_json(), "here") == state


@given(states)
def test_the_text_does_not_depend_on_the_order_of_machines(state: State) -> None:
    turned = replace(state, nodes=dict(reversed(state.nodes.items())))
    assert turned.to_json() == state.to_json()


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "7", '{"format": 1}', '{"format": 1, "cluster": "a", "cluster_id": "b", "nodes": []}',
     '{"format": 1, "cluster": "a", "cluster_id": "b", "nodes": {"m": {"roles": []}}}',
     '{"format": 0, "cluster": "a", "cluster_id": "b", "nodes": {}}',
     '{"format": "2", "cluster": "a", "cluster_id": "b", "nodes": {}}',
     '{"format": 2, "cluster": "a", "cluster_id": "b"}'],
)  # fmt: skip
def test_a_damaged_text_is_told_with_its_place(text: str) -> None:
    with pytest.raises(WorkspaceError, match=r"state\.json is damaged"):
        State.from_json(text, "state.json")


STATE = State(
    "a",
    "b",
    nodes={"m": Node(("worker",), "10.0.0.1")},
    authorities={"etcd": Generations((1, 2), 2)},
    operation=OperationState("rotate-ca", ("etcd",), "trust both", "ada@desk", "2026-11-27T12:00:00+00:00"),
    upgrade=Upgrade("1.35.6", "1.36.4", ("m",)),
)


@pytest.mark.parametrize(
    ("place", "value", "named"),
    [
        (["format"], 5, "format 5, and this one reads up to format 4"),
        (["new"], True, "unknown field new"),
        (["etcd"], "leaving", "etcd: leaving"),
        (["nodes", "m", "new"], 1, "unknown field nodes.m.new"),
        (["nodes", "m", "roles"], ["worker", "ingress"], "nodes.m.roles: ingress"),
        (["authorities", "etcd", "new"], 1, "unknown field authorities.etcd.new"),
        (["service_account_keys", "new"], 1, "unknown field service_account_keys.new"),
        (["operation", "new"], 1, "unknown field operation.new"),
        (["upgrade", "new"], 1, "unknown field upgrade.new"),
    ],
)
def test_what_only_a_newer_hardway_writes_is_not_guessed_at(place: list[str], value: object, named: str) -> None:
    raw = {**json.loads(STATE.to_json()), "hardway": "7.5"}
    inner = raw
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    with pytest.raises(WorkspaceError) as error:
        State.from_json(json.dumps(raw), "state.json")
    assert error.value.what == f"state.json was written by a newer hardway (7.5): {named}"
    assert error.value.hint == "use hardway 7.5, or a newer one"


ONE_FAMILY = {"address6": "", "pod_cidr6": None}
"""What was added for dual-stack clusters."""


def test_a_recorded_state_of_format_1_loses_nothing() -> None:
    text = (Path(__file__).parent / "recorded/state-1.json").read_text()
    before = json.loads(text)
    state = State.from_json(text, "state.json")
    written = json.loads(state.to_json())
    assert (written["format"], written["etcd"], before["etcd"]) == (4, "initialized", "formed")
    assert written["smoke_tested"] == before["proved"]
    for name, node in before["roster"].items():
        assert written["nodes"][name] == {**node, "kubernetes": "", "leaving": False, "control": "", **ONE_FAMILY}
    assert written["fixed"] == {**before["fixed"], "encryption.resources": "secrets"}
    same = before.keys() - {"format", "etcd", "proved", "roster", "fixed"}
    assert {name: written[name] for name in same} == {name: before[name] for name in same}
    assert State.from_json(state.to_json(), "state.json") == state
    assert (state.authority("kubernetes"), state.encryption_keys) == (Generations((1,), 1), ("key1",))


def test_a_recorded_state_of_format_2_loses_nothing() -> None:
    text = (Path(__file__).parent / "recorded/state-2.json").read_text()
    before = json.loads(text)
    written = json.loads(State.from_json(text, "state.json").to_json())
    assert written.pop("fingerprints") == {path: [digits] for path, digits in before.pop("fingerprints").items()}
    assert written.pop("fixed") == {**before.pop("fixed"), "encryption.resources": "secrets"}
    assert written == _in_format_4(before, written)
    without = json.dumps({name: value for name, value in before.items() if name != "fingerprints"})
    assert State.from_json(without, "state.json").fingerprints == {}


def test_a_recorded_state_of_format_3_loses_nothing() -> None:
    text = (Path(__file__).parent / "recorded/state-3.json").read_text()
    before = json.loads(text)
    written = json.loads(State.from_json(text, "state.json").to_json())
    assert written.pop("fixed") == {**before.pop("fixed"), "encryption.resources": "secrets"}
    assert written == _in_format_4(before, written)


def _in_format_4(before: dict[str, Any], written: dict[str, Any]) -> dict[str, Any]:
    """What was recorded, with what format 4 has more."""
    added = {
        "encryption_providers": {}, "encryption_changing": [], "own_authorities": None, "upgrade": None,
        "interrupted": None, "removed": {},
    }  # fmt: skip
    nodes = {name: {**node, "control": "", **ONE_FAMILY} for name, node in before["nodes"].items()}
    return {**before, **added, "nodes": nodes, "format": 4, "hardway": written["hardway"]}


def test_each_part_has_its_own_release_while_an_upgrade_is_under_way() -> None:
    state = replace(STATE, upgrade=Upgrade("1.35.6", "1.36.4", ("m",)))
    assert [state.kubernetes_of(part, "1.30.0") for part in ("m", API_SERVERS)] == ["1.35.6", "1.36.4"]
    assert replace(state, upgrade=None).kubernetes_of("m", "1.30.0") == "1.30.0"


@pytest.mark.parametrize(("before", "after"), [("absent", "absent"), ("begun", "bootstrapping")])
def test_an_etcd_that_was_not_there_yet_is_migrated(before: str, after: str) -> None:
    raw = json.loads((Path(__file__).parent / "recorded/state-1.json").read_text())
    assert State.from_json(json.dumps({**raw, "etcd": before}), "state.json").etcd == after


@given(states)
def test_the_generation_grows_with_a_change_and_only_then(state: State) -> None:
    assert advanced(state, etcd=state.etcd) is state
    assert advanced(state, cluster_id=state.cluster_id + "x").generation == state.generation + 1
