"""What each chapter puts where, on every shape of cluster."""

import subprocess
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path

import pytest
import yaml
from phase_models import LAB, MODEL, cluster, file, model, on

from hardway.declare.declaration import declare
from hardway.declare.phases import PHASE_NAMES, certs, control_plane, encryption, hosts, kubeconfigs, phase, routes
from hardway.declare.render import flags
from hardway.declare.resources import Certificate, File, Key, Package, Service
from hardway.inventory.model import Cluster
from hardway.values import is_secret, placeholders

SHAPES = ("lab", "lab-small", "single", "vagrant")


def both_roles() -> Cluster:
    """Controllers that are workers, too."""
    roles = frozenset({"controller", "worker"})
    machines = tuple(
        replace(one, roles=roles, pod_cidr=IPv4Network(f"10.200.{n + 100}.0/24")) if one.is_controller else one
        for n, one in enumerate(LAB.machines)
    )
    return replace(LAB, machines=machines)


def test_chapters_come_in_the_order_of_the_tutorial() -> None:
    assert PHASE_NAMES == (
        "hosts", "certs", "kubeconfigs", "encryption", "etcd", "control-plane", "load-balancer", "workers", "access",
        "routes", "dns", "smoke-test",
    )  # fmt: skip
    assert phase("etcd").name == "etcd"


@pytest.mark.parametrize("of", [*map(cluster, SHAPES), both_roles()], ids=[*SHAPES, "both"])
def test_every_shape_declares_each_thing_once_and_fills_every_placeholder(of: Cluster) -> None:
    declaration = declare(model(of))
    known = {one.path for _, one in declaration.local}
    for placed in declaration.placed:
        if isinstance(placed.resource, File):
            names = {placeholder.name for placeholder in placeholders(placed.resource.text)}
            assert {name for name in names if not name.startswith("fact/")} <= known


@pytest.mark.parametrize("of", [*map(cluster, SHAPES), both_roles()], ids=[*SHAPES, "both"])
def test_what_holds_a_secret_is_for_its_owner_alone(of: Cluster) -> None:
    for placed in declare(model(of)).placed:
        if isinstance(placed.resource, File) and is_secret(placed.resource.text):
            assert placed.resource.mode == 0o600, placed.resource.path


@pytest.mark.parametrize("of", [*map(cluster, SHAPES), both_roles()], ids=[*SHAPES, "both"])
def test_only_the_cluster_signer_leaves_the_workspace(of: Cluster) -> None:
    on_machines = {
        placeholder.name
        for placed in declare(model(of)).placed
        if isinstance(placed.resource, File)
        for placeholder in placeholders(placed.resource.text)
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


OURS = "table ip hardway-pods {\n ip saddr 10.200.0.0/24 masquerade\n}"
DROP = "table inet company {\n chain forward {\n type filter hook forward priority 0; policy drop;\n%s }\n}"


@pytest.mark.parametrize(
    ("tables", "holds"),
    [
        ([OURS], True),
        ([OURS, DROP % ""], False),
        ([OURS, DROP % "ip saddr 10.200.0.0/24 drop\n"], False),
        ([OURS, DROP % "ip saddr 10.200.0.0/16 accept\n"], True),
        ([OURS, DROP % 'iifname "cni0" accept\n'], True),
    ],
)
def test_a_firewall_that_drops_pods_is_proved_by_its_own_rules(tmp_path: Path, tables: list[str], holds: bool) -> None:
    """Played by an nft that has these tables."""
    [proof] = [one for one in routes.proofs(MODEL) if (one.machine, one.name[:12]) == ("worker-0", "the firewall")]
    for table in tables:
        _, family, name, *_ = table.split()
        (tmp_path / f"{family} {name}").write_text(table)
    nft = (
        f"cd {tmp_path}\nnft() {{ case $2 in tables) ls | sed 's/^/table /';; table) cat \"$3 $4\";; "
        "chains) cat *;; esac; }\n"
    )
    ran = subprocess.run(["sh", "-c", nft + proof.query], capture_output=True, text=True, check=False)
    assert (ran.returncode == 0) is holds, ran.stderr


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
    of = model(replace(LAB, certs=replace(LAB.certs, extra_sans=("203.0.113.7", "2001:db8::7", "*.example.net"))))
    spec = certs.api_server_spec(of)
    assert {"203.0.113.7", "2001:db8::7"} <= {*spec.addresses}
    assert "*.example.net" in spec.dns_names


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


@pytest.mark.parametrize("provider", ["secretbox", "aescbc", "aesgcm"])
def test_there_is_one_provider_and_it_is_not_identity(provider: str) -> None:
    of = model(replace(LAB, encryption=replace(LAB.encryption, provider=provider)))
    read = yaml.safe_load(encryption.encryption_config(of))
    assert [list(one) for one in read["resources"][0]["providers"]] == [[provider]]


def test_no_chapter_before_the_control_plane_asks_its_api() -> None:
    """Each chapter is proved by itself, in the tutorial's order."""
    before = PHASE_NAMES[: PHASE_NAMES.index("control-plane")]
    asking = [proof.name for name in before for proof in phase(name).proofs(MODEL) if "kubectl" in proof.query]
    assert asking == []
