"""With -o json, every line of a whole life of a cluster is JSON, and fits its schema."""

import json
from typing import Any

import pytest
from driving import Labs, Ran, Site, renamed
from jsonschema import Draft202012Validator

from hardway.schemas import schema

pytestmark = pytest.mark.lab


def events(ran: Ran) -> list[dict[str, Any]]:
    """All that a run said; fails where a line is anything else than an event."""
    told = [json.loads(line) for line in ran.out.splitlines()]
    fitting = Draft202012Validator(schema("events"))
    for one in told:
        fitting.validate(one)
    assert told, "a run says something"
    return told


def kinds(ran: Ran) -> set[str]:
    return {one["event"] for one in events(ran)}


def document(site: Site, name: str, *words: str, code: int = 0) -> Any:
    """What a command said, all of it one document of that schema."""
    told = json.loads(site.hardway(*words, "-o", "json", code=code).out)
    Draft202012Validator(schema(name)).validate(told)
    return told


def test_a_clusters_life_in_json(labs: Labs) -> None:
    site = labs.make("hwtest-json", renamed("lab-small.yaml", "hwtest-json"))
    refused = events(site.hardway("plan", "-o", "json", code=1))
    assert [(one["event"], one["kind"]) for one in refused] == [("Failed", "LabError")]
    labs.fresh(site)
    assert {one["event"] for one in events(site.hardway("lab", "up", "-o", "json"))} >= {"Note"}

    assert document(site, "plan", "plan", code=3)["items"]
    assert "RunFinished" in kinds(site.hardway("preflight", "-o", "json"))
    first = kinds(site.hardway("init", "--yes", "-vv", "-o", "json"))
    assert first >= {"RunStarted", "StepStarted", "StepFinished", "MachineProgress", "Transferred", "CommandRun",
                     "Changed", "Proved", "RunFinished"}  # fmt: skip
    assert "Changed" not in kinds(site.hardway("init", "-o", "json"))
    events(site.hardway("etcd", "-o", "json"))

    assert document(site, "plan", "plan")["items"] == []
    assert all(one["holds"] for one in document(site, "verify", "verify")["proofs"])
    assert document(site, "status", "status")["well"]
    assert document(site, "doctor", "doctor")["causes"] == []
    live = document(site, "map", "map", "--live")
    assert {one["mark"] for machine in live["machines"] for one in machine["components"]} == {"holds"}
    assert {one["state"] for one in document(site, "lab-status", "lab", "status")} == {"running"}
    journal = site.hardway("logs", "server", "etcd", "-n", "3", "-o", "json").out.splitlines()
    assert all(json.loads(line)["_SYSTEMD_UNIT"] == "etcd.service" for line in journal)

    assert kinds(site.hardway("lab", "power-off", "node-1", "-o", "json")) == {"Note"}
    gone = events(site.hardway("init", "--yes", "-o", "json", code=1))[-1]
    assert gone["event"] == "Failed"
    assert "hardway init --skip-unreachable" in gone["hint"]
    assert [(one["machine"], one["hint"]) for one in gone["machines"]] == [
        ("node-1", "hardway lab power-on node-1 -i hardway.yaml")
    ]
    unknown = document(site, "plan", "plan", code=1)["unobserved"]
    assert [(one["machine"], one["hint"]) for one in unknown] == [("node-1", gone["machines"][0]["hint"])]
    lost = document(site, "map", "map", "--live")
    assert [one["name"] for one in lost["machines"] if one["mark"] == "unknown"] == ["node-1"]
    assert kinds(site.hardway("lab", "power-on", "node-1", "-o", "json")) == {"Note"}

    assert events(site.hardway("reset", "-o", "json", code=2))[-1]["what"] == "nothing was reset"
    assert "RunFinished" in kinds(site.hardway("reset", "--yes", "-o", "json"))
