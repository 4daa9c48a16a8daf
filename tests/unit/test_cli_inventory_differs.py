"""An inventory that no longer is what the cluster is, as `doctor` names it; on played machines."""

import json
from collections.abc import Callable

import pytest
from fake.cluster import FakeCluster
from played_run import Commands

TRIO = """\
cluster: trio
machines:
  head: {role: controller, address: 10.240.0.10}
  hand: {role: worker, address: 10.240.0.20}
  foot: {role: worker, address: 10.240.0.21}
"""


@pytest.fixture
def hardway(
    built_cluster: Callable[[str], FakeCluster], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Commands:
    return Commands(built_cluster(TRIO), monkeypatch, capsys)


def test_a_machine_deleted_from_the_inventory_is_the_cause_and_no_refused_run_is_proposed(hardway: Commands) -> None:
    hardway.cluster.rewrite("  foot: {role: worker, address: 10.240.0.21}\n", "")
    code, out, _ = hardway("doctor", "-o", "json")
    first, *others = json.loads(out)["causes"]
    assert code == 3
    assert (first["id"], first["machines"]) == ("inventory-differs", ["foot"])
    put_back, look = first["fix"]
    assert put_back.endswith("put it back below machines, as foot: {role: [worker], address: 10.240.0.21}")
    assert look.startswith("hardway plan")
    assert [one["fix"] for one in others if all(line.startswith("hardway apply") for line in one["fix"])] == []
    hardway.cluster.rewrite(
        "address: 10.240.0.20}\n", "address: 10.240.0.20}\n  foot: {role: [worker], address: 10.240.0.21}\n"
    )
    _, out, _ = hardway("doctor", "-o", "json")
    assert "inventory-differs" not in [one["id"] for one in json.loads(out)["causes"]]
