"""`hardway lab break`: chooses machines for a fault, forges what it needs, and makes it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from operator import attrgetter

from hardway.cli.site import Site
from hardway.declare import pki
from hardway.declare.phases.base import Model
from hardway.declare.phases.certs import certificates
from hardway.errors import LabError, UsageError
from hardway.inventory.model import Machine
from hardway.lab.breaking import put, require, run
from hardway.lab.faults import FAULTS, Fault, Forged
from hardway.lab.lab import power_off
from hardway.lab.model import Lab
from hardway.values import majority


def candidates(here: Site) -> list[Fault]:
    """The faults for which this lab has a machine, and that show there."""
    return [one for one in FAULTS if _fits(here, one)]


def any_fault(here: Site, *, root: bool = True) -> Fault:
    """One at random; without `root` one that needs none on this computer."""
    return random.choice([one for one in candidates(here) if root or not one.power_off])


def chosen(here: Site, fault: Fault, limit: str | None) -> list[Machine]:
    """The machines that a fault is for. Raises UsageError where the lab has none, or the one named is none of them."""
    cluster = here.cluster
    fitting = [one for one in cluster.machines if fault.role in one.roles]
    if not _shows(here, fault):
        raise UsageError(f"{fault.name} would not show in a cluster of this inventory", hint="hardway lab break --list")
    if not _fits(here, fault):
        needed = f"{fault.least} machines" if fault.least > 1 else "a machine"
        raise UsageError(f"{fault.name} needs {needed} with the role {fault.role}", hint="hardway lab break --list")
    if limit:
        named = cluster.select(limit)
        if not named or any(one not in fitting for one in named):
            names = ", ".join(one.name for one in fitting)
            raise UsageError(f"{fault.name} is for a {fault.role}", hint=f"-l one of: {names}")
        return list(named)
    return fitting[-majority(len(fitting)) :] if fault.majority else fitting[-1:]


def break_it(lab: Lab, here: Site, fault: Fault, machines: list[Machine]) -> None:
    """Makes the fault. Raises LabError where there is no cluster to break, or a machine does not run."""
    if here.state.etcd != "initialized":
        raise LabError("there is no cluster to break yet", hint="hardway init")
    for machine in machines:
        require(lab, machine.name)

    def on(machine: Machine) -> None:
        if fault.power_off:
            power_off(lab, machine.name)
            return
        scripts = [put(one.path, forged(here, machine, one)) for one in fault.forged]
        where = here.cluster.controllers[0] if fault.through_controller else machine
        run(lab, where.name, "\n".join([*scripts, fault.script]), dict(_values(here, machine)))

    # At once: where a majority is to go, the second would wait for what the first has left.
    with ThreadPoolExecutor(len(machines)) as pool:
        list(pool.map(on, machines))


def forged(here: Site, machine: Machine, wanted: Forged) -> bytes:
    """A certificate for the machine's own key, signed by the workspace's CA or by one made up for it."""
    path = wanted.source.format(name=machine.name)
    [issued] = [one for one in certificates(Model(here.cluster, here.state, {})) if one.path == path]
    values = here.workspace.values()
    if f"{issued.ca}.key" not in values:
        raise UsageError(f"{issued.ca}.key is not in this workspace: nothing can be signed by it", hint="another fault")
    ca, ca_key = values[f"{issued.ca}.crt"], values[f"{issued.ca}.key"]
    spec, now = issued.spec, datetime.now(UTC)
    if wanted.what == "expired":
        now -= timedelta(days=spec.days + 1)
        # The CA as it would have been then: the same name and key, so that only the time is wrong.
        ca = pki.issue_ca(pki.CertificateSpec(pki.read(ca).common_name, is_ca=True), ca_key, now)
    elif wanted.what == "foreign":
        ca_key = pki.new_key("ecdsa-p256")
        ca = pki.issue_ca(pki.CertificateSpec(pki.read(ca).common_name, is_ca=True), ca_key, now)
    else:
        own = wanted.what == "without-own-address"
        dropped = str(machine.ip if own else here.cluster.first_service_address)
        spec = replace(spec, addresses=tuple(one for one in spec.addresses if one != dropped))
    return pki.issue(spec, values[f"{path}.key"], ca, ca_key, now)


def _values(here: Site, machine: Machine) -> Iterator[tuple[str, str]]:
    cluster = here.cluster
    yield "NAME", machine.name
    yield "ADDRESS", str(machine.ip)
    yield "FIRST", str(cluster.controllers[0].ip)
    if machine.is_worker:
        yield "PODS", str(machine.pods)
    for other in [one for one in cluster.workers if one != machine][:1]:
        yield "OTHER_ADDRESS", str(other.ip)
        yield "OTHER_PODS", str(other.pods)


def _fits(here: Site, fault: Fault) -> bool:
    fitting = [one for one in here.cluster.machines if fault.role in one.roles]
    return _shows(here, fault) and len(fitting) >= fault.least


def _shows(here: Site, fault: Fault) -> bool:
    return fault.given is None or attrgetter(fault.given[0])(here.cluster) == fault.given[1]
