"""Each rule finds what it is for, on machines made up for it, and nothing on machines that are well."""

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest

from hardway.doctor.registry import RULES
from hardway.facts import Facts
from hardway.inventory.model import Artifacts, Cluster, Endpoint, Hosts, Machine, Network
from hardway.preflight.machines import GIB, MIB
from hardway.probe.host import CloudInit, Filter, Host
from hardway.probe.network import Listener, Route
from hardway.probe.units import UnitState
from hardway.rules import Evidence, Finding, Found, Rule, examine
from hardway.values import OPERATOR, Role

NOW = 1_800_000_000.0


def machine(name: str, role: Role, last: int) -> Machine:
    pods = IPv4Network(f"10.200.{last}.0/24") if role == "worker" else None
    return Machine(name, frozenset({role}), IPv4Address(f"192.0.2.{last}"), pod_cidr=pods)


LB, C0, W0, W1 = (
    machine("lb", "load-balancer", 30),
    machine("c0", "controller", 10),
    machine("w0", "worker", 20),
    machine("w1", "worker", 21),
)
CLUSTER = Cluster("test", (LB, C0, W0, W1), endpoint=Endpoint("lb", 443))
ROUTES = (Route(IPv4Network("192.0.2.0/24"), "192.0.2.0/24 dev eth0 proto kernel scope link"),)


def facts(name: str, **changes: Any) -> Facts:
    usual = Facts(
        arch="amd64", kernel="6.1.0-18-amd64", hostname=name, machine_id=f"id-of-{name}", os="debian", os_version="12",
        clock=NOW, memory_kib=4 * GIB, swap_kib=0, free_kib=20 * GIB, cgroup=2, systemd=True, zstd=True, openssl=True,
        etcd_data=False,
    )  # fmt: skip
    return replace(usual, **changes)


def host(one: Machine, **changes: Any) -> Host:
    usual = Host(
        addresses=frozenset({one.ip, IPv4Address("127.0.0.1")}),
        routes=ROUTES,
        listening=(Listener(22, "0.0.0.0", "sshd", 60),),
        cgroups=frozenset({"cpu", "cpuset", "io", "memory", "pids"}),
        nameservers=("192.0.2.1",),
    )
    return replace(usual, **changes)


def evidence(
    cluster: Cluster = CLUSTER,
    *,
    seen: Mapping[str, Mapping[str, Any]] | None = None,
    there: Mapping[str, Mapping[str, Any]] | None = None,
    clock: float = NOW,
) -> Evidence:
    """All machines are well but for what is said: `seen` changes facts, `there` what is on machines."""
    return Evidence(
        cluster,
        {one.name: facts(one.name, **(seen or {}).get(one.name, {})) for one in cluster.machines},
        {one.name: host(one, **(there or {}).get(one.name, {})) for one in cluster.machines},
        clock,
    )


def found(what: Evidence) -> list[tuple[str, str, str]]:
    return [(one.rule, one.machine, one.what) for one in examine(RULES, what)]


def test_nothing_is_found_on_machines_that_are_well() -> None:
    assert found(evidence()) == []


def unit(active: str = "active") -> UnitState:
    return UnitState("loaded", active)


@pytest.mark.parametrize(
    ("rule", "changes", "expected"),
    [
        ("architecture", {"arch": "riscv64"}, "its architecture is riscv64; components exist for amd64 and arm64"),
        ("init", {"systemd": False}, "it was not booted with systemd"),
        ("kernel", {"kernel": "4.18.0-553.el8"}, "its kernel is 4.18.0-553.el8; 4.19 is the oldest that will do"),
        ("kernel", {"kernel": ""}, "its kernel is unknown; 4.19 is the oldest that will do"),
        (
            "kernel",
            {"kernel": "5.10.0-28-amd64"},
            "its kernel is 5.10.0-28-amd64; kube-proxy's nftables mode needs 5.13",
        ),
        ("distribution", {"os": "arch", "os_version": ""}, "arch is not among what hardway knows"),
        ("distribution", {"os_version": "11"}, "debian 11 is not among what hardway knows"),
        (
            "distribution",
            {"os": "rocky", "os_version": "9.6"},
            "rocky 9.6 is known from documentation: no cluster was made there by hardway's own tests",
        ),
        ("bash", {"bash": False}, "it has no bash"),
        ("selinux", {"selinux": True}, "SELinux is enforcing, and nothing here labels files"),
        ("memory", {"memory_kib": 1000 * MIB}, "it has 1000 MiB of memory; a worker needs 1.0 GiB"),
        ("disk", {"free_kib": 2 * GIB}, "/var/lib has 2.0 GiB free; a worker needs 3.0 GiB"),
        ("clock", {"clock": NOW + 31}, "its clock is 31 s ahead of the other machines'"),
        ("clock", {"clock": NOW - 600}, "its clock is 600 s behind the other machines'"),
        ("machine-id", {"machine_id": ""}, "it has no /etc/machine-id"),
        ("machine-id", {"machine_id": "id-of-c0"}, "it has the same machine id as c0: id-of-c0"),
    ],
)
def test_a_fact_that_will_not_do_is_found(rule: str, changes: Mapping[str, Any], expected: str) -> None:
    assert found(evidence(seen={"w0": changes})) == [(rule, "w0", expected)]


@pytest.mark.parametrize(
    ("rule", "changes", "expected"),
    [
        (
            "address",
            {"addresses": frozenset({IPv4Address("127.0.0.1"), IPv4Address("198.51.100.7")})},
            "address 192.0.2.20 is on none of its interfaces; it has 198.51.100.7",
        ),
        (
            "ports",
            {"listening": (Listener(10250, "*", "kubelet", 7), Listener(10250, "[::]", "kubelet", 7))},
            "port 10250 is already taken by kubelet (pid 7); needed by kubelet",
        ),
        (
            "ports",
            {"listening": (Listener(10256, "*", "nc", 9), Listener(10248, "127.0.0.1", "nc", 9))},
            "ports 10248, 10256 are already taken by nc (pid 9); needed by kubelet and kube-proxy",
        ),
        (
            "ports",
            {"listening": (Listener(10249, "127.0.0.1"),)},
            "port 10249 is already taken by a process that ss does not name; needed by kube-proxy",
        ),
        (
            "other-cluster",
            {"units": {"k3s-agent": unit()}},
            "another cluster lives here, or has left traces: k3s (k3s-agent.service)",
        ),
        (
            "other-cluster",
            {"traces": ("/etc/kubernetes/kubelet.conf",)},
            "another cluster lives here, or has left traces: /etc/kubernetes/kubelet.conf",
        ),
        (
            "packaged",
            {"units": {"kubelet": unit("inactive"), "docker": unit()}},
            "these are here already, from a package or by hand: kubelet (stopped), docker (runs)",
        ),
        (
            "routes",
            {"routes": (*ROUTES, Route(IPv4Network("10.192.0.0/11"), "10.192.0.0/11 dev tun0"))},
            "network.pod_cidr 10.200.0.0/16 overlaps with where it has routes: 10.192.0.0/11 dev tun0",
        ),
        (
            "routes",
            {"routes": (Route(IPv4Network("10.32.0.128/25"), "10.32.0.128/25 via 192.0.2.9"),)},
            "network.service_cidr 10.32.0.0/24 overlaps with where it has routes: 10.32.0.128/25 via 192.0.2.9",
        ),
        (
            "mtu",
            {"mtus": {IPv4Address("192.0.2.20"): 1420}},
            "its interface takes packets of 1420 bytes, and pods would send 1500",
        ),
        (
            "cgroups",
            {"cgroups": frozenset({"cpu", "cpuset", "pids"})},
            "its kernel does not offer the cgroup controllers memory",
        ),
        (
            "kernel-features",
            {"missing_features": ("br_netfilter", "overlay")},
            "its kernel has these neither built in nor as modules: br_netfilter, overlay",
        ),
        (
            "firewall",
            {"filters": (Filter("forward", "ip filter FORWARD", True),)},
            "its firewall (FORWARD policy DROP) drops what is forwarded: pods of different workers would not meet",
        ),
        (
            "firewall",
            {"filters": (Filter("input", "inet filter input", True),)},
            "its firewall (INPUT policy DROP) drops what it was not told of; "
            "it was told nothing of pods (10.200.0.0/16)",
        ),
        (
            "firewall",
            {"manager": "firewalld"},
            "its firewall (firewalld) drops what is forwarded: pods of different workers would not meet",
        ),
        (
            "resolver",
            {"nameservers": ()},
            "it has no nameserver: CoreDNS has nobody to ask for outside names, and does not start",
        ),
        (
            "resolver",
            {"nameservers": ("127.0.0.53", "::1")},
            "its only nameserver is its own (127.0.0.53, ::1): CoreDNS would ask itself in a loop",
        ),
        (
            "resolver",
            {"nameservers": ("2001:db8::53", "::1", "fe80::1%eth0")},
            "its nameservers (2001:db8::53, ::1, fe80::1%eth0) are reached over IPv6 only, and pods, CoreDNS among "
            "them, have IPv4 addresses alone",
        ),
        (
            "cloud-init-hosts",
            {"cloud_init": CloudInit("true", "/etc/cloud/cloud.cfg.d/5.cfg")},
            "cloud-init writes /etc/hosts again at each boot (manage_etc_hosts: true in /etc/cloud/cloud.cfg.d/5.cfg): "
            "the machines' names would be gone",
        ),
        (
            "network-manager",
            {"units": {"NetworkManager": unit()}, "left_alone": "unmanaged-devices=interface-name:cni1;mac:52:54:0"},
            "NetworkManager runs, and was not told to leave the pods' bridge cni0 alone",
        ),
        (
            "nm-cloud-setup",
            {"nm_cloud_setup": True},
            "nm-cloud-setup is enabled: its routing rules go before the routes to pods",
        ),
        (
            "read-only",
            {"mounts": {"/usr/local/bin": frozenset({"ro", "relatime"}), "/etc": frozenset({"ro"})}},
            "it is mounted read-only where hardway puts binaries (/usr/local/bin) and units and configuration (/etc)",
        ),
        (
            "noexec",
            {"mounts": {"/opt/cni/bin": frozenset({"rw", "noexec"})}},
            "/opt/cni/bin is mounted noexec: network plugins could not be executed there",
        ),
        (
            "noexec-volumes",
            {"mounts": {"/var/lib": frozenset({"noexec"}), "/var/lib/kubelet": frozenset({"noexec"})}},
            "/var/lib/kubelet is mounted noexec: no pod can execute what is in its volumes",
        ),
        (
            "disk",
            {"disks": {"/var/lib/containerd": 2 * GIB, "/var/lib/etcd": MIB}},
            "/var/lib/containerd has 2.0 GiB free; a worker needs 3.0 GiB",
        ),
        (
            "names",
            {
                "names": {
                    "c0.kubernetes.local": "198.51.100.1",
                    "w0.kubernetes.local": "192.0.2.20",
                    "lb.kubernetes.local": "",
                }
            },
            "lb.kubernetes.local leads to nothing instead of 192.0.2.30; "
            "c0.kubernetes.local leads to 198.51.100.1 instead of 192.0.2.10",
        ),
    ],
)
def test_what_is_in_the_way_on_a_machine_is_found(rule: str, changes: Mapping[str, Any], expected: str) -> None:
    assert found(evidence(there={"w0": changes})) == [(rule, "w0", expected)]


@pytest.mark.parametrize(
    "changes",
    [
        {"listening": (Listener(6443, "*", "nginx", 1),)},
        {"units": {"etcd": unit(), "docker": unit("inactive"), "firewalld": unit("inactive")}},
        {"nameservers": ("127.0.0.53", "192.0.2.1")},
        {"mtus": {IPv4Address("192.0.2.20"): 9000, IPv4Address("198.51.100.1"): 1280}},
        {"routes": (Route(IPv4Network("0.0.0.0/0"), "0.0.0.0/0 dev eth0"),)},
        {"nameservers": ("2001:db8::53", "192.0.2.1")},
        {"cloud_init": CloudInit("localhost", "/etc/cloud/cloud.cfg")},
        {"cloud_init": CloudInit("false", "/etc/cloud/cloud.cfg", "false")},
        {"units": {"NetworkManager": unit("inactive")}},
        {"units": {"NetworkManager": unit()}, "left_alone": "unmanaged-devices=mac:5;interface-name:cni0;mac:7"},
        {"units": {"NetworkManager": unit()}, "left_alone": "unmanaged-devices+=interface-name:cni*"},
        {"units": {"NetworkManager": unit()}, "left_alone": "match-device=interface-name:eth0\nunmanaged-devices=*"},
        {"mounts": {"/usr/local/bin": frozenset({"rw", "nosuid", "nodev"}), "/var/lib": frozenset({"noexec"})}},
    ],
)
def test_what_does_not_concern_a_worker_is_not_found_there(changes: Mapping[str, Any]) -> None:
    assert found(evidence(there={"w0": changes})) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"filters": (Filter("forward", "ip filter FORWARD", True),)},
        {"missing_features": ("overlay",)},
        {"cgroups": frozenset()},
        {"nameservers": ()},
    ],
)
def test_what_only_workers_need_is_not_missed_elsewhere(changes: Mapping[str, Any]) -> None:
    assert found(evidence(there={"c0": changes, "lb": changes})) == []


def test_data_on_disks_of_their_own_needs_none_of_the_system_s() -> None:
    both = replace(C0, roles=frozenset({"controller", "worker"}), pod_cidr=IPv4Network("10.200.10.0/24"))
    cluster = Cluster("test", (both,))
    small = {"c0": {"free_kib": GIB}}
    assert [(one.rule, one.what) for one in examine(RULES, evidence(cluster, seen=small))] == [
        ("disk", "/var/lib has 1.0 GiB free; a controller and worker needs 5.0 GiB")
    ]
    own = {"c0": {"disks": {"/var/lib/etcd": 2 * GIB, "/var/lib/containerd": 3 * GIB}}}
    assert examine(RULES, evidence(cluster, seen=small, there=own)) == []


@pytest.mark.parametrize(
    ("cloud", "name", "level"),
    [
        (CloudInit(), "ip-10-0-0-7", "warning"),
        (CloudInit(preserve_hostname="false"), "ip-10-0-0-7", "warning"),
        (CloudInit(preserve_hostname="true"), "ip-10-0-0-7", None),
        (CloudInit(), "w0", None),
        (None, "ip-10-0-0-7", None),
    ],
)
def test_a_name_that_cloud_init_takes_back_is_warned_of(cloud: CloudInit | None, name: str, level: str | None) -> None:
    findings = examine(RULES, evidence(seen={"w0": {"hostname": name}}, there={"w0": {"cloud_init": cloud}}))
    assert [(one.rule, one.level) for one in findings] == ([("cloud-init-hostname", level)] if level else [])


def test_user_data_goes_before_a_file_that_says_otherwise() -> None:
    cloud = CloudInit("true", "/var/lib/cloud/instance/cloud-config.txt")
    [finding] = examine(RULES, evidence(there={"w0": {"cloud_init": cloud}}))
    assert finding.fix.startswith("touch /etc/cloud/cloud-init.disabled")


def test_a_balancer_under_selinux_wants_its_policy_told() -> None:
    enforcing = {"selinux": True, "restorecon": True}
    [finding] = examine(RULES, evidence(seen={"lb": enforcing, "w0": enforcing}))
    assert (finding.machine, finding.level) == ("lb", "warning")
    assert finding.fix.startswith("setsebool -P haproxy_connect_any 1")


@pytest.mark.parametrize(
    ("os", "version", "fix"),
    [
        (
            "debian",
            "13",
            "apt-get install -y --no-install-recommends linux-image-$(dpkg --print-architecture)",
        ),
        ("ubuntu", "24.04", "apt-get install -y --no-install-recommends linux-modules-extra-$(uname -r), or another"),
        ("almalinux", "9.6", "dnf install -y kernel-modules-extra, or another"),
        ("arch", "", "install the kernel's full module package, or another"),
    ],
)
def test_a_missing_module_is_asked_for_by_its_distribution_s_package(os: str, version: str, fix: str) -> None:
    what = evidence(seen={"w0": {"os": os, "os_version": version}}, there={"w0": {"missing_features": ("overlay",)}})
    [finding] = [one for one in examine(RULES, what) if one.rule == "kernel-features"]
    assert finding.fix.startswith(fix)


def test_controllers_need_more_memory_than_workers_and_a_balancer_any() -> None:
    small = {"memory_kib": 1200 * MIB}
    what = evidence(seen={"c0": small, "w0": small, "lb": {"memory_kib": 256 * MIB}})
    assert found(what) == [("memory", "c0", "it has 1.2 GiB of memory; a controller needs 1.5 GiB")]


def test_a_machine_with_two_roles_needs_the_disk_of_both() -> None:
    both = replace(W0, roles=frozenset({"controller", "worker"}))
    what = evidence(Cluster("one", (both,)), seen={"w0": {"free_kib": 4 * GIB}})
    assert found(what) == [("disk", "w0", "/var/lib has 4.0 GiB free; a controller and worker needs 5.0 GiB")]


def test_where_hardway_has_installed_something_only_facts_are_judged() -> None:
    full = evidence(seen={"w0": {"free_kib": 0, "memory_kib": 0}})
    later = replace(full, hosts={name: one for name, one in full.hosts.items() if name != "w0"})
    assert [(rule, name) for rule, name, _ in found(later)] == [("memory", "w0")]


def test_the_balancer_needs_the_endpoints_port() -> None:
    taken = {"listening": (Listener(443, "*", "nginx", 5), Listener(6443, "*", "other", 6))}
    assert found(evidence(there={"lb": taken})) == [
        ("ports", "lb", "port 443 is already taken by nginx (pid 5); needed by the load balancer")
    ]


def test_the_operators_clock_is_compared_too() -> None:
    assert found(evidence(clock=NOW + 119)) == []
    assert found(evidence(clock=NOW + 600)) == [
        ("clock", OPERATOR, "this computer's clock is 600 s ahead of the machines'")
    ]


def test_equal_host_names_matter_only_where_they_are_kept() -> None:
    copied = {"c0": {"hostname": "debian"}, "w0": {"hostname": "debian"}, "w1": {"hostname": "debian"}}
    assert found(evidence(seen=copied)) == []
    keeping = replace(CLUSTER, hosts=Hosts(hostname="keep"))
    assert found(evidence(keeping, seen=copied)) == [
        ("hostname", "w0", "it has the same host name as c0: debian"),
        ("hostname", "w1", "it has the same host name as c0: debian"),
    ]


def test_iptables_mode_takes_an_older_kernel() -> None:
    older = {"w0": {"kernel": "5.10.0-28-amd64"}}
    assert found(evidence(replace(CLUSTER, network=Network(proxy_mode="iptables")), seen=older)) == []


def test_a_firewall_is_ignored_where_the_inventory_says_so() -> None:
    ignoring = replace(CLUSTER, hosts=Hosts(firewall="ignore"))
    assert (
        found(evidence(ignoring, there={"w0": {"filters": (Filter("forward", "", True), Filter("input", "", True))}}))
        == []
    )


def test_errors_come_before_warnings_and_each_finding_has_its_fix() -> None:
    what = evidence(
        seen={"c0": {"os": "arch"}, "w0": {"arch": "mips"}}, there={"w0": {"filters": (Filter("forward", "", True),)}}
    )
    findings = examine(RULES, what)
    assert [(one.level, one.rule) for one in findings] == [
        ("error", "architecture"),
        ("warning", "distribution"),
        ("warning", "firewall"),
    ]
    assert all(one.fix and one.why for one in findings)


def test_rules_have_ids_of_their_own_and_reasons() -> None:
    assert len({rule.id for rule in RULES}) == len(RULES)
    assert all(rule.why and rule.needs for rule in RULES)


def test_a_rule_is_asked_only_when_what_it_needs_is_known() -> None:
    rule = Rule("always", frozenset({"hosts"}), lambda evidence: [Found("m", "seen")], "why", "fix", "warning")
    assert examine([rule], replace(evidence(), hosts={})) == []
    assert examine([rule], evidence()) == [Finding("m", "always", "seen", "fix", "warning", "why")]


@pytest.mark.parametrize(
    ("artifacts", "there", "expected"),
    [
        (Artifacts(), (), []),
        (Artifacts(fetch="machines"), (), ["has neither curl nor apt-helper to download binaries with"]),
        (Artifacts(fetch="machines"), ("curl",), ["has no certificates of CAs: it cannot download by https"]),
        (Artifacts(fetch="machines"), ("apt-helper", "certificates"), []),
        (Artifacts("mirror", "http://mirror", "machines"), ("curl",), []),
    ],
)
def test_machines_that_download_need_what_does_it(
    artifacts: Artifacts, there: tuple[str, ...], expected: list[str]
) -> None:
    well = frozenset({"curl", "certificates"})
    hosts = {one.name: {"downloads_by": well} for one in CLUSTER.machines}
    what = evidence(replace(CLUSTER, artifacts=artifacts), there={**hosts, "w0": {"downloads_by": frozenset(there)}})
    assert found(what) == [("downloads", "w0", text) for text in expected]
