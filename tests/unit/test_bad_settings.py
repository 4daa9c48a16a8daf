"""Settings that keep a component from starting: one member stops, the others serve, and what doctor prints brings it
back. The test does just what is printed.
"""

import json
import shlex
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import yaml
from as_printed import edited
from fake.cluster import FakeCluster
from played_run import Commands

SHAPE = """\
cluster: bad
machines:
  lb: {role: load-balancer, address: 10.240.0.5}
  c0: {role: controller, address: 10.240.0.10}
  c1: {role: controller, address: 10.240.0.11}
  c2: {role: controller, address: 10.240.0.12}
  w0: {role: worker, address: 10.240.0.20}
  w1: {role: worker, address: 10.240.0.21}
settings:
  kube-apiserver: {audit-log-maxage: 90, event-ttl: 2h}
  etcd: {snapshot-count: 20000}
  kubelet: {maxPods: 60}
"""
"""With settings that are good, and have been there for long."""

BAD: dict[str, tuple[str, Mapping[str, Any], str, str]] = {
    "tls-version": (
        "kube-apiserver", {"tls-min-version": "VersionTLS99"}, "tls-min-version=VersionTLS99",
        'E1127 21:40:02.519 1 run.go:72] "command failed" err="unknown TLS version \\"VersionTLS99\\""',
    ),
    "token-expiration": (
        "kube-apiserver", {"service-account-max-token-expiration": "10s"}, "max-token-expiration=10s",
        'E1127 run.go:72] "command failed" err="the service-account-max-token-expiration must be between 1 hour and '
        '2^32 seconds"',
    ),
    "negative": (
        "kube-apiserver", {"audit-log-maxage": -3}, "audit-log-maxage=-3",
        'E1127 run.go:72] "command failed" err="--audit-log-maxage -3 can\'t be a negative number"',
    ),
    "compaction": (
        "etcd", {"auto-compaction-mode": "sometimes"}, "auto-compaction-mode=sometimes",
        '{"level":"warn","msg":"failed to verify flags","error":"unknown auto-compaction-mode \\"sometimes\\""}',
    ),
    "heartbeat": (
        "etcd", {"heartbeat-interval": 9000}, "heartbeat-interval=9000",
        '{"level":"fatal","msg":"failed to verify flags","error":"--election-timeout[1000ms] should be at least as 5 '
        'times as --heartbeat-interval[9000ms]"}',
    ),
    "controllers": (
        "kube-controller-manager", {"controllers": "no-such-controller"}, "controllers=no-such-controller",
        'E1127 run.go:72] "command failed" err="\\"no-such-controller\\" is not in the list of known controllers"',
    ),
    "lease": (
        "kube-scheduler", {"leader-elect-renew-deadline": "90s"}, "renew-deadline=90s",
        'E1127 run.go:72] "command failed" err="leaseDuration: Invalid value: 15s: must be greater than RenewDeadline"',
    ),
    "eviction": (
        "kubelet", {"evictionHard": {"memory.available": "lots"}}, "memory.available: lots",
        'E1127 run.go:72] "command failed" err="failed to run Kubelet: quantities must match the regular expression"',
    ),
    "proxy-mode": (
        "kube-proxy", {"mode": "magic"}, "mode: magic",
        'E1127 run.go:72] "command failed" err="KubeProxyConfiguration.Mode: Invalid value: \\"magic\\""',
    ),
    "containerd": (
        "containerd", {"root": "/run/containerd"}, 'root = "/run/containerd"',
        "containerd: root and state must be different paths",
    ),
}  # fmt: skip
"""Component, its settings, which text of its files it refuses, and what it then says."""


@pytest.fixture
def hardway(
    built_cluster: Callable[[str], FakeCluster], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Commands:
    made = built_cluster(SHAPE)
    made.init(("access",))  # the copied workspace's own path is in its ssh_config
    for machine in made.machines.values():
        machine.restored()
    return Commands(made, monkeypatch, capsys)


def processes(made: FakeCluster, unit: str) -> dict[str, str]:
    """By machine that runs it, when the process of a unit was started."""
    found: dict[str, str] = {}
    for name, machine in made.machines.items():
        if machine.has(f"/fake/units/{unit}.service"):
            found[name] = machine.read(f"/fake/units/{unit}.service")
    return found


def changed(made: FakeCluster, component: str, settings: Mapping[str, Any]) -> None:
    document = yaml.safe_load(made.inventory.read_text())
    document["settings"].setdefault(component, {}).update(settings)
    made.inventory.write_text(yaml.safe_dump(document, sort_keys=False))


def carried_out(hardway: Commands, fix: list[str]) -> None:
    for line in fix:
        if line.startswith("edit "):
            edited(hardway.cluster.inventory, line)
        else:
            hardway(*shlex.split(line)[1:], "--yes")


@pytest.mark.parametrize("name", BAD)
def test_a_bad_setting_stops_one_member_and_doctors_fix_brings_it_back(hardway: Commands, name: str) -> None:
    component, settings, refused, said = BAD[name]
    made = hardway.cluster
    for machine in made.machines.values():
        machine.write(f"/fake/refuses/{component}.service", f"{refused}\t{said}\n")
    before = processes(made, component)
    good = yaml.safe_load(made.inventory.read_text())
    changed(made, component, settings)

    code, _, err = hardway("apply", "--yes")
    assert code == 1
    assert said.split()[0] in err
    well = processes(made, component)
    [failed] = before.keys() - well.keys()
    assert well == {one: before[one] for one in well}

    code, out, _ = hardway("doctor", "-o", "json")
    told = json.loads(out)["causes"]
    [cause] = [one for one in told if one["id"] in ("bad-setting", "drift", "unit-failing")]
    assert (code, cause["id"], cause["machines"]) == (3, "bad-setting", [failed])
    assert said in cause["evidence"]
    carried_out(hardway, cause["fix"])

    after = yaml.safe_load(made.inventory.read_text())["settings"]
    for one, long_there in good["settings"].items():
        assert after[one].items() >= long_there.items()
    assert processes(made, component).keys() == before.keys()
    assert {one: processes(made, component)[one] for one in well} == well
    code, out, _ = hardway("plan", "-o", "json")
    assert (code, json.loads(out)["items"]) == (0, [])
