"""Taints of Node objects.

They are one list with those that Kubernetes sets and takes away by itself (`node.kubernetes.io/not-ready`), and to a
server-side apply a list of taints is one field: it would take those away, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from hardway.declare.resources.base import (
    Absent,
    Context,
    Difference,
    ManualStep,
    Observed,
    Present,
    Resource,
    Unknown,
    quote,
)

KUBECTL = "/usr/local/bin/kubectl"
KUBECONFIG = "/etc/kubernetes/admin.conf"
_KUBECTL = f"{KUBECTL} --kubeconfig={KUBECONFIG} --request-timeout=10s"
_LIST = '{range .items[*]}{.metadata.name}{"\\t"}{range .spec.taints[*]}{.key}={.value}:{.effect}{" "}{end}{"\\n"}{end}'
_TAINT = re.compile(r"[A-Za-z0-9./_-]+=[A-Za-z0-9._-]*:[A-Za-z]+")
_NODE = re.compile(r"[a-z0-9.-]+")


@dataclass(frozen=True)
class NodeTaints(Resource):
    """Taints by node, each as `key=value:Effect` (`key=:Effect` without a value). Others of a node stay.

    A node that is not there yet has none to be changed: its kubelet registers with them. What hardway noted and no
    longer declares is taken away.
    """

    kind: ClassVar[str] = "taints"
    nodes: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def name(self) -> str:
        return "nodes"

    @classmethod
    def probe(cls, wanted: Sequence[Self]) -> str:
        return (
            f"if [ -x {KUBECTL} ] && [ -s {KUBECONFIG} ]; then\n"
            f"  timeout 15 {_KUBECTL} get nodes -o jsonpath={quote(_LIST)} 2>&1 || echo @failed\n"
            "else echo @none; fi"
        )

    @classmethod
    def parse(cls, wanted: Sequence[Self], output: str) -> dict[str, Observed]:
        lines = output.splitlines()
        found: Observed
        if "@none" in lines or any("(Forbidden)" in line for line in lines):
            found = Absent()
        elif "@failed" in lines:
            found = Unknown(lines[-2] if len(lines) > 1 else "the API did not answer")
        else:
            rows = (line.partition("\t") for line in lines if "\t" in line)
            found = Present({node: frozenset(taints.split()) for node, _, taints in rows})
        return {one.key: found for one in wanted}

    def diff(self, observed: Observed, context: Context) -> Difference | None:
        """What is not noted differs, also where it is there: only what is noted can be taken away again."""
        if isinstance(observed, Unknown):
            return None
        there: Mapping[str, frozenset[str]] = observed.value if isinstance(observed, Present) else {}
        noted = _noted(context.noted.get(self.key, {}))
        said: list[str] = []
        for node, taints in self.nodes:
            said += [f"{node} gets {one}" for one in taints if one not in noted.get(node, ())]
            own = there.get(node, frozenset(taints))
            said += [f"{node} lacks {one}" for one in taints if one in noted.get(node, ()) and one not in own]
        for node, former in self._former(context).items():
            said += [f"{node} still has {one}" for one in former if one in there.get(node, ())]
        return Difference("create" if isinstance(observed, Absent) else "update", "; ".join(said)) if said else None

    def steps(self, difference: Difference, context: Context) -> str:
        lines = []
        wanted: set[tuple[str, str]] = set()
        for node, taints in self.nodes:
            wanted |= {(node, _place(one)) for one in taints}
        for node, former in self._former(context).items():
            # One with another value is written over.
            lines.append(_without(node, [one for one in former if (node, _place(one)) not in wanted]))
        for node, taints in self.nodes:
            if taints:
                lines.append(
                    f"if {_KUBECTL} get node {quote(node)} >/dev/null 2>&1; then {_KUBECTL} taint --overwrite node "
                    f"{quote(node, *taints)} >/dev/null; fi"
                )
        return "\n".join(filter(None, lines))

    def manual_steps(self) -> tuple[ManualStep, ...]:
        return tuple(
            ManualStep(f"kubectl --kubeconfig={KUBECONFIG} taint --overwrite node {quote(node, *taints)}")
            for node, taints in self.nodes
            if taints
        )

    def entry(self, observed: Observed, context: Context) -> dict[str, Any]:
        """What is declared, and what was once and is still there."""
        there: Mapping[str, frozenset[str]] = observed.value if isinstance(observed, Present) else {}
        taints: dict[str, list[str]] = {node: list(declared) for node, declared in self.nodes if declared}
        for node, former in self._former(context).items():
            left = [one for one in former if one in there.get(node, ())]
            if left:
                taints[node] = [*taints.get(node, []), *left]
        noted: list[str] = []
        for node, own in taints.items():
            noted += [f"{node} {one}" for one in own]
        return {"taints": noted}

    @classmethod
    def undo(cls, name: str, entry: Mapping[str, Any]) -> str:
        return "\n".join(filter(None, (_without(node, taints) for node, taints in _noted(entry).items())))

    def _former(self, context: Context) -> dict[str, list[str]]:
        """What hardway once put on nodes and does not declare any more, by node."""
        wanted = dict(self.nodes)
        former = {}
        for node, taints in _noted(context.noted.get(self.key, {})).items():
            left = [one for one in taints if one not in wanted.get(node, ())]
            if left:
                former[node] = left
        return former


def _noted(entry: Mapping[str, Any]) -> dict[str, list[str]]:
    """A journal's entry, as far as it can be one of hardway's."""
    found: dict[str, list[str]] = {}
    for line in entry.get("taints", ()):
        node, _, taint = line.partition(" ")
        if _NODE.fullmatch(node) and _TAINT.fullmatch(taint):
            found.setdefault(node, []).append(taint)
    return found


def _without(node: str, taints: Iterable[str]) -> str:
    """sh that takes taints from a node, which may be gone already, as they may be."""
    lines = [f"{_KUBECTL} taint node {quote(node, f'{_place(one)}-')} >/dev/null 2>&1 || true" for one in taints]
    return "\n".join(lines)


def _place(taint: str) -> str:
    """`key:Effect`: a node has one of each."""
    return f"{taint.partition('=')[0]}:{taint.rpartition(':')[2]}"
