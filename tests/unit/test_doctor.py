"""From findings to a page: causes before what follows from them, within 80 columns, commands to be typed."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import played_case as played
import pytest
from test_doctor_rules import WRONG

from hardway.cli.app import load
from hardway.cli.breaking import candidates, chosen, forged
from hardway.cli.commands import COMMANDS
from hardway.cli.options import Options
from hardway.cli.site import Site
from hardway.console.words import BELOW_COMMANDS, GROUPS, typed
from hardway.declare import pki
from hardway.declare.generations import CAS
from hardway.declare.phases.base import Model
from hardway.declare.phases.certs import certificates
from hardway.doctor.diagnosis import Cause, diagnose
from hardway.doctor.doctor import Diagnosis
from hardway.doctor.page import doctor_page, faults_page
from hardway.doctor.registry import RULES
from hardway.errors import UsageError
from hardway.events import Proved
from hardway.lab.faults import FAULTS, Forged, Forgery, fault
from hardway.probe.script import Answer, Answers
from hardway.probe.symptoms_answer import objects
from hardway.rules import Finding, examine
from hardway.state import State
from hardway.workspace import Workspace

MACHINES = ("front", "one", "two", "three")


def finding(machine: str, rule: str) -> Finding:
    return Finding(machine, rule, f"{rule} here", "hardway doctor", "error", "because", ("it said so",))


def told(*findings: Finding) -> list[tuple[str, list[str]]]:
    return [(cause.id, [one.id for one in cause.follows]) for cause in diagnose(findings, RULES)]


def test_a_full_disk_explains_a_dead_member_a_server_that_is_not_ready_and_nodes_that_are_not() -> None:
    findings = [
        finding("two", "node-not-ready"), finding("three", "api-not-ready"), finding("three", "etcd-member-down"),
        finding("three", "disk-full"), finding("three", "unit-failing"),
    ]  # fmt: skip
    [(cause, follows)] = told(*findings)
    assert cause == "disk-full"
    assert follows == ["etcd-member-down", "api-not-ready", "unit-failing", "node-not-ready"]


NODES, PODS = '{"items": []}', '{"items": []}'


def test_what_the_api_does_not_have_is_known_and_what_it_did_not_say_is_not() -> None:
    gone = objects(played.api(NODES, PODS, ""), "one")
    assert gone is not None
    assert (gone.replicas, gone.bindings) == (None, frozenset())
    assert objects(Answers({**played.api(NODES, PODS, ""), "others": Answer(1)}), "one") is None
    assert objects(Answers(), "one") is None


def test_an_effect_without_a_cause_stands_for_itself() -> None:
    assert told(finding("two", "node-not-ready")) == [("node-not-ready", [])]


def test_what_is_wrong_on_another_worker_does_not_follow() -> None:
    assert told(finding("two", "cni-config"), finding("three", "node-not-ready")) == [
        ("cni-config", []),
        ("node-not-ready", []),
    ]


def test_of_several_causes_the_lower_layer_comes_first() -> None:
    order = ["dns-scaled", "node-cordoned", "unit-stopped", "certificate-expired", "pod-route", "ip-forward"]
    assert [one for one, _ in told(*(finding("two", rule) for rule in order))] == order[::-1]


def test_the_same_on_several_machines_is_one_cause() -> None:
    [cause] = diagnose([finding("two", "unit-stopped"), finding("three", "unit-stopped")], RULES)
    assert cause.machines == ("two", "three")
    assert cause.evidence == ("two: it said so", "three: it said so")


def diagnosis(*causes: Cause, **more: Any) -> Diagnosis:
    return Diagnosis("dr-4", MACHINES, MACHINES, 40, causes, **more)


@pytest.mark.parametrize("name", WRONG)
def test_every_page_is_readable_at_80_columns(name: str) -> None:
    causes = diagnose(examine(RULES, played.evidence(WRONG[name](played.healthy()))), RULES)
    lines = doctor_page(diagnosis(*causes), seconds=1.0)
    prose = [line for line in lines if not line.startswith(("    hardway ", "    edit "))]
    # A word that is longer than the page, such as the name of a key, is not broken.
    assert [line for line in prose if len(line) > 80 and len(line.split()) > 2] == []


def test_the_cause_comes_first_then_its_evidence_then_the_fix() -> None:
    cause = Cause("swap-on", ("two",), "swap is in use", ("/swapfile",), ("hardway ssh two -- swapoff -a",), "the why")
    assert doctor_page(diagnosis(cause), seconds=1.0) == [
        "two: swap is in use",
        "    why it matters  the why",
        "    | /swapfile",
        "",
        "  Fix",
        "    hardway ssh two -- swapoff -a",
        "",
        "4 machines of 4 checked for 40 known causes in 1.0 s, nothing changed.",
        "Then look again:  hardway doctor",
    ]


def test_where_nothing_is_known_the_proofs_that_do_not_hold_are_told() -> None:
    failed = Proved("two", "routes", "one route for each other worker", False, "0; wanted: equals '1'", "why")
    lines = doctor_page(diagnosis(asked=115, failed=(failed,)), seconds=1.0)
    assert "  two: one route for each other worker: 0; wanted: equals '1'" in lines
    assert lines[-1] == "Logs:  hardway logs two"


def groups(path: str, command: Any) -> Iterator[str]:
    """The command and those below it that have commands of their own."""
    below = getattr(command, "commands", {})
    if below:
        yield path
    for name, one in below.items():
        yield from groups(f"{path} {name}", one)


def test_commands_repeat_how_the_cluster_was_found() -> None:
    given = Options(inventory=Path("x.yaml"), workspace=Path("/my keys")).given
    assert typed("hardway node drain two", given) == "hardway node drain -i x.yaml --workspace '/my keys' two"
    assert Options().given == ""
    assert typed("hardway access user add ann", "-i x.yaml") == "hardway access user add -i x.yaml ann"
    assert typed("hardway backup /srv", "-i x.yaml") == "hardway backup -i x.yaml /srv"
    assert typed("hardway backup install /srv", "-i x.yaml") == "hardway backup install -i x.yaml /srv"
    both = {path.partition(" ")[0] for path in BELOW_COMMANDS}
    assert set(GROUPS) | both == {path for name in COMMANDS for path in groups(name, load(name))}
    assert typed("hardway ssh two -- swapoff -a", "-i x.yaml") == "hardway ssh -i x.yaml two -- swapoff -a"
    assert typed("hardway lab power-on two", "-i x.yaml") == "hardway lab power-on -i x.yaml two"
    assert typed("hardway apply certs -l two", "-i x.yaml") == "hardway apply -i x.yaml certs -l two"
    assert typed("hardway certs renew ca", "-i x.yaml") == "hardway certs renew -i x.yaml ca"
    assert typed("hardway certs -l two", "-i x.yaml") == "hardway certs -i x.yaml -l two"
    assert typed("hardway certs", "-i x.yaml") == "hardway certs -i x.yaml"
    assert typed("hardway doctor", "") == "hardway doctor"


def test_a_diagnosis_is_a_document_for_programs() -> None:
    causes = diagnose(examine(RULES, played.evidence(WRONG["swap-on"](played.healthy()))), RULES)
    document = json.loads(json.dumps(diagnosis(*causes).to_json()))
    assert set(document["causes"][0]) == {"id", "machines", "what", "evidence", "fix", "why", "follows"}


def test_the_list_of_faults_fits_the_page_and_gives_no_rule_away() -> None:
    lines = faults_page([(one.name, one.role, one.summary) for one in FAULTS])
    assert all(len(line) <= 80 for line in lines)
    assert all(any(line.startswith(one.name) for line in lines) for one in FAULTS)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A cluster whose workspace has all its certificates."""
    cluster, state = played.cluster(), State("dr-4", "0")
    workspace = Workspace(tmp_path)
    now = datetime.now(UTC)
    authorities = {}
    for ca in CAS:
        key = pki.new_key("ecdsa-p256")
        authorities[ca.path] = (pki.issue_ca(pki.CertificateSpec(ca.common_name, is_ca=True), key, now), key)
        workspace.write(f"{ca.path}.crt", authorities[ca.path][0], 0o644)
        workspace.write(f"{ca.path}.key", key, 0o600)
    for one in certificates(Model(cluster, state, {})):
        workspace.write(f"{one.path}.key", pki.new_key("ecdsa-p256"), 0o600)
    return Site(cluster, workspace, state, cluster.machines)


@pytest.mark.parametrize("what", get_args(Forgery))
def test_a_forged_certificate_is_wrong_in_one_thing_only(site: Site, what: Forgery) -> None:
    three = site.cluster.machine("three")
    path = "pki/kube-apiserver"
    [wanted] = [one for one in certificates(Model(site.cluster, site.state, {})) if one.path == path]
    pem = forged(site, three, Forged(path, "/somewhere", what))
    values = site.workspace.values()
    wrong = pki.differences(
        wanted.spec, "ecdsa-p256", pem, values[f"{path}.key"], values["pki/ca.crt"], datetime.now(UTC)
    )
    dropped = {"without-service-address": "10.32.0.1", "without-own-address": "10.249.0.12"}
    expected = {
        "expired": "expired on",
        "foreign": "signed by CN=kubernetes-ca, not by the key of CN=kubernetes-ca",
    }.get(what) or f"address {dropped[what]} is missing"
    assert len(wrong) == 1
    assert wrong[0].startswith(expected)


def test_a_fault_is_for_the_last_machine_of_its_role_or_for_one_that_is_named(site: Site) -> None:
    def names(fault_name: str, limit: str | None = None) -> list[str]:
        return [one.name for one in chosen(site, fault(fault_name), limit)]

    assert names("etcd-wiped") == ["three"]
    assert names("etcd-quorum") == ["two", "three"]
    assert names("balancer-down") == ["front"]
    assert names("ip-forward", "two") == ["two"]
    with pytest.raises(UsageError, match="is for a worker"):
        names("ip-forward", "one")


def test_a_small_lab_is_not_given_what_would_destroy_it(site: Site) -> None:
    few = tuple(one for one in site.cluster.machines if one.name in ("front", "three"))
    small = replace(site, cluster=replace(site.cluster, machines=few))
    assert {"etcd-wiped", "lost-route"}.isdisjoint(one.name for one in candidates(small))
    with pytest.raises(UsageError, match="needs 3 machines"):
        chosen(small, fault("etcd-wiped"), None)


def test_a_lab_is_not_given_what_would_not_show(site: Site) -> None:
    network = replace(site.cluster.network, plugin="none", proxy_mode="iptables")
    plain = replace(site, cluster=replace(site.cluster, network=network))
    gone = {one.name for one in candidates(site)} - {one.name for one in candidates(plain)}
    assert gone == {"lost-route", "own-route", "forward-drop", "cni-config", "proxy-stopped"}
    with pytest.raises(UsageError, match="would not show"):
        chosen(plain, fault("lost-route"), None)


def test_an_unknown_fault_says_where_all_are() -> None:
    with pytest.raises(UsageError) as raised:
        fault("nothing-like-it")
    assert raised.value.hint == "hardway lab break --list"
