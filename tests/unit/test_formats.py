"""A machine that an earlier hardway wrote to is taken on as it is: nothing changes but the files' formats."""

import json
from collections.abc import Callable

import pytest
from fake.cluster import PAIR, FakeCluster, keys

from hardway import journal
from hardway.engine.reset import reset
from hardway.errors import JournalError
from hardway.state import State

STATE_1 = {"nodes": "roster", "smoke_tested": "proved"}
ADDED = (
    "hardway", "authorities", "service_account_keys", "encryption_keys", "encryption_providers", "encryption_changing",
    "own_authorities", "operation", "fingerprints",
)  # fmt: skip


@pytest.fixture
def old(new_cluster: Callable[[str], FakeCluster]) -> FakeCluster:
    """A cluster with workspace and machines in format 1, as the recorded files are."""
    made = new_cluster(PAIR)
    made.init()
    state = made.workspace().root / "state.json"
    state.write_text(state_1(state.read_text()))
    for machine in made.machines.values():
        machine.write("/var/lib/hardway/state.json", state_1(machine.read("/var/lib/hardway/state.json")))
        machine.write(journal.FORMER_PATH, journal_1(machine.read(journal.PATH)))
        (machine.root / journal.PATH.lstrip("/")).unlink()
    return made


def state_1(text: str) -> str:
    raw = {STATE_1.get(name, name): value for name, value in json.loads(text).items() if name not in ADDED}
    for node in raw["roster"].values():
        del node["kubernetes"], node["leaving"]
    del raw["fixed"]["encryption.resources"]
    return json.dumps({**raw, "format": 1, "etcd": "formed"})


def journal_1(text: str) -> str:
    # Neither its first line nor its last was there.
    records = [json.loads(line) for line in text.splitlines()[1:-1]]
    for record in records:
        if record["op"] == "intent":
            record["entry"]["chapter"] = record["entry"].pop("phase")
    return "".join(f"{json.dumps(record)}\n" for record in records)


def files(made: FakeCluster, name: str) -> set[str]:
    return {path.name for path in (made.machines[name].root / "var/lib/hardway").iterdir()}


def test_it_has_an_empty_plan(old: FakeCluster) -> None:
    before = {name: journal.read(one.read(journal.FORMER_PATH)) for name, one in old.machines.items()}
    assert old.plan().items == ()
    again = old.init()
    assert (keys(again.changes), again.made) == ([], [])
    assert {name: view.journal.entries for name, view in again.views.items()} == {
        name: one.entries for name, one in before.items()
    }


@pytest.mark.parametrize("name", ["head", "hand"])
def test_its_journal_moves_when_it_is_next_written(old: FakeCluster, name: str) -> None:
    machine = old.machines[name]
    before = journal.read(machine.read(journal.FORMER_PATH))
    (machine.root / "etc/hosts").write_text("127.0.0.1 localhost\n")
    assert keys(old.init().changes) == [(name, "create", "block:/etc/hosts")]
    assert files(old, name) == {"journal.jsonl", "state.json"}
    after = journal.read(machine.read(journal.PATH))
    assert machine.read(journal.PATH).startswith('{"op":"format","format":3,')
    assert (after.entries.keys(), after.open) == (before.entries.keys(), frozenset())
    assert json.loads(machine.read("/var/lib/hardway/state.json"))["format"] == 4
    assert State.from_json(machine.read("/var/lib/hardway/state.json"), name) == old.state()


def test_it_is_reset_by_its_old_journal(old: FakeCluster) -> None:
    entries = sum(len(journal.read(one.read(journal.FORMER_PATH)).entries) for one in old.machines.values())
    assert reset(old.session()) == entries
    for machine in old.machines.values():
        assert not (machine.root / "var/lib/hardway").exists()


def test_a_journal_of_a_newer_hardway_stops_a_run_with_the_machine_that_has_it(old: FakeCluster) -> None:
    old.machines["hand"].write(journal.PATH, '{"op":"format","format":4,"by":"7.5"}\n')
    with pytest.raises(JournalError) as error:
        old.init()
    assert (error.value.machine, "newer hardway (7.5)" in error.value.what) == ("hand", True)
    with pytest.raises(JournalError):
        reset(old.session(names=["hand"]))
