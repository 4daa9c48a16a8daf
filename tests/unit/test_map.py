"""The map is read from the declaration: whatever listens or calls is on it, and nothing is drawn over another."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hardway import yaml_text
from hardway.declare.declaration import Declaration
from hardway.declare.phases.base import Model, Proof
from hardway.declare.phases.paths import unit_path
from hardway.declare.phases.workers import KUBELET_CONFIG, PROXY_CONFIG
from hardway.declare.resources import File
from hardway.engine.guards import first_state
from hardway.engine.plan import declared
from hardway.events import Proved
from hardway.inventory.allot import allot_pod_cidrs
from hardway.inventory.load import load
from hardway.map import Connection, Map, coloured, drawn
from hardway.map.draw import map_html, map_svg
from hardway.map.draw.kinds import kinds
from hardway.map.draw.paper import width
from hardway.preflight.surroundings import CONTROLLER_PORTS, WORKER_PORTS
from hardway.preview.evidence import command
from hardway.preview.items import Item
from hardway.preview.plan import Preview, Unobserved
from hardway.verify.verification import Verification

ROOT = Path(__file__).parents[2]
SVG = "{http://www.w3.org/2000/svg}"
FIVE = """\
cluster: five
endpoint: api.example.net
machines:
  c1: {role: controller, address: 192.0.2.1}
  c2: {role: controller, address: 192.0.2.2}
  c3: {role: controller, address: 192.0.2.3}
  c4: {role: [controller, worker], address: 192.0.2.4}
  c5: {role: [controller, worker], address: 192.0.2.5}
  a-worker-with-a-name-that-nobody-would-type: {role: worker, address: 192.0.2.6}
  w2: {role: worker, address: 192.0.2.7}
  w3: {role: worker, address: 192.0.2.8}
  w4: {role: worker, address: 192.0.2.9}
"""
SHAPES = ("lab", "lab-pair", "lab-small", "single", "five")


def model(path: Path) -> tuple[Model, Declaration]:
    cluster = allot_pod_cidrs(load(path), {})
    return declared(cluster, first_state(cluster))


def of(path: Path) -> Map:
    found, declaration = model(path)
    return drawn(found.cluster, declaration)


def shape(name: str, folder: Path) -> Map:
    if name == "five":
        path = folder / "five.yaml"
        path.write_text(FIVE, encoding="utf-8")
        return of(path)
    return of(ROOT / f"inventories/{name}.yaml")


@pytest.fixture(scope="module")
def lab() -> Map:
    return of(ROOT / "inventories/lab.yaml")


def between(a_map: Map, caller: str, server: str) -> list[Connection]:
    return [one for one in a_map.connections if (one.caller.component, one.server.component) == (caller, server)]


def test_the_map_has_the_ports_that_preflight_wants_free(lab: Map) -> None:
    for machine in lab.machines:
        wanted = {"controller": CONTROLLER_PORTS, "worker": WORKER_PORTS}.get(machine.roles[0], {})
        listening = {port.number: one.name for one in machine.components for port in one.ports}
        assert wanted.items() <= listening.items(), machine.name


def test_a_port_that_settings_move_moves_on_the_map(tmp_path: Path) -> None:
    path = tmp_path / "moved.yaml"
    text = (ROOT / "inventories/lab-small.yaml").read_text(encoding="utf-8")
    path.write_text(f"{text}\nsettings:\n  kubelet: {{port: 10350}}\n  kube-scheduler: {{secure-port: 10260}}\n")
    moved = of(path)
    assert {one.port for one in between(moved, "kube-apiserver", "kubelet")} == {10350}
    assert ">(10260)<" in map_svg(moved)


def overlaid(settings: dict[str, Any]) -> Map:
    """One machine that runs everything, with these settings."""
    found, _ = model(ROOT / "inventories/single.yaml")
    cluster = replace(found.cluster, settings=settings)
    return drawn(cluster, declared(cluster, first_state(cluster))[1])


def ports(a_map: Map, component: str) -> dict[str, tuple[int, bool]]:
    """Number and whether it is for the machine alone, by use."""
    [one] = [one for machine in a_map.machines for one in machine.components if one.name == component]
    return {port.use: (port.number, port.local) for port in one.ports}


def test_what_settings_take_away_is_at_the_component_s_own_default() -> None:
    gone = overlaid({
        "kube-proxy": {"metricsBindAddress": None, "healthzBindAddress": None},
        "kubelet": {"port": None, "tlsCertFile": None, "authentication": {"x509": None}},
        "etcd": {"listen-metrics-urls": None},
    })  # fmt: skip
    assert ports(gone, "kube-proxy") == {"health": (10256, False), "metrics": (10249, True)}
    assert ports(gone, "kubelet") == {"logs, exec": (10250, False), "health": (10248, True)}
    assert set(ports(gone, "etcd")) == {"clients", "peers"}
    [kubelet] = between(gone, "kube-apiserver", "kubelet")
    assert kubelet.answers_with == ""


def test_an_address_may_leave_its_port_out_and_a_port_may_be_off() -> None:
    moved = overlaid({"kube-proxy": {"metricsBindAddress": "0.0.0.0"}, "kubelet": {"healthzPort": 0}})
    assert ports(moved, "kube-proxy")["metrics"] == (10249, False)
    assert set(ports(moved, "kubelet")) == {"logs, exec"}


@pytest.mark.parametrize("component", ["kubelet", "kube-proxy"])
def test_any_key_of_a_configuration_may_be_taken_away(component: str) -> None:
    _, declaration = model(ROOT / "inventories/single.yaml")
    path = {"kubelet": KUBELET_CONFIG, "kube-proxy": PROXY_CONFIG}[component]
    [text] = [one.resource.text for one in declaration.placed
              if isinstance(one.resource, File) and one.resource.path == path]  # fmt: skip
    for key in yaml_text.document(text).keys() - {"kind", "apiVersion"}:
        assert ports(overlaid({component: {key: None}}), component), key


@pytest.mark.parametrize("component", ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"])
def test_any_flag_that_the_map_reads_may_be_taken_away(component: str) -> None:
    _, declaration = model(ROOT / "inventories/single.yaml")
    [unit] = [one.resource.text for one in declaration.placed
              if isinstance(one.resource, File) and one.resource.path == unit_path(component)]  # fmt: skip
    flags = {word[2:].partition("=")[0] for word in command(unit) if word.startswith("--")}
    read = re.compile("config|file|cert|urls|servers|initial|port|address|authority")
    for flag in filter(read.search, flags):
        assert ports(overlaid({component: {flag: None}}), component), flag


def test_only_members_of_etcds_own_ca_speak_with_etcd(lab: Map) -> None:
    callers = {(one.caller.component, one.shows, one.checked_by) for one in lab.connections if one.port == 2379}
    assert callers == {("kube-apiserver", "pki/apiserver-etcd-client", "pki/etcd/ca")}
    peers = [one for one in lab.connections if one.port == 2380]
    assert len(peers) == 6
    assert {(one.checked_by, one.trusted_by) for one in peers} == {("pki/etcd/ca", "pki/etcd/ca")}


def test_a_caller_of_the_balancer_meets_an_api_servers_certificate(lab: Map) -> None:
    through = [one for one in lab.connections if one.server.component == "haproxy"]
    assert {one.caller.component for one in through} == {"kubectl", "kubelet", "kube-proxy"}
    assert {(one.checked_by, one.answers_with) for one in through} == {("pki/ca", "pki/kube-apiserver")}


def test_the_api_server_reaches_every_kubelet_and_each_controllers_own_components_reach_it(lab: Map) -> None:
    assert len(between(lab, "kube-apiserver", "kubelet")) == 9
    beside = between(lab, "kube-scheduler", "kube-apiserver")
    assert [one.caller.machine for one in beside] == [one.server.machine for one in beside]


def test_with_a_balancer_of_ones_own_workers_dial_that_name(tmp_path: Path) -> None:
    five = shape("five", tmp_path)
    assert {one.server.machine for one in between(five, "kubelet", "endpoint")} == {"api.example.net"}
    assert {one.server.machine for one in between(five, "endpoint", "kube-apiserver")} == {"c1", "c2", "c3", "c4", "c5"}


@pytest.mark.parametrize("host", ["lb-0", "lb-0.kubernetes.local", "10.240.0.30"])
def test_an_endpoint_that_is_a_machine_of_the_inventory_is_no_balancer_of_ones_own(tmp_path: Path, host: str) -> None:
    path = tmp_path / "hardway.yaml"
    text = (ROOT / "inventories/lab.yaml").read_text(encoding="utf-8")
    path.write_text(re.sub(r"^endpoint: .*", f"endpoint: {host}", text, flags=re.M))
    assert of(path) == of(ROOT / "inventories/lab.yaml")


def test_a_certificate_lies_where_a_file_or_a_kubeconfig_holds_it(lab: Map) -> None:
    kubelet, proxy = lab.leaf("pki/kubelet-worker-1"), lab.leaf("pki/kube-proxy")
    assert kubelet is not None and kubelet.on == ("worker-1",)
    assert proxy is not None and proxy.on == ("worker-0", "worker-1", "worker-2")


@pytest.mark.parametrize("name", SHAPES)
def test_every_machine_port_and_connection_is_in_the_picture(name: str, tmp_path: Path) -> None:
    a_map = shape(name, tmp_path)
    root = ET.fromstring(map_svg(a_map))
    texts = ["".join(one.itertext()) for one in root.iter(f"{SVG}text")]
    for machine in a_map.machines:
        if machine.address:
            assert any(machine.name in one for one in texts), machine.name
            assert machine.address in texts
        for port in (port for one in machine.components for port in one.ports):
            cell = f"({port.number})" if port.local else str(port.number)
            assert any(cell in one.split() for one in texts), port
    for kind in kinds(a_map):
        assert texts.count(str(kind.number)) >= 2, "beside its line, and in the table"
        assert any(one.startswith(f"{kind.first.caller.component} → {kind.first.server.component}") for one in texts)


@pytest.mark.parametrize("name", SHAPES)
def test_no_text_lies_over_another_or_leaves_the_page(name: str, tmp_path: Path) -> None:
    root = ET.fromstring(map_svg(shape(name, tmp_path)))
    wide, high = map(float, root.attrib["viewBox"].split()[2:])
    boxes = [extent(one) for one in root.iter(f"{SVG}text")]
    for text, left, top, right, bottom in boxes:
        assert left >= 0 and right <= wide and top >= 0 and bottom <= high, text
    for one, other in itertools.combinations(boxes, 2):
        apart = one[3] <= other[1] or other[3] <= one[1] or one[4] <= other[2] or other[4] <= one[2]
        assert apart, (one, other)


def extent(element: ET.Element) -> tuple[str, float, float, float, float]:
    """Text, and left, top, right, bottom of what it covers."""
    text, classes = element.text or "", element.get("class", "").split()
    sizes = {"title": 21.0, "number": 8.0, **dict.fromkeys(("soft", "small", "cell", "head-cell"), 8.4)}
    size = next((sizes[name] for name in classes if name in sizes), 10.0)
    if styled := re.search(r"font-size: ([\d.]+)px", element.get("style", "")):
        size = float(styled.group(1))
    wide = width(text, size, bold=bool({"bold", "title", "number", "head-cell"} & set(classes)))
    x, y = float(element.get("x", "")), float(element.get("y", ""))
    left = x - wide / 2 if "middle" in classes else x - wide if "end" in classes else x
    return text, left, y - size * 0.72, left + wide, y + size * 0.2


@pytest.mark.parametrize("name", SHAPES)
def test_lines_that_run_side_by_side_never_lie_upon_each_other(name: str, tmp_path: Path) -> None:
    root = ET.fromstring(map_svg(shape(name, tmp_path)))
    upright = []
    for one in root.iter(f"{SVG}path"):
        steps = re.fullmatch(r"M([\d.]+) ([\d.]+)L([\d.]+) ([\d.]+)", one.get("d", ""))
        if "wire" in one.get("class", "") and steps:
            x, y, to_x, to_y = map(float, steps.groups())
            if x == to_x:
                upright.append((x, min(y, to_y), max(y, to_y)))
    for one, other in itertools.combinations(upright, 2):
        assert one[0] != other[0] or one[2] <= other[1] or other[2] <= one[1]


def test_both_forms_are_well_formed_and_ask_for_nothing_from_outside(lab: Map) -> None:
    for page in (map_svg(lab), map_html(lab).removeprefix("<!DOCTYPE html>\n")):
        ET.fromstring(page)
        links = re.findall(r"https?://[^\"'< ]+", page)
        assert set(links) == {"http://www.w3.org/2000/svg"}
        assert "<script" not in page and "@import" not in page
        assert map_svg(lab) == map_svg(of(ROOT / "inventories/lab.yaml"))


def test_the_picture_says_what_it_is_to_those_who_cannot_see_it(lab: Map) -> None:
    root = ET.fromstring(map_svg(lab))
    assert root.get("role") == "img"
    assert root.findtext(f"{SVG}title") == "Map of the cluster lab"
    assert "kube-apiserver calls etcd, port 2379" in (root.findtext(f"{SVG}desc") or "")


def test_the_picture_in_the_docs_is_the_one_of_the_seven_machines(lab: Map) -> None:
    kept = (ROOT / "docs/map.svg").read_text(encoding="utf-8")
    assert kept == map_svg(lab), "hardway map -i inventories/lab.yaml docs/map.svg"


def found(lab: Map, *items: Item, failed: tuple[Proved, ...] = (), unobserved: tuple[str, ...] = ()) -> Verification:
    names = tuple(one.name for one in lab.machines if one.address)
    plan = Preview(
        cluster="lab", machines=names, limited=False, phases=(), initialized=True, items=items, blockers=(),
        unmanaged={}, unknown=(), rolls=(), unobserved=tuple(Unobserved(name, "", "") for name in unobserved),
        to_get=(), identifier="",
    )  # fmt: skip
    return Verification(plan, failed, 0)


def marks(a_map: Map) -> dict[str, str]:
    return {f"{one.name}/{part.name}": part.mark for one in a_map.machines for part in one.components}


@pytest.fixture(scope="module")
def proofs() -> tuple[tuple[str, Proof], ...]:
    return model(ROOT / "inventories/lab.yaml")[1].proofs


Proofs = tuple[tuple[str, Proof], ...]


@pytest.mark.parametrize(
    ("name", "component"),
    [
        ("file:/var/lib/kubelet/config.yaml", "worker-1/kubelet"),
        ("service:kube-apiserver-lb.service", "lb-0/haproxy"),
        ("service:etcd.service", "controller-1/etcd"),
    ],
)
def test_a_component_is_marked_by_what_differs_in_its_files_and_its_unit(lab: Map, name: str, component: str) -> None:
    live = coloured(lab, found(lab, Item(component.partition("/")[0], "a chapter", name, "update")), ())
    assert marks(live)[component] == "differs"
    assert {mark for name, mark in marks(live).items() if name != component} == {"holds"}


def test_a_connection_is_as_good_as_its_worse_end(lab: Map) -> None:
    live = coloured(lab, found(lab, Item("worker-1", "workers", "file:/var/lib/kubelet/config.yaml", "update")), ())
    asked = {one.server.machine: one.mark for one in between(live, "kube-apiserver", "kubelet")}
    assert asked == {"worker-0": "holds", "worker-1": "differs", "worker-2": "holds"}


@pytest.mark.parametrize(
    ("machine", "phase", "what", "components"),
    [
        ("controller-1", "etcd", "this member is healthy over mTLS", {"controller-1/etcd"}),
        ("controller-0", "etcd", "all members follow one leader", set()),
        ("controller-0", "control-plane", "the API server is ready", {"controller-0/kube-apiserver"}),
        ("controller-0", "control-plane", "kube-scheduler runs", {"controller-0/kube-scheduler"}),
        ("controller-0", "control-plane", "kube-scheduler has a leader", {"controller-0/kube-scheduler"}),
        ("controller-2", "certs", "etcd/peer.crt is a good client certificate", {"controller-2/etcd"}),
        ("controller-2", "encryption", "each key decodes to 32 bytes", {"controller-2/kube-apiserver"}),
        ("lb-0", "load-balancer", "the endpoint answers with the cluster's certificate", {"lb-0/haproxy"}),
        ("lb-0", "load-balancer", "controller-1 is ready behind it", {"controller-1/kube-apiserver"}),
        ("worker-2", "kubeconfigs", "/etc/kubernetes/proxy.conf dials the endpoint", {"worker-2/kube-proxy"}),
        ("worker-2", "workers", "the kubelet serves with a certificate of this cluster", {"worker-2/kubelet"}),
        ("controller-1", "workers", "node worker-1 is Ready with the version asked for", {"worker-1/kubelet"}),
        ("worker-1", "hosts", "no swap", set()),
    ],
)
def test_a_failed_proof_marks_whom_it_asks(
    lab: Map, proofs: Proofs, machine: str, phase: str, what: str, components: set[str]
) -> None:
    assert [one for of, one in proofs if (of, one.machine, one.name) == (phase, machine, what)]
    live = coloured(lab, found(lab, failed=(Proved(machine, phase, what, False, ""),)), proofs)
    assert {name for name, mark in marks(live).items() if mark == "fails"} == components
    broken = {name.partition("/")[0] for name in components} | {machine}
    assert {one.name for one in live.machines if one.mark == "fails"} == broken


def test_of_a_machine_that_was_not_seen_nothing_is_said(lab: Map, proofs: Proofs) -> None:
    proof = Proved("controller-0", "control-plane", "kube-scheduler runs", False, "inactive")
    live = coloured(lab, found(lab, failed=(proof,), unobserved=("worker-2",)), proofs)
    assert {mark for name, mark in marks(live).items() if name.startswith("worker-2/")} == {"unknown"}
    own = {one.caller.machine: one.mark for one in between(live, "kube-scheduler", "kube-apiserver")}
    assert own == {"controller-0": "fails", "controller-1": "holds", "controller-2": "holds"}
    asked = {one.server.machine: one.mark for one in between(live, "kube-apiserver", "kubelet")}
    assert asked == {"worker-0": "holds", "worker-1": "holds", "worker-2": "unknown"}
    picture = map_svg(live, seen="2026-11-21 10:00 UTC")
    assert "sign fails" in picture and "a proof does not hold" in picture
