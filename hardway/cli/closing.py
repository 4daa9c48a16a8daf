"""How a run ends: proofs, the smoke test, and what to type next."""

from __future__ import annotations

import platform
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from hardway.artifacts.build import host_arch
from hardway.artifacts.store import Store
from hardway.cli.site import Site
from hardway.console.words import ranges
from hardway.declare.phases import PHASE_NAMES
from hardway.engine import prove as proving
from hardway.engine.converge import Outcome
from hardway.engine.resolver import Resolver
from hardway.engine.session import Session, timed
from hardway.errors import HardwayError
from hardway.events import Note
from hardway.smoke.smoke import smoke_test, without_network
from hardway.workspace import Workspace

PROOF_LIMIT = 120.0
"""Seconds that a cluster just built has until every proof holds."""


def prove(
    session: Session,
    here: Site,
    outcome: Outcome,
    phases: Sequence[str],
    versions: Mapping[str, str],
    *,
    whole: bool,
    everywhere: bool,
) -> None:
    """The chapters' proofs on the machines of this run, then the trials of the smoke test.

    Where all chapters of all machines were proved, the State remembers it.
    """
    proofs = [
        (phase, proof)
        for phase, proof in outcome.declaration.proofs
        if phase in phases and proof.machine in session.machines
    ]
    with timed("proofs", session.events):
        proving.require(proving.prove(session, proofs, wait=PROOF_LIMIT))
    if "smoke-test" in phases and not everywhere:
        session.events(Note("no smoke test: it needs all machines, and --limit leaves some out"))
    elif "smoke-test" in phases and (waiting := without_network(session, here.cluster)):
        what = f"{ranges(waiting)} wait for a network: the inventory says network.plugin: none"
        _put_off(session, what, "install your network plugin, then: hardway smoke-test", whole=whole)
    elif "smoke-test" in phases:
        proving.require(smoke_test(session, here.cluster, versions))
        if set(phases) == set(PHASE_NAMES):
            here.workspace.save_state(replace(outcome.state, smoke_tested=outcome.state.generation))


def _put_off(session: Session, what: str, hint: str, *, whole: bool) -> None:
    """What a run does without, an error where it was what was asked for."""
    if not whole:
        raise HardwayError(what, hint=hint)
    session.events(Note(f"no smoke test: {what}; {hint}", "warning"))


def next_lines(workspace: Workspace, wanted: Resolver, store: Store) -> tuple[str, ...]:
    """What to type next, once there is a cluster."""
    if not workspace.kubeconfig.exists():
        return ()
    lines = []
    folder = offer_kubectl(workspace, wanted, store)
    found = shutil.which("kubectl")
    if folder and (found is None or Path(found).parent == folder):
        lines.append(f"export PATH={shlex.quote(str(folder))}:$PATH")
    return (*lines, f"export KUBECONFIG={shlex.quote(str(workspace.kubeconfig))}", "kubectl get nodes -o wide")


def offer_kubectl(workspace: Workspace, wanted: Resolver, store: Store) -> Path | None:
    """A folder with the cluster's own kubectl, of the cluster's version; None where none is to be had here."""
    link = workspace.root / "bin" / "kubectl"
    accepted = wanted.accepted(host_arch()).get(("kubectl", wanted.versions["kubernetes"]), frozenset())
    blob = next((blob for digest in sorted(accepted) if (blob := store.blob(digest))), None)
    if platform.system() != "Linux" or blob is None:
        return None
    link.parent.mkdir(mode=0o700, exist_ok=True)
    if not link.is_symlink() or link.readlink() != blob.path:
        link.unlink(missing_ok=True)
        link.symlink_to(blob.path)
    return link.parent
