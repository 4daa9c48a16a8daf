"""State as a text that outlives versions, and what an ordinary run must not change in it."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardway.errors import WorkspaceError
from hardway.state import Node, State, advanced

nodes_of = st.builds(
    Node,
    st.lists(st.sampled_from(["controller", "worker", "load-balancer"]), unique=True).map(tuple),
    st.ip_addresses(v=4).map(str),
    st.text("0123456789abcdef", max_size=32),
    st.one_of(st.none(), st.just("10.200.1.0/24")),
)
states = st.builds(
    State,
    cluster=st.text(min_size=1),
    cluster_id=st.text(),
    generation=st.integers(0),
    nodes=st.dictionaries(st.text(min_size=1), nodes_of, max_size=4),
    etcd=st.sampled_from(["absent", "begun", "formed"]),
    etcd_token=st.text(),
    fixed=st.dictionaries(st.text(), st.text(), max_size=3),
    proved=st.integers(-1),
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
     '{"format": 1, "cluster": "a", "cluster_id": "b", "nodes": {}, "what": 1}'],
)  # fmt: skip
def test_a_damaged_text_is_told_with_its_place(text: str) -> None:
    with pytest.raises(WorkspaceError, match=r"state\.json is damaged"):
        State.from_json(text, "state.json")


def test_a_text_of_a_newer_hardway_is_not_guessed_at() -> None:
    newer = json.dumps({**json.loads(State("a", "b").to_json()), "format": 2, "new": True})
    with pytest.raises(WorkspaceError, match=r"state\.json was written by a newer hardway"):
        State.from_json(newer, "state.json")


@given(states)
def test_the_generation_grows_with_a_change_and_only_then(state: State) -> None:
    assert advanced(state, etcd=state.etcd) is state
    assert advanced(state, cluster_id=state.cluster_id + "x").generation == state.generation + 1
