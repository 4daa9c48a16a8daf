"""The smoke test: makes things in a cluster as its users would, and asks whether they work.

Everything is made in one namespace, which is deleted at the end however it ends. One that a killed run
left behind is deleted first.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from hardway.artifacts.catalogue import IMAGES
from hardway.declare.phases.base import Proof
from hardway.declare.render import render
from hardway.engine.prove import prove
from hardway.engine.session import Session, timed
from hardway.errors import HardwayError
from hardway.events import Note, Proved
from hardway.inventory.model import Cluster
from hardway.probe.script import understood
from hardway.smoke import trials
from hardway.smoke.trials import ASK, KUBECTL, NAMESPACE

PHASE = "smoke-test"
LEFTOVER_LIMIT = 60
"""Seconds for the namespace of an earlier run to go away."""


def without_network(session: Session, cluster: Cluster) -> list[str]:
    """Nodes that wait for the network plugin which the inventory leaves to its owner; none where hardway makes it."""
    if cluster.network.plugin != "none":
        return []
    ready = '{range .items[*]}{.metadata.name} {.status.conditions[?(@.type=="Ready")].status}{"\\n"}{end}'
    script = f"{ASK} get nodes -o jsonpath='{ready}'"
    answer = session.run(cluster.controllers[0].name, script, what="see whether nodes have a network")
    states = dict(line.split(" ", 1) for line in answer.text.splitlines() if " " in line)
    return [worker.name for worker in cluster.workers if states.get(worker.name) != "True"]


def smoke_test(session: Session, cluster: Cluster, versions: Mapping[str, str]) -> list[Proved]:
    """Tries the cluster out; the session needs all controllers. What fails is in the results.

    Ends early where the next trials could only repeat the same failure. Raises HardwayError when
    nothing can be made in the cluster, or not be taken away again.
    """
    with timed(PHASE, session.events):
        try:
            proved = _tried(session, cluster, versions)
        except BaseException:
            _clean_up_quietly(session, cluster)
            raise
        clean_up(session, cluster)
    return proved


def _tried(session: Session, cluster: Cluster, versions: Mapping[str, str]) -> list[Proved]:
    home = cluster.controllers[0].name
    session.run(home, creation(manifest(cluster)), what="make what the smoke test needs", timeout=LEFTOVER_LIMIT + 60)
    proved = _prove(session, list(trials.begun(cluster, versions)))
    if not all(one.holds for one in proved):
        return proved
    answer = session.run(
        home, f"{ASK} -n {NAMESPACE} get pods,services -l app=echo -o json", what="find the smoke test's pods"
    )
    with understood(home, "the smoke test's pods"):
        made = trials.echo(answer.text)
    proved += _prove(session, list(trials.from_controllers(cluster, made)))
    if all(one.holds for one in proved):
        proved += _prove(session, list(trials.from_pods(cluster, made)))
    return proved


def _prove(session: Session, wanted: list[Proof]) -> list[Proved]:
    return prove(session, [(PHASE, proof) for proof in wanted], wait=trials.PODS_WITHIN)


def manifest(cluster: Cluster) -> str:
    """Everything that the trials need, the namespace first."""
    text = render(
        "manifests/smoke-test.yaml",
        namespace=NAMESPACE,
        canary=f"canary-{secrets.token_hex(8)}",
        replicas=len(cluster.workers),
        image=IMAGES["image/agnhost"].ref,
    )
    if cluster.network.is_dual_stack:
        text += render("manifests/smoke-test-ipv6.yaml", namespace=NAMESPACE)
    return text


def creation(manifest: str) -> str:
    """Makes it with one request an object where nothing was left behind; else deletes that first."""
    return f"""\
make() {{ {ASK} create -f - <<'HARDWAY_MANIFEST'
{manifest}
HARDWAY_MANIFEST
}}
if said=$(make 2>&1); then exit 0; fi
case $said in
*AlreadyExists*|*"being terminated"*) ;;
*) printf '%s\\n' "$said" >&2; exit 1 ;;
esac
{KUBECTL} delete namespace {NAMESPACE} --ignore-not-found --timeout={LEFTOVER_LIMIT}s >/dev/null
make >/dev/null
"""


def clean_up(session: Session, cluster: Cluster) -> None:
    """Has the API delete the namespace; its content goes soon after. Raises the last controller's error."""
    script = f"{ASK} delete namespace {NAMESPACE} --ignore-not-found --wait=false"
    errors = []
    for controller in cluster.controllers:
        try:
            session.run(controller.name, script, what=f"delete the namespace {NAMESPACE}")
        except HardwayError as error:
            errors.append(error)
        else:
            return
    raise errors[-1]


def _clean_up_quietly(session: Session, cluster: Cluster) -> None:
    # Something else is being told already, and must not be replaced by this.
    try:
        clean_up(session, cluster)
    except HardwayError as error:
        session.events(
            Note(f"the namespace {NAMESPACE} is still there ({error.what}); the next smoke test deletes it", "warning")
        )
