"""Any inventory that is right loads, and the model of it is in agreement with itself."""

from ipaddress import IPv4Address
from pathlib import Path

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import inventories

from hardway.errors import InventoryError
from hardway.inventory.allot import allot_pod_cidrs, resolve
from hardway.inventory.load import load
from hardway.inventory.model import Cluster
from hardway.inventory.rules import check

often = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def loaded(folder: Path, text: str) -> Cluster:
    path = folder / "hardway.yaml"
    path.write_text(text)
    return load(path)


@often
@given(text=inventories())
def test_every_right_inventory_loads_and_agrees_with_itself(tmp_path: Path, text: str) -> None:
    cluster = allot_pod_cidrs(loaded(tmp_path, text), {})

    assert [m.name for m in cluster.machines] == list(yaml.safe_load(text)["machines"])
    assert len(cluster.controllers) in (1, 3, 5)
    assert {m.name for m in cluster.select("worker")} == {m.name for m in cluster.workers}
    assert cluster.select(",".join(m.name for m in reversed(cluster.machines))) == cluster.machines
    assert len({m.ip for m in cluster.machines}) == len(cluster.machines)
    shares = [m.pods for m in cluster.workers]
    assert all(share.subnet_of(cluster.network.pod_cidr) for share in shares)
    assert not any(a.overlaps(b) for i, a in enumerate(shares) for b in shares[:i])
    assert all(m.pod_cidr is None for m in cluster.machines if not m.is_worker)
    assert cluster.first_service_address in cluster.network.service_cidr
    assert cluster.network.dns_address in cluster.network.service_cidr
    assert cluster.network.dns_address != cluster.first_service_address
    assert cluster.api_url == f"https://{cluster.endpoint_host}:{cluster.endpoint_port}"
    assert check(cluster) == []


@often
@given(text=inventories())
def test_pod_ranges_once_allotted_stay_whatever_is_allotted_later(tmp_path: Path, text: str) -> None:
    cluster = loaded(tmp_path, text)
    first = allot_pod_cidrs(cluster, {})
    kept = {m.name: m.pods for m in first.workers}

    assert allot_pod_cidrs(cluster, kept) == first
    assert allot_pod_cidrs(first, {}) == first


@often
@given(text=inventories(addressed=False))
def test_machines_named_only_get_the_address_behind_their_name(tmp_path: Path, text: str) -> None:
    cluster = loaded(tmp_path, text)
    unnamed = [m.name for m in cluster.machines if m.address is None]
    pinned = {name: IPv4Address("192.0.2.0") + i for i, name in enumerate(unnamed)}

    def lookup(name: str) -> IPv4Address:
        raise AssertionError(f"{name} was pinned and must not be looked up")

    resolved = resolve(cluster, pinned, lookup)

    assert {m.name: m.ip for m in resolved.machines if m.name in pinned} == pinned
    assert check(resolved) == []


@often
@given(text=inventories(), junk=st.text(max_size=8), data=st.data())
def test_junk_anywhere_is_accepted_or_told_in_lines_that_can_be_printed(
    tmp_path: Path, text: str, junk: str, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(text)))
    mixed = (text[:at] + junk + text[at:]).encode(errors="surrogatepass")
    path = tmp_path / "hardway.yaml"
    path.write_bytes(mixed)
    try:
        load(path)
    except InventoryError as error:
        assert all(problem.startswith(f"{path}:") for problem in error.problems)
        assert all(problem.isprintable() for problem in error.problems)
