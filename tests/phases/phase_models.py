"""Models of the inventories that travel with hardway, with a State that never changes."""

from dataclasses import replace
from ipaddress import IPv4Address

from hardway import data
from hardway.artifacts.catalogue import releases_for
from hardway.declare.declaration import declare
from hardway.declare.phases.base import Model
from hardway.declare.resources import File, Resource
from hardway.inventory.allot import allot_pod_cidrs, resolve
from hardway.inventory.load import load
from hardway.inventory.model import Cluster
from hardway.state import State


def _no_lookup(name: str) -> IPv4Address:
    raise OSError(f"{name}: these tests ask no DNS")


def cluster(name: str) -> Cluster:
    """The cluster of `inventories/NAME.yaml`, with its pod ranges."""
    read = load(data.folder("inventories") / f"{name}.yaml")
    return allot_pod_cidrs(resolve(read, {}, _no_lookup), {})


def model(of: Cluster, etcd: str = "bootstrapping") -> Model:
    state = State(of.name, "0123456789abcdef", etcd=etcd, etcd_token="hardway-0123456789abcdef")  # type: ignore[arg-type]
    versions = {component: one.version for component, one in releases_for(of.kubernetes).items()}
    return Model(of, state, versions)


LAB = cluster("lab")
MODEL = model(LAB)


def on(of: Model, machine: str, kind: type[Resource], chapter_name: str = "") -> list[Resource]:
    return [
        placed.resource
        for placed in declare(of).on(machine)
        if isinstance(placed.resource, kind) and chapter_name in ("", placed.phase)
    ]


def file(of: Model, machine: str, path: str) -> File:
    return next(one for one in on(of, machine, File) if isinstance(one, File) and one.path == path)


def overlaid(settings: dict[str, dict[str, object]], of: Cluster = LAB) -> Model:
    return model(replace(of, settings=settings))
