"""A node without pods, for as long as something there is exchanged: drained within its budgets, and given back."""

from __future__ import annotations

from collections.abc import Sequence

from hardway.declare.phases.paths import ADMIN_CONF, BIN, KUBECTL
from hardway.declare.resources.base import quote
from hardway.engine.session import Session
from hardway.errors import CommandFailed, HardwayError
from hardway.events import Note

DRAIN_LIMIT = 600
READY_LIMIT = 300
"""Seconds: until all pods of a node are gone, and until those that replace them are Ready elsewhere."""
MARK = "hardway/cordoned"
"""Annotation of nodes that hardway cordoned: one that somebody else did stays so."""

_LONG = f"{BIN}/kubectl --kubeconfig={ADMIN_CONF}"

_WHOLE = f"""\
whole() {{ # KIND NAMESPACE NAME of workloads all of whose pods are ready
  listed=$({KUBECTL} get deployments,statefulsets -A -o jsonpath='{{range .items[*]}}{{.kind}} {{.metadata.namespace}} \
{{.metadata.name}} {{.spec.replicas}} {{.status.readyReplicas}}{{"\\n"}}{{end}}') || return 1
  printf '%s\\n' "$listed" | while read -r kind namespace name wanted ready; do
    [ -z "$kind" ] || [ "$wanted" != "$ready" ] || echo "$kind $namespace $name"
  done
}}
"""

_LEFT = f"""\
left() {{ # those of them that were not deleted meanwhile
  while read -r kind namespace name; do
    [ -z "$kind" ] || {KUBECTL} get "$kind/$name" -n "$namespace" -o name 2>/dev/null || :
  done
}}
"""

_BRING_BACK = f"""\
bring_back() {{ # nodes that hardway cordoned
  for node; do
    mark=$({KUBECTL} get node "$node" -o jsonpath='{{.metadata.annotations.{MARK}}}') || return 1
    [ -z "$mark" ] || {{ {KUBECTL} uncordon "$node" && {KUBECTL} annotate node "$node" {MARK}-; }} || return 1
  done
}}
"""


def evacuate(session: Session, controller: str, nodes: Sequence[str]) -> None:
    """Moves all pods but those of DaemonSets away, and waits until they are Ready elsewhere.

    Raises HardwayError where a budget forbids it for too long or pods find no other place; then pods may come back.
    """
    session.events(Note(f"draining {', '.join(nodes)}"))
    try:
        session.run(controller, _evacuate(nodes), what="drain", timeout=DRAIN_LIMIT + READY_LIMIT + 60)
    except CommandFailed as error:
        raise HardwayError(
            f"{', '.join(nodes)} cannot be drained",
            said=f"{error.said or ''}\nnothing there was changed, and pods may be scheduled there again".strip(),
            hint="make room for its pods, or give the budget that forbids it one more pod; then this goes on",
        ) from error


def bring_back(session: Session, controller: str, nodes: Sequence[str]) -> None:
    """Lets pods be scheduled there again, where hardway had forbidden it."""
    session.run(controller, f"{_BRING_BACK}bring_back {quote(*nodes)}", what="uncordon")


def _evacuate(nodes: Sequence[str]) -> str:
    # Since others may cordon a node, too, the mark is set only on one that takes pods.
    return f"""\
{_WHOLE}{_LEFT}{_BRING_BACK}set -- {quote(*nodes)}
before=$(whole)
give_up() {{ printf '%s\\n' "$1" | tail -n 5 >&2; bring_back {quote(*nodes)} >/dev/null; exit 1; }}
for node; do
  cordoned=$({KUBECTL} get node "$node" -o jsonpath='{{.spec.unschedulable}}') || give_up "no answer"
  [ "$cordoned" = true ] || said=$({KUBECTL} annotate --overwrite node "$node" {MARK}=upgrade 2>&1) || give_up "$said"
  said=$({KUBECTL} cordon "$node" 2>&1) || give_up "$said"
done
for node; do
  said=$({_LONG} drain "$node" --ignore-daemonsets --delete-emptydir-data --timeout={DRAIN_LIMIT}s 2>&1) ||
    give_up "$said"
done
deadline=$(($(date +%s) + {READY_LIMIT}))
while missing=$(printf '%s\\n' "$before" | grep -vxF -e "$(whole)" | left); [ -n "$missing" ]; do
  [ "$(date +%s)" -lt "$deadline" ] || give_up "not all pods of these are Ready elsewhere:
$missing"
  sleep 1
done
"""
