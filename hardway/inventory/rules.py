"""Rules across an inventory's fields, each a function from the cluster to what is wrong with it."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import product

from packaging.specifiers import SpecifierSet
from packaging.version import Version

import hardway
from hardway.inventory import owned, ranges, words
from hardway.inventory.model import API_PORT, Cluster, Machine, Settings
from hardway.inventory.problems import Loc, Problem, quoted
from hardway.values import OPERATOR, ROLES, Role, host_port

_NOT_A_NAME = {OPERATOR: "this computer", "all": "all machines", "localhost": "each machine itself"}

_NAME_LIMIT = 64 - len("system:node:")
"""A kubelet's certificate holds `system:node:NAME`, and X.509 allows a common name 64 characters."""

RUNS_ON: Mapping[str, Role] = {
    "etcd": "controller",
    "kube-apiserver": "controller",
    "kube-controller-manager": "controller",
    "kube-scheduler": "controller",
    "kubelet": "worker",
    "kube-proxy": "worker",
    "containerd": "worker",
    "haproxy": "load-balancer",
}
"""Where each component runs; CoreDNS is a Deployment and runs on no machine in particular."""


def tool_version(cluster: Cluster) -> Iterator[Problem]:
    """A source tree that knows of no release before it (`0+unknown`, `0.post1.dev7+…`) has no place in any range."""
    if cluster.hardway is None or not any(Version(hardway.__version__).release):
        return
    if not SpecifierSet(cluster.hardway).contains(hardway.__version__, prereleases=True):
        text = f"this is hardway {hardway.__version__}, and the cluster wants {cluster.hardway}; install one of those"
        yield Problem(("hardway",), text)


def names(cluster: Cluster) -> Iterator[Problem]:
    for machine in cluster.machines:
        loc = ("machines", machine.name)
        try:
            words.name(machine.name)
        except ValueError as wrong:
            yield Problem(loc, _full_name(machine.name, cluster.domain) or str(wrong), at_key=True)
            continue
        if machine.name in ROLES:
            yield Problem(loc, "is a role's name; give the machine a name of its own", at_key=True)
        elif machine.name in _NOT_A_NAME:
            text = f"stands for {_NOT_A_NAME[machine.name]}; give the machine a name of its own"
            yield Problem(loc, text, at_key=True)
        elif len(machine.name) > _NAME_LIMIT:
            text = f"is longer than {_NAME_LIMIT} characters, which is what a node's certificate can hold"
            yield Problem(loc, text, at_key=True)


def _full_name(name: str, domain: str) -> str:
    """What to say of a name with its domain; empty for what is none."""
    short, dot, rest = name.lower().partition(".")
    try:
        words.name(short)
        words.dns_name(rest if dot else "")
    except ValueError:
        return ""
    said = "the domain is said already" if rest == domain else f"domain: {rest}, which is that of all machines"
    return f"is a full name; right: {short}, and {said}"


def domains(cluster: Cluster) -> Iterator[Problem]:
    inner = cluster.network.cluster_domain
    if f".{cluster.domain}".endswith(f".{inner}"):
        text = f"{cluster.domain} is inside cluster_domain {inner}, which CoreDNS answers for; take another"
        yield Problem(("domain",), text)
    longest = max((len(cluster.fqdn(machine)) for machine in cluster.machines), default=0)
    if longest > 253:
        yield Problem(("domain",), f"makes machine names of {longest} characters; DNS allows 253")


def controllers(cluster: Cluster) -> Iterator[Problem]:
    count = len(cluster.controllers)
    if count in (1, 3, 5):
        return
    if count == 0:
        yield Problem(("machines",), "no machine is a controller; give one, three or five that role", True)
    else:
        why = "an even number survives no more failures" if count % 2 == 0 else "more only make etcd slower"
        yield Problem(("machines",), f"{count} controllers; right: 1, 3 or 5 ({why})", at_key=True)


def workers(cluster: Cluster) -> Iterator[Problem]:
    if not cluster.workers:
        yield Problem(("machines",), "no machine is a worker; give one that role (a controller may be one too)", True)


def endpoint_given(cluster: Cluster) -> Iterator[Problem]:
    if cluster.endpoint is not None:
        return
    balancers = ", ".join(machine.name for machine in cluster.load_balancers)
    if balancers:
        text = "is missing, with several load balancers; right: an address of their network that is no machine's own: "
        text += f"{balancers} hold it between them"
        yield Problem(("endpoint",), text, at_key=True)
    elif len(cluster.controllers) > 1:
        text = "is missing, with several controllers; right: a balancer's name, or a load-balancer machine"
        yield Problem(("endpoint",), text, at_key=True)


def endpoint_machine(cluster: Cluster) -> Iterator[Problem]:
    """An endpoint may name a machine, if that machine can answer for all API servers."""
    machine = cluster.endpoint_machine
    if machine is None or machine.is_load_balancer:
        return
    if not machine.is_controller:
        text = f"{machine.name} is neither a load balancer nor a controller, so no API answers there"
        yield Problem(("endpoint",), text)
    elif len(cluster.controllers) > 1:
        text = f"{machine.name} is one controller of several, whose death would take the API along"
        yield Problem(("endpoint",), f"{text}; right: a load balancer")
    elif cluster.endpoint_port != API_PORT:
        text = f"kube-apiserver on {machine.name} listens on {API_PORT}, not {cluster.endpoint_port}"
        yield Problem(("endpoint",), f"{text}; right: {machine.name}")


def endpoint_port(cluster: Cluster) -> Iterator[Problem]:
    """HAProxy and kube-apiserver cannot both have the port."""
    for machine in cluster.load_balancers:
        if machine.is_controller and cluster.endpoint_port == API_PORT:
            host = cluster.endpoint.host if cluster.endpoint else machine.name
            text = f"{machine.name} is controller and load balancer, and {API_PORT} is kube-apiserver's there"
            yield Problem(("endpoint",), f"{text}; right: another port, such as {host_port(host, 8443)}")


def ssh_targets(cluster: Cluster) -> Iterator[Problem]:
    """Two machines behind one SSH address are one machine."""
    seen: dict[tuple[object, ...], Machine] = {}
    for machine in cluster.machines:
        ssh = machine.ssh
        if ssh.host is None:
            continue
        other = seen.setdefault((ssh.host, ssh.port, ssh.jump), machine)
        if other is not machine:
            text = f"{ssh.host} is where {other.name} answers too; each machine needs its own"
            yield Problem(("machines", machine.name, "ssh", "host"), text)


def labels(cluster: Cluster) -> Iterator[Problem]:
    for machine in cluster.machines:
        loc = ("machines", machine.name, "labels")
        if machine.labels and not machine.is_worker:
            text = f"{machine.name} is no worker and so no node that could have labels; take them out"
            yield Problem(loc, text, at_key=True)
        for key in machine.labels:
            try:
                words.node_label_key(key)
            except ValueError as wrong:
                yield Problem((*loc, key), str(wrong), at_key=True)


def taints(cluster: Cluster) -> Iterator[Problem]:
    for machine in cluster.machines:
        loc = ("machines", machine.name, "taints")
        if machine.taints and not machine.is_worker:
            text = f"{machine.name} is no worker and so no node that could have taints; take them out"
            yield Problem(loc, text, at_key=True)
        seen: set[tuple[str, str]] = set()
        for number, one in enumerate(machine.taints):
            place = (one.partition("=")[0], one.rpartition(":")[2])
            if place in seen:
                yield Problem((*loc, number), f"{place[0]} is given again for {place[1]}; keep one of them")
            seen.add(place)
    if cluster.workers and all(map(_keeps_pods_away, cluster.workers)):
        text = "no worker takes ordinary pods: CoreDNS and the smoke test would find no node; leave one without"
        yield Problem(("machines", cluster.workers[0].name, "taints"), text, at_key=True)


def _keeps_pods_away(machine: Machine) -> bool:
    return any(not one.endswith(":PreferNoSchedule") for one in machine.taints)


FIRST_START = ("initial-cluster", "initial-cluster-state", "initial-cluster-token")
"""etcd's flags that hardway gives it as variables, at a member's first start only; etcd refuses to be given both."""


def settings(cluster: Cluster) -> Iterator[Problem]:
    """Settings for a component that does not run there would be lost in silence."""
    yield from _first_start(cluster.settings, ("settings",))
    for role, overlays in cluster.role_settings.items():
        yield from _strangers(overlays, frozenset({role}), f"a {role}", ("roles", role, "settings"))
        yield from _first_start(overlays, ("roles", role, "settings"))
    for machine in cluster.machines:
        where = ("machines", machine.name, "settings")
        yield from _strangers(machine.settings, machine.roles, machine.name, where)
        yield from _first_start(machine.settings, where)


def _first_start(overlays: Mapping[str, Settings], loc: Loc) -> Iterator[Problem]:
    for flag in overlays.get("etcd") or {}:
        if flag.removeprefix("--") in FIRST_START:
            text = "hardway gives it to etcd at a member's first start, "
            text += "and etcd stops where it is given twice; leave it out"
            yield Problem((*loc, "etcd", flag), text, at_key=True)


def _strangers(overlays: Iterable[str], roles: frozenset[Role], who: str, loc: Loc) -> Iterator[Problem]:
    for component in overlays:
        home = RUNS_ON.get(component)
        if home not in roles:
            right = f"right: under the cluster's settings{f', or a {home}' if home else ''}"
            yield Problem((*loc, component), f"{component} does not run on {who}; {right}", at_key=True)


def files(cluster: Cluster) -> Iterator[Problem]:
    """Files of the operator's: nobody else's place, for machines that there are, read by what runs there."""
    names = {*ROLES, *(machine.name for machine in cluster.machines)}
    for file in cluster.files:
        loc = ("files", file.path)
        if why := owned.by(file.path):
            yield Problem(loc, f"{why}; right: another path", at_key=True)
        for word in file.machines:
            if word not in names:
                yield Problem((*loc, "machines"), f"no machine or role is named {quoted(word)}")
        if b"PRIVATE KEY-----" in file.content and file.mode & 0o077:
            yield Problem(loc, f"{file.source} holds a private key; right: mode: 0600")
        goes_to = [machine for machine in cluster.machines if file.goes_to(machine)]
        if "etcd" in (file.owner, file.group) and not all(machine.is_controller for machine in goes_to):
            text = "only controllers have the user etcd; right: machines: controller"
            yield Problem((*loc, "owner"), text)
        for component in file.restart:
            home = RUNS_ON.get(component)
            if home is None:
                yield Problem((*loc, "restart"), "coredns reads no file of a machine; right: dns.corefile")
            elif goes_to and not any(home in machine.roles for machine in goes_to):
                text = f"{component} runs on no machine that gets this file; right: machines: {home}"
                yield Problem((*loc, "restart"), text)


def hooks(cluster: Cluster) -> Iterator[Problem]:
    """For machines that there are, and to which that happens at all: pods run on workers only."""
    names = {*ROLES, *(machine.name for machine in cluster.machines)}
    for name, hook in cluster.hooks.items():
        loc = ("hooks", name, "machines")
        unknown = [word for word in hook.machines if word not in names]
        for word in unknown:
            yield Problem(loc, f"no machine or role is named {quoted(word)}")
        is_for = [machine for machine in cluster.machines if hook.is_for(machine)]
        if not unknown and not name.endswith("reboot") and not any(machine.is_worker for machine in is_for):
            yield Problem(loc, f"{name} is for workers; right: machines: worker")


def stub_domains(cluster: Cluster) -> Iterator[Problem]:
    inner = cluster.network.cluster_domain
    for domain in cluster.dns.stub_domains:
        if f".{domain}".endswith(f".{inner}"):
            text = f"is inside cluster_domain {inner}, which CoreDNS answers for itself; take it out"
            yield Problem(("dns", "stub_domains", domain), text, at_key=True)


_PLUGINS = {
    "health": "the Deployment's probe asks it whether the server lives",
    "ready": "the Deployment's probe asks it, and no pod would become ready",
    "reload": "a later change of the file would reach no pod that runs",
}
"""What an operator's Corefile must have, for what hardway deploys around it."""


def corefile(cluster: Cluster) -> Iterator[Problem]:
    """An operator's Corefile is CoreDNS' own language; what hardway's Deployment and pods need of it is there."""
    dns, loc = cluster.dns, ("dns", "corefile")
    if dns.corefile is None:
        return
    for key, given in (("stub_domains", dns.stub_domains), ("upstream", dns.upstream)):
        if given:
            yield Problem(("dns", key), "goes into a Corefile of hardway's, and corefile replaces that; write it there")
    text = re.sub(r"(?m)(^|\s)#.*", "", dns.text)
    if text.count("{") != text.count("}"):
        yield Problem(loc, f"{dns.corefile}: {text.count('{')} times {{ and {text.count('}')} times }}")
        return
    domain = cluster.network.cluster_domain
    if not re.search(rf"(?m)^\s*kubernetes\s(?:[^{{\n]*\s)?{re.escape(domain)}\.?(?:\s|$)", text):
        why = "no Service would have a name"
        yield Problem(loc, f"{dns.corefile}: has no plugin kubernetes for {domain}: {why}; add kubernetes {domain}")
    for plugin, why in _PLUGINS.items():
        if not re.search(rf"(?m)^\s*{plugin}(?:\s|$)", text):
            yield Problem(loc, f"{dns.corefile}: has no plugin {plugin}: {why}; add a line {plugin}")


def certificates(cluster: Cluster) -> Iterator[Problem]:
    certs = cluster.certs
    if certs.leaf_days > certs.ca_days:
        text = f"{certs.leaf_days} days are longer than the CA's own {certs.ca_days}; right: fewer"
        yield Problem(("certs", "leaf_days"), text)


def mirror(cluster: Cluster) -> Iterator[Problem]:
    if cluster.artifacts.source == "mirror" and cluster.artifacts.mirror is None:
        text = "is missing, with source: mirror; right: a folder or base URL"
        yield Problem(("artifacts", "mirror"), text, at_key=True)


def fetched_by_machines(cluster: Cluster) -> Iterator[Problem]:
    artifacts = cluster.artifacts
    if artifacts.fetch == "machines" and artifacts.unserved and (artifacts.source == "build" or artifacts.mirror):
        right = "fetch: operator, or source: mirror with the URL of one"
        yield Problem(("artifacts", "fetch"), f"{artifacts.unserved}; right: {right}")


Check = Callable[[Cluster], Iterator[Problem]]
Rule = tuple[Check, tuple[Loc, ...]]
"""A rule, and the values without which it would judge by a default nobody meant."""

_ROLES, _ENDPOINT = ("machines", "*", "role"), ("endpoint",)
_PODS, _SERVICES, _LAB = ("network", "pod_cidr"), ("network", "service_cidr"), ("lab",)
_ADDRESS = ("machines", "*", "address")

RULES: tuple[Rule, ...] = (
    (tool_version, ()),
    (names, ()),
    (domains, (("domain",), ("network", "cluster_domain"))),
    (controllers, (_ROLES,)),
    (workers, (_ROLES,)),
    (endpoint_given, (_ROLES, _ENDPOINT)),
    (endpoint_machine, (_ROLES,)),
    (endpoint_port, (_ROLES, _ENDPOINT)),
    (ssh_targets, ()),
    (labels, (_ROLES,)),
    (taints, (_ROLES,)),
    (settings, (_ROLES,)),
    (files, (_ROLES,)),
    (hooks, (_ROLES,)),
    (stub_domains, (("network", "cluster_domain"),)),
    (corefile, (("network", "cluster_domain"),)),
    (certificates, (("certs",),)),
    (mirror, (("artifacts",),)),
    (fetched_by_machines, (("artifacts",),)),
    (ranges.disjoint, (_PODS, _SERVICES, _LAB)),
    (ranges.dual_stack, (_PODS, _SERVICES, _LAB, _ADDRESS, _ROLES)),
    (ranges.service_range, (_SERVICES,)),
    (ranges.dns_address, (_SERVICES, ("network", "dns_address"))),
    (ranges.pod_range, (_PODS, ("network", "pod_prefix"), ("network", "pod_prefix6"))),
    (ranges.unique_addresses, ()),
    (ranges.addresses_apart, (_PODS, _SERVICES)),
    (ranges.lab_addresses, (_LAB, _ADDRESS)),
    (ranges.lab_images, (_LAB,)),
    (ranges.pod_shares, (_PODS, _ROLES)),
    (ranges.endpoint_address, (_PODS, _SERVICES)),
    (ranges.virtual_address, (_ROLES, _ENDPOINT, _ADDRESS, _LAB)),
)


def check(cluster: Cluster, unknown: Iterable[Loc] = (), further: Iterable[Rule] = ()) -> list[Problem]:
    """All problems of a cluster, also by `further` rules. `unknown` are paths whose values could not be read: what
    depends on them is not judged, so that one mistake is one message."""
    lost = tuple(unknown)
    found: list[Problem] = []
    for rule, needs in (*RULES, *further):
        if not any(_touches(need, loc) for need, loc in product(needs, lost)):
            found += rule(cluster)
    return found


def _touches(need: Loc, loc: Loc) -> bool:
    return all(wanted in ("*", part) for wanted, part in zip(need, loc, strict=False))
