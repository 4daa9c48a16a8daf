"""What is declared while parts of a cluster are on one Kubernetes and the others on another."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from phase_models import LAB, model, on, overlaid

from hardway.artifacts.catalogue import releases_for
from hardway.declare.declaration import declare
from hardway.declare.phases.base import Model
from hardway.declare.phases.control_plane import unit
from hardway.declare.render import flags
from hardway.declare.resources import Binary
from hardway.lint import rules as across
from hardway.lint.declared import declared_setup
from hardway.rules import Evidence, examine
from hardway.state import API_SERVERS, CONTROLLERS, Upgrade

WORKERS = ("worker-0", "worker-1", "worker-2")
PARTS = (API_SERVERS, CONTROLLERS, *WORKERS)
NOW = datetime(2026, 11, 21, tzinfo=UTC)
CACHED = "WatchCacheInitializationPostStartHook=true"


def between(*behind: str, before: str = "1.35.6", of: Model | None = None) -> Model:
    found = of or model(LAB, "initialized")
    return replace(found, state=replace(found.state, upgrade=Upgrade(before, "1.36.4", behind)))


def versions(of: Model) -> dict[str, str]:
    """The version of each binary of Kubernetes, by `MACHINE NAME`."""
    names = releases_for("1.36.4")["kubernetes"].binaries
    found = {}
    for machine in ("controller-1", *WORKERS):
        for one in on(of, machine, Binary):
            if isinstance(one, Binary) and one.file in names:
                found[f"{machine} {one.file}"] = one.version
    return found


def api_flags(of: Model) -> dict[str, str]:
    return flags(unit(of, LAB.machine("controller-0"), "kube-apiserver"))


def test_everything_is_on_the_release_before_until_it_is_moved() -> None:
    assert set(versions(between(*PARTS)).values()) == {"1.35.6"}
    assert set(versions(between()).values()) == {"1.36.4"}


def test_each_part_moves_alone() -> None:
    found = versions(between(CONTROLLERS, "worker-0", "worker-1"))
    moved = {one for one, version in found.items() if version == "1.36.4"}
    assert moved == {"controller-1 kube-apiserver", "worker-2 kubelet", "worker-2 kube-proxy"}


def test_servers_behave_as_the_release_before_until_the_upgrade_is_finished() -> None:
    assert "emulated-version" not in api_flags(between(*PARTS))
    moved = api_flags(between(CONTROLLERS, *WORKERS))
    assert (moved["emulated-version"], moved["min-compatibility-version"]) == ("1.35", "1.35")
    manager = flags(unit(between(), LAB.machine("controller-0"), "kube-controller-manager"))
    assert manager["emulated-version"] == "1.35"
    assert "emulated-version" not in api_flags(model(LAB))


def test_a_patch_release_emulates_nothing() -> None:
    assert "emulated-version" not in api_flags(between(before="1.36.3"))


def test_a_server_of_1_35_is_ready_when_its_watch_cache_is() -> None:
    assert api_flags(between(*PARTS))["feature-gates"] == CACHED
    assert api_flags(between())["feature-gates"] == CACHED
    assert "feature-gates" not in api_flags(model(LAB))


@pytest.mark.parametrize(
    ("given", "flag"),
    [({"CBORServingAndStorage": True}, f"CBORServingAndStorage=true,{CACHED}"),
     ("WatchCacheInitializationPostStartHook=false", "WatchCacheInitializationPostStartHook=false")],
)  # fmt: skip
def test_the_operators_own_gates_stay(given: object, flag: str) -> None:
    of = overlaid({"kube-apiserver": {"feature-gates": given}})
    assert api_flags(between(*PARTS, of=of))["feature-gates"] == flag


ON_THE_WAY = [PARTS[number:] for number in range(len(PARTS) + 1)]


@pytest.mark.parametrize("behind", ON_THE_WAY, ids=len)
def test_no_rule_is_broken_on_the_way(behind: tuple[str, ...]) -> None:
    """Neither there nor, the same way, back: a kubelet is never newer than an API server."""
    setup = declared_setup(LAB, declare(between(*behind)), {}, NOW)
    findings = examine(across.RULES, Evidence(LAB, {}, setup=setup))
    assert [one.rule for one in findings if one.rule in ("version-skew", "unknown-flag", "unknown-gate")] == []


def test_a_worker_that_goes_first_breaks_the_rule() -> None:
    setup = declared_setup(LAB, declare(between(API_SERVERS, CONTROLLERS)), {}, NOW)
    assert "version-skew" in {one.rule for one in examine(across.RULES, Evidence(LAB, {}, setup=setup))}
