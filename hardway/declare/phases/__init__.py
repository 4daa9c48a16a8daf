"""The chapters of the tutorial, one file each, in their order."""

from hardway.declare.phases import (
    access,
    certs,
    control_plane,
    dns,
    encryption,
    etcd,
    hosts,
    kubeconfigs,
    load_balancer,
    routes,
    smoke_test,
    workers,
)
from hardway.declare.phases.base import Phase
from hardway.errors import UsageError

PHASES: tuple[Phase, ...] = (
    hosts.PHASE,
    certs.PHASE,
    kubeconfigs.PHASE,
    encryption.PHASE,
    etcd.PHASE,
    control_plane.PHASE,
    load_balancer.PHASE,
    workers.PHASE,
    access.PHASE,
    routes.PHASE,
    dns.PHASE,
    smoke_test.PHASE,
)
PHASE_NAMES: tuple[str, ...] = tuple(one.name for one in PHASES)


def phase(name: str) -> Phase:
    """The chapter of that name; raises UsageError that lists those there are."""
    for one in PHASES:
        if one.name == name:
            return one
    raise UsageError(f"no chapter is named {name!r}", hint=f"one of: {', '.join(PHASE_NAMES)}")
