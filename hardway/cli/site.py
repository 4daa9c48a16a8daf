"""What a command opens first: the inventory, the workspace and the State. No machine is contacted."""

from __future__ import annotations

import shlex
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address

from hardway.artifacts.catalogue import releases_for
from hardway.cli.computer import inventory_path
from hardway.cli.options import Options
from hardway.engine.guards import first_state
from hardway.errors import ArtifactError, LabError, UsageError
from hardway.inventory.allot import allot_pod_cidrs, resolve
from hardway.inventory.load import load
from hardway.inventory.model import Address, Cluster, Machine
from hardway.inventory.problems import Problem
from hardway.inventory.rules import Rule
from hardway.lab.marker import running
from hardway.state import State, as_built
from hardway.workspace import Workspace


@dataclass(frozen=True)
class Site:
    """A cluster with its workspace and what is known of it, before any machine is contacted."""

    cluster: Cluster
    workspace: Workspace
    state: State
    chosen: tuple[Machine, ...]
    generation: int = 0
    """Of the State that was read; a command may hold another one that follows from it."""

    @property
    def everywhere(self) -> bool:
        """Whether no machine is left out."""
        return len(self.chosen) == len(self.cluster.machines)


def inventory(options: Options, *further: Rule) -> Cluster:
    """The inventory as its file says it: names are not looked up, and no pod ranges allotted.

    Raises InventoryError with everything that is wrong, by `further` rules also.
    """
    return load(inventory_path(options.inventory), ((_release, (("kubernetes",), ("artifacts",))), *further))


def _release(cluster: Cluster) -> Iterator[Problem]:
    try:
        releases_for(cluster.kubernetes, cluster.artifacts.versions)
    except ArtifactError as error:
        yield Problem(("kubernetes",), f"{error.what}; {error.hint}")


def site(options: Options, *, lab_must_run: bool = True, joining: str = "", listed: bool = False) -> Site:
    """Reads inventory and State. Raises LabError, and contacts nobody, where a lab inventory's lab is down.

    Controllers that were not added yet are no part of it: none but the one that is `joining`, or with `listed` all that
    the inventory lists. Raises WorkspaceError for a workspace that is half opened.
    """
    cluster = inventory(options)
    if cluster.lab is not None and lab_must_run:
        require_lab(cluster)
    workspace = Workspace.of(cluster, options.workspace)
    workspace.require_whole()
    state = workspace.load_state() or first_state(cluster)
    cluster = resolve(cluster, state.pinned_addresses(), partial(_lookup, cluster.network.family))
    cluster = allot_pod_cidrs(cluster, state.pinned_pod_cidrs(), state.pinned_pod_cidrs6())
    built = cluster if listed else as_built(cluster, state, joining)
    if options.limit and built.awaited:
        _refuse_awaited(built, cluster.select(options.limit), options.limit)
    chosen = built.select(options.limit) if options.limit else built.machines
    return Site(built, workspace, state, chosen, state.generation)


def _refuse_awaited(built: Cluster, chosen: Sequence[Machine], limit: str) -> None:
    """Raises UsageError where a controller was named that was not added yet."""
    words = {word.strip().removeprefix("!") for word in limit.split(",")}
    for machine in chosen:
        if machine in built.awaited and machine.name in words:
            raise UsageError(
                f"{machine.name} is a controller that is not part of the cluster yet",
                hint=f"hardway node add {machine.name}",
            )


def require_lab(cluster: Cluster) -> None:
    """With the lab down its addresses would lead somewhere else."""
    if not running(cluster.name):
        raise LabError(
            f"the lab {cluster.name} is not up; no address was contacted",
            hint=f"hardway lab up -i {shlex.quote(str(cluster.path))}",
        )


def _lookup(family: int, host: str) -> Address:
    wanted = socket.AF_INET if family == 4 else socket.AF_INET6
    answers = socket.getaddrinfo(host, None, wanted, socket.SOCK_STREAM)
    return ip_address(answers[0][4][0])
