"""What a person would type to have a cluster, or a part of it: one bash script, made from the declaration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hardway.declare.declaration import Declaration, declare
from hardway.declare.phases import PHASES, phase
from hardway.declare.phases.base import Model, Placed, Proof
from hardway.declare.resources import Binary, File, Image, Local, Resource
from hardway.engine.guards import TOKEN
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
    placed: tuple[Placed, ...]
    local: tuple[tuple[str, Local], ...]
    proofs: tuple[tuple[str, Proof], ...] = ()


def whole(declaration: Declaration) -> Part:
    """The cluster."""
    names = tuple(one.name for one in PHASES)
    return Part("the whole cluster", names, declaration.placed, declaration.local, declaration.proofs)


def of_chapter(declaration: Declaration, name: str) -> Part:
    """One chapter; raises UsageError where there is none of that name."""
    title = f"{name}: {phase(name).title}"
    return Part(
        title,
        (name,),
        tuple(one for one in declaration.placed if one.phase == name),
        tuple(one for one in declaration.local if one[0] == name),
        tuple(one for one in declaration.proofs if one[0] == name),
    )


def of_thing(title: str, phase: str, placed: tuple[Placed, ...], local: tuple[Local, ...]) -> Part:
    """One thing of a chapter, on machines and in the workspace."""
    return Part(title, (phase,), placed, tuple((phase, one) for one in local))


def script(model: Model, declaration: Declaration, part: Part, *, workspace: Path) -> str:
    """A part of what is declared as bash, to be run on the operator's computer by somebody who may reach the machines.

    `declaration` is that of `model`. It writes the workspace's own layout, so what was typed is found again. Secrets
    are in none of it: it makes them, or reads them from the workspace's files.
    """
    cluster = model.cluster
    first = PHASES[0].name in part.phases
    part = replace(part, placed=tuple(replace(one, resource=_named(one.resource, cluster.name)) for one in part.placed))
    resources = [one.resource for one in part.placed]
    names = {m.name: Names(m.name, str(m.ip), str(m.pod_cidr or "")) for m in cluster.machines}
    head = prelude(model, f"{cluster.name}, {part.title}", workspace, first=first)
    lines: list[str] = []
    if any(isinstance(one, Binary | Image) for one in resources):
        lines.append(ARCH)
    if part.proofs or any(one.kind == "service" for one in resources):
        lines.append(PROVE)
    lines += artifact_lines(cluster, resources)
    sources = _sources(declaration)
    passing = _passing(model, declaration)
    for name in part.phases:
        lines += ["", "", f"# {name}: {phase(name).why}"]
        placed = [one for one in part.placed if one.phase == name]
        lines += local_lines(name, [one for of, one in part.local if of == name], cluster)
        lines += typed_lines(name, actions(placed, sources, names))
        lines += _gone([one for one in placed if (one.machine, one.resource.key) in passing])
        proofs = [proof for of, proof in part.proofs if of == name]
        lines += ["", *proof_lines(proofs, names)] if proofs else []
    tables = variables(list(names.values()), lines)
    return "\n".join([*head, *([""] if tables else []), *tables, *lines]) + "\n"


def commands(
    cluster: Cluster, declaration: Declaration, phase: str, placed: Sequence[Placed], local: Sequence[Local]
) -> list[str]:
    """What is typed for these things of a chapter, and nothing before it; `ssh` stands for `ssh -F ssh_config`."""
    named = [replace(one, resource=_named(one.resource, cluster.name)) for one in placed]
    names = {machine.name: Names(machine.name) for machine in cluster.machines}
    lines = local_lines(phase, local, cluster) + typed_lines(phase, actions(named, _sources(declaration), names))
    return lines[1:] if lines[:1] == [""] else lines


def _sources(declaration: Declaration) -> dict[str, str]:
    """Files of the workspace by their text."""
    return {one.text: one.path for _, one in declaration.local if one.kind == "workspace-file"}  # type: ignore[attr-defined]


def _named(resource: Resource, cluster: str) -> Resource:
    """A person draws no lots: the token of a new etcd is the cluster's name."""
    if isinstance(resource, File) and TOKEN in resource.text:
        return replace(resource, text=resource.text.replace(TOKEN, cluster))
    return resource


def _passing(model: Model, declaration: Declaration) -> set[tuple[str, str]]:
    """What is there for an etcd's first start only."""
    formed = declare(replace(model, state=replace(model.state, etcd="formed")))
    staying = {(one.machine, one.resource.key) for one in formed.placed}
    return {(one.machine, one.resource.key) for one in declaration.placed} - staying


def _gone(placed: list[Placed]) -> list[str]:
    lines: list[str] = []
    for name in dict.fromkeys(one.resource.name for one in placed):
        who = Who(tuple(one.machine for one in placed if one.resource.name == name))
        lines += ["", "# of the first start only: never again", *who.loop([f"ssh {who.word} {quoted(f'rm {name}')}"])]
    return lines
