"""Each cause is found where it is, and nowhere else; faults of the lab, causes and documentation go together."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import played_case as played
import pytest
from played_case import PKI, certificate, crashing, entry, flag, healthy, in_api, node, on, unit

import hardway
from hardway.doctor.diagnosis import diagnose
from hardway.doctor.effects import RULES as EFFECTS
from hardway.doctor.registry import RULES
from hardway.lab.faults import FAULTS, NOT_IN_A_LAB
from hardway.probe.certificates import KUBELET_CLIENT
from hardway.probe.control import MemberStatus
from hardway.probe.network import Listener, Route
from hardway.probe.symptoms import Chain, Drift, Filter, Mismatch, Snapshot, Space
from hardway.rules import examine

CAUSES = [rule for rule in RULES if "symptoms" in rule.needs and rule not in EFFECTS]
BRIDGE, FORWARD = "net/bridge/bridge-nf-call-iptables", "net/ipv4/ip_forward"
KUBELET_CONF = "/etc/kubernetes/kubelet.conf"
YESTERDAY = datetime(2026, 11, 20, tzinfo=UTC)


def _without_quorum(case: Snapshot) -> Snapshot:
    for name in ("two", "three"):
        case = on(unit(case, name, "etcd", **vars(played.STOPPED)), name, etcd=None)
    return on(case, "one", etcd=MemberStatus("a930bfb2af77b0ea", "0", ("etcdserver: no leader",)))


def _wiped(case: Snapshot) -> Snapshot:
    said = "discovery failed: cannot fetch cluster info from peer urls: could not retrieve cluster information"
    return on(crashing(case, "three", "etcd", said), "three", etcd=None)


def _corrupt(case: Snapshot) -> Snapshot:
    """By the member of `three`, as all members tell it."""
    identity = int(case.machines["one"].members["three"], 16)
    for name in ("one", "two", "three"):
        etcd = case.machines[name].etcd
        assert etcd is not None
        case = on(case, name, etcd=replace(etcd, errors=(f"memberID:{identity} alarm:CORRUPT ",)))
    return case


def _full(case: Snapshot) -> Snapshot:
    full = Space("/var/lib/etcd", 163840, 0, 99, ("/var/lib/etcd/copy.db", 90000))
    case = crashing(case, "three", "etcd", "write /var/lib/etcd/member: no space left on device")
    return on(case, "three", etcd=None, spaces=(full,))


def _taken(case: Snapshot) -> Snapshot:
    case = crashing(case, "three", "kube-scheduler", "listen tcp 127.0.0.1:10259: bind: address already in use")
    return on(case, "three", listening=(Listener(10259, "127.0.0.1", "openssl", 42, "legacy-agent.service"),))


def _route(to: str, via: str) -> Route:
    return Route(IPv4Network(to), f"{to} via {via} dev host0", via)


def _forward_drop(case: Snapshot) -> Snapshot:
    return on(case, "three", dropping=(Chain("inet", "company", "forward", "forward"),))


def _dropped(case: Snapshot) -> Snapshot:
    rule = Filter("inet", "company", "guard", 2, "tcp dport 2380 drop")
    return entry(on(case, "three", filters=(rule,)), "one", "reach", ("10.249.0.12", 2380), "silent")


def _blocked(case: Snapshot) -> Snapshot:
    return entry(case, "one", "reach", ("10.249.0.12", 2380), "silent")


def _loop(case: Snapshot) -> Snapshot:
    return on(case, "three", nameservers={"/etc/resolv.conf": ("127.0.0.1",)})


def _changed(key: str, phase: str = "control-plane") -> Callable[[Snapshot], Snapshot]:
    return lambda case: replace(case, drift=(Drift("three", phase, key, "update", "content differs", ("-a", "+b")),))


def _containerd(case: Snapshot) -> Snapshot:
    return entry(case, "three", "kubelet", "cgroupDriver", "systemd")


UNIT = "file:/etc/systemd/system/kube-apiserver.service"


def _bad_flag(case: Snapshot) -> Snapshot:
    return crashing(_changed(UNIT)(case), "three", "kube-apiserver", "Error: unknown flag: --enable-swagger-ui")


def _bad_setting(case: Snapshot) -> Snapshot:
    """The first API server has the new setting and does not start; the others still run without it."""
    drift: list[Drift] = []
    for name in ("one", "two"):
        drift.append(Drift(name, "control-plane", UNIT, "update", "content differs"))
        drift.append(Drift(name, "control-plane", "service:kube-apiserver.service", "restart", "its unit is newer"))
    case = crashing(case, "three", "kube-apiserver", 'E1127 run.go:72] "command failed" err="unknown TLS version"')
    return replace(case, drift=tuple(drift))


REMOVED = Mismatch(
    "three", "is part of the running cluster (controller) and not in the inventory", "three: controller, nothing",
    "edit dr.yaml: put it back below machines, as three: {role: [controller], address: 10.249.0.12}",
)  # fmt: skip


WRONG: dict[str, Callable[[Snapshot], Snapshot]] = {
    "inventory-differs": lambda case: replace(case, mismatches=(REMOVED,)),
    "machine-unreachable": lambda case: replace(case, unreached={"three": "no answer"}, off=frozenset({"three"})),
    "disk-full": _full,
    "swap-on": lambda case: on(case, "three", swap=("/swapfile file 1048572 0 -2",)),
    "bridge-netfilter": lambda case: entry(case, "three", "sysctls", BRIDGE, "0"),
    "ip-forward": lambda case: entry(case, "three", "sysctls", FORWARD, "0"),
    "hosts-names": lambda case: entry(case, "three", "names", "one", ""),
    "wrong-hostname": lambda case: on(case, "three", hostname="laptop"),
    "drift": _changed("file:/etc/systemd/system/kube-apiserver.service"),
    "pod-route": lambda case: on(case, "three", routes=(_route("0.0.0.0/0", "10.249.0.1"),)),
    "own-route": lambda case: on(
        case, "three", routes=(*case.machines["three"].routes, _route("10.200.1.0/24", "10.249.0.10"))
    ),
    "firewall-forward": _forward_drop,
    "firewall-port": _dropped,
    "port-blocked": _blocked,
    "dns-loop": _loop,
    "ca-foreign": lambda case: certificate(case, "three", f"{PKI}/ca.crt", public_key_digest="0" * 64),
    "certificate-unreadable": lambda case: entry(case, "three", "certificates", f"{PKI}/kubelet.crt", None),
    "certificate-expired": lambda case: certificate(case, "three", f"{PKI}/kubelet.crt", not_after=YESTERDAY),
    "certificate-foreign": lambda case: certificate(case, "three", f"{PKI}/kubelet.crt", authority_key_id="00"),
    "certificate-key": lambda case: entry(case, "three", "keys", f"{PKI}/kubelet.key", "0" * 64),
    "service-ip-san": lambda case: certificate(case, "three", f"{PKI}/kube-apiserver.crt", addresses=("10.249.0.12",)),
    "certificate-address": lambda case: certificate(case, "three", f"{PKI}/kubelet.crt", addresses=("10.9.9.9",)),
    "service-account-key": lambda case: entry(
        entry(case, "three", "keys", f"{PKI}/sa.key", "0" * 64), "three", "keys", f"{PKI}/sa.pub", "0" * 64
    ),
    "other-encryption-key": lambda case: on(case, "three", encryption="0" * 64),
    "dead-endpoint": lambda case: entry(case, "three", "servers", KUBELET_CONF, "https://127.0.0.1:7443"),
    "etcd-alarm": lambda case: on(case, "three", etcd=MemberStatus("1c27", "a930", ("memberID:1 alarm:NOSPACE",), 7)),
    "etcd-corrupt": _corrupt,
    "etcd-quorum": _without_quorum,
    "etcd-wiped": _wiped,
    "port-taken": _taken,
    "bad-flag": _bad_flag,
    "bad-setting": _bad_setting,
    "unit-exec": lambda case: crashing(case, "three", "kube-proxy", "Exec format error", status=203),
    "unit-stopped": lambda case: unit(case, "three", "kube-proxy", **vars(played.STOPPED)),
    "balancer-backends": lambda case: on(case, "front", backends=("one 10.249.0.10:6444",)),
    "address-on-none": lambda case: on(case, "front", holds=False),
    "address-on-several": lambda case: on(on(case, "front", holds=True), "three", holds=True),
    "wrong-service-range": lambda case: flag(
        case, "three", "kube-apiserver", "--service-cluster-ip-range=10.99.0.0/24"
    ),
    "kubelet-binding": lambda case: in_api(case, bindings=frozenset()),
    "foreign-node-name": lambda case: flag(case, "three", "kubelet", "--hostname-override=other"),
    "cni-config": lambda case: on(case, "three", cni=()),
    "image-missing": lambda case: on(case, "three", images=frozenset({"@all"})),
    "wrong-cluster-dns": lambda case: entry(case, "three", "kubelet", "clusterDNS", ["10.32.0.53"]),
    "cgroup-driver": _containerd,
    "node-cordoned": lambda case: node(case, "three", unschedulable=True),
    "node-missing": lambda case: in_api(case, nodes={"two": played.recorded_objects().nodes["two"]}),
    "dns-gone": lambda case: in_api(case, replicas=None),
    "dns-scaled": lambda case: in_api(case, replicas=(0, 0)),
}
"""What is changed in a healthy case so that one rule finds it."""
ELSEWHERE = {"balancer-backends": "front", "address-on-none": "front", "address-on-several": "front",
             "kubelet-binding": "one", "dns-gone": "one", "dns-scaled": "one",
             "etcd-quorum": "two"}  # fmt: skip
"""Where it is found, where that is not `three`."""


def causes(case: Snapshot) -> list[tuple[str, tuple[str, ...]]]:
    return [(one.id, one.machines) for one in diagnose(examine(RULES, played.evidence(case)), RULES)]


def test_nothing_is_found_in_a_healthy_cluster_as_a_lab_answered() -> None:
    assert causes(healthy()) == []


def test_every_cause_is_tried() -> None:
    assert set(WRONG) == {rule.id for rule in CAUSES}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named_first_where_it_is(name: str) -> None:
    first = causes(WRONG[name](healthy()))[0]
    assert (first[0], first[1][0]) == (name, ELSEWHERE.get(name, "three"))


@pytest.mark.parametrize("name", WRONG)
def test_every_cause_has_evidence_a_reason_and_commands_that_can_be_typed(name: str) -> None:
    cause = diagnose(examine(RULES, played.evidence(WRONG[name](healthy()))), RULES)[0]
    assert cause.evidence
    assert cause.why
    assert cause.fix
    assert all(command.startswith(("hardway ", "edit ")) for command in cause.fix)


def test_members_that_lost_their_data_are_replaced_by_one_command() -> None:
    case = _wiped(healthy())
    case = replace(case, machines={**case.machines, "two": case.machines["three"]})
    [cause] = [one for one in diagnose(examine(RULES, played.evidence(case)), RULES) if one.id == "etcd-wiped"]
    assert "hardway etcd replace two three" in cause.fix
    assert sum("etcd replace" in command for command in cause.fix) == 1


def test_a_setting_that_stops_one_server_is_taken_back_and_no_other_is_touched() -> None:
    [cause] = diagnose(examine(RULES, played.evidence(_bad_setting(healthy()))), RULES)
    assert cause.machines == ("three",)
    assert cause.what.endswith("what the inventory says: settings.kube-apiserver.tls-min-version")
    assert cause.evidence[0] == 'E1127 run.go:72] "command failed" err="unknown TLS version"'
    assert cause.evidence[-1] == "one, two still without it: touch nothing there"
    edit, run = cause.fix
    assert edit.endswith("take out settings.kube-apiserver.tls-min-version")
    assert run == "hardway apply control-plane -l three"


def _fix(settings: dict[str, Any], machine_settings: dict[str, Any], unit_name: str, *diff: str) -> tuple[str, ...]:
    """What doctor says where a unit fails on `three`, and this diff has not come to `two`, where it runs."""
    cluster = played.cluster()
    machines = tuple(replace(one, settings=machine_settings if one.name == "three" else {}) for one in cluster.machines)
    phase = "workers" if unit_name == "kubelet" else "control-plane"
    drift = (
        Drift("two", phase, f"file:/etc/{unit_name}", "update", "content differs", diff, as_written=True),
        Drift("two", phase, f"service:{unit_name}.service", "restart", "its unit is newer"),
    )
    case = replace(crashing(healthy(), "three", unit_name, "error: it will not do"), drift=drift if diff else ())
    evidence = replace(played.evidence(case), cluster=replace(cluster, settings=settings, machines=machines))
    causes = {cause.id: cause for cause in diagnose(examine(RULES, evidence), RULES)}
    return causes["bad-setting"].fix


def test_of_many_settings_the_one_that_a_peer_runs_without_is_taken_back() -> None:
    many = {"kube-apiserver": {"event-ttl": "2h", "profiling": False, "audit-log-maxage": "x"}}
    edit, _ = _fix(
        many, {}, "kube-apiserver", "@@ -1 +1 @@", "-  --audit-log-maxage=90 \\", "+  --audit-log-maxage=x \\"
    )
    assert edit.endswith(": set settings.kube-apiserver.audit-log-maxage back to 90")


def test_no_empty_mapping_is_left_of_a_setting_that_is_taken_out() -> None:
    hard = {"kubelet": {"maxPods": 60, "evictionHard": {"memory.available": "lots"}}}
    edit, run = _fix(hard, {}, "kubelet", "+evictionHard:", "+  memory.available: lots")
    assert edit.endswith(": take out settings.kubelet.evictionHard")
    assert run == "hardway apply workers -l three"


def test_a_setting_of_one_machine_is_named_where_it_stands() -> None:
    edit, _ = _fix({"kubelet": {"maxPods": 60}}, {"kubelet": {"podPidsLimit": "all"}}, "kubelet")
    assert edit.endswith(": take out machines.three.settings.kubelet.podPidsLimit")


def test_a_fix_for_something_else_takes_no_member_that_serves_while_a_peer_is_down() -> None:
    case = WRONG["swap-on"](_bad_setting(healthy()))
    case = on(case, "two", swap=case.machines["three"].swap)
    [swap] = [cause for cause in diagnose(examine(RULES, played.evidence(case)), RULES) if cause.id == "swap-on"]
    assert "hardway apply hosts -l two" in swap.fix


def test_a_machine_that_the_lab_never_made_is_made_and_not_switched_on() -> None:
    names = frozenset({"three"})
    case = replace(healthy(), unreached={"three": "no answer"}, off=names, absent=names)
    [cause] = diagnose(examine(RULES, played.evidence(case)), RULES)
    assert (cause.id, cause.what, cause.fix) == (
        "machine-unreachable", "the lab never made this machine", ("hardway lab up",)
    )  # fmt: skip


def test_what_a_run_would_fix_waits_for_an_inventory_that_matches() -> None:
    """And nothing else does: what is typed on the machine can be fixed at once."""
    case = certificate(_changed(UNIT)(healthy()), "two", f"{PKI}/kubelet.crt", not_after=YESTERDAY)
    case = replace(case, mismatches=(REMOVED,), unreached={"one": "no answer"}, off=frozenset({"one"}))
    found = diagnose(examine(RULES, played.evidence(case)), RULES)
    assert [one.id for one in found] == ["inventory-differs", "machine-unreachable"]
    assert found[0].fix == (REMOVED.fix, "hardway plan")
    assert {one.id for one in found[0].follows} >= {"drift", "certificate-expired"}


def test_a_difference_that_is_the_inventorys_is_nobodys_doing() -> None:
    case = _changed(UNIT)(healthy())
    case = replace(case, drift=tuple(replace(one, as_written=True) for one in case.drift))
    [cause] = diagnose(examine(RULES, played.evidence(case)), RULES)
    assert cause.what == "1 thing is not as declared: as the last run left it; the inventory says something else now"


def test_a_difference_explains_no_unit_that_is_down_elsewhere() -> None:
    case = crashing(_changed(UNIT)(healthy()), "one", "kube-apiserver", "killed", status=9)
    assert [one for one in causes(case) if one[0] == "drift"] == [("drift", ("three",))]
    assert ("unit-failing", ("one",)) in [*causes(case), *_follows(case)]


def _follows(case: Snapshot) -> list[tuple[str, tuple[str, ...]]]:
    found: list[tuple[str, tuple[str, ...]]] = []
    for cause in diagnose(examine(RULES, played.evidence(case)), RULES):
        if cause.id != "drift":
            found += [(one.id, one.machines) for one in cause.follows]
    return found


def test_a_machine_that_was_not_seen_makes_no_other_findings() -> None:
    case = healthy()
    seen = {name: one for name, one in case.machines.items() if name != "three"}
    case = replace(case, machines=seen, unreached={"three": "no answer"})
    assert causes(entry(case, "one", "reach", ("10.249.0.12", 2380), "silent")) == [("machine-unreachable", ("three",))]


def test_without_an_answering_api_the_machines_are_still_judged() -> None:
    case = replace(WRONG["ip-forward"](healthy()), objects=None)
    assert causes(case) == [("ip-forward", ("three",))]


def test_members_that_were_not_asked_do_not_count_as_lost() -> None:
    case = WRONG["etcd-quorum"](healthy())
    seen = {name: one for name, one in case.machines.items() if name in ("front", "three")}
    assert "etcd-quorum" not in [one for one, _ in causes(replace(case, machines=seen))]


def test_the_certificate_that_a_kubelet_renewed_is_taken_away_not_replaced() -> None:
    case = certificate(healthy(), "three", KUBELET_CLIENT, not_after=YESTERDAY)
    [cause] = diagnose(examine(RULES, played.evidence(case)), RULES)
    remove = f"rm {KUBELET_CLIENT} && systemctl restart kubelet.service"
    assert cause.fix == (f"hardway ssh three -- sudo sh -c \"'{remove}'\"",)


def test_an_intermediate_of_the_operators_is_no_stranger() -> None:
    """Its own issuer is above the cluster, on machines and in what is trusted; it signs what it signed before."""
    case = healthy()
    [ca] = case.trusted["ca.crt"]
    above = replace(ca, authority_key_id="00", issuer="CN=Root")
    for path in ("ca.crt", "ca-signing.crt", "ca-bundle.crt"):
        case = entry(case, "one", "certificates", f"{PKI}/{path}", above)
    case = replace(case, trusted={**case.trusted, "ca.crt": (above,)})
    assert causes(case) == []
    without = replace(case, trusted={**case.trusted, "ca.crt": (replace(above, subject_key_id=None),)})
    assert causes(without) == []


def test_a_certificate_of_the_future_is_told_as_such() -> None:
    ahead = datetime.fromtimestamp(played.NOW, UTC) + timedelta(days=1)
    case = certificate(healthy(), "three", f"{PKI}/kubelet.crt", not_before=ahead)
    [cause] = diagnose(examine(RULES, played.evidence(case)), RULES)
    assert cause.what == "the certificate kubelet.crt is not valid yet"


def test_commands_say_sudo_where_the_user_is_not_root() -> None:
    evidence = played.evidence(WRONG["swap-on"](healthy()))
    machines = tuple(replace(one, ssh=replace(one.ssh, user="ops")) for one in evidence.cluster.machines)
    evidence = replace(evidence, cluster=replace(evidence.cluster, machines=machines))
    [cause] = diagnose(examine(RULES, evidence), RULES)
    assert cause.fix[0] == "hardway ssh three -- sudo swapoff -a"


def test_a_firewall_that_accepts_pods_may_drop_the_rest() -> None:
    case = on(_forward_drop(healthy()), "three", accepts=("ip saddr 10.200.0.0/16 accept # handle 3",))
    assert causes(case) == []


def test_a_program_that_is_not_the_declared_one_is_why_it_dies() -> None:
    drift = Drift("three", "workers", "binary:/usr/local/bin/kube-proxy", "update", "sha256:1 is not accepted")
    case = replace(crashing(healthy(), "three", "kube-proxy", "code=killed", status=11), drift=(drift,))
    assert causes(case) == [("unit-exec", ("three",))]


def test_ranges_and_sets_of_ports_are_understood() -> None:
    for text in ("tcp dport { 22, 2380 } drop", "tcp dport 2000-3000 counter packets 0 bytes 0 drop"):
        case = on(_dropped(healthy()), "three", filters=(Filter("inet", "t", "c", 2, text),))
        assert causes(case) == [("firewall-port", ("three",))]


@pytest.mark.parametrize("text", ["tcp dport 2380 drop", "ip saddr != 10.249.0.0/24 tcp dport { 2379, 2380 } drop"])
def test_a_rule_that_keeps_only_strangers_out_is_no_cause(text: str) -> None:
    assert causes(on(healthy(), "three", filters=(Filter("inet", "company", "guard", 2, text),))) == []


def test_where_nobody_else_was_asked_a_rule_without_exceptions_is_believed() -> None:
    case = on(healthy(), "three", filters=(Filter("inet", "company", "guard", 2, "tcp dport 2380 drop"),))
    alone = replace(case, machines={"three": case.machines["three"]})
    assert causes(alone) == [("firewall-port", ("three",))]
    excepting = Filter("inet", "company", "guard", 2, "ip saddr != 10.249.0.0/24 tcp dport 2380 drop")
    assert causes(on(alone, "three", filters=(excepting,))) == []


def test_no_cause_explains_what_explains_it() -> None:
    causing = {rule.id: (rule.explains | rule.reaches) - {rule.id} for rule in RULES}
    behind: dict[str, set[str]] = {}
    while leaves := {name for name, effects in causing.items() if effects <= behind.keys() and name not in behind}:
        behind |= {name: set(causing[name]) for name in leaves}
    assert causing.keys() - behind.keys() == set()


def test_a_disk_is_full_also_where_systemd_says_nothing() -> None:
    assert causes(on(_full(healthy()), "three", units={}))[0] == ("disk-full", ("three",))


def test_data_that_differs_is_made_anew_before_its_alarm_is_taken_away() -> None:
    fix = diagnose(examine(RULES, played.evidence(_corrupt(healthy()))), RULES)[0].fix
    done = [next(word for word in ("remove", "add", "rm -rf", "disarm") if word in one) for one in fix]
    assert done == ["remove", "add", "rm -rf", "disarm"]


def test_every_fault_of_the_lab_names_a_rule_that_is_asked() -> None:
    assert {one.rule for one in FAULTS} <= {rule.id for rule in CAUSES}


def test_every_cause_has_a_fault_or_a_reason_why_not() -> None:
    made = {one.rule for one in FAULTS}
    assert made.isdisjoint(NOT_IN_A_LAB)
    assert made | set(NOT_IN_A_LAB) == {rule.id for rule in (*CAUSES, *(r for r in RULES if r.id == "clock"))}


def test_at_least_25_causes_are_known() -> None:
    assert len(CAUSES) >= 25


def test_the_service_address_fault_has_the_name_that_explanations_cite() -> None:
    assert "service-ip-san" in {one.name for one in FAULTS}
    assert len({one.name for one in FAULTS}) == len(FAULTS)


def table() -> str:
    """The causes as the page on troubleshooting lists them."""
    faults: dict[str, list[str]] = {}
    for one in FAULTS:
        faults.setdefault(one.rule, []).append(f"`{one.name}`")
    rows = [f"| `{rule.id}` | {rule.why} | {', '.join(faults.get(rule.id, []))} |" for rule in CAUSES]
    return "\n".join(["| cause | why it matters | `hardway lab break` |", "|---|---|---|", *rows])


PAGE = Path(hardway.__file__).parents[1] / "docs" / "operate" / "troubleshooting.md"
MARKS = ("<!-- causes: python tests/unit/test_doctor_rules.py -->\n", "\n<!-- end of causes -->")


def test_the_documentation_lists_every_cause() -> None:
    assert PAGE.read_text().partition(MARKS[0])[2].partition(MARKS[1])[0] == table()


if __name__ == "__main__":
    head, _, rest = PAGE.read_text().partition(MARKS[0])
    PAGE.write_text(f"{head}{MARKS[0]}{table()}{MARKS[1]}{rest.partition(MARKS[1])[2]}")
