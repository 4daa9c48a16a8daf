"""The operator's own files (`files:` of the inventory): where they go, and what restarts when one changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hardway.declare.phases.base import Placed
from hardway.declare.phases.paths import UNITS
from hardway.declare.resources import OperatorFile, Service
from hardway.inventory import model
from hardway.inventory.model import Cluster

UNIT = {"haproxy": "kube-apiserver-lb"}
"""The unit of a component, where it is called otherwise."""

_FIRST = "hosts"
"""The chapter of what no component reads."""


def with_operator_files(cluster: Cluster, declared: Sequence[Placed]) -> list[Placed]:
    """What chapters declare, and the operator's files, each in the chapter of the first unit that reads it.

    A unit that reads one is stale when it is newer than the process, as with files of hardway's.
    """
    if not cluster.files:
        return [*declared]
    ours: dict[str, list[model.OperatorFile]] = {}
    for machine in cluster.machines:
        ours[machine.name] = [file for file in cluster.files if file.goes_to(machine)]
    found: list[Placed] = []
    placed: set[tuple[str, str]] = set()
    for one in declared:
        resource = one.resource
        if isinstance(resource, Service):
            read = [file for file in ours[one.machine] if _reads(resource, file)]
            for file in read:
                if (one.machine, file.path) not in placed:
                    placed.add((one.machine, file.path))
                    found.append(Placed(one.machine, one.phase, _resource(file)))
            resource = _reading(resource, [file.path for file in read])
        found.append(replace(one, resource=resource))
    others = (
        Placed(name, _phase(file), _resource(file))
        for name, files in ours.items()
        for file in files
        if (name, file.path) not in placed
    )
    return [*found, *others]


def _reads(service: Service, file: model.OperatorFile) -> bool:
    """Also a drop-in of its unit is read, whether the inventory says so or not."""
    units = {f"{UNIT.get(component, component)}.service" for component in file.restart}
    return service.unit in units or file.path.startswith(f"{UNITS}/{service.unit}.d/")


def _reading(service: Service, paths: Sequence[str]) -> Service:
    """systemd reads a drop-in at a start; what a unit's own process can read again, a reload takes up."""
    again = [path for path in paths if service.reload_inputs and not path.startswith(f"{UNITS}/")]
    once = [path for path in paths if path not in again]
    return replace(service, inputs=(*service.inputs, *once), reload_inputs=(*service.reload_inputs, *again))


def _phase(file: model.OperatorFile) -> str:
    """A user of hardway's must be there first."""
    return "etcd" if "etcd" in (file.owner, file.group) else _FIRST


def _resource(file: model.OperatorFile) -> OperatorFile:
    return OperatorFile(file.path, file.shown or str(file.hidden), file.mode, file.owner, file.group)
