"""From the declaration to the map. Nobody is asked: all of it stands in what would be deployed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from hardway.declare.declaration import Declaration
from hardway.declare.resources import Certificate, File, WorkspaceFile
from hardway.inventory.model import API_PORT, Cluster, Machine
from hardway.map.processes import SSH, Call, Files, Process, dialled, processes
from hardway.map.values import ENDPOINT, Authority, Component, Connection, End, Leaf, MachineOnMap, Map, Port
from hardway.values import OPERATOR, placeholders

KUBECTL, SSH_CLIENT = "kubectl", "ssh"
_PASSED_ON = "your own balancer passes TLS on"


def drawn(cluster: Cluster, declaration: Declaration) -> Map:
    """The map of a cluster whose addresses and pod ranges are known."""
    running = {one.name: list(processes(one, _files(declaration, one.name))) for one in cluster.machines}
    operator = _operator(cluster, declaration)
    machines = [
        MachineOnMap(OPERATOR, (OPERATOR,), "", tuple(Component(one.name) for one in operator)),
        *_endpoint(cluster),
        *(_machine(machine, running[machine.name]) for machine in cluster.machines),
    ]
    callers = [(End(OPERATOR, one.name), call) for one in operator for call in one.calls]
    for name, here in running.items():
        callers += [(End(name, one.name), call) for one in here for call in one.calls]
    if _outside(cluster):
        outside = End(cluster.endpoint_host, ENDPOINT)
        callers += [(outside, Call(_PASSED_ON, str(one.ip), API_PORT, opened=False)) for one in cluster.controllers]
    authorities = _authorities(declaration)
    issuers = {leaf.name: one.name for one in authorities for leaf in one.signs}
    found = _Finder(machines, callers, issuers)
    return Map(
        cluster=cluster.name,
        kubernetes=cluster.kubernetes,
        endpoint=f"{cluster.endpoint_host}:{cluster.endpoint_port}",
        service_cidr=str(cluster.network.service_cidr),
        api_address=str(cluster.first_service_address),
        dns_address=str(cluster.network.dns_address),
        machines=tuple(machines),
        connections=_numbered(found.connections()),
        authorities=authorities,
    )


def _files(declaration: Declaration, machine: str) -> Files:
    resources = (one.resource for one in declaration.on(machine))
    return Files({one.path: one.text for one in resources if isinstance(one, File)})


def _machine(machine: Machine, running: list[Process]) -> MachineOnMap:
    return MachineOnMap(
        machine.name,
        tuple(sorted(machine.roles)),
        str(machine.ip),
        tuple(Component(one.name, one.ports, one.socket, one.reads, one.unit) for one in running),
        str(machine.pods) if machine.is_worker else "",
    )


def _operator(cluster: Cluster, declaration: Declaration) -> list[Process]:
    """kubectl with its kubeconfig, and SSH to every machine."""
    kubeconfigs = [
        one.text for _, one in declaration.local if isinstance(one, WorkspaceFile) and one.path == "kubeconfig"
    ]
    kubectl = tuple(dialled(text, "you use the cluster") for text in kubeconfigs)
    ssh = tuple(
        Call("hardway and you; host keys are pinned", str(one.ip), one.ssh.port or SSH) for one in cluster.machines
    )
    return [Process(KUBECTL, (), kubectl, ()), Process(SSH_CLIENT, (), ssh, ())]


def _outside(cluster: Cluster) -> bool:
    """Whether the endpoint is a balancer that hardway does not keep."""
    return cluster.endpoint is not None and cluster.endpoint_machine is None


def _endpoint(cluster: Cluster) -> Iterator[MachineOnMap]:
    if _outside(cluster):
        yield MachineOnMap(
            cluster.endpoint_host, (ENDPOINT,), "", (Component(ENDPOINT, (Port(cluster.endpoint_port, "tcp", "API"),)),)
        )


@dataclass(frozen=True)
class _Finder:
    """Who answers whom."""

    machines: list[MachineOnMap]
    callers: list[tuple[End, Call]]
    issuers: Mapping[str, str]

    def connections(self) -> Iterator[Connection]:
        for caller, call in self.callers:
            if call.component:
                yield from self._everyone(caller, call)
                continue
            here = call.host.startswith("127.")
            name = caller.machine if here else self._names.get(call.host, call.host)
            for component, port in self._listening(name, call.port):
                yield self._connection(caller, call, End(name, component), port)

    def _everyone(self, caller: End, call: Call) -> Iterator[Connection]:
        for machine in self.machines:
            for component in machine.components:
                if component.name == call.component:
                    port = component.ports[0] if component.ports else Port(0, "https", "")
                    yield self._connection(caller, call, End(machine.name, component.name), port)

    def _connection(self, caller: End, call: Call, server: End, port: Port) -> Connection:
        final = self._behind(server) or port
        # Nobody but haproxy itself reads what haproxy passes on.
        checked_by = ""
        if call.shows:
            checked_by = call.shows if call.shows == "pki/sa" else final.client_ca or self.issuers.get(call.shows, "")
        return Connection(
            0, caller, server, port.number, "tls" if not call.opened else final.protocol, call.why,
            call.shows, checked_by, final.certificate if call.opened else "", call.trusted_by,
        )  # fmt: skip

    def _behind(self, server: End) -> Port | None:
        """The port in which TLS ends where `server` passes it on."""
        passed = [call for end, call in self.callers if end == server and not call.opened]
        if not passed:
            return None
        ports = (port for _, port in self._listening(self._names[passed[0].host], passed[0].port))
        return next(ports, None)

    def _listening(self, name: str, number: int) -> list[tuple[str, Port]]:
        return [
            (component.name, port)
            for machine in self.machines
            if machine.name == name
            for component in machine.components
            for port in component.ports
            if port.number == number
        ]

    @property
    def _names(self) -> Mapping[str, str]:
        return {machine.address: machine.name for machine in self.machines if machine.address}


def _numbered(connections: Iterator[Connection]) -> tuple[Connection, ...]:
    """Connections of one kind get the same number, in the order of the kinds' first appearance."""
    found = list(connections)
    kinds = {kind: number for number, kind in enumerate(dict.fromkeys(map(_kind, found)), 1)}
    numbered = [replace(one, number=kinds[_kind(one)]) for one in found]
    return tuple(sorted(numbered, key=lambda one: one.number))


def _kind(one: Connection) -> tuple[str, str, int, str]:
    return one.caller.component, one.server.component, one.port, one.why


def _authorities(declaration: Declaration) -> tuple[Authority, ...]:
    certificates = [one for _, one in declaration.local if isinstance(one, Certificate)]
    copies = _copies(declaration)
    return tuple(
        Authority(
            _stem(ca),
            ca.spec.common_name,
            ca.spec.days,
            tuple(_leaf(one, copies) for one in certificates if one.ca == _stem(ca)),
        )
        for ca in certificates
        if ca.ca is None
    )


def _leaf(one: Certificate, copies: Mapping[str, list[str]]) -> Leaf:
    spec = one.spec
    names = (*spec.dns_names, *spec.addresses)
    on = tuple(copies.get(one.path, [OPERATOR]))
    return Leaf(_stem(one), spec.common_name, spec.organizations, tuple(sorted(spec.usages)), names, spec.days, on)


def _stem(one: Certificate) -> str:
    return one.path.removesuffix(".crt")


def _copies(declaration: Declaration) -> dict[str, list[str]]:
    """The machines that have a certificate, by its workspace path; a kubeconfig holds one, too."""
    found: dict[str, list[str]] = {}
    for one in declaration.placed:
        for placeholder in placeholders(one.resource.text) if isinstance(one.resource, File) else ():
            if one.machine not in found.setdefault(placeholder.name, []):
                found[placeholder.name].append(one.machine)
    return found
