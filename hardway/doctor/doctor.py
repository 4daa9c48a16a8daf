"""Why does it not work? Everything that can be seen of a cluster, and what the rules make of it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from hardway.declare import pki
from hardway.declare.generations import CAS
from hardway.declare.network import flows
from hardway.declare.resources import Present
from hardway.declare.resources.files import Stat
from hardway.doctor.diagnosis import Cause, diagnose
from hardway.doctor.effects import RULES as EFFECTS
from hardway.doctor.registry import RULES
from hardway.engine.pending import in_inventory, in_words, pending
from hardway.engine.plan import Plan
from hardway.engine.prove import prove
from hardway.engine.session import Session
from hardway.errors import HardwayError
from hardway.events import Proved
from hardway.inventory.model import Cluster
from hardway.preview.plan import Preview
from hardway.probe.script import understood
from hardway.probe.symptoms import Drift, Mismatch, Objects, Snapshot, Symptoms
from hardway.probe.symptoms_answer import objects, parse
from hardway.probe.symptoms_probe import OBJECTS, questions
from hardway.rules import Evidence, examine
from hardway.state import State


@dataclass(frozen=True)
class Diagnosis:
    """`looked` are the machines that answered. Proofs are asked only where no cause was found; `failed` do not hold."""

    cluster: str
    machines: tuple[str, ...]
    looked: tuple[str, ...]
    rules: int
    causes: tuple[Cause, ...]
    asked: int = 0
    failed: tuple[Proved, ...] = ()

    @property
    def found(self) -> bool:
        return bool(self.causes or self.failed)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def diagnosed(session: Session, found: Plan, plan: Preview, off: Collection[str], absent: Collection[str]) -> Diagnosis:
    """Looks at every machine once more, and at the API through one server that is ready.

    `off` are machines of a lab that do not run, `absent` those of them that were never made.
    """
    evidence = Evidence(
        session.cluster,
        facts={name: view.facts for name, view in found.views.items()},
        clock=found.now.timestamp(),
        snapshot=look(session, found, plan, off, absent),
    )
    findings = [one for one in examine(RULES, evidence) if one.level == "error"]
    causes = diagnose(findings, RULES)
    proofs: Sequence[Proved] = ()
    if not causes:
        asked = [one for one in found.declaration.proofs if one[0] in found.phases and one[1].machine in found.views]
        proofs = prove(session, asked)
    return Diagnosis(
        session.cluster.name,
        plan.machines,
        tuple(found.views),
        sum("symptoms" in rule.needs for rule in RULES if rule not in EFFECTS),
        causes,
        len(proofs),
        tuple(one for one in proofs if not one.holds),
    )


def look(session: Session, found: Plan, plan: Preview, off: Collection[str], absent: Collection[str]) -> Snapshot:
    """All symptoms, of the machines that were seen."""
    cluster = session.cluster
    dials = flows.dials(cluster)
    answers = session.each(found.views, lambda name: _ask(session, cluster, name, dials[name]))
    machines = {name: one for name, one in answers.items() if isinstance(one, Symptoms)}
    lost = {name: one for name, one in answers.items() if isinstance(one, HardwayError)}
    return Snapshot(
        machines=machines,
        unreached={name: _said(error) for name, error in {**found.failures, **lost}.items()},
        off=frozenset(off),
        absent=frozenset(absent),
        drift=tuple(_drift(found, plan)),
        objects=_objects(session, cluster, machines),
        trusted=_trusted(found.operator, found.state),
        mismatches=tuple(_mismatches(session)),
        now=median([view.facts.clock for view in found.views.values()] or [found.now.timestamp()]),
    )


def _mismatches(session: Session) -> Iterator[Mismatch]:
    """What waits in the inventory, as something to edit there."""
    where = session.cluster.path
    # As the last run wrote it: a plan's State has no nodes but those of the inventory.
    state = session.workspace.load_state()
    if state is None:
        return
    for one in pending(session.cluster, state):
        what, back = in_words(one)
        fix = f"edit {where}: {back[0].lower()}{back[1:].rstrip('.')}"
        if one.kind == "removed":
            node = state.nodes[one.subject]
            fix = (
                f"edit {where}: put it back below machines, as {one.subject}: "
                f"{{role: [{', '.join(node.roles)}], address: {node.address}}}"
            )
        if one.kind == "new-controller" and one.command:
            fix = f"{one.command}; or {fix}"
        seen = f"{one.subject}: {one.have or 'nothing'} in the running cluster, {one.want or 'nothing'} in {where.name}"
        yield Mismatch("" if in_inventory(one) else one.subject, what, seen, fix)


def _ask(session: Session, cluster: Cluster, name: str, dials: Sequence[tuple[str, int]]) -> Symptoms | HardwayError:
    try:
        said = session.ask(name, questions(cluster, cluster.machine(name), dials), what="ask what could be wrong")
        with understood(name, "doctor"):
            return parse(said)
    except HardwayError as error:
        return error


def _objects(session: Session, cluster: Cluster, machines: Mapping[str, Symptoms]) -> Objects | None:
    for controller in cluster.controllers:
        if controller.name in machines and "readyz check passed" in machines[controller.name].readyz:
            try:
                said = session.ask(controller.name, OBJECTS, what="ask the API")
                with understood(controller.name, "API objects"):
                    found = objects(said, controller.name)
            except HardwayError:
                continue
            if found:
                return found
    return None


def _drift(found: Plan, plan: Preview) -> Iterator[Drift]:
    diffs = {(item.machine, item.key): item.diff for item in plan.items}
    for one in found.changes:
        diff = diffs.get((one.machine, one.key), ())
        view = found.views[one.machine]
        seen, entry = view.observed.get(one.key), view.journal.entries.get(one.key, {})
        there = seen.value.digest if isinstance(seen, Present) and isinstance(seen.value, Stat) else None
        as_written = there is not None and there == entry.get("digest")
        yield Drift(one.machine, one.phase, one.key, one.difference.verb, one.difference.why, diff, as_written)


def _trusted(operator: Mapping[str, bytes], state: State) -> dict[str, tuple[pki.Certificate, ...]]:
    found = {}
    for ca in CAS:
        there = [pki.read(operator[path]) for path in ca.trusted(state) if path in operator]
        found[f"{ca.path.removeprefix('pki/')}.crt"] = tuple(there)
    return found


def _said(error: HardwayError) -> str:
    return "; ".join(filter(None, (error.what, (error.said or "").strip())))
