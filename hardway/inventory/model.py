"""The cluster that is wanted, as frozen values. Light on purpose: nothing here reads or validates a file.

`load.load` makes a `Cluster` from an inventory file, `allot` fills in what the file may leave open.
Addresses and ranges are `ipaddress` objects, of the family (IPv4 or IPv6) by which machines and components dial each
other. A dual-stack cluster has IPv4 there, and IPv6 in the fields that end in 6; properties in the plural have both.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from hardway.errors import UsageError
from hardway.values import ROLES, LabImage, Placeholder, Role, has_placeholder_marks, host_port

Component = Literal[
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "containerd",
    "haproxy",
    "coredns",
]
"""What `settings:` may overlay."""
COMPONENTS: tuple[Component, ...] = get_args(Component)

Published = Literal["etcd", "containerd", "runc", "cni-plugins", "cri-tools"]
"""Components whose publishers offer files, and whose version `artifacts.versions` may name."""

Address = IPv4Address | IPv6Address
Range = IPv4Network | IPv6Network
T = TypeVar("T")

Settings = Mapping[str, Any]
"""One component's overlay: flag names, or the nested keys of its YAML or TOML configuration."""

API_PORT = 6443
"""Where every kube-apiserver listens, and where an endpoint listens unless it says otherwise."""

PLAIN_MTU = 1500
"""Bytes: what an Ethernet interface takes unless it is told otherwise, and a pod's too."""

DEFAULT_DOMAIN = "kubernetes.local"
DEFAULT_KUBERNETES = "1.36.4"
DEFAULT_SERVICE_CIDR = IPv4Network("10.32.0.0/24")
DEFAULT_POD_CIDR = IPv4Network("10.200.0.0/16")
DEFAULT_DNS_ADDRESS = IPv4Address("10.32.0.10")


def listed(values: Iterable[object]) -> str:
    """One value, or several, as an inventory writes them: `10.32.0.0/24`, `[10.32.0.0/24, fd00:32::/112]`."""
    texts = [str(value) for value in values]
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"


def joined(values: Iterable[object]) -> str:
    """The same as flags of Kubernetes take them: `10.32.0.0/24,fd00:32::/112`."""
    return ",".join(map(str, values))


def _given(*values: T | None) -> tuple[T, ...]:
    return tuple(value for value in values if value is not None)


@dataclass(frozen=True, order=True)
class Place:
    """Where in the inventory file something stands; both count from 1."""

    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.line}:{self.column}"


@dataclass(frozen=True)
class Ssh:
    """How one machine is reached; None means: as the operator's ssh_config says.

    `host` is a name, an address or an ssh_config alias. `jump` is what `ssh -J` takes. `become` None:
    sudo unless the user is root. `config` is an ssh_config file that is read before the operator's own.
    """

    host: str | None = None
    port: int | None = None
    user: str | None = None
    key: Path | None = None
    jump: str | None = None
    become: Literal["sudo", "none"] | None = None
    config: Path | None = None

    @property
    def sudo(self) -> Literal["always", "never", "unless-root"]:
        """When root there is become by sudo; `unless-root`: only the machine knows who it is that logs in."""
        if self.become is not None:
            return "always" if self.become == "sudo" else "never"
        return "never" if self.user == "root" else "unless-root"


@dataclass(frozen=True)
class Machine:
    """One Linux machine. `ssh` is already merged over the cluster's."""

    name: str
    roles: frozenset[Role]
    address: Address | None
    """None only until `allot.resolve` has looked its name up."""
    ssh: Ssh = Ssh()
    pod_cidr: Range | None = None
    """None for what is no worker, and for a worker until `allot.allot_pod_cidrs`."""
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    taints: tuple[str, ...] = ()
    """Of the Node, each as `key=value:Effect`, or `key=:Effect` without a value."""
    settings: Mapping[str, Settings] = field(default_factory=dict, hash=False)
    image: LabImage | None = None
    """What the lab boots it from; None: as the lab's other machines."""
    address6: IPv6Address | None = None
    pod_cidr6: Range | None = None

    @property
    def is_controller(self) -> bool:
        return "controller" in self.roles

    @property
    def is_worker(self) -> bool:
        return "worker" in self.roles

    @property
    def is_load_balancer(self) -> bool:
        return "load-balancer" in self.roles

    @property
    def ip(self) -> Address:
        """The address, for those who come after `allot.resolve`; raises LookupError before."""
        if self.address is None:
            raise LookupError(f"the address of {self.name} was not resolved yet")
        return self.address

    @property
    def pods(self) -> Range:
        """A worker's pod range, once `allot.allot_pod_cidrs` gave it; raises LookupError before."""
        if self.pod_cidr is None:
            raise LookupError(f"{self.name} has no pod range yet")
        return self.pod_cidr

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Those that are known."""
        return _given(self.address, self.address6)

    @property
    def pod_cidrs(self) -> tuple[Range, ...]:
        """A worker's pod ranges, as far as they are allotted."""
        return _given(self.pod_cidr, self.pod_cidr6)


@dataclass(frozen=True)
class Endpoint:
    """Where the API is dialled: a DNS name, an address, or a machine's name, with or without the domain."""

    host: str
    port: int = API_PORT


@dataclass(frozen=True)
class Network:
    """The ranges and the make of the pod and service network; the tutorial's numbers by default."""

    service_cidr: Range = DEFAULT_SERVICE_CIDR
    pod_cidr: Range = DEFAULT_POD_CIDR
    pod_prefix: int = 24
    """Length of the prefix of each worker's share of an IPv4 `pod_cidr`."""
    dns_address: Address = DEFAULT_DNS_ADDRESS
    """The service address of CoreDNS; in a file by default the tenth of `service_cidr`."""
    cluster_domain: str = "cluster.local"
    plugin: Literal["bridge", "none"] = "bridge"
    proxy_mode: Literal["nftables", "iptables"] = "nftables"
    mtu: int | None = None
    """Of pods' interfaces, in bytes; None: as the kernel has it, PLAIN_MTU."""
    service_cidr6: IPv6Network | None = None
    pod_cidr6: IPv6Network | None = None
    pod_prefix6: int = 64
    """As `pod_prefix`, of an IPv6 range."""

    @property
    def service_cidrs(self) -> tuple[Range, ...]:
        return _given(self.service_cidr, self.service_cidr6)

    @property
    def pod_cidrs(self) -> tuple[Range, ...]:
        return _given(self.pod_cidr, self.pod_cidr6)

    @property
    def is_dual_stack(self) -> bool:
        return self.service_cidr6 is not None

    @property
    def family(self) -> Literal[4, 6]:
        """By which machines, components and people dial each other: the IP version of the first ranges."""
        return self.service_cidr.version

    @property
    def families(self) -> tuple[int, ...]:
        """The IP versions that Services and pods have."""
        return tuple(cidr.version for cidr in self.service_cidrs)

    def prefix_of(self, cidr: Range) -> int:
        """The length of the prefix of each worker's share of this range."""
        return self.pod_prefix if cidr.version == 4 else self.pod_prefix6


@dataclass(frozen=True)
class Dns:
    """Whom CoreDNS asks about names that are not the cluster's. A server is ADDRESS or ADDRESS:PORT."""

    stub_domains: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    """By domain, the servers that know it."""
    upstream: tuple[str, ...] = ()
    """The servers for everything else; none: as the machines' own resolvers say."""
    corefile: str | None = None
    """The file in place of hardway's, as the inventory names it."""
    text: str = field(default="", repr=False)
    """What is in that file."""


@dataclass(frozen=True)
class Hosts:
    """What hardway may do to a machine's own settings."""

    hostname: Literal["keep", "set"] = "set"
    resolve: Literal["dns", "etc-hosts"] = "etc-hosts"
    firewall: Literal["check", "ignore"] = "check"


AuthorityName = Literal["kubernetes", "etcd", "front-proxy"]
"""The cluster's CAs, as State and the inventory call them."""


GIVEN_CERTIFICATE, GIVEN_KEY = "given/{}.crt", "given/{}.key"
"""What the operator's own files of a CA are called among the workspace's values."""


@dataclass(frozen=True)
class OwnAuthority:
    """A CA that the operator brings. `certificate` is a file with its certificate and, after it, those above it.

    `key` None: nobody here can sign; requests go out and answers come back.
    """

    certificate: Path
    key: Path | None = None


@dataclass(frozen=True)
class Certs:
    key: Literal["ecdsa-p256", "rsa-2048", "rsa-3072", "rsa-4096"] = "ecdsa-p256"
    extra_sans: tuple[str, ...] = ()
    """More DNS names and addresses for kube-apiserver's certificate."""
    ca_days: int = 3650
    leaf_days: int = 365
    authorities: Mapping[AuthorityName, OwnAuthority] = field(default_factory=dict, hash=False)
    """Of the CAs, those that hardway does not make."""


@dataclass(frozen=True)
class Encryption:
    """How Secrets are encrypted in etcd."""

    provider: Literal["secretbox", "aescbc", "aesgcm"] = "secretbox"
    resources: tuple[str, ...] = ("secrets",)
    """What is encrypted: always Secrets, and of the rest what is named."""


@dataclass(frozen=True)
class Artifacts:
    """Where the cluster's binaries come from; `mirror` is a folder or a base URL.

    `fetch` says who downloads them: the operator's computer, which uploads them, or each machine.
    """

    source: Literal["auto", "download", "build", "mirror"] = "auto"
    mirror: str | None = None
    fetch: Literal["operator", "machines"] = "operator"
    versions: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Of components, where they are not the catalogue's."""

    @property
    def unserved(self) -> str:
        """Why machines could not download by themselves: there is no URL for them; empty where there is one."""
        if self.source == "build":
            return "what is built here has no URL that machines could download from"
        if self.source == "mirror" and not (self.mirror or "").startswith(("http://", "https://")):
            return "machines cannot download from a mirror that is a folder of this computer"
        return ""


@dataclass(frozen=True)
class LabSpec:
    """Machines on this computer, raised by `hardway lab up`."""

    network: Range
    image: LabImage = "debian-12"
    network6: IPv6Network | None = None

    @property
    def networks(self) -> tuple[Range, ...]:
        return _given(self.network, self.network6)


@dataclass(frozen=True)
class OperatorFile:
    """A file of the operator's that machines get: `source` as the inventory names it, with its content.

    `machines` holds names and roles; empty: all machines. `restart` are the components that read it once.
    """

    path: str
    source: str
    content: bytes = field(repr=False)
    owner: str = "root"
    group: str = "root"
    mode: int = 0o644
    machines: tuple[str, ...] = ()
    restart: tuple[Component, ...] = ()

    @property
    def shown(self) -> str:
        """Its text; empty where that is not for everybody on a machine, or is none."""
        if not self.mode & 0o004 or b"PRIVATE KEY-----" in self.content:
            return ""
        try:
            text = self.content.decode()
        except UnicodeDecodeError:
            return ""
        return "" if has_placeholder_marks(text) else text

    @property
    def hidden(self) -> Placeholder:
        """What stands for its content where that is not shown."""
        path = Path(self.source).expanduser()
        return Placeholder(str(path if path.is_absolute() else Path("inventory", path)), secret=True)

    def goes_to(self, machine: Machine) -> bool:
        return not self.machines or not {machine.name, *machine.roles}.isdisjoint(self.machines)


HookName = Literal["before_drain", "after_drain", "before_upgrade", "after_upgrade", "before_reboot", "after_reboot"]


@dataclass(frozen=True)
class Hook:
    """A command of the operator's around what happens to a machine. `on`: where it runs, as the operator or as root of
    that machine. `timeout` is in seconds. `machines` holds names and roles; empty: all machines.
    """

    run: str
    on: Literal["operator", "node"] = "operator"
    timeout: int = 60
    machines: tuple[str, ...] = ()

    def is_for(self, machine: Machine) -> bool:
        return not self.machines or not {machine.name, *machine.roles}.isdisjoint(self.machines)


@dataclass(frozen=True)
class Cluster:
    """Everything an inventory says, with its defaults filled in."""

    name: str
    machines: tuple[Machine, ...]
    kubernetes: str = DEFAULT_KUBERNETES
    domain: str = DEFAULT_DOMAIN
    endpoint: Endpoint | None = None
    network: Network = Network()
    dns: Dns = Dns()
    hosts: Hosts = Hosts()
    certs: Certs = Certs()
    encryption: Encryption = Encryption()
    artifacts: Artifacts = Artifacts()
    proxy: str | None = None
    """The URL of an HTTP proxy to the outside, for this computer and the machines."""
    settings: Mapping[str, Settings] = field(default_factory=dict, hash=False)
    role_settings: Mapping[Role, Mapping[str, Settings]] = field(default_factory=dict, hash=False)
    files: tuple[OperatorFile, ...] = ()
    """The operator's own files, by their paths on machines."""
    hooks: Mapping[HookName, Hook] = field(default_factory=dict, hash=False)
    lab: LabSpec | None = None
    awaited: tuple[Machine, ...] = ()
    """Controllers that the file lists, and that are no part of the running cluster: `node add` makes them one."""
    path: Path = Path("hardway.yaml")
    hardway: str | None = None
    """Which versions of this tool may touch the cluster, such as `>=1.4,<2`."""
    places: Mapping[str, Place] = field(default_factory=dict, compare=False, repr=False)
    """Where each value stands in the file, by its path: `network.pod_cidr`, `machines.k1.address`."""
    written: str = field(default="", compare=False, repr=False)
    """Digest of what the file says, without what defaults add to it and without its pin of hardway's version."""

    @cached_property
    def controllers(self) -> tuple[Machine, ...]:
        return tuple(m for m in self.machines if m.is_controller)

    @cached_property
    def workers(self) -> tuple[Machine, ...]:
        return tuple(m for m in self.machines if m.is_worker)

    @cached_property
    def load_balancers(self) -> tuple[Machine, ...]:
        return tuple(m for m in self.machines if m.is_load_balancer)

    @property
    def first_service_address(self) -> Address:
        """What Service `kubernetes` gets, and every pod dials for the API."""
        return self.network.service_cidr.network_address + 1

    @property
    def first_service_addresses(self) -> tuple[Address, ...]:
        """The first of each service range. Certificates hold all of them."""
        return tuple(cidr.network_address + 1 for cidr in self.network.service_cidrs)

    @cached_property
    def by_name(self) -> Mapping[str, Machine]:
        return {machine.name: machine for machine in self.machines}

    @cached_property
    def ways(self) -> Mapping[str, tuple[tuple[str, str], ...]]:
        """By worker, each range of its pods with its address, as text: the destination and next hop of a route."""
        found: dict[str, tuple[tuple[str, str], ...]] = {}
        for worker in self.workers:
            ways = [(str(worker.pods), str(worker.ip))]
            if worker.pod_cidr6 and worker.address6:
                ways.append((str(worker.pod_cidr6), str(worker.address6)))
            found[worker.name] = tuple(ways)
        return found

    @cached_property
    def endpoint_machine(self) -> Machine | None:
        """The machine that the endpoint names: by its name, its full name or its address."""
        if self.endpoint is None:
            return None
        host = self.endpoint.host
        return next((m for m in self.machines if host in (m.name, self.fqdn(m), m.address and str(m.address))), None)

    @cached_property
    def virtual_address(self) -> IPv4Address | None:
        """The endpoint where several load balancers hold it between them: an address that is no machine's own."""
        if self.endpoint is None or self.endpoint_machine is not None or len(self.load_balancers) < 2:
            return None
        try:
            return IPv4Address(self.endpoint.host)
        except ValueError:  # a DNS name: somebody else's balancer, or two addresses in DNS
            return None

    @property
    def endpoint_host(self) -> str:
        """The host that kubelets and the operator dial for the API: an address or a DNS name.

        Raises LookupError while it is the address of a machine that was not resolved yet.
        """
        if self.endpoint is None:
            return str(self.controllers[0].ip)
        named = self.endpoint_machine
        return str(named.ip) if named else self.endpoint.host

    @property
    def endpoint_port(self) -> int:
        return self.endpoint.port if self.endpoint else API_PORT

    @property
    def api_url(self) -> str:
        return f"https://{host_port(self.endpoint_host, self.endpoint_port)}"

    def controller_for(self, number: int) -> Machine:
        """Who is asked the number-th of the questions that any controller can answer: each in its turn."""
        return self.controllers[number % len(self.controllers)]

    def machine(self, name: str) -> Machine:
        """The machine of that name; raises UsageError that lists those there are."""
        if machine := self.by_name.get(name):
            return machine
        raise UsageError(f"no machine is named {name!r}", hint=f"one of: {', '.join(self._names())}")

    def fqdn(self, machine: Machine) -> str:
        return f"{machine.name}.{self.domain}"

    def settings_for(self, component: str, machine: Machine) -> dict[str, Any]:
        """A component's overlay on a machine: the cluster's, under its roles', under its own.

        Mappings are merged key by key, at any depth; anything else replaces what is under it. With
        several roles the order is controller, worker, load-balancer.
        """
        layers = [self.settings]
        layers += [self.role_settings[role] for role in ROLES if role in machine.roles & self.role_settings.keys()]
        merged: dict[str, Any] = {}
        for layer in (*layers, machine.settings):
            merged = _merge(merged, layer.get(component, {}))
        return merged

    def without(self, name: str) -> "Cluster":
        """The cluster once this machine has left."""
        return replace(self, machines=tuple(one for one in self.machines if one.name != name))

    def select(self, limit: str) -> tuple[Machine, ...]:
        """The machines that `MACHINE|ROLE,…` names, without those of `!MACHINE|!ROLE`, in inventory order.

        Exclusions alone leave all others. Raises UsageError if a word is unknown, or nobody is left.
        """
        words = {part.strip() for part in limit.split(",")} - {""}
        excluded = {word.removeprefix("!") for word in words if word.startswith("!")}
        wanted = {word for word in words if not word.startswith("!")}
        unknown = sorted((wanted | excluded) - set(self._names()) - set(ROLES))
        if unknown:
            raise UsageError(f"no machine or role is named {', '.join(map(repr, unknown))}", hint=self._choices())
        selected: list[Machine] = []
        for machine in self.machines:
            names = {machine.name, *machine.roles}
            if (not wanted or names & wanted) and not names & excluded:
                selected.append(machine)
        if not words or not selected:
            raise UsageError("the limit matches no machine", hint=self._choices())
        return tuple(selected)

    def _choices(self) -> str:
        return f"machines: {', '.join(self._names())}; roles: {', '.join(ROLES)}"

    def _names(self) -> Iterator[str]:
        return (m.name for m in self.machines)


def _merge(under: Settings, over: Settings) -> dict[str, Any]:
    merged = dict(under)
    for key, value in over.items():
        below = merged.get(key)
        nested = isinstance(below, Mapping) and isinstance(value, Mapping)
        merged[key] = _merge(below or {}, value) if nested else value
    return merged
