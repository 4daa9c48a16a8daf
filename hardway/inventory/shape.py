"""The inventory's shape, for pydantic: which keys there are, and what each may hold by itself.

What concerns several values at once is in `rules`. The descriptions go into the JSON Schema that
editors use.
"""

import re
from collections.abc import Callable
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)

from hardway.inventory import words
from hardway.inventory.model import (
    DEFAULT_DOMAIN,
    DEFAULT_KUBERNETES,
    DEFAULT_POD_CIDR,
    DEFAULT_SERVICE_CIDR,
    Address,
    AuthorityName,
    Component,
    Endpoint,
    HookName,
    Published,
    Range,
)
from hardway.inventory.problems import quoted
from hardway.values import LabImage, Role


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def _text(parse: Callable[[str], Any]) -> BeforeValidator:
    """Parse a text; YAML's numbers and truth values are said to want quotes, not guessed at."""

    def check(value: object) -> Any:
        if not isinstance(value, str):
            raise ValueError(not_a_text(value))
        return parse(value)

    return BeforeValidator(check)


def _taint_text() -> BeforeValidator:
    def check(value: object) -> str:
        if isinstance(value, dict):
            raise ValueError("is a mapping; right: key=value:Effect, such as dedicated=gpu:NoSchedule")
        if not isinstance(value, str):
            raise ValueError(not_a_text(value))
        return words.taint(value)

    return BeforeValidator(check)


def _version(value: object) -> str:
    # YAML reads 1.36 as a number, and quotes would not make it a version.
    if isinstance(value, str | float):
        return words.version(str(value))
    raise ValueError(not_a_text(value))


def _component_version(value: object) -> str:
    if isinstance(value, str | float):
        return words.version(str(value), "", "3.6.15")
    raise ValueError(not_a_text(value))


def _mode(value: object) -> int:
    """Octal digits as chmod takes them: `0600` is a number for YAML, and so is read by its digits."""
    digits = str(value).removeprefix("0o") if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if not re.fullmatch(r"0?[0-7]{3}", digits) or not int(digits, 8) & 0o400:
        raise ValueError(f"{quoted(value)} is not a file's mode; right: octal and readable by its owner, such as 0600")
    return int(digits, 8)


def not_a_text(value: object) -> str:
    if isinstance(value, bool | int | float):
        return f"{quoted(value)} is not a text for YAML; put it in quotes"
    return "is empty; give a value or take the key out" if value is None else "should be a single text"


def _as_list(value: object) -> object:
    return tuple(value) if isinstance(value, list) else (value,)


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _typed(kind: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "format": kind})


Text = WithJsonSchema({"type": "string"})
Name = Annotated[str, _text(words.name)]
DnsName = Annotated[str, _text(words.dns_name)]


def _one_of_each(kind: str) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [{"type": "string", "format": f"ipv{version}{kind}"} for version in (4, 6)]})


def _one_or_two(kind: str) -> WithJsonSchema:
    one, other = ({"type": "string", "format": f"ipv{version}{kind}"} for version in (4, 6))
    both = {"type": "array", "prefixItems": [one, other], "minItems": 1, "maxItems": 2}
    return WithJsonSchema({"anyOf": [one, other, both]})


DnsAddress = Annotated[Address, _text(words.any_address), _one_of_each("")]


Addresses = Annotated[
    tuple[Annotated[Address, _text(words.any_address)], ...],
    BeforeValidator(_as_list),
    Field(min_length=1),
    AfterValidator(words.families),
    _one_or_two(""),
]
Cidrs = Annotated[
    tuple[Annotated[Range, _text(words.any_network)], ...],
    BeforeValidator(_as_list),
    Field(min_length=1),
    AfterValidator(words.families),
    _one_or_two("network"),
]
Port = Annotated[int, Field(ge=1, le=65535)]
Days = Annotated[int, Field(ge=1, le=36500)]
Roles = Annotated[
    tuple[Role, ...],
    BeforeValidator(_as_list),
    Field(min_length=1),
]
Overlay = dict[Component, dict[str, Any]]


class SshShape(_Shape):
    """How machines are reached; what is left out is as ssh_config says."""

    port: Port | None = None
    user: Annotated[str, _text(words.ssh_user)] | None = None
    key: Annotated[str, _text(words.path)] | None = Field(
        default=None, description="path of the private key; ~ is home"
    )
    jump: Annotated[str, _text(words.ssh_jump)] | None = Field(default=None, description="as for ssh -J")
    become: Literal["sudo", "none"] | None = Field(default=None, description="by default sudo, unless root")
    config: Annotated[str, _text(words.path)] | None = Field(
        default=None, description="an ssh_config file that is read before your own"
    )


class MachineSshShape(SshShape):
    """As `ssh`, and where this machine is dialled when not at its address."""

    host: Annotated[str, _text(words.ssh_host)] | None = None


class NetworkShape(_Shape):
    """Ranges and make of the pod and service network."""

    service_cidr: Cidrs = Field(
        default=(DEFAULT_SERVICE_CIDR,), description="its first address is the API's; one range, or [IPv4, IPv6]"
    )
    pod_cidr: Cidrs = Field(default=(DEFAULT_POD_CIDR,), description="every worker gets a share of it; or [IPv4, IPv6]")
    pod_prefix: int = Field(default=24, ge=16, le=28, description="prefix length of a worker's share")
    pod_prefix6: int = Field(default=64, ge=48, le=120, description="the same of its IPv6 share")
    dns_address: DnsAddress | None = Field(default=None, description="CoreDNS; by default service_cidr's tenth")
    cluster_domain: DnsName = "cluster.local"
    plugin: Literal["bridge", "none"] = Field(default="bridge", description="none: bring your own")
    proxy_mode: Literal["nftables", "iptables"] = "nftables"
    mtu: int | None = Field(default=None, ge=1280, le=65535, description="of pods' interfaces; the kernel's by default")


Servers = Annotated[
    tuple[Annotated[str, _text(words.name_server)], ...], BeforeValidator(_as_list), Field(min_length=1)
]


class DnsShape(_Shape):
    """Whom CoreDNS asks about names that are not the cluster's."""

    stub_domains: dict[Annotated[str, _text(words.dns_name)], Servers] = Field(
        default={}, description="DOMAIN: [ADDRESS[:PORT], …]: the servers that know it"
    )
    upstream: Annotated[tuple[Annotated[str, _text(words.name_server)], ...], BeforeValidator(_as_list)] = Field(
        default=(), min_length=1, description="servers for everything else; by default the machines' own resolvers"
    )
    corefile: Annotated[str, _text(words.path)] | None = Field(
        default=None, description="a Corefile of your own, whole; a relative path is beside the inventory"
    )


class HostsShape(_Shape):
    """What hardway may do to a machine's own settings."""

    hostname: Literal["keep", "set"] = "set"
    resolve: Literal["dns", "etc-hosts"] = "etc-hosts"
    firewall: Literal["check", "ignore"] = Field(default="check", description="never opened for you")


class AuthorityShape(_Shape):
    """A CA that hardway does not make; relative paths are beside the inventory."""

    certificate: Annotated[str, _text(words.path)] = Field(
        description="PEM: the CA's certificate, then those above it up to the root"
    )
    key: Annotated[str, _text(words.path)] | None = Field(
        default=None, description="PEM; without it: hardway certs csr, hardway certs import"
    )


class CertsShape(_Shape):
    """Keys and certificates."""

    key: Literal["ecdsa-p256", "rsa-2048", "rsa-3072", "rsa-4096"] = "ecdsa-p256"
    extra_sans: Annotated[tuple[Annotated[str, _text(words.san)], ...], BeforeValidator(_as_tuple)] = Field(
        default=(), description="more names and addresses of the API"
    )
    ca_days: Days = 3650
    leaf_days: Days = 365
    authorities: dict[AuthorityName, AuthorityShape] = Field(
        default={}, description="CAs of your own; what is not here hardway makes"
    )


class EncryptionShape(_Shape):
    """How Secrets are encrypted in etcd."""

    provider: Literal["secretbox", "aescbc", "aesgcm"] = "secretbox"
    resources: list[Annotated[str, _text(words.encrypted)]] = Field(
        default=["secrets"], description="Secrets, and what else: configmaps, or custom resources as PLURAL.GROUP"
    )

    @model_validator(mode="after")
    def _secrets(self) -> Self:
        if "secrets" not in self.resources:
            raise ValueError("resources: secrets is missing; Secrets are always encrypted")
        if len(set(self.resources)) < len(self.resources):
            raise ValueError("resources: one is named twice")
        return self


class ArtifactsShape(_Shape):
    """Where the cluster's binaries come from."""

    source: Literal["auto", "download", "build", "mirror"] = "auto"
    mirror: Annotated[str, _text(words.mirror)] | None = Field(default=None, description="a folder or a base URL")
    fetch: Literal["operator", "machines"] = Field(
        default="operator", description="who downloads: this computer, which uploads, or each machine by itself"
    )
    versions: dict[Published, Annotated[str, BeforeValidator(_component_version)]] = Field(
        default={}, description="in place of the catalogue's; their digests come from `hardway artifacts lock`"
    )


class LabShape(_Shape):
    """Machines that `hardway lab up` raises on this computer."""

    network: Cidrs = Field(description="its first address is this computer's; or [IPv4, IPv6]")
    image: LabImage = "debian-12"


class RoleShape(_Shape):
    """What holds for every machine of a role."""

    settings: Overlay = {}


class FileShape(_Shape):
    """A file of your own that machines get; the key is its path there."""

    source: Annotated[str, _text(words.path)] = Field(
        description="the file on this computer; a relative path is beside the inventory"
    )
    owner: Annotated[str, _text(words.owner)] = Field(default="root", description="USER or USER:GROUP")
    mode: Annotated[int, BeforeValidator(_mode), WithJsonSchema({"type": ["string", "integer"]})] = Field(
        default=0o644, description="octal, such as 0600"
    )
    machines: Annotated[tuple[Annotated[str, _text(str)], ...], BeforeValidator(_as_list)] = Field(
        default=(), min_length=1, description="roles and names of machines; all by default"
    )
    restart: Annotated[tuple[Component, ...], BeforeValidator(_as_list)] = Field(
        default=(), description="the components that read it, and restart when it changes"
    )


class HookShape(_Shape):
    """A command of your own that runs before or after what happens to a machine."""

    run: Annotated[str, _text(words.command)] = Field(description="a command line, for sh")
    on: Literal["operator", "node"] = Field(
        default="operator", description="this computer, in the inventory's folder; or the machine, as root"
    )
    timeout: Annotated[int, Field(ge=1, le=86400)] = Field(default=60, description="seconds until it is ended")
    machines: Annotated[tuple[Annotated[str, _text(str)], ...], BeforeValidator(_as_list)] = Field(
        default=(), min_length=1, description="roles and names of machines; all by default"
    )


class MachineShape(_Shape):
    """One machine; `NAME: ROLE` is short for `NAME: {role: ROLE}`."""

    role: Roles = Field(description="one role, or a list of them")
    address: Addresses | None = Field(
        default=None, description="by default looked up by name once, then kept; or [IPv4, IPv6]"
    )
    ssh: MachineSshShape = MachineSshShape()
    pod_cidr: Cidrs | None = Field(
        default=None, description="a worker's share; by default the next free one; or [IPv4, IPv6]"
    )
    labels: dict[str, Annotated[str, _text(words.node_label_value)]] = {}
    taints: Annotated[tuple[Annotated[str, _taint_text()], ...], BeforeValidator(_as_tuple)] = Field(
        default=(), description="key=value:NoSchedule, PreferNoSchedule or NoExecute, as for kubectl taint"
    )
    settings: Overlay = {}
    image: LabImage | None = Field(default=None, description="a lab machine's root file system; by default lab.image")

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: object) -> object:
        return {"role": value} if isinstance(value, str | list) else value


class InventoryShape(_Shape):
    """A Kubernetes cluster for hardway to build and keep."""

    hardway: Annotated[str, _text(words.version_range)] | None = Field(
        default=None, description="versions of hardway that may touch the cluster"
    )
    cluster: Name = Field(description="the cluster's name")
    kubernetes: Annotated[str, BeforeValidator(_version)] = DEFAULT_KUBERNETES
    domain: DnsName = Field(default=DEFAULT_DOMAIN, description="DNS domain of the machines")
    endpoint: Annotated[Endpoint, _text(words.endpoint), Text] | None = Field(
        default=None,
        description="HOST[:PORT] where the API is dialled, or the name of a load-balancer machine",
    )
    ssh: SshShape = SshShape()
    network: NetworkShape = NetworkShape()
    dns: DnsShape = DnsShape()
    hosts: HostsShape = HostsShape()
    certs: CertsShape = CertsShape()
    encryption: EncryptionShape = EncryptionShape()
    artifacts: ArtifactsShape = ArtifactsShape()
    proxy: Annotated[str, _text(words.proxy)] | None = Field(
        default=None, description="http://HOST:PORT through which this computer and the machines reach the outside"
    )
    settings: Overlay = Field(default={}, description="laid over the rendered flags and files, per component")
    roles: dict[Role, RoleShape] = Field(default={}, description="settings that hold for a role only")
    files: dict[Annotated[str, _text(words.target)], FileShape] = Field(
        default={}, description="files of your own that machines get, by their paths there"
    )
    hooks: dict[HookName, HookShape] = Field(
        default={}, description="commands of your own around drains, upgrades and restarts of machines"
    )
    lab: LabShape | None = None
    machines: dict[str, MachineShape] = Field(min_length=1, description="NAME: ROLE, or NAME: {role, …}")
