"""Which groups a set of changes restarts members of. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hardway.declare.declaration import Declaration
from hardway.declare.resources import Group, Service
from hardway.engine.changes import Change


@dataclass(frozen=True)
class RolledGroup:
    """A group with the service of each member by machine, and the machines on which it is restarted."""

    name: str
    members: Mapping[str, Service]
    restarted: tuple[str, ...]

    def group(self, name: str) -> Group:
        """What that machine's service says of its group: addresses and names in it differ from member to member."""
        found = self.members[name].group
        assert found is not None
        return found

    @property
    def any(self) -> Group:
        return self.group(self.restarted[0])


def rolls_of(changes: Sequence[Change], declaration: Declaration) -> list[RolledGroup]:
    """In the order of the changes."""
    restarted: dict[str, list[str]] = {}
    for change in changes:
        if isinstance(change.resource, Service) and change.resource.group and change.restarts:
            restarted.setdefault(change.resource.group.name, []).append(change.machine)
    return _grouped(restarted, declaration)


def groups_on(declaration: Declaration, machine: str) -> list[RolledGroup]:
    """All groups that one machine is a member of, as if it were restarted in each."""
    restarted: dict[str, list[str]] = {}
    for placed in declaration.on(machine):
        service = placed.resource
        if isinstance(service, Service) and service.group:
            restarted[service.group.name] = [machine]
    return _grouped(restarted, declaration)


def _grouped(restarted: Mapping[str, Sequence[str]], declaration: Declaration) -> list[RolledGroup]:
    if not restarted:
        return []
    members: dict[str, dict[str, Service]] = {name: {} for name in restarted}
    for placed in declaration.placed:
        service = placed.resource
        if isinstance(service, Service) and service.group and service.group.name in members:
            members[service.group.name][placed.machine] = service
    return [RolledGroup(name, members[name], tuple(machines)) for name, machines in restarted.items()]
