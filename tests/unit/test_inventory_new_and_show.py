"""A new inventory is right as it is; one that is shown in full means the same as the one it was made from."""

from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import get_args

import pytest
import yaml
from jsonschema import Draft202012Validator

from hardway import data
from hardway.cli.inventory import Shape as CliShape
from hardway.errors import UsageError
from hardway.inventory.allot import allot_pod_cidrs
from hardway.inventory.find import find
from hardway.inventory.load import load
from hardway.inventory.model import Cluster
from hardway.inventory.schema import json_schema
from hardway.inventory.starter import READY, Given, Shape, starter
from hardway.inventory.view import shown, shown_lines

FULL = """\
hardway: ">=0.1,<2"
cluster: all
domain: example.net
endpoint: api.example.net:8443
ssh: {user: ops, key: id, jump: bastion}
certs: {extra_sans: [203.0.113.7]}
settings: {kubelet: {maxPods: 60}, kube-apiserver: {audit-log-maxage: null}}
roles: {worker: {settings: {kube-proxy: {mode: iptables}}}}
machines:
  c: {role: [controller, worker], address: 192.0.2.1, ssh: {port: 2222}}
  w: {role: worker, address: 192.0.2.2, labels: {disk: ssd, rack: "08"}, settings: {kubelet: {maxPods: 30}}}
"""


def written(folder: Path, text: str) -> Cluster:
    path = folder / "written.yaml"
    path.write_text(text, encoding="utf-8")
    return load(path)


def meant(cluster: Cluster) -> Cluster:
    return replace(cluster, path=Path("any"))


@pytest.mark.parametrize("shape", get_args(Shape))
def test_every_shape_is_accepted_as_it_is(shape: Shape, tmp_path: Path) -> None:
    cluster = written(tmp_path, starter(shape, "prod", Given()))
    machines = {"seven": (3, 3, 1), "small": (1, 2, 0), "single": (1, 1, 0), "stacked": (3, 3, 1), "five": (5, 3, 1)}
    if shape not in READY:
        found = len(cluster.controllers), len(cluster.workers), len(cluster.load_balancers)
        assert found == machines[shape]


def test_the_command_offers_every_shape() -> None:
    assert get_args(CliShape) == get_args(Shape)


def test_what_was_said_stands_in_it_and_the_comment_about_examples_does_not(tmp_path: Path) -> None:
    text = starter("small", "mine", Given(["k1=198.51.100.1"], ["198.51.100.2", "198.51.100.3"]), "ops")
    cluster = written(tmp_path, text)
    addresses = {one.name: one.address for one in cluster.machines}
    assert addresses == {
        "k1": IPv4Address("198.51.100.1"),
        "worker-0": IPv4Address("198.51.100.2"),
        "worker-1": IPv4Address("198.51.100.3"),
    }
    assert {one.ssh.user for one in cluster.machines} == {"ops"}
    assert "examples" not in text and "examples" in starter("small", "mine", Given())


@pytest.mark.parametrize(
    ("shape", "given", "said"),
    [
        ("small", Given(["k1"]), "k1 is not an IPv4 address"),
        ("small", Given(load_balancers=["192.0.2.1"]), "has no load-balancer"),
        ("stacked", Given(workers=["192.0.2.1"]), "has no worker"),
        ("lab", Given(["192.0.2.1"]), "complete as it is"),
    ],
)
def test_what_a_shape_cannot_take_is_refused(shape: Shape, given: Given, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        starter(shape, "prod", given)


@pytest.mark.parametrize("name", ["lab", "lab-small", "single", "vagrant", "full"])
def test_an_inventory_that_is_shown_in_full_means_the_same(name: str, tmp_path: Path) -> None:
    text = FULL if name == "full" else data.read(f"inventories/{name}.yaml")
    cluster = allot_pod_cidrs(written(tmp_path, text), {})
    for origins in (False, True):
        again = written(tmp_path, "\n".join(shown_lines(shown(cluster), origins=origins)))
        assert meant(again) == meant(cluster)


def test_each_value_says_where_it_comes_from(tmp_path: Path) -> None:
    origins = shown(allot_pod_cidrs(written(tmp_path, FULL), {})).origins
    path = tmp_path / "written.yaml"
    assert origins["machines.c.ssh.port"] == f"{path}:10:67"
    assert origins["machines.c.ssh.user"] == f"{path}:5:13", "the cluster's"
    assert origins["machines.w.pod_cidr"] == "decided"
    assert origins["network.service_cidr"] == "default"
    assert origins["certs.extra_sans"] == f"{path}:6:21"


def test_an_inventory_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    (tmp_path / "inventories").mkdir()
    for name in ("lab", "small"):
        (tmp_path / f"inventories/{name}.yaml").write_text(FULL, encoding="utf-8")
    (tmp_path / "other.yaml").write_text("a: 1\n", encoding="utf-8")
    with pytest.raises(UsageError) as refused:
        find("smal.yaml", {}, tmp_path)
    assert refused.value.hint == "there are inventories/small.yaml, inventories/lab.yaml"


def judged(text: str) -> list[str]:
    """What an editor with the schema would underline."""
    validator = Draft202012Validator(json_schema())
    return [one.json_path for one in validator.iter_errors(yaml.safe_load(text))]


@pytest.mark.parametrize("shape", get_args(Shape))
def test_an_editor_with_the_schema_accepts_every_shape(shape: Shape) -> None:
    assert judged(starter(shape, "prod", Given())) == []


def test_an_editor_with_the_schema_accepts_all_that_may_be_said_and_sees_what_may_not(tmp_path: Path) -> None:
    cluster = allot_pod_cidrs(written(tmp_path, FULL), {})
    assert judged(FULL) == []
    assert judged("\n".join(shown_lines(shown(cluster), origins=False))) == []
    for right, wrong, where in (
        ("cluster: all", "clutser: all", "$"),
        ("extra_sans: [203.0.113.7]", "extra_sans: {a: 1}", "$.certs.extra_sans"),
        ("mode: iptables", "mode: iptables}, kube-proxi: {a: 1", "$.roles.worker.settings"),
        ("port: 2222", "port: 70000", "$.machines.c"),
        ("role: worker, address: 192.0.2.2", "role: wroker, address: 192.0.2.2", "$.machines.w"),
    ):
        assert right in FULL
        assert where in judged(FULL.replace(right, wrong)), wrong


def test_every_part_of_the_schema_says_what_it_is_for() -> None:
    schema = json_schema()
    told = {name: body.get("description", "") for name, body in schema["$defs"].items()}
    assert all(told.values()), told
    assert schema["additionalProperties"] is False
