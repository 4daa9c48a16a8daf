"""A chapter as a person types it who has the rendered files, and what each proof prints: for the documentation."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from hardway.declare.declaration import Declaration
from hardway.declare.phases.base import Model, Proof
from hardway.declare.resources import File
from hardway.explain.shell import gone, passing, renamed, sources_of
from hardway.explain.shell.local import local_lines
from hardway.explain.shell.machines import actions, typed_lines
from hardway.explain.shell.prelude import ARCH
from hardway.explain.shell.words import Names, document, variables
from hardway.values import placeholders

RENDERED = "artifacts"
"""Where `hardway render` has put every file of every machine, below the workspace."""
_PROVE = re.compile(r"(?P<indent> *)prove (?P<who>\S+) .*?(?P<mark><<'?(?P<end>\w+)'?)$")
_PRINTS = {
    "equals": "# prints: {}",
    "contains": "# prints, among other things: {}",
    "starts-with": "# what it prints begins with: {}",
    "succeeds": "# status 0",
}


def by_hand(model: Model, declaration: Declaration, phase: str) -> list[str]:
    """All that is typed for a chapter, in the workspace's folder; files come from the rendered tree.

    What a file says only once a machine is known is typed out. What each step waits for is a loop.
    """
    mine = declaration.of(phase)
    names: dict[str, Names] = {}
    for machine in model.cluster.machines:
        names[machine.name] = Names(machine.name, str(machine.ip), str(machine.pod_cidr or ""))
    placed = renamed(mine.placed, model.cluster.name)
    lines = local_lines(phase, [one for _, one in mine.local], model.cluster) if mine.local else []
    lines += _waiting(typed_lines(phase, actions(placed, sources_of(declaration), names, rendered(mine))))
    first_only = passing(model, declaration)
    lines += gone([one for one in placed if (one.machine, one.resource.key) in first_only])
    functions = [ARCH] if any("arch_of" in line for line in lines) else []
    whole = [*functions, *variables(list(names.values()), lines), *lines]
    return "\n".join(whole).strip("\n").split("\n") if whole else []


def rendered(declared: Declaration) -> dict[tuple[str, str], str]:
    """Files that say the same before any machine is known, where `hardway render` has put them."""
    found: dict[tuple[str, str], str] = {}
    for one in declared.placed:
        if isinstance(one.resource, File) and not any(placeholders(one.resource.text)):
            found[one.machine, one.resource.key] = f"{RENDERED}/{one.machine}{one.resource.path}"
    return found


def expected(declaration: Declaration, phase: str) -> Iterator[str]:
    """Each question of the chapter, once, as it is typed, and what it prints."""
    told: set[str] = set()
    for _, proof in declaration.of(phase).proofs:
        if proof.name not in told:
            told.add(proof.name)
            yield from _question(proof)


def _question(proof: Proof) -> Iterator[str]:
    mark, *text = document(f"{proof.query}\n")
    yield f"# {proof.name}"
    yield f"ssh {proof.machine} sh {mark}"
    yield from text
    yield _PRINTS[proof.expectation].format(proof.expected or "(nothing)")


def _waiting(lines: Sequence[str]) -> Iterator[str]:
    """With a plain loop in place of the script's `prove`."""
    end = indent = ""
    for line in lines:
        if found := _PROVE.match(line):
            end, indent = found["end"], found["indent"]
            yield f"{indent}until ssh {found['who']} sh >/dev/null 2>&1 {found['mark']}"
            continue
        yield line
        if end and line == end:
            yield f"{indent}do sleep 1; done"
            end = ""
