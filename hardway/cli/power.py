"""Lab machines that are switched off: an error about one says how to switch it on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from hardway.errors import HardwayError, Unreachable
from hardway.inventory.model import Cluster
from hardway.lab.marker import running


def switched_off(cluster: Cluster) -> list[str]:
    """Machines of a lab that do not run; none where there is no lab."""
    alive = running(cluster.name) or {} if cluster.lab is not None else None
    return [one.name for one in cluster.machines if alive is not None and one.name not in alive]


def require(cluster: Cluster, name: str) -> None:
    """Raises Unreachable where the machine is one of a lab, and is off."""
    if name in switched_off(cluster):
        raise Unreachable("is switched off", machine=name, hint=_hint(cluster, name))


def hint(cluster: Cluster, errors: Iterable[HardwayError]) -> None:
    """Gives those that are about a machine that is off the next move that helps."""
    off = switched_off(cluster)
    for error in errors:
        if isinstance(error, Unreachable) and error.machine in off:
            error.hint = _hint(cluster, error.machine)


@contextlib.contextmanager
def hinting(cluster: Cluster) -> Iterator[None]:
    """The same for what is raised within."""
    try:
        yield
    except HardwayError as error:
        hint(cluster, (getattr(error, "errors", None) or {None: error}).values())
        raise


def _hint(cluster: Cluster, name: str) -> str:
    return f"hardway lab power-on {name} -i {cluster.path}"
