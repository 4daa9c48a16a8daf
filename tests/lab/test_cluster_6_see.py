"""plan and verify on a running cluster: they see what a hand did, write nothing, and init mends that alone."""

import json
from typing import Any

import pytest
from driving import Ran, Site, other_restarts

pytestmark = pytest.mark.lab

EDITED = "controller-1"
UNIT = "/etc/systemd/system/kube-apiserver.service"
EDIT = f"sed -i 's/--anonymous-auth=false/--anonymous-auth=true/' {UNIT}"
READ = "systemctl daemon-reload"
RESTART = f"{READ} && systemctl restart kube-apiserver.service"
RUNNING = "tr '\\0' ' ' </proc/$(systemctl show -p MainPID --value kube-apiserver.service)/cmdline"
BY_HAND = {"edited": EDIT, "read by systemd": f"{EDIT} && {READ}", "restarted": f"{EDIT} && {RESTART}"}


def document(ran: Ran) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(ran.out)
    return told


def steps(plan: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(one["machine"], one["verb"], one["key"]) for one in plan["items"]]


@pytest.mark.in_turn("hands")
@pytest.mark.parametrize("by_hand", BY_HAND.values(), ids=BY_HAND)
def test_a_flag_edited_by_hand_is_seen_by_plan_and_verify_and_reverted_only_by_init(seven: Site, by_hand: str) -> None:
    seven.on(EDITED, by_hand)
    before = seven.writings()
    processes = seven.processes()

    plan = document(seven.hardway("plan", "-o", "json", code=3))
    assert steps(plan) == [
        (EDITED, "update", f"file:{UNIT}"),
        (EDITED, "restart", "service:kube-apiserver.service"),
    ]
    edited, restarted = plan["items"]
    assert [line.split("=")[-1] for line in edited["diff"] if line[:3] in ("-  ", "+  ")] == ["true \\", "false \\"]
    runs_otherwise = restarted["evidence"][0].endswith("runs with --anonymous-auth=true")
    assert runs_otherwise == (RESTART in by_hand)

    found = document(seven.hardway("verify", "-o", "json", code=3))
    assert steps(found["plan"]) == steps(plan)
    assert found["plan"]["identifier"] == plan["identifier"]
    assert seven.writings() == before

    seven.hardway("init", "--yes", "--expect", "0123456789ab", code=3)
    assert seven.writings() == before
    mended = seven.init("--expect", plan["identifier"])
    assert mended.changes == [
        (EDITED, f"file:{UNIT}", "update"),
        (EDITED, "service:kube-apiserver.service", "restart"),
    ]
    # A controller manager or a scheduler that leads there hands over first, and ends with its lease.
    may = ((EDITED, unit) for unit in ("kube-apiserver", "kube-controller-manager", "kube-scheduler"))
    assert other_restarts(processes, seven.processes(), *may) == []
    assert "--anonymous-auth=false" in seven.on(EDITED, RUNNING)
    seven.unchanged("init")


def test_every_proof_of_a_cluster_as_declared_holds_and_nothing_is_written(seven: Site) -> None:
    before = seven.writings()
    found = document(seven.hardway("verify", "-o", "json"))
    assert [one for one in found["proofs"] if not one["holds"]] == []
    assert {one["machine"] for one in found["proofs"]} == set(seven.machines)
    assert document(seven.hardway("status", "-o", "json"))["well"]
    assert seven.writings() == before


BAD_DISK = """
file=/usr/local/bin/crictl
was=$(stat -c %.9Z $file)
touch -r $file /run/times
printf X | dd of=$file bs=1 seek=4096 conv=notrunc status=none
touch -r /run/times $file
# Since no hand can keep a file's ctime, the journal is made to believe that it has not changed.
sed -i "\\|$file|s|$was|$(stat -c %.9Z $file)|" /var/lib/hardway/journal.jsonl
"""


def test_what_a_bad_disk_did_is_found_by_a_deep_look_and_repaired_by_a_deep_run(seven: Site) -> None:
    seven.on("worker-0", BAD_DISK)
    assert document(seven.hardway("plan", "-o", "json"))["items"] == []
    found = seven.hardway("plan", "--deep", code=3)
    assert "Do it:  hardway apply workers -l worker-0 --deep" in found.out
    seven.hardway("apply", "workers", "-l", "worker-0", "--deep", "--yes")
    assert document(seven.hardway("plan", "--deep", "-o", "json"))["items"] == []
