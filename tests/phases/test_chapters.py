"""What each chapter puts where, on every shape of cluster."""

import tomllib
from dataclasses import replace
from ipaddress import IPv4Network

import pytest
import yaml
from phase_models import cluster, model

from hardway.inventory.model import Cluster, Machine
from hardway.network import routes
from hardway.phases import (
    CHAPTER_NAMES,
    access,
    certs,
    chapter,
    control_plane,
    dns,
    encryption,
    etcd,
    hosts,
    kubeconfigs,
    load_balancer,
    workers,
)
from hardway.phases.base import Model
from hardway.plan import declare
from hardway.render import flags
from hardway.resources import ApiObjects, Certificate, File, Key, Package, Resource, Route, Service
from hardway.values import holes, is_secret

LAB = cluster("lab")
MODEL = model(LAB)
SHAPES = ("lab", "lab-small", "single", "vagrant")


def on(of: Model, machine: str, kind: type[Resource], chapter_name: str = "") -> list[Resource]:
    return [
        placed.resource
        for placed in declare(of).on(machine)
        if isinstance(placed.resource, kind) and chapter_name in ("", placed.chapter)
    ]


def file(of: Model, machine: str, path: str) -> File:
    return next(one for one in on(of, machine, File) if isinstance(one, File) and one.path == path)


def overlaid(settings: dict[str, dict[str, object]], of: Cluster = LAB) -> Model:
    return model(replace(of, settings=settings))


def both_roles() -> Cluster:
    """Controllers that are workers, too."""
    roles = frozenset({"controller", "worker"})
    machines = tuple(
        replace(one, roles=roles, pod_cidr=IPv4Network(f"10.200.{n + 100}.0/24")) if one.is_controller else one
        for n, one in enumerate(LAB.machines)
    )
    return replace(LAB, machines=machines)


def test_chapters_come_in_the_order_of_the_tutorial() -> None:
    assert CHAPTER_NAMES == (
        "hosts", "certs", "kubeconfigs", "encryption", "etcd", "control-plane", "load-balancer", "workers", "access",
        "routes", "dns", "smoke-test",
    )  # fmt: skip
    assert chapter("etcd").name == "etcd"


@pytest.mark.parametrize("of", [*map(cluster, SHAPES), both_roles()], ids=[*SHAPES, "both"])
def test_every_shape_declares_each_thing_once_and_fills_every_hole(of: Cluster) -> None:
    declaration = declare(model(of))
    known = {one.path for _, one in declaration.local}
    for placed in declaration.placed:
        if isinstance(placed.resource, File):
            names = {hole.name for hole in holes(placed.resource.text)}
            assert {name for name in names if not name.startswith("fact/")} <= known


@pytest.mark.parametrize("of", [*map(cluster, SHAPES), both_roles()], ids=[*SHAPES, "both"])
def test_what_holds_a_secret_is_for_its_owner_alone(of: Cluster) -> None:
    for placed in declare(model(of)).placed:
        if isinstance(placed.resource, File) and is_secret(placed.resource.text):
            assert placed.resource.mode == 0o600, placed.resource.path


@pytest.mark.parametrize("of", [*map(cluster, SHAPES), both_roles()], ids=[*SHAPES, "both"])
def test_only_the_cluster_signer_leaves_the_workspace(of: Cluster) -> None:
    on_machines = {
        hole.name
        for placed in declare(model(of)).placed
        if isinstance(placed.resource, File)
        for hole in holes(placed.resource.text)
    }
    stays = {"pki/etcd/ca.key", "pki/front-proxy-ca.key", "pki/break-glass.key", "pki/break-glass.crt"}
    assert not stays & on_machines
    assert "pki/ca.key" in on_machines


@pytest.mark.parametrize("of", [*map(cluster, SHAPES)], ids=SHAPES)
def test_every_service_knows_its_unit_and_binary_as_inputs(of: Cluster) -> None:
    for placed in declare(model(of)).placed:
        if isinstance(placed.resource, Service):
            unit = placed.resource.unit
            assert f"/etc/systemd/system/{unit}" in placed.resource.inputs
            assert f"/etc/systemd/system/{unit}.d" in placed.resource.inputs
            text = file(model(of), placed.machine, f"/etc/systemd/system/{unit}").text
            if "ExecStart=/usr/local/bin/" in text:
                assert f"/usr/local/bin/{unit.removesuffix('.service')}" in placed.resource.inputs


@pytest.mark.parametrize("of", [*map(cluster, SHAPES)], ids=SHAPES)
def test_files_come_before_the_service_that_reads_them(of: Cluster) -> None:
    for machine in of.machines:
        paths: set[str] = set()
        for placed in declare(model(of)).on(machine.name):
            if isinstance(placed.resource, Service):
                declared = {p.resource.name for p in declare(model(of)).on(machine.name)}
                assert declared & {*placed.resource.inputs, *placed.resource.reload_inputs} <= paths
            paths.add(placed.resource.name)


# hosts


def test_names_and_addresses_of_all_machines_are_in_the_block() -> None:
    assert "10.240.0.20 worker-0.kubernetes.local worker-0\n" in hosts.hosts_block(MODEL)
    assert len(hosts.hosts_block(MODEL).splitlines()) == 7


def test_what_is_the_operators_own_is_kept() -> None:
    of = model(replace(LAB, hosts=replace(LAB.hosts, hostname="keep", resolve="dns")))
    kinds = {placed.resource.kind for placed in declare(of).placed}
    assert not kinds & {"hostname", "block"}


def test_the_balancers_package_does_not_start_its_own_service() -> None:
    [package] = [one for one in on(MODEL, "lb-0", Package) if one.name == "haproxy"]
    assert package == Package("haproxy", "haproxy", "haproxy.service")


# certs


def test_the_api_certificate_holds_what_pods_dial() -> None:
    spec = certs.api_server_spec(MODEL)
    assert {"10.32.0.1", "127.0.0.1", "10.240.0.10", "10.240.0.30"} <= set(spec.addresses)
    assert {"kubernetes.default.svc.cluster.local", "localhost", "controller-0", "lb-0"} <= set(spec.dns_names)


def test_the_first_service_address_follows_the_range() -> None:
    network = replace(LAB.network, service_cidr=IPv4Network("10.96.0.0/16"))
    of = model(replace(LAB, network=network))
    assert "10.96.0.1" in certs.api_server_spec(of).addresses
    unit = control_plane.unit(of, of.cluster.controllers[0], "kube-apiserver")
    manager = control_plane.unit(of, of.cluster.controllers[0], "kube-controller-manager")
    assert flags(unit)["service-cluster-ip-range"] == flags(manager)["service-cluster-ip-range"] == "10.96.0.0/16"


def test_extra_names_are_told_from_addresses() -> None:
    of = model(replace(LAB, certs=replace(LAB.certs, extra_sans=("203.0.113.7", "api.example.net"))))
    spec = certs.api_server_spec(of)
    assert "203.0.113.7" in spec.addresses
    assert "api.example.net" in spec.dns_names


def test_a_kubelet_is_named_as_its_node_and_nothing_else() -> None:
    specs = {one.path: one.spec for one in certs.certificates(MODEL)}
    spec = specs["pki/kubelet-worker-1"]
    assert (spec.common_name, spec.organizations) == ("system:node:worker-1", ("system:nodes",))
    assert spec.dns_names == ("worker-1", "worker-1.kubernetes.local")
    assert spec.addresses == ("10.240.0.21",)
    unit = file(MODEL, "worker-1", "/etc/systemd/system/kubelet.service").text
    assert flags(unit)["hostname-override"] == "worker-1"


def test_only_the_break_glass_certificate_is_of_system_masters() -> None:
    masters = [one.path for one in certs.certificates(MODEL) if "system:masters" in one.spec.organizations]
    assert masters == ["pki/break-glass"]


def test_every_certificate_has_a_key_and_its_ca_before_it() -> None:
    seen: set[str] = set()
    for one in certs.local(MODEL):
        if isinstance(one, Certificate):
            assert one.key_path in seen
            assert one.ca is None or {f"{one.ca}.crt", f"{one.ca}.key"} <= seen
        seen.add(one.path)


def test_the_asked_for_algorithm_is_used_and_tokens_stay_rsa() -> None:
    of = model(replace(LAB, certs=replace(LAB.certs, key="rsa-3072")))
    algorithms = {one.path: one.algorithm for one in certs.local(of) if isinstance(one, Key)}
    assert algorithms.pop("pki/sa.key") == "rsa-2048"
    assert set(algorithms.values()) == {"rsa-3072"}


# kubeconfigs, encryption


def test_workers_dial_the_endpoint_and_controllers_themselves() -> None:
    def server(machine: str, path: str) -> str:
        text = file(MODEL, machine, path).text
        return str(yaml.safe_load(text)["clusters"][0]["cluster"]["server"])

    assert server("worker-0", "/etc/kubernetes/kubelet.conf") == "https://10.240.0.30:6443"
    assert server("worker-0", "/etc/kubernetes/proxy.conf") == "https://10.240.0.30:6443"
    assert server("controller-1", "/etc/kubernetes/scheduler.conf") == "https://127.0.0.1:6443"


def test_every_kubeconfig_on_a_machine_is_kept_in_the_workspace() -> None:
    kept = {getattr(one, "text", "") for one in kubeconfigs.local(MODEL)}
    assert {r.text for _, r in kubeconfigs.resources(MODEL) if isinstance(r, File)} <= kept


@pytest.mark.parametrize("provider", ["secretbox", "aescbc"])
def test_there_is_one_provider_and_it_is_not_identity(provider: str) -> None:
    of = model(replace(LAB, encryption=replace(LAB.encryption, provider=provider)))
    read = yaml.safe_load(encryption.encryption_config(of))
    assert [list(one) for one in read["resources"][0]["providers"]] == [[provider]]


# etcd


@pytest.mark.parametrize(("state", "there"), [("absent", False), ("begun", True), ("formed", False)])
def test_only_a_cluster_that_begins_may_be_new(state: str, there: bool) -> None:
    paths = {one.name for one in on(model(LAB, state), "controller-0", File)}
    assert (etcd.FIRST_START in paths) == there


def test_members_start_together_and_are_restarted_one_by_one() -> None:
    [service] = on(MODEL, "controller-0", Service, "etcd")
    assert isinstance(service, Service)
    assert service.group == "etcd"
    assert etcd.FIRST_START not in service.inputs


def test_a_certificate_that_is_read_again_restarts_nothing() -> None:
    for machine in ("controller-0", "worker-0"):
        inputs = {path for one in on(MODEL, machine, Service) if isinstance(one, Service) for path in one.inputs}
        assert not {path for path in inputs if path.endswith(".crt") and not path.endswith("/ca.crt")}


# control plane


def test_each_api_server_asks_the_etcd_beside_it_first() -> None:
    unit = control_plane.unit(MODEL, LAB.controllers[1], "kube-apiserver")
    servers = flags(unit)["etcd-servers"].split(",")
    assert servers[0] == "https://10.240.0.11:2379"
    assert len(servers) == 3


def test_the_first_binding_is_made_with_credentials_that_do_not_stay() -> None:
    [objects] = on(MODEL, "controller-0", ApiObjects, "control-plane")
    assert isinstance(objects, ApiObjects)
    assert "break-glass" in objects.bootstrap_kubeconfig
    assert "name: system:masters" not in objects.manifest
    assert not on(MODEL, "controller-1", ApiObjects, "control-plane")


def test_settings_are_merged_into_units_by_flag() -> None:
    of = overlaid({"kube-apiserver": {"audit-log-maxage": 90, "v": 2}, "etcd": {"quota-backend-bytes": 8589934592}})
    unit = flags(control_plane.unit(of, LAB.controllers[0], "kube-apiserver"))
    assert (unit["audit-log-maxage"], unit["v"]) == ("90", "2")
    assert flags(etcd.unit(of, LAB.controllers[0]))["quota-backend-bytes"] == "8589934592"


# load balancer


def test_the_balancer_knows_every_controller() -> None:
    text = load_balancer.haproxy_cfg(MODEL, LAB.load_balancers[0])
    for machine in LAB.controllers:
        assert f"\n  server {machine.name} {machine.ip}:6443\n" in f"{text}\n"
    assert "\n  bind *:6443\n" in text


def test_the_machines_own_haproxy_is_not_touched() -> None:
    paths = {one.name for one in on(MODEL, "lb-0", File)}
    assert not {path for path in paths if path.startswith("/etc/haproxy") or path.endswith("/haproxy.service")}


def test_directives_of_the_balancer_can_be_set() -> None:
    text = load_balancer.haproxy_cfg(overlaid({"haproxy": {"defaults": {"timeout client": "2h"}}}), LAB.machines[0])
    assert "  timeout client 2h\n" in text
    assert "  timeout client 1h\n" not in text


# workers


def test_a_kubelet_config_is_overlaid_and_keeps_its_holes() -> None:
    of = overlaid({"kubelet": {"maxPods": 60, "authentication": {"webhook": {"cacheTTL": "1m0s"}}}})
    read = yaml.safe_load(workers.kubelet_config(of, LAB.workers[0]))
    assert read["maxPods"] == 60
    assert read["authentication"]["webhook"] == {"enabled": True, "cacheTTL": "1m0s"}
    assert read["failCgroupV1"] == "⟦fact/fail-cgroup-v1|plain|open⟧"


def test_a_machines_own_settings_win() -> None:
    own = replace(LAB.workers[0], settings={"kubelet": {"maxPods": 30}})
    of = overlaid({"kubelet": {"maxPods": 60}})
    assert yaml.safe_load(workers.kubelet_config(of, own))["maxPods"] == 30


def test_containerd_is_overlaid_by_path() -> None:
    runtime = "io.containerd.cri.v1.runtime"
    of = overlaid({"containerd": {"plugins": {runtime: {"enable_selinux": True}}}})
    text = workers.containerd_config(of, LAB.workers[0])
    assert "restrict_oom_score_adj = ⟦fact/restrict-oom-score-adj|plain|open⟧" in text
    filled = text.replace("⟦fact/restrict-oom-score-adj|plain|open⟧", "true").replace(
        "⟦fact/systemd-cgroup|plain|open⟧", "false"
    )
    read = tomllib.loads(filled)["plugins"][runtime]
    assert (read["enable_selinux"], read["restrict_oom_score_adj"]) == (True, True)
    assert read["containerd"]["runtimes"]["runc"]["options"]["SystemdCgroup"] is False


def test_labels_are_given_by_an_administrator() -> None:
    machines = tuple(
        replace(one, labels={"disk": "ssd", "node-role.kubernetes.io/db": ""}) if one.name == "worker-0" else one
        for one in LAB.machines
    )
    of = model(replace(LAB, machines=machines))
    [node] = [one for one in on(of, "controller-0", ApiObjects) if one.name == "node-labels"]
    assert isinstance(node, ApiObjects)
    assert yaml.safe_load(node.manifest)["metadata"] == {
        "name": "worker-0",
        "labels": {"disk": "ssd", "node-role.kubernetes.io/db": ""},
    }


def test_bring_your_own_network_gets_no_configuration_and_no_routes() -> None:
    of = model(replace(LAB, network=replace(LAB.network, plugin="none")))
    paths = {one.name for one in on(of, "worker-0", Resource)}
    assert "/etc/cni/net.d/10-bridge.conflist" not in paths
    assert "/opt/cni/bin/loopback" in paths
    assert "pod-routes.service" not in paths


# routes


def test_no_machine_has_a_route_to_its_own_pods() -> None:
    def wanted(machine: Machine) -> set[str]:
        return set(routes(LAB, machine))

    everyones = {"10.200.0.0/24", "10.200.1.0/24", "10.200.2.0/24"}
    assert wanted(LAB.controllers[0]) == everyones
    for machine in LAB.workers:
        assert wanted(machine) == everyones - {str(machine.pods)}


def test_routes_in_force_and_after_a_reboot_are_the_same() -> None:
    unit = file(MODEL, "worker-0", "/etc/systemd/system/pod-routes.service").text
    now = {(one.destination, one.via) for one in on(MODEL, "worker-0", Route) if isinstance(one, Route)}
    later = {
        (words[3], words[5]) for words in (line.split() for line in unit.splitlines() if line.startswith("ExecStart"))
    }
    assert now == later


def test_the_balancer_has_no_routes() -> None:
    assert not on(MODEL, "lb-0", Route)


# dns, access


def test_dns_has_the_address_that_kubelets_hand_out() -> None:
    service = next(one for one in yaml.safe_load_all(dns.manifest(MODEL)) if one["kind"] == "Service")
    assert service["spec"]["clusterIP"] == "10.32.0.10"
    assert yaml.safe_load(workers.kubelet_config(MODEL, LAB.workers[0]))["clusterDNS"] == ["10.32.0.10"]


def test_the_deployment_of_dns_can_be_overlaid() -> None:
    documents = list(yaml.safe_load_all(dns.manifest(overlaid({"coredns": {"spec": {"replicas": 3}}}))))
    [deployment] = [one for one in documents if one["kind"] == "Deployment"]
    assert deployment["spec"]["replicas"] == 3
    assert len(documents) == len(list(yaml.safe_load_all(dns.manifest(MODEL))))


def test_the_operators_own_files_are_in_the_workspace_only() -> None:
    assert not list(access.resources(MODEL))
    assert [one.path for one in access.local(MODEL)] == [".gitignore", "kubeconfig", "ssh_config"]


def test_ssh_config_names_every_machine_and_pins_host_keys() -> None:
    text = access.ssh_config(MODEL)
    assert [line.split()[1] for line in text.splitlines() if line.startswith("Host ")] == [
        machine.name for machine in LAB.machines
    ]
    assert text.count("StrictHostKeyChecking yes") == 7
