"""What real components say of a configuration that they only try: they take hardway's own, and name what is wrong.

Only ports 1 to 3 of 127.0.0.1 are used, and nobody answers there.
"""

import re
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from etcd_life import real_programs

from hardway.artifacts.catalogue import releases_for
from hardway.declare.declaration import Declaration, declare
from hardway.declare.phases.base import Model
from hardway.declare.resources import Context, Difference, Service
from hardway.engine.changes import Change
from hardway.engine.guards import first_state
from hardway.engine.trials import REFUSED, trial_script
from hardway.inventory.allot import allot_pod_cidrs
from hardway.inventory.load import load
from hardway.preview.tree import tree, write_tree

INVENTORY = yaml.safe_load((Path(__file__).parents[2] / "inventories" / "lab-small.yaml").read_text())
FACTS = {
    "restrict-oom-score-adj": b"false", "systemd-cgroup": b"true", "fail-cgroup-v1": b"false",
    "cgroup-driver": b"systemd", "resolv-conf": b"/etc/resolv.conf", "conntrack-max-per-core": b"0",
    "conntrack-min": b"0",
}  # fmt: skip
ON_A_MACHINE = re.compile(r"(?<![\w/.-])/(etc/(?:kubernetes|etcd|containerd)|var/(?:lib|log)|run/containerd)/")
PKI: dict[str, bytes] = {}
"""Keys and certificates, made once for all cases."""


@pytest.fixture(scope="module")
def programs() -> Mapping[str, Path]:
    found = {**(real_programs("etcd") or {}), **(real_programs("kubernetes") or {})}
    found |= real_programs("containerd") or {}
    if "kube-apiserver" not in found or "etcd" not in found:
        pytest.skip("the components' binaries are not in this computer's cache")
    return found


def declared(folder: Path, settings: Mapping[str, Any]) -> Declaration:
    path = folder / "hardway.yaml"
    path.write_text(yaml.safe_dump({**INVENTORY, "settings": dict(settings)}))
    cluster = allot_pod_cidrs(load(path), {})
    versions = {name: one.version for name, one in releases_for(cluster.kubernetes).items()}
    return declare(Model(cluster, replace(first_state(cluster), etcd="initialized"), versions))


def written(folder: Path, declaration: Declaration) -> None:
    """All machines' files, each below a folder of the machine's name, which paths in them name too."""
    values = {"workspace/path": b"/x", **{f"fact/{name}": value for name, value in FACTS.items()}, **PKI}
    for _, local in declaration.local:
        if local.path not in values:
            values[local.path] = PKI[local.path] = local.make(values, datetime.now(UTC) - timedelta(hours=1))
    artifacts = tree(declaration, values, with_secrets=True)
    moved = [replace(one, text=_moved(folder, one.path.partition("/")[0], one.text)) for one in artifacts]
    write_tree(folder / "machines", moved)


def _moved(folder: Path, machine: str, text: str) -> str:
    return ON_A_MACHINE.sub(rf"{folder}/machines/{machine}/\1/", text)


def tried(folder: Path, programs: Mapping[str, Path], component: str, settings: Mapping[str, Any]) -> tuple[int, str]:
    """Exit status and what is said where a component, with settings of its own, tries its configuration."""
    declaration = declared(folder, {component: dict(settings)} if settings else {})
    written(folder, declaration)
    machine, service = next(
        (one.machine, one.resource)
        for one in declaration.placed
        if isinstance(one.resource, Service) and one.resource.unit == f"{component}.service"
    )
    assert service.trial is not None
    (folder / "machines" / machine / "var/log/kubernetes").mkdir(parents=True, exist_ok=True)
    program, *words = service.trial.argv
    argv = (str(programs[program.rpartition("/")[2]]), *(_moved(folder, machine, word) for word in words))
    service = replace(service, trial=replace(service.trial, argv=argv))
    change = Change(machine, "", service.key, Difference("restart", ""), service)
    ran = subprocess.run(
        ["sh", "-c", trial_script(service, [change], Context(machine))], capture_output=True, timeout=60
    )
    return ran.returncode, ran.stderr.decode().replace(f"{folder}/machines/{machine}", "").strip()


COMPONENTS = (
    "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "containerd",
)  # fmt: skip


@pytest.mark.parametrize("component", COMPONENTS)
def test_what_hardway_declares_is_taken(programs: Mapping[str, Path], tmp_path: Path, component: str) -> None:
    assert tried(tmp_path, programs, component, {}) == (0, "")


REFUSALS: list[tuple[str, dict[str, Any], str]] = [
    ("kube-apiserver", {"event-ttl": "soon"},
     'invalid argument "soon" for "--event-ttl" flag: time: invalid duration "soon"'),
    ("kube-apiserver", {"enable-admission-plugins": "Nope"}, 'enable-admission-plugins plugin "Nope" is unknown'),
    ("kube-apiserver", {"oidc-issuer-url": "https://id", "oidc-client-id": "k", "oidc-ca-file": "/etc/corp/ca.crt"},
     "open /etc/corp/ca.crt: no such file or directory"),
    ("kube-apiserver", {"audit-policy-file": "/etc/corp/policy.yaml"},
     'loading audit policy file: failed to read file path "/etc/corp/policy.yaml": open /etc/corp/policy.yaml: no such '
     "file or directory"),
    ("kube-apiserver", {"etcd-cafile": "/etc/corp/ca.crt"},
     "error creating storage factory: open /etc/corp/ca.crt: no such file or directory"),
    ("kube-apiserver", {"goaway-chance": 2}, "--goaway-chance can not be less than 0 or greater than 0.02"),
    ("etcd", {"quota-backend-bytes": "8G"}, 'invalid value "8G" for flag -quota-backend-bytes: parse error'),
    ("etcd", {"heartbeat-interval": 5000},
     "--election-timeout[1000ms] should be at least as 5 times as --heartbeat-interval[5000ms]"),
    ("etcd", {"cipher-suites": "NONE"}, 'unexpected TLS cipher suite "NONE"'),
    ("etcd", {"auto-compaction-retention": "often"},
     'error parsing CompactionRetention: time: invalid duration "often"'),
    ("kubelet", {"maxPods": -1},
     "failed to validate kubelet configuration, error: invalid configuration: maxPods (--max-pods) -1 must not be a "
     "negative number, path: &TypeMeta{Kind:,APIVersion:,}"),
    ("kubelet", {"featureGates": {"Nope": True}},
     "failed to merge global and in-flight KubeletConfiguration while setting defaults, error: unrecognized feature "
     "gate: Nope"),
    ("kube-proxy", {"mode": "magic"},
     'failed validate: KubeProxyConfiguration.Mode.ProxyMode: Invalid value: "magic": must be iptables, ipvs, nftables '
     "or blank (blank means the best-available proxy [currently iptables])"),
    ("kube-controller-manager", {"controllers": "nope"}, '"nope" is not in the list of known controllers'),
    ("kube-scheduler", {"config": "/etc/corp/scheduler.yaml"},
     "open /etc/corp/scheduler.yaml: no such file or directory"),
]  # fmt: skip


@pytest.mark.parametrize(("component", "settings", "said"), REFUSALS)
def test_what_a_component_does_not_take_is_said_in_its_own_words(
    programs: Mapping[str, Path], tmp_path: Path, component: str, settings: dict[str, Any], said: str
) -> None:
    assert tried(tmp_path, programs, component, settings) == (REFUSED, said)


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"oom_score": "low"}, "OOMScore"),
        ({"plugins": {"io.containerd.cri.v1.images": {"max_concurrent_downloads": "many"}}}, "MaxConcurrentDownloads"),
    ],
)
def test_containerd_names_what_is_wrong(
    programs: Mapping[str, Path], tmp_path: Path, settings: dict[str, Any], word: str
) -> None:
    code, said = tried(tmp_path, programs, "containerd", settings)
    assert code == REFUSED
    assert word in said and "\n" not in said
