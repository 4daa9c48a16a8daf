"""What a run's files come from, as the inventory and the command line say: before anybody is contacted."""

from __future__ import annotations

import os
from dataclasses import replace

from hardway.artifacts import unlocked
from hardway.artifacts.bundle import Bundle, read
from hardway.artifacts.catalogue import ARCHES, releases_for
from hardway.artifacts.get import names_of, needs_for
from hardway.artifacts.lock import Lock
from hardway.artifacts.text import without_credentials
from hardway.cli.options import Options
from hardway.declare.network.proxy import environment
from hardway.errors import ArtifactError, UsageError
from hardway.inventory.model import Artifacts, Cluster


def refuse_unlocked(options: Options, cluster: Cluster) -> None:
    """Raises ArtifactError for versions that nothing vouches for. With a bundle the digests are its own.

    Which architecture the machines have nobody knows yet: here all of one is enough.
    """
    kubernetes, others = cluster.kubernetes, cluster.artifacts.versions
    if options.bundle is None and any(not one.catalogued for one in releases_for(kubernetes, others).values()):
        lock = lock_of(cluster)
        each = [needs_for(kubernetes, arch, names_of(kubernetes), others) for arch in ARCHES]
        unlocked.refuse_unlocked(min(each, key=lambda needs: len(unlocked.unlocked(needs, lock))), lock)


def go_through_proxy(cluster: Cluster) -> None:
    """Downloads, Go, apt and kubectl take it from the environment; what the operator's own says comes first.

    Where the way is the inventory's, his own exceptions are not all: they know nothing of this cluster.
    """
    ways = environment(cluster)
    near = ways.pop("NO_PROXY", "")
    taken = {name: way for name, way in ways.items() if not {name, name.lower()} & os.environ.keys()}
    if taken:
        own = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
        taken["NO_PROXY"] = f"{own},{near}" if own else near
    for name, value in taken.items():
        os.environ[name] = os.environ[name.lower()] = value


def chosen_artifacts(options: Options, cluster: Cluster) -> Artifacts:
    """As the inventory says, and the command line over it."""
    own = cluster.artifacts
    return replace(own, source=options.source or own.source, mirror=options.mirror or own.mirror)


def require_served(artifacts: Artifacts) -> None:
    """Raises UsageError where machines are to download by themselves, and could not."""
    if artifacts.unserved:
        raise UsageError(
            f"artifacts: {{fetch: machines}}: {artifacts.unserved}",
            hint="--source download, or --source mirror --mirror https://…; or in the inventory: fetch: operator",
        )
    if artifacts.mirror and artifacts.mirror != without_credentials(artifacts.mirror):
        raise UsageError(
            "artifacts: {fetch: machines}: the mirror's URL holds a user or password, and every machine would be told",
            hint="a mirror that asks for none; or in the inventory: fetch: operator",
        )


def lock_of(cluster: Cluster) -> Lock:
    return Lock(cluster.path.resolve().parent / "artifacts.lock")


def bundled(options: Options, cluster: Cluster) -> Bundle | None:
    """What `--bundle` names.

    Raises ArtifactError where that is no bundle, or one for another release; UsageError where pins are asked for.
    """
    if options.bundle is None:
        return None
    if options.require_pinned:
        raise UsageError(
            "a bundle vouches for itself: what it says of its files is no digest in the catalogue",
            hint="leave it out here; with `artifacts bundle --require-pinned` only pinned files go in",
        )
    bundle = read(options.bundle)
    if bundle.kubernetes != cluster.kubernetes:
        raise ArtifactError(
            f"{bundle.path} is for Kubernetes {bundle.kubernetes}, and the inventory wants {cluster.kubernetes}",
            hint=f"in the inventory: kubernetes: {bundle.kubernetes}; or make the bundle with this inventory",
        )
    return bundle
