"""What a person would type to have a cluster, or a part of it: one bash script, made from the declaration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hardway.declare.declaration import Declaration, declare
from hardway.declare.phases import PHASE_NAMES, phase
from hardway.declare.phases.base import Model, Placed
from hardway.declare.phases.etcd import TOKEN
from hardway.declare.resources import Binary, File, Image, Local, Service
from hardway.explain.shell.artifacts import artifact_lines
from hardway.explain.shell.local import local_lines
from hardway.explain.shell.machines import actions, proof_lines, typed_lines
from hardway.explain.shell.prelude import ARCH, PROVE, prelude
from hardway.explain.shell.words import Names, Who, quoted, variables
from hardway.inventory.model import Cluster


@dataclass(frozen=True)
class Part:
    """What a script is of. Proofs are asked for whole chapters: a single thing often proves nothing alone."""

    title: str
    phases: tuple[str, ...]
    declared: Declaration


def whole(declaration: Declaration) -> Part:
    """The cluster."""
    return Part("the whole cluster", PHASE_NAMES, declaration)


def of_chapter(declaration: Declaration, name: str) -> Part:
    """One chapter; raises UsageError where there is none of that name."""
    return Part(f"{name}: {phase(name).title}", (name,), declaration.of(name))


def of_thing(title: str, phase: str, placed: tuple[Placed, ...], local: tuple[Local, ...]) -> Part:
    """One thing of a chapter, on machines and in the workspace."""
    return Part(title, (phase,), Declaration(placed, tuple((phase, one) for one in local)))


def script(model: Model, declaration: Declaration, part: Part, *, workspace: Path) -> str:
    """A part of what is declared as bash, to be run on the operator's computer by somebody who may reach the machines.

    `declaration` is that of `model`. It writes the workspace's own layout, so what was typed is found again. Secrets
    are in none of it: it makes them, or reads them from the workspace's files.
    """
    cluster = model.cluster
    names = {m.name: Names(m.name, str(m.ip), str(m.pod_cidr or "")) for m in cluster.machines}
    head = prelude(model, f"{cluster.name}, {part.title}", workspace, first=PHASE_NAMES[0] in part.phases)
    resources = part.declared.resources
    kinds = {one.kind for one in resources}
    lines: list[str] = []
    if kinds & {Binary.kind, Image.kind}:
        lines.append(ARCH)
    if part.declared.proofs or Service.kind in kinds:
        lines.append(PROVE)
    lines += artifact_lines(cluster, resources)
    sources = sources_of(declaration)
    only_first = passing(model, declaration)
    for name in part.phases:
        mine = part.declared.of(name)
        placed = renamed(mine.placed, cluster.name)
        lines += ["", "", f"# {name}: {phase(name).why}"]
        lines += local_lines(name, [one for _, one in mine.local], cluster)
        lines += typed_lines(name, actions(placed, sources, names))
        lines += gone([one for one in placed if (one.machine, one.resource.key) in only_first])
        if mine.proofs:
            lines += ["", *proof_lines([proof for _, proof in mine.proofs], names)]
    tables = variables(list(names.values()), lines)
    return "\n".join([*head, *([""] if tables else []), *tables, *lines]) + "\n"


def commands(
    cluster: Cluster, declaration: Declaration, phase: str, placed: Sequence[Placed], local: Sequence[Local]
) -> list[str]:
    """What is typed for these things of a chapter, and nothing before it; `ssh` stands for `ssh -F ssh_config`."""
    named = renamed(placed, cluster.name)
    names = {machine.name: Names(machine.name) for machine in cluster.machines}
    lines = local_lines(phase, local, cluster) + typed_lines(phase, actions(named, sources_of(declaration), names))
    return lines[1:] if lines[:1] == [""] else lines


def sources_of(declaration: Declaration) -> dict[str, str]:
    """Files of the workspace by their text."""
    return {one.text: one.path for _, one in declaration.local if one.kind == "workspace-file"}  # type: ignore[attr-defined]


def renamed(placed: Sequence[Placed], cluster: str) -> list[Placed]:
    """With the cluster's name for the token of a new etcd, which hardway draws by lot."""
    found: list[Placed] = []
    for one in placed:
        resource = one.resource
        if isinstance(resource, File) and TOKEN in resource.text:
            resource = replace(resource, text=resource.text.replace(TOKEN, cluster))
        found.append(replace(one, resource=resource))
    return found


def passing(model: Model, declaration: Declaration) -> set[tuple[str, str]]:
    """What exists for an etcd's first start only."""
    initialized = declare(replace(model, state=replace(model.state, etcd="initialized")))
    return declaration.keys - initialized.keys


def gone(placed: list[Placed]) -> list[str]:
    machines: dict[str, list[str]] = {}
    for one in placed:
        machines.setdefault(one.resource.name, []).append(one.machine)
    lines: list[str] = []
    for name, having in machines.items():
        who = Who(tuple(having))
        lines += ["", "# of the first start only: never again", *who.loop([f"ssh {who.word} {quoted(f'rm {name}')}"])]
    return lines
