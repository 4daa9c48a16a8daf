"""From an inventory that is right to the model, and what the model answers."""

import json
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from hardway import data
from hardway.errors import InventoryError, UsageError
from hardway.inventory.allot import allot_pod_cidrs, resolve
from hardway.inventory.find import find
from hardway.inventory.load import load
from hardway.inventory.model import Cluster, Endpoint, LabSpec, Place, Ssh
from hardway.inventory.schema import json_schema

INVENTORIES = data.folder("inventories")

EVERYTHING = """\
hardway: ">=0.1"
cluster: prod
kubernetes: 1.36.4
domain: example.net
endpoint: api.example.net:6443
ssh: {user: ops, key: ~/.ssh/prod, jump: bastion.example.net, become: sudo}
network:
  service_cidr: 10.32.0.0/20
  pod_cidr: 10.200.0.0/16
  plugin: bridge
  proxy_mode: nftables
hosts:
  hostname: keep
  resolve: dns
  firewall: check
certs: {key: ecdsa-p256, extra_sans: [203.0.113.7]}
artifacts: {source: download, mirror: https://mirror.example.net/hardway, versions: {etcd: 3.6.15}}
proxy: http://proxy.example.net:3128
settings:
  kubelet: {maxPods: 60, evictionHard: {memory.available: 100Mi}}
  kube-apiserver: {audit-log-maxage: 90}
roles:
  worker: {settings: {kubelet: {evictionHard: {nodefs.available: 5%}}}}
machines:
  k1: {role: controller, address: 10.0.8.11, ssh: {host: 192.0.2.11, user: root}}
  k2: {role: controller, address: 10.0.8.12}
  k3: {role: [controller, worker], address: 10.0.8.13, pod_cidr: 10.200.0.0/24}
  k4: {role: worker, address: 10.0.8.14, labels: {disk: ssd}}
  k5: {role: worker, address: 10.0.8.15, settings: {kubelet: {maxPods: 30}}}
"""


def loaded(folder: Path, text: str) -> Cluster:
    (folder / "hardway.yaml").write_text(text)
    return load(folder / "hardway.yaml")


@pytest.fixture
def prod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    monkeypatch.setenv("HOME", "/home/ops")
    return loaded(tmp_path, EVERYTHING)


def test_ssh_of_a_machine_is_its_own_over_the_clusters(prod: Cluster) -> None:
    key = Path("/home/ops/.ssh/prod")
    assert prod.machine("k1").ssh == Ssh("192.0.2.11", None, "root", key, "bastion.example.net", "sudo")
    assert prod.machine("k2").ssh == Ssh(None, None, "ops", key, "bastion.example.net", "sudo")


def test_settings_merge_cluster_under_role_under_machine_at_any_depth(prod: Cluster) -> None:
    eviction = {"memory.available": "100Mi", "nodefs.available": "5%"}
    assert prod.settings_for("kubelet", prod.machine("k5")) == {"maxPods": 30, "evictionHard": eviction}
    assert prod.settings_for("kubelet", prod.machine("k4")) == {"maxPods": 60, "evictionHard": eviction}
    assert prod.settings_for("kube-apiserver", prod.machine("k1")) == {"audit-log-maxage": 90}
    assert prod.settings_for("etcd", prod.machine("k1")) == {}
    assert prod.settings["kubelet"]["evictionHard"] == {"memory.available": "100Mi"}


def test_every_value_knows_its_place_in_the_file(prod: Cluster) -> None:
    assert prod.places["network.service_cidr"] == Place(8, 17)
    assert prod.places["machines.k4.labels.disk"] == Place(28, 57)


def test_a_limit_selects_machines_and_roles_in_inventory_order(prod: Cluster) -> None:
    assert [m.name for m in prod.select("k5, controller")] == ["k1", "k2", "k3", "k5"]
    with pytest.raises(UsageError) as caught:
        prod.select("k1,workers")
    assert str(caught.value) == (
        "no machine or role is named 'workers'\n"
        "  next:  machines: k1, k2, k3, k4, k5; roles: controller, worker, load-balancer"
    )


def test_the_seven_machines_have_the_tutorials_numbers() -> None:
    cluster = load(INVENTORIES / "lab.yaml")
    assert {m.name: (str(m.ip), m.pod_cidr and str(m.pod_cidr)) for m in cluster.machines} == {
        "lb-0": ("10.240.0.30", None),
        **{f"controller-{i}": (f"10.240.0.{10 + i}", None) for i in range(3)},
        **{f"worker-{i}": (f"10.240.0.{20 + i}", f"10.200.{i}.0/24") for i in range(3)},
    }
    assert cluster.api_url == "https://10.240.0.30:6443"
    assert cluster.first_service_address == IPv4Address("10.32.0.1")
    assert cluster.fqdn(cluster.machine("worker-0")) == "worker-0.kubernetes.local"
    assert cluster.lab == LabSpec(IPv4Network("10.240.0.0/24"), "debian-12")
    assert {m.ssh for m in cluster.machines} == {Ssh(user="root")}


def test_the_virtual_machines_are_the_same_seven_elsewhere() -> None:
    lab, vagrant = load(INVENTORIES / "lab.yaml"), load(INVENTORIES / "vagrant.yaml")
    assert [(m.name, m.roles, m.pod_cidr) for m in vagrant.machines] == [
        (m.name, m.roles, m.pod_cidr) for m in lab.machines
    ]
    assert vagrant.lab is None
    written = INVENTORIES.parent / "vagrant" / ".vagrant" / "ssh_config"
    for machine in vagrant.machines:
        config = machine.ssh.config.resolve() if machine.ssh.config else None
        assert replace(machine.ssh, config=config) == Ssh(machine.name, user="vagrant", become="sudo", config=written)


def test_all_labs_can_be_up_at_once() -> None:
    labs = [load(INVENTORIES / f"{name}.yaml") for name in ("lab", "lab-small", "single")]
    networks = [cluster.lab.network for cluster in labs if cluster.lab]
    assert len(networks) == 3
    assert not any(a.overlaps(b) for i, a in enumerate(networks) for b in networks[:i])
    assert len({cluster.name for cluster in labs}) == 3


def test_without_endpoint_one_controller_is_dialled_itself() -> None:
    small, single = load(INVENTORIES / "lab-small.yaml"), load(INVENTORIES / "single.yaml")
    assert (small.endpoint, small.api_url) == (None, "https://10.242.0.10:6443")
    assert [m.name for m in single.controllers] == [m.name for m in single.workers] == ["one"]


def test_without_endpoint_the_only_load_balancer_is_it(tmp_path: Path) -> None:
    text = "cluster: a\nmachines: {b: load-balancer, c1: controller, c2: controller, c3: controller, w: worker}\n"
    assert loaded(tmp_path, text).endpoint == Endpoint("b", 6443)


@pytest.mark.parametrize("host", ["b", "b.kubernetes.local", "192.0.2.9"])
def test_an_endpoint_names_a_machine_by_its_name_its_full_name_or_its_address(tmp_path: Path, host: str) -> None:
    machines = "{b: {role: load-balancer, address: 192.0.2.9}, k: {role: [controller, worker], address: 192.0.2.8}}"
    cluster = loaded(tmp_path, f"cluster: a\nendpoint: {host}:8443\nmachines: {machines}\n")
    assert (cluster.endpoint_machine, cluster.api_url) == (cluster.load_balancers[0], "https://192.0.2.9:8443")


def test_an_endpoint_that_no_machine_has_is_dialled_as_it_is(tmp_path: Path) -> None:
    text = "cluster: a\nendpoint: b.example.net\nmachines: {b: load-balancer, k: [controller, worker]}\n"
    cluster = loaded(tmp_path, text)
    assert (cluster.endpoint_machine, cluster.api_url) == (None, "https://b.example.net:6443")


def test_five_controllers_that_are_workers_are_a_cluster(tmp_path: Path) -> None:
    machines = ", ".join(f"k{i}: [controller, worker]" for i in range(5))
    cluster = loaded(tmp_path, f"cluster: a\nendpoint: api.example.net\nmachines: {{{machines}}}\n")
    assert cluster.controllers == cluster.workers == cluster.machines


def test_dns_is_the_tenth_of_the_services_unless_given(tmp_path: Path) -> None:
    text = "cluster: a\nnetwork: {service_cidr: 10.96.0.0/12}\nmachines: {k: [controller, worker]}\n"
    assert loaded(tmp_path, text).network.dns_address == IPv4Address("10.96.0.10")


def test_words_that_older_yaml_takes_for_truth_values_stay_texts(tmp_path: Path) -> None:
    text = "cluster: no\nmachines: {on: {role: [controller, worker], labels: {y: off}}}\n"
    cluster = loaded(tmp_path, text)
    assert (cluster.name, cluster.machine("on").labels) == ("no", {"y": "off"})


def test_a_key_that_is_relative_lies_beside_the_inventory(tmp_path: Path) -> None:
    text = "cluster: a\nssh: {key: keys/prod}\nmachines: {k: [controller, worker]}\n"
    assert loaded(tmp_path, text).machine("k").ssh.key == tmp_path / "keys/prod"


NAMED = """\
cluster: a
domain: example.net
endpoint: api.example.net
machines:
  k1: controller
  k2: {role: worker, ssh: {host: k2-alias}}
  k3: {role: worker, address: 10.0.0.3}
"""


def test_a_machine_without_address_has_the_pinned_one_or_the_one_behind_its_name(tmp_path: Path) -> None:
    asked: list[str] = []

    def lookup(name: str) -> IPv4Address:
        asked.append(name)
        return IPv4Address("10.0.0.2")

    cluster = resolve(loaded(tmp_path, NAMED), {"k1": IPv4Address("10.0.0.1")}, lookup)
    assert [str(m.ip) for m in cluster.machines] == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    assert asked == ["k2-alias"]


def test_names_without_an_address_are_all_told(tmp_path: Path) -> None:
    def lookup(name: str) -> IPv4Address:
        if name == "k1.example.net":
            raise OSError(-2, "Name or service not known")
        return IPv4Address("127.0.1.1")

    cluster = loaded(tmp_path, NAMED)
    with pytest.raises(InventoryError) as caught:
        resolve(cluster, {}, lookup)
    assert caught.value.problems == (
        f"{cluster.path}:5:7: machines.k1.address: k1.example.net was not found"
        " (Name or service not known); right: fix DNS, or give it here, as in address: 192.0.2.10",
        f"{cluster.path}:6:7: machines.k2.address: k2-alias is 127.0.1.1 here; right: give the real one with address:",
    )


def test_an_address_from_dns_is_held_to_the_same_rules(tmp_path: Path) -> None:
    cluster = loaded(tmp_path, NAMED)
    with pytest.raises(InventoryError) as caught:
        resolve(cluster, {"k1": IPv4Address("10.0.0.3")}, lambda name: IPv4Address("10.32.0.9"))
    assert [problem.split(": ")[1] for problem in caught.value.problems] == [
        "machines.k2.address",
        "machines.k3.address",
    ]


def test_pod_ranges_are_the_first_free_ones_and_kept_ones_stay(prod: Cluster) -> None:
    kept = {"k5": IPv4Network("10.200.7.0/24"), "gone": IPv4Network("10.200.1.0/24")}
    allotted = allot_pod_cidrs(prod, kept)
    assert {m.name: str(m.pods) for m in allotted.workers} == {
        "k3": "10.200.0.0/24",
        "k4": "10.200.2.0/24",
        "k5": "10.200.7.0/24",
    }


def test_a_kept_pod_range_that_no_longer_fits_is_refused(prod: Cluster) -> None:
    with pytest.raises(InventoryError) as caught:
        allot_pod_cidrs(prod, {"k4": IPv4Network("10.99.0.0/24")})
    assert str(caught.value) == (
        f"{prod.path}:28:7: machines.k4.pod_cidr: 10.99.0.0/24 is not inside network.pod_cidr 10.200.0.0/16"
    )


def test_the_inventory_is_the_options_or_the_environments_or_this_folders(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).touch()
    env = {"HARDWAY_INVENTORY": "b.yaml"}
    assert find("a.yaml", env, tmp_path) == Path("a.yaml")
    assert find(None, env, tmp_path) == Path("b.yaml")
    with pytest.raises(UsageError, match=r"there is no .* in this folder"):
        find(None, {}, tmp_path)
    (tmp_path / "hardway.yaml").touch()
    assert find(None, {}, tmp_path) == Path("hardway.yaml")
    with pytest.raises(UsageError, match=r"-i names .*, which is no file"):
        find("none.yaml", env, tmp_path)


def test_the_schema_for_editors_is_plain_json_and_knows_the_short_form() -> None:
    schema = json.loads(json.dumps(json_schema()))
    short = schema["properties"]["machines"]["additionalProperties"]["anyOf"]
    assert short[0] == {"type": "string", "enum": ["controller", "worker", "load-balancer"]}
    assert short[2] == {"$ref": "#/$defs/Machine"}
    assert schema["required"] == ["cluster", "machines"]
    assert schema["additionalProperties"] is False
