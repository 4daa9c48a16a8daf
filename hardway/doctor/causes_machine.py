"""Causes below everything else: a machine that is off or full, or whose kernel is not as Kubernetes needs it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from itertools import product

from hardway.doctor.remedies import (
    CONTROLLER,
    HERE,
    SYMPTOMS,
    WORKER,
    apply,
    apply_only,
    drifts,
    lines,
    on,
    seen,
    snapshot,
    waiting,
)
from hardway.probe.symptoms import Space
from hardway.probe.symptoms_probe import BRIDGED, FORWARDING, FULL, units
from hardway.probe.units import UnitState
from hardway.rules import Evidence, Found, Rule

UNITS_ELSEWHERE = {"etcd-quorum", "etcd-member-down", "api-not-ready", "unit-failing"}
"""What a difference on one machine never explains on another one: a unit that is down there has a cause there."""
NEEDED = 64 * 1024
"""KiB that must be free: etcd makes its next log of 64 MB before it needs it."""


def inventory(evidence: Evidence) -> Iterator[Found]:
    for one in snapshot(evidence).mismatches:
        yield Found(one.machine or "inventory", one.what, f"{one.fix}\nhardway plan", (one.seen,))


def unreachable(evidence: Evidence) -> Iterator[Found]:
    for name, said in snapshot(evidence).unreached.items():
        if name in snapshot(evidence).absent:
            yield Found(name, "the lab never made this machine", "hardway lab up", lines(said))
        elif name in snapshot(evidence).off:
            yield Found(name, "the machine is switched off", f"hardway lab power-on {name}", lines(said))
        else:
            yield Found(name, "the machine cannot be reached", f"hardway preflight -l {name}", lines(said))


def full_disks(evidence: Evidence) -> Iterator[Found]:
    for machine, there in seen(evidence):
        full = [one for one in there.spaces if (one.free < NEEDED and _used(one) >= FULL) or one.free_inodes < 1]
        root_size = {one.size for one in full if one.path == "/"}
        for one in full:
            if one.path == "/" or one.size not in root_size:
                holder = one.holder[0] if one.holder else ""
                script = f"rm {shlex.quote(holder)}" if holder else f"du -xah {shlex.quote(one.path)} | sort -h | tail"
                remove = on(machine, script)
                states = {unit: there.units.get(unit, UnitState()) for unit in units(evidence.cluster, machine)}
                again = [unit for unit, state in states.items() if not state.runs]
                restart = [on(machine, f"systemctl restart {' '.join(f'{unit}.service' for unit in again)}")]
                yield Found(
                    machine.name,
                    f"the disk of {one.path} is full",
                    "\n".join([remove, *(restart if again else [])]),
                    lines(
                        f"{one.path}: {one.free} KiB free of {one.size}, {one.free_inodes}% of its inodes",
                        f"the largest file there that no component keeps: {holder}, {one.holder[1]} KiB"
                        if one.holder
                        else "",
                        *(state.said("no space left", "No space left") for state in states.values()),
                    ),
                )


def _used(space: Space) -> float:
    return 100 * (1 - space.free / space.size) if space.size else 0


def swap(evidence: Evidence) -> Iterator[Found]:
    for machine, there in seen(evidence):
        if there.swap and (machine.is_controller or machine.is_worker):
            fix = "\n".join([on(machine, "swapoff -a"), apply(evidence, machine, "hosts")])
            yield Found(machine.name, "swap is in use", fix, there.swap)


def bridged_packets(evidence: Evidence) -> Iterator[Found]:
    for (machine, there), family in product(seen(evidence, "worker"), evidence.cluster.network.families):
        value = there.sysctls.get(BRIDGED[family], "")
        if there.sysctls and value != "1":
            what = "packets between pods of this node pass its firewall by" if value else "br_netfilter is not loaded"
            yield Found(
                machine.name, what, apply(evidence, machine, "hosts"),
                lines(f"{BRIDGED[family].replace('/', '.')} = {value or '(not there)'}"),
            )  # fmt: skip


def forwarding(evidence: Evidence) -> Iterator[Found]:
    for (machine, there), family in product(seen(evidence, "worker"), evidence.cluster.network.families):
        if there.sysctls.get(FORWARDING[family]) == "0":
            yield Found(
                machine.name, "the kernel forwards nothing: no packet of a pod leaves or enters the node",
                apply(evidence, machine, "hosts"), lines(f"{FORWARDING[family].replace('/', '.')} = 0"),
            )  # fmt: skip


def names(evidence: Evidence) -> Iterator[Found]:
    if evidence.cluster.hosts.resolve != "etc-hosts":
        return
    for machine, there in seen(evidence):
        wrong = [
            f"{other.name}: {there.names[other.name] or 'not known'}, not {other.ip}"
            for other in evidence.cluster.machines
            if other.name in there.names and there.names[other.name] != str(other.ip)
        ]
        if wrong:
            what = "it does not know the other machines by name, or leads to the wrong ones"
            yield Found(machine.name, what, apply(evidence, machine, "hosts"), lines(wrong))


def hostname(evidence: Evidence) -> Iterator[Found]:
    if evidence.cluster.hosts.hostname != "set":
        return
    for machine, there in seen(evidence):
        if there.hostname and there.hostname != machine.name:
            yield Found(
                machine.name, "its host name is not its name in the inventory", apply(evidence, machine, "hosts"),
                lines(f"uname -n: {there.hostname}"),
            )  # fmt: skip


def drift(evidence: Evidence) -> Iterator[Found]:
    for machine in evidence.cluster.machines:
        left = waiting(evidence, machine)
        mine = [
            one for one in drifts(evidence, machine) if not one.key.startswith("service:") and one.phase not in left
        ]
        if mine:
            things = "1 thing is" if len(mine) == 1 else f"{len(mine)} things are"
            told: list[str] = []
            for one in mine:
                told += [f"{one.path}: {one.why}", *one.diff]
            why = "changed by hand, or by another tool"
            if all(one.as_written for one in mine):
                why = "as the last run left it; the inventory says something else now"
            yield Found(
                machine.name, f"{things} not as declared: {why}",
                apply_only(machine, {one.phase for one in mine}), lines(told),
            )  # fmt: skip


RULES = (
    Rule(
        "inventory-differs", SYMPTOMS, inventory,
        "hardway refuses every run until the inventory is what the cluster is, or a command made it so", "",
        layer="inventory", refuses=True,
    ),
    Rule(
        "machine-unreachable", SYMPTOMS, unreachable,
        "what runs there is lost to the cluster until it is back, and nobody can look at it", "",
        explains=HERE, reaches=CONTROLLER,
    ),
    Rule(
        "disk-full", SYMPTOMS, full_disks, "etcd stops at the first write that fails, and the kubelet evicts pods", "",
        explains=HERE | {"unit-stopped", "etcd-wiped"}, reaches=CONTROLLER,
    ),
    Rule("swap-on", SYMPTOMS, swap, "the kubelet does not start while swap is in use", "", explains=HERE,
         reaches=WORKER),
    Rule(
        "bridge-netfilter", SYMPTOMS, bridged_packets,
        "a pod that calls a Service whose pod is on the same node gets no answer: the reply is not translated back", "",
        explains=HERE, reaches=WORKER,
    ),
    Rule("ip-forward", SYMPTOMS, forwarding, "a worker is the router of its pods", "", explains=HERE, reaches=WORKER),
    Rule(
        "hosts-names", SYMPTOMS, names, "certificates and components name machines; each must lead to one address", "",
        explains=HERE, reaches=CONTROLLER,
    ),
    Rule(
        "wrong-hostname", SYMPTOMS, hostname, "logs, leases and prompts name the machine by it", "",
        explains=HERE | {"foreign-node-name"}, reaches=WORKER,
    ),
)  # fmt: skip
DRIFT = Rule(
    "drift", SYMPTOMS, drift, "what is not as declared is the first thing to put right before anything is looked for",
    "", layer="control plane", explains=HERE - {"drift", "port-blocked"}, reaches=CONTROLLER - UNITS_ELSEWHERE,
)  # fmt: skip
