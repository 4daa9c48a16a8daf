"""From the declaration to the map. Nobody is asked: all of it stands in what would be deployed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from hardway.declare.declaration import Declaration
from hardway.declare.network.flows import ENDPOINT, Call, calls
from hardway.declare.resources import Certificate, File, WorkspaceFile
from hardway.inventory.model import Cluster, Machine
from hardway.map.processes import Credentials, Files, Process, of_kubeconfig, processes
from hardway.map.values import Authority, Component, Connection, End, Leaf, MachineOnMap, Map, Port
from hardway.values import OPERATOR, host_port, placeholders


def drawn(cluster: Cluster, declaration: Declaration) -> Map:
    """The map of a cluster whose addresses and pod ranges are known."""
    running = {OPERATOR: _operator(declaration)}
    for machine in cluster.machines:
        running[machine.name] = list(processes(machine, _files(declaration, machine.name)))
    machines = [
        MachineOnMap(OPERATOR, (OPERATOR,), "", tuple(Component(one.name) for one in running[OPERATOR])),
        *_endpoint(cluster),
        *(_machine(machine, running[machine.name]) for machine in cluster.machines),
    ]
    if _outside(cluster):
        running[cluster.endpoint_host] = [Process(ENDPOINT, (), {}, ())]
    authorities = _authorities(declaration)
    issuers: dict[str, str] = {}
    for one in authorities:
        issuers |= {leaf.name: one.name for leaf in one.signs}
    found = _Finder(cluster, running, machines, issuers)
    return Map(
        cluster=cluster.name,
        kubernetes=cluster.kubernetes,
        endpoint=host_port(cluster.endpoint_host, cluster.endpoint_port),
        service_cidr=" and ".join(map(str, cluster.network.service_cidrs)),
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


def _operator(declaration: Declaration) -> list[Process]:
    """kubectl with its kubeconfig, and SSH."""
    kubectl = {}
    for _, one in declaration.local:
        if isinstance(one, WorkspaceFile) and one.path == "kubeconfig":
            kubectl["API"] = of_kubeconfig(one.text)
    return [Process("kubectl", (), kubectl, ()), Process("ssh", (), {"SSH": Credentials()}, ())]


def _outside(cluster: Cluster) -> bool:
    """Whether the endpoint is a balancer that hardway does not keep."""
    return cluster.endpoint is not None and cluster.endpoint_machine is None and cluster.virtual_address is None


def _endpoint(cluster: Cluster) -> Iterator[MachineOnMap]:
    if _outside(cluster):
        yield MachineOnMap(
            cluster.endpoint_host, (ENDPOINT,), "", (Component(ENDPOINT, (Port(cluster.endpoint_port, "tcp", "API"),)),)
        )


class _Finder:
    """What every call looks like on its way: the port, the protocol, and who shows what to whom."""

    def __init__(
        self,
        cluster: Cluster,
        running: Mapping[str, Sequence[Process]],
        machines: Sequence[MachineOnMap],
        issuers: Mapping[str, str],
    ) -> None:
        self._cluster, self._running, self._issuers = cluster, running, issuers
        self._components: dict[End, Component] = {}
        for machine in machines:
            for component in machine.components:
                self._components[End(machine.name, component.name)] = component

    def connections(self) -> Iterator[Connection]:
        for machine, here in self._running.items():
            for process in here:
                for call in calls(self._cluster, machine, process.name):
                    known = call.passes_on or call.use in process.credentials
                    if known and End(call.machine, call.component) in self._components:
                        credentials = process.credentials.get(call.use, Credentials())
                        yield self._connection(End(machine, process.name), call, credentials)

    def _connection(self, caller: End, call: Call, credentials: Credentials) -> Connection:
        server = End(call.machine, call.component)
        port = self._port(server, call.use)
        if call.passes_on:
            # Nobody but haproxy itself reads what haproxy passes on.
            return Connection(0, caller, server, port.number, "tls", call.why)
        final, shows = self._behind(server, call.use) or port, credentials.shows
        checked_by = ""
        if shows:
            checked_by = shows if shows == "pki/sa" else final.client_ca or self._issuers.get(shows, "")
        return Connection(
            0, caller, server, port.number, final.protocol, call.why,
            shows, checked_by, final.certificate, credentials.trusted_by,
        )  # fmt: skip

    def _behind(self, server: End, use: str) -> Port | None:
        """The port in which TLS ends where `server` passes it on."""
        for call in calls(self._cluster, server.machine, server.component):
            if call.passes_on:
                return self._port(End(call.machine, call.component), use)
        return None

    def _port(self, server: End, use: str) -> Port:
        return next((port for port in self._components[server].ports if port.use == use), Port(0, "https", ""))


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
    found: list[Authority] = []
    for ca in certificates:
        if ca.ca is None:
            leaves = [_leaf(one, copies) for one in certificates if one.ca == _stem(ca)]
            found.append(Authority(_stem(ca), ca.spec.common_name, ca.spec.days, tuple(leaves)))
    return tuple(found)


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
