"""Settings that a component would not take, said with their place before any machine is contacted."""

import re
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from hardway.cli.app import app
from hardway.errors import InventoryError
from hardway.inventory.load import load
from hardway.inventory.settings import settings_problems

MACHINES = """\
cluster: typed
machines:
  c: {role: controller, address: 192.0.2.1}
  w: {role: worker, address: 192.0.2.2}
  lb: {role: load-balancer, address: 192.0.2.3}
"""


def found(tmp_path: Path, settings: str) -> list[tuple[str, str]]:
    path = tmp_path / "hardway.yaml"
    path.write_text(f"{MACHINES}settings: {settings}\n")
    return [(".".join(map(str, one.loc[1:])), one.text) for one in settings_problems(load(path))]


@pytest.mark.parametrize(
    ("settings", "where", "what"),
    [
        ("{kubelet: {maxPod: 60}}", "kubelet.maxPod", "is no field; write maxPods, if that is meant"),
        ("{kubelet: {max-pods: 60}}", "kubelet.max-pods", "is no field; write maxPods, if that is meant"),
        ("{kubelet: {cacheTTL: 1m}}", "kubelet.cacheTTL",
         "is no field; write it as authentication.webhook.cacheTTL, if that is meant"),
        ("{kubelet: {authentication: {maxPods: 1}}}", "kubelet.authentication.maxPods",
         "is no field; write it as maxPods, if that is meant"),
        ("{kubelet: {maxPods: lots}}", "kubelet.maxPods",
         'is the text "lots"; give it a whole number of at most 2147483647'),
        ("{kubelet: {serializeImagePulls: no}}", "kubelet.serializeImagePulls",
         'is the text "no"; give it true or false'),
        ("{kubelet: {evictionHard: {memory.available: 200}}}", "kubelet.evictionHard.memory.available",
         'is 200, a number; give it a text, in quotes: "200"'),
        ("{kubelet: {reservedMemory: [{numaNode: a}]}}", "kubelet.reservedMemory.0.numaNode",
         'is the text "a"; give it a whole number of at most 2147483647'),
        ("{kubelet: {featureGates: {NodeSwapp: true}}}", "kubelet.featureGates.NodeSwapp",
         '"NodeSwapp" is no feature gate; write NodeSwap, if that is meant'),
        ("{kubelet: {featureGates: {NodeSwap: false}}}", "kubelet.featureGates.NodeSwap",
         '"NodeSwap" cannot be set; take NodeSwap away: this release has it always'),
        ("{kube-proxy: {nftable: {}}}", "kube-proxy.nftable", "is no field; write nftables, if that is meant"),
        ("{kube-apiserver: {audit-log-maxag: 3}}", "kube-apiserver.audit-log-maxag",
         "is no flag of kube-apiserver; did you mean audit-log-maxage?"),
        ("{kube-apiserver: {audit-log-maxage: thirty}}", "kube-apiserver.audit-log-maxage",
         '"thirty" is not what it takes; give it a whole number'),
        ("{kube-apiserver: {profiling: no}}", "kube-apiserver.profiling",
         '"no" is not what it takes; give it true or false'),
        ("{kube-apiserver: {feature-gates: {NoSuch: true}}}", "kube-apiserver.feature-gates.NoSuch",
         '"NoSuch" is no feature gate; take NoSuch away'),
        ("{kube-scheduler: {feature-gates: NoSuch=true}}", "kube-scheduler.feature-gates.NoSuch",
         '"NoSuch" is no feature gate; take NoSuch away'),
        ("{kube-apiserver: {enable-admission-plugins: [NodeRestriction, PodSecurityy]}}",
         "kube-apiserver.enable-admission-plugins",
         "there is no admission plugin PodSecurityy; did you mean PodSecurity?"),
        ("{containerd: {oom_score: lots}}", "containerd.oom_score", 'is the text "lots"; give it a whole number'),
        ("{containerd: {plugins: {io.containerd.grpc.v1.cri: {max_concurrent_downloads: 5}}}}",
         "containerd.plugins.io.containerd.grpc.v1.cri.max_concurrent_downloads",
         "is not there in version 3; write it below io.containerd.cri.v1.images"),
        ("{containerd: {plugins: {io.containerd.cri.v1.runtime: {enable_selinu: true}}}}",
         "containerd.plugins.io.containerd.cri.v1.runtime.enable_selinu",
         "is no field; write enable_selinux, if that is meant"),
        ("{haproxy: {deflauts: {maxconn: 5}}}", "haproxy.deflauts",
         "HAProxy has no such section; did you mean defaults?"),
        ("{haproxy: {listen: {maxconn: 5}}}", "haproxy.listen", "a section listen has a name, such as listen stats"),
        ("{etcd: {quota-backend-bytes: 8Gi}}", "etcd.quota-backend-bytes",
         '"8Gi" is not what it takes; give it a whole number'),
    ],
)  # fmt: skip
def test_a_setting_that_its_component_does_not_take_is_found(
    tmp_path: Path, settings: str, where: str, what: str
) -> None:
    assert found(tmp_path, settings) == [(where, what)]


@pytest.mark.parametrize(
    "settings",
    [
        "{kubelet: {maxPods: null, featureGates: {NoSuch: null}}, kube-apiserver: {profiling: null, no-such: null}}",
        "{kubelet: {noSuch: null}, containerd: {plugins: {io.containerd.grpc.v1.cri: {enable_selinux: null}}}}",
        "{kube-apiserver: {service-account-issuer: [a, b], oidc-required-claim: {a: b}}}",
        "{kube-apiserver: {--event-ttl: 2h, goaway_chance: 0.01, v: 3, feature-gates: {AllAlpha: false}}}",
        "{containerd: {oom_score: -5}, haproxy: {defaults: null}, coredns: {spec: {replicas: 3}}}",
    ],
)
def test_a_setting_that_is_good_is_not(tmp_path: Path, settings: str) -> None:
    assert found(tmp_path, settings) == []


@pytest.mark.parametrize("page", ["inventory.md", "what-next.md"])
def test_the_examples_of_the_documentation_are_good(tmp_path: Path, page: str) -> None:
    text = (Path(__file__).parents[2] / "docs" / page).read_text()
    examples = re.findall(r"^```yaml\n(settings:\n.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert examples
    for example in examples:
        settings = yaml.safe_load(example)["settings"]
        assert found(tmp_path, yaml.safe_dump(settings, default_flow_style=True, width=10**6).strip()) == []


def test_a_component_of_another_release_is_not_judged(tmp_path: Path) -> None:
    old = "artifacts: {versions: {etcd: 3.5.21}}\n"
    assert found(tmp_path, f"{{etcd: {{no-such: 1}}}}\n{old}") == []
    assert len(found(tmp_path, "{etcd: {no-such: 1}}\n")) == 1


def test_inventory_check_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hardway.yaml").write_text(f"{MACHINES}settings:\n  kubelet:\n    maxPods: lots\n")
    ran = CliRunner().invoke(app, ["inventory", "check"])
    assert isinstance(ran.exception, InventoryError)
    assert ":8:14: settings.kubelet.maxPods: " in str(ran.exception)


def test_inventory_check_says_all_that_is_wrong_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    kept = tmp_path / ".hardway" / "typed" / "pki" / "etcd"
    kept.mkdir(parents=True)
    (kept / "ca.crt").write_text("a copy: a run needs the operator's file no more")
    (tmp_path / "hardway.yaml").write_text(
        f"""{MACHINES}settings: {{kubelet: {{maxPods: lots}}}}
certs:
  leaf_days: 9999
  authorities:
    kubernetes: {{certificate: absent.crt, key: folder}}
    etcd: {{certificate: absent.crt}}
files:
  /etc/one: {{source: absent, machines: [w]}}
dns: {{corefile: absent}}
"""
    )
    ran = CliRunner().invoke(app, ["inventory", "check"])
    assert isinstance(ran.exception, InventoryError)
    assert re.findall(r":\d+:\d+: (.*?): ", str(ran.exception)) == [
        "settings.kubelet.maxPods",
        "certs.leaf_days",
        "certs.authorities.kubernetes.certificate",
        "certs.authorities.kubernetes.key",
        "files./etc/one.source",
        "dns.corefile",
    ]


def test_inventory_check_says_what_is_wrong_beside_a_release_that_there_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = "settings: {kubelet: {maxPods: lots}}"
    (tmp_path / "hardway.yaml").write_text(f"{MACHINES}kubernetes: 1.2.3\n{settings}\ndns: {{corefile: absent}}\n")
    ran = CliRunner().invoke(app, ["inventory", "check"])
    # What the components of that release accept is not known.
    assert re.findall(r":\d+:\d+: (.*?): ", str(ran.exception)) == ["kubernetes", "dns.corefile"]


def test_a_rule_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hardway.yaml").write_text(f"{MACHINES}settings:\n  kubelet:\n    maxPods: lots\n")
    ran = CliRunner().invoke(app, ["verify", "--offline"])
    assert "hardway.yaml:8:14: settings.kubelet.maxPods: give it a whole number" in " ".join(ran.output.split())
