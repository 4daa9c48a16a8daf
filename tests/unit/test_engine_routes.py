"""The route table of machines whose journals have a key for each route, as an earlier hardway wrote them."""

import json
from collections.abc import Callable

import pytest
from fake.cluster import PAIR, FakeCluster
from fake.machine import FakeMachine

from hardway import journal
from hardway.journal import ROUTES
from hardway.preview.items import Item
from hardway.values import OPERATOR

WANTED, FORMER = "10.200.0.0/24", "10.200.7.0/24"

NewCluster = Callable[[str], FakeCluster]


@pytest.fixture
def earlier(built_cluster: NewCluster) -> FakeCluster:
    """A cluster whose controller's journal names each route by itself."""
    cluster = built_cluster(PAIR)
    name_each(cluster.machines["head"], WANTED)
    return cluster


def name_each(machine: FakeMachine, *routes: str) -> None:
    lines: list[str] = []
    for line in machine.read(journal.PATH).splitlines():
        record = json.loads(line)
        if record.get("key") != ROUTES:
            lines.append(line)
        elif record["op"] == "intent":
            entry = {"phase": "routes", "by": "0.0"}
            for route in routes:
                lines.append(json.dumps({"op": "intent", "key": f"route:{route}", "entry": entry}))
                lines.append(json.dumps({"op": "done", "key": f"route:{route}"}))
    machine.write(journal.PATH, "\n".join(lines) + "\n")


def watched(machine: FakeMachine) -> None:
    """From now on the machine notes how `ip` is called."""
    command = machine.root / "fake/bin/ip"
    told = machine.root / "fake/ip"
    told.write_text("")
    command.write_text(command.read_text().replace("#!/bin/sh\n", '#!/bin/sh\necho "$*" >>/fake/ip\n', 1))


def moved(machine: FakeMachine) -> list[str]:
    looks = ("-4 route show", "-o -4 addr show")
    return [line for line in machine.read("/fake/ip").splitlines() if line not in looks]


def on_machines(cluster: FakeCluster) -> list[Item]:
    """What would change; a copied cluster has its ssh_config to write anew."""
    return [item for item in cluster.plan().items if item.machine != OPERATOR]


def test_routes_that_are_still_wanted_are_taken_over_as_they_are(earlier: FakeCluster) -> None:
    head = earlier.machines["head"]
    watched(head)
    assert not on_machines(earlier)
    earlier.init()
    assert moved(head) == []
    noted = journal.read(head.read(journal.PATH))
    assert noted.entries[ROUTES]["routes"] == [WANTED]
    assert not [key for key in noted.entries if key.startswith("route:")]


def test_of_routes_that_an_earlier_hardway_set_only_what_is_no_longer_declared_goes(earlier: FakeCluster) -> None:
    head = earlier.machines["head"]
    add_former(head)
    watched(head)
    [item] = on_machines(earlier)
    assert (item.machine, item.verb, item.key) == ("head", "update", ROUTES)
    assert (item.before, item.after) == (f"{FORMER} via 10.240.0.27", "")
    earlier.init()
    assert moved(head) == [f"route del {FORMER} proto static"]
    assert WANTED in head.read("/fake/routes")
    assert not on_machines(earlier)


def add_former(machine: FakeMachine) -> None:
    entry = {"phase": "routes", "by": "0.0"}
    line = json.dumps({"op": "intent", "key": f"route:{FORMER}", "entry": entry})
    machine.write(journal.PATH, f"{machine.read(journal.PATH)}{line}\n")
    machine.write("/fake/routes", machine.read("/fake/routes") + f"{FORMER} via 10.240.0.27 dev eth0 proto static\n")
