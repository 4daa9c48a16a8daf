"""What a declaration costs by machine stays the same however many there are. Counted, since clocks differ."""

from collections import Counter
from ipaddress import IPv4Address, IPv4Network

import pytest
from phase_models import MODEL

from hardway.declare import render
from hardway.declare.declaration import Declaration, declare
from hardway.declare.phases.base import Model
from hardway.declare.resources import Block
from hardway.inventory.allot import allot_pod_cidrs
from hardway.inventory.model import Cluster, Machine, Network

FEW, MANY = 10, 200


def declared(workers: int) -> Declaration:
    machines = [Machine("c0", frozenset({"controller"}), IPv4Address("172.16.0.1"))]
    first = IPv4Address("172.16.1.0")
    machines += [Machine(f"w{number}", frozenset({"worker"}), first + number) for number in range(workers)]
    cluster = Cluster("big", tuple(machines), network=Network(pod_cidr=IPv4Network("10.192.0.0/12")))
    return declare(Model(allot_pod_cidrs(cluster, {}), MODEL.state, MODEL.versions))


def test_a_worker_has_as_many_resources_among_many_as_among_few() -> None:
    few, many = declared(FEW), declared(MANY)
    assert len(many.on("w0")) == len(few.on("w0"))
    assert len(many.on("c0")) == len(few.on("c0"))
    assert len(many.placed) == len(many.on("c0")) + MANY * len(many.on("w0"))


def test_a_text_that_is_the_same_on_all_machines_is_one_object() -> None:
    declaration = declared(MANY)
    blocks = {id(one.resource) for one in declaration.placed if isinstance(one.resource, Block)}
    assert len(blocks) == 1
    unit = "/etc/systemd/system/containerd.service"
    texts = {id(one.resource.text) for one in declaration.placed if getattr(one.resource, "path", "") == unit}  # type: ignore[attr-defined]
    assert len(texts) == 1


def test_each_machine_adds_the_same_number_of_renderings(monkeypatch: pytest.MonkeyPatch) -> None:
    rendered: Counter[str] = Counter()
    find = render._environment().get_template

    def counted(name: str) -> object:
        rendered[name] += 1
        return find(name)

    monkeypatch.setattr(render._environment(), "get_template", counted)
    per_worker = []
    for workers in (FEW, MANY):
        render._rendered.cache_clear()
        rendered.clear()
        declared(workers)
        per_worker.append({name for name, count in rendered.items() if count >= workers})
        assert max(rendered.values()) <= 2 * workers + 20
    assert per_worker[0] >= per_worker[1]
