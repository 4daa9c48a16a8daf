"""What the chapters from etcd on put where."""

import os
import subprocess
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from phase_models import LAB, MODEL, file, model, on, overlaid

from hardway.declare.network import routes
from hardway.declare.phases import access, control_plane, dns, etcd, load_balancer, workers
from hardway.declare.render import flags
from hardway.declare.resources import Absent, ApiObjects, Context, Difference, File, Resource, Routes, Service, Unknown
from hardway.declare.resources.base import STAGE
from hardway.inventory.model import Machine, Ssh
from hardway.values import placeholders

# etcd


@pytest.mark.parametrize(("state", "there"), [("absent", True), ("bootstrapping", True), ("initialized", False)])
def test_only_a_cluster_that_begins_may_be_new(state: str, there: bool) -> None:
    paths = {one.name for one in on(model(LAB, state), "controller-0", File)}
    assert (etcd.FIRST_START in paths) == there


def test_members_start_together_and_are_restarted_one_by_one() -> None:
    [service] = on(MODEL, "controller-0", Service, "etcd")
    assert isinstance(service, Service)
    assert service.group and service.group.name == "etcd"
    assert etcd.FIRST_START not in service.inputs


def test_a_certificate_that_is_read_again_restarts_nothing() -> None:
    for machine in ("controller-0", "worker-0"):
        inputs = {path for one in on(MODEL, machine, Service) if isinstance(one, Service) for path in one.inputs}
        assert not {path for path in inputs if path.endswith(".crt") and not path.endswith("/ca.crt")}


def test_a_first_start_is_told_of_all_members_and_the_unit_of_none() -> None:
    [text] = [one.text for one in on(model(LAB, "bootstrapping"), "controller-1", File) if one.name == etcd.FIRST_START]
    settings = dict(line.partition("=")[::2] for line in text.splitlines())
    assert settings["ETCD_INITIAL_CLUSTER_STATE"] == "new"
    assert settings["ETCD_INITIAL_CLUSTER"].split(",") == [
        f"{machine.name}=https://{machine.ip}:2380" for machine in LAB.controllers
    ]
    unit = etcd.unit(MODEL, LAB.controllers[1])
    assert not [flag for flag in flags(unit) if flag.startswith("initial-cluster")]
    assert "Environment=ETCD_INITIAL_CLUSTER_STATE=existing\n" in unit
    assert str(LAB.controllers[0].ip) not in unit


# what is read once


READ_ONCE = {
    "etcd": {"/etc/etcd/pki/ca.crt"},
    "kube-apiserver": {"admission-config.yaml", "audit-policy.yaml", "ca.crt", "etcd/ca.crt", "sa.key", "sa.pub"},
    "kube-controller-manager": {"ca.crt", "controller-manager.conf", "sa.key"},
    "kube-scheduler": {"scheduler.conf"},
    "kube-apiserver-lb": set(),
    "containerd": set(),
    "kubelet": {"kubelet.conf"},
    "kube-proxy": {"proxy.conf"},
}
"""Files of hardway below /etc/kubernetes (and there below pki) that a process reads at its start and never again."""


@pytest.mark.parametrize(("component", "files"), READ_ONCE.items())
def test_a_restart_follows_from_what_is_read_once_and_from_nothing_else(component: str, files: set[str]) -> None:
    services = [one for machine in LAB.machines for one in on(MODEL, machine.name, Service)]
    [inputs] = {one.inputs for one in services if isinstance(one, Service) and one.unit == f"{component}.service"}
    below = [path for path in inputs if path.startswith(("/etc/kubernetes/", "/etc/etcd/"))]
    assert {path.removeprefix("/etc/kubernetes/").removeprefix("pki/") for path in below} == files


def test_the_balancer_takes_up_its_files_by_a_reload() -> None:
    [service] = [one for one in on(MODEL, "lb-0", Service) if one.name == "kube-apiserver-lb.service"]
    assert isinstance(service, Service)
    names = {path.rpartition("/")[2] for path in service.reload_inputs}
    assert names == {"haproxy.cfg", "ca.crt", "haproxy-health.pem"}


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


def test_the_only_api_server_is_never_taken_for_dead() -> None:
    one = replace(MODEL, cluster=LAB.without("controller-1").without("controller-2"))
    lines = load_balancer.haproxy_cfg(one, LAB.load_balancers[0]).splitlines()
    [line] = [text for text in lines if text.startswith("  server ")]
    assert line.endswith(f":6443 fall {load_balancer.UNFAILING}")


def test_the_machines_own_haproxy_is_not_touched() -> None:
    paths = {one.name for one in on(MODEL, "lb-0", File)}
    assert not {path for path in paths if path.startswith("/etc/haproxy") or path.endswith("/haproxy.service")}


def test_directives_of_the_balancer_can_be_set() -> None:
    text = load_balancer.haproxy_cfg(overlaid({"haproxy": {"defaults": {"timeout client": "2h"}}}), LAB.machines[0])
    assert "  timeout client 2h\n" in text
    assert "  timeout client 1h\n" not in text


# workers


def test_a_kubelet_config_is_overlaid_and_keeps_its_placeholders() -> None:
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
    now = {pair for one in on(MODEL, "worker-0", Routes) if isinstance(one, Routes) for pair in one.table}
    later = {
        (words[3], words[5]) for words in (line.split() for line in unit.splitlines() if line.startswith("ExecStart"))
    }
    assert now == later


def test_the_balancer_has_no_routes() -> None:
    assert not on(MODEL, "lb-0", Routes)


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


def test_what_the_inventory_s_own_ssh_config_says_holds_for_ssh_too(tmp_path: Path) -> None:
    given, written = tmp_path / "given", tmp_path / "ssh_config"
    given.write_text("Host lb-0\n  HostName 192.0.2.7\n  Port 2200\n  StrictHostKeyChecking no\n")
    ssh = Ssh("lb-0", user="ops", config=given)
    machines = tuple(replace(one, ssh=ssh) if one.name == "lb-0" else one for one in LAB.machines)
    written.write_text(access.ssh_config(replace(MODEL, cluster=replace(LAB, machines=machines))))
    asked = subprocess.run(["ssh", "-G", "-F", str(written), "lb-0"], capture_output=True, text=True, check=True)
    said = dict(line.partition(" ")[::2] for line in asked.stdout.splitlines())
    assert [said[word] for word in ("hostname", "port", "user", "stricthostkeychecking")] == [
        "192.0.2.7", "2200", "ops", "true"
    ]  # fmt: skip


def test_what_the_inventory_leaves_open_is_as_the_operator_s_own_ssh_config_says(tmp_path: Path) -> None:
    (tmp_path / ".ssh").mkdir()
    own = "Host lb-0\n  HostName 192.0.2.7\n  Port 2200\nHost *\n  User ops\n  StrictHostKeyChecking no\n"
    (tmp_path / ".ssh" / "config").write_text(own)
    machines = tuple(replace(one, ssh=Ssh(host="lb-0") if one.name == "lb-0" else Ssh()) for one in LAB.machines)
    written = tmp_path / "ssh_config"
    written.write_text(access.ssh_config(replace(MODEL, cluster=replace(LAB, lab=None, machines=machines))))

    def asked(machine: str) -> list[str]:
        argv = ["ssh", "-G", "-F", str(written), machine]
        told = subprocess.run(
            argv, env={**os.environ, "HOME": str(tmp_path)}, capture_output=True, text=True, check=True
        )
        said = dict(line.partition(" ")[::2] for line in told.stdout.splitlines())
        return [said[word] for word in ("hostname", "port", "user", "stricthostkeychecking")]

    assert asked("lb-0") == ["192.0.2.7", "2200", "ops", "true"]
    assert asked("worker-1") == ["10.240.0.21", "22", "ops", "true"]


def test_who_has_no_rights_yet_is_given_them() -> None:
    """The API answers Forbidden to the administrators until their binding is there: nothing is applied yet."""
    [objects] = on(MODEL, "controller-0", ApiObjects, "control-plane")
    forbidden = '\n@dry\nError from server (Forbidden): clusterrolebindings is forbidden: User "hardway-admin"'
    assert type(objects).parse([objects], forbidden) == {objects.key: Absent()}
    down = "\n@dry\nThe connection to the server 127.0.0.1:6443 was refused"
    assert isinstance(type(objects).parse([objects], down)[objects.key], Unknown)


def test_the_break_glass_kubeconfig_is_removed_by_the_step_that_used_it() -> None:
    [objects] = on(MODEL, "controller-0", ApiObjects, "control-plane")
    assert isinstance(objects, ApiObjects)
    values = {placeholder.name: b"x" for placeholder in placeholders(objects.bootstrap_kubeconfig)}
    context = Context("controller-0", values)
    [kubeconfig] = set(objects.staged(context)) - set(replace(objects, bootstrap_kubeconfig="").staged(context))
    steps = objects.steps(Difference("create", ""), context)
    assert steps.count(f"rm -f -- {STAGE}/{kubeconfig}") == 2
