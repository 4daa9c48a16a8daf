"""Commands that can be typed as they are printed, and what several causes look up."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping

from hardway.declare.phases import PHASE_NAMES
from hardway.engine.blockers import as_root
from hardway.inventory.model import Machine
from hardway.probe.symptoms import Drift, Snapshot, Symptoms
from hardway.rules import Evidence, Need

SYMPTOMS: frozenset[Need] = frozenset({"symptoms"})

HERE = frozenset(
    {
        "unit-failing", "etcd-member-down", "api-not-ready", "node-not-ready", "node-missing", "port-blocked", "drift",
    }
)  # fmt: skip
"""What any cause brings about on its own machine."""
WORKER = frozenset({"dns-unready"})
"""What a broken worker brings about elsewhere."""
CONTROLLER = WORKER | {
    "etcd-quorum", "etcd-member-down", "api-not-ready", "node-not-ready", "unit-failing", "endpoint-unreachable",
    "address-on-none",
}  # fmt: skip
"""What a broken controller or balancer brings about elsewhere."""

AGAIN = 2
"""Restarts by systemd after which a unit is taken for one that does not stay up."""


def snapshot(evidence: Evidence) -> Snapshot:
    """The snapshot of evidence that has one."""
    assert evidence.snapshot is not None  # rules that need symptoms are asked only where they are
    return evidence.snapshot


def seen(evidence: Evidence, role: str = "") -> Iterator[tuple[Machine, Symptoms]]:
    """Machines that answered, of one role or of all, in inventory order."""
    for machine in evidence.cluster.machines:
        if machine.name in snapshot(evidence).machines and (not role or role in machine.roles):
            yield machine, snapshot(evidence).machines[machine.name]


def drifts(evidence: Evidence, machine: Machine) -> list[Drift]:
    return [one for one in snapshot(evidence).drift if one.machine == machine.name]


def differs(evidence: Evidence, machine: Machine, path: str) -> bool:
    """Whether a file there is not as it is declared."""
    return any(one.path == path for one in drifts(evidence, machine))


def waiting(evidence: Evidence, machine: Machine) -> set[str]:
    """The phases in which a unit that runs here would be restarted, though it is down on another machine.

    Nothing here is the cause of that, and nothing that stops this one helps.
    """
    here = snapshot(evidence).machines.get(machine.name)
    phases: set[str] = set()
    for one in drifts(evidence, machine):
        name = one.path.removesuffix(".service")
        if not one.key.startswith("service:") or one.verb != "restart" or here is None:
            continue
        states = [there.units.get(name) for other, there in seen(evidence) if other is not machine]
        runs = name in here.units and here.units[name].runs
        # systemd calls one active, too, that ends again in a moment.
        if runs and any(state and (not state.runs or state.restarts > AGAIN) for state in states):
            phases.add(one.phase)
    return phases


def apply(evidence: Evidence, machine: Machine, *phases: str) -> str:
    """The run that puts right these chapters, and what else differs on the machine and may be brought there now."""
    left = waiting(evidence, machine)
    return apply_only(machine, {*phases, *(one.phase for one in drifts(evidence, machine) if one.phase not in left)})


def apply_only(machine: Machine, phases: Collection[str]) -> str:
    """The run that puts right these chapters, and nothing else."""
    return f"hardway apply {' '.join(name for name in PHASE_NAMES if name in phases)} -l {machine.name}"


def on(machine: Machine, script: str) -> str:
    """One line of shell, as root on a machine: with sudo, unless the login user is known to be root."""
    is_script = any(sign in script for sign in "&|;<>$'\"(){}*")
    if is_script:
        script = shlex.quote(script) if machine.ssh.sudo == "never" else f"sh -c {_twice(script)}"
    return as_root(machine, script)


def _twice(script: str) -> str:
    """Quoted for the shell here and for the one there, which ssh hands its words to."""
    word = shlex.quote(script)
    return shlex.quote(word) if any(sign in word for sign in '$"`\\!') else f'"{word}"'


def start(machine: Machine, *units: str) -> str:
    return on(machine, f"systemctl start {' '.join(f'{unit}.service' for unit in units)}")


def odd_ones(values: Mapping[str, str]) -> set[str]:
    """Names whose value is not what most have; nobody where there is no majority to differ from."""
    counted = Counter(value for value in values.values() if value)
    if len(counted) < 2:
        return set()
    usual, count = counted.most_common(1)[0]
    return {name for name, value in values.items() if value and value != usual} if count * 2 > len(values) else set()


def lines(*texts: str | Iterable[str]) -> tuple[str, ...]:
    """Evidence: texts, and groups of texts, without the empty ones."""
    found: list[str] = []
    for text in texts:
        found += [text] if isinstance(text, str) else text
    return tuple(one for one in found if one)
