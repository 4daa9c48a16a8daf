"""Lab machines that are switched off, or were never made: an error about one says what brings it up."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterable, Iterator

from hardway.errors import HardwayError, Unreachable
from hardway.inventory.model import Cluster
from hardway.lab.marker import running
from hardway.lab.model import disk_of

NEVER_MADE = "the lab never made this machine"


def switched_off(cluster: Cluster) -> list[str]:
    """Machines of a lab that do not run; none where there is no lab."""
    alive = running(cluster.name) or {} if cluster.lab is not None else None
    return [one.name for one in cluster.machines if alive is not None and one.name not in alive]


def never_made(cluster: Cluster) -> list[str]:
    """Of those that do not run the ones without a disk: written into the inventory after the last `lab up`."""
    return [name for name in switched_off(cluster) if not disk_of(cluster.name, name).is_dir()]


def require(cluster: Cluster, name: str) -> None:
    """Raises Unreachable where the machine is one of a lab, and does not run."""
    if name in switched_off(cluster):
        what = NEVER_MADE if name in never_made(cluster) else "is switched off"
        raise Unreachable(what, machine=name, hint=_hint(cluster, name))


def hint(cluster: Cluster, errors: Iterable[HardwayError]) -> None:
    """Gives those that are about a machine that is off the next move that helps."""
    off, absent = switched_off(cluster), never_made(cluster)
    for error in errors:
        if isinstance(error, Unreachable) and error.machine in off:
            error.hint = _hint(cluster, error.machine)
            error.what = NEVER_MADE if error.machine in absent else error.what


@contextlib.contextmanager
def hinting(cluster: Cluster) -> Iterator[None]:
    """The same for what is raised within."""
    try:
        yield
    except HardwayError as error:
        hint(cluster, (getattr(error, "errors", None) or {None: error}).values())
        raise


def _hint(cluster: Cluster, name: str) -> str:
    inventory = shlex.quote(str(cluster.path))
    if name in never_made(cluster):
        return f"hardway lab up -i {inventory}"
    return f"hardway lab power-on {name} -i {inventory}"
