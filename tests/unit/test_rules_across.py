"""Each rule across artifacts finds its fault, and nothing where all is well."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from strategies import dumped, inventories

from hardway.artifacts.catalogue import releases_for
from hardway.declare import pki
from hardway.declare.declaration import Declaration, declare
from hardway.declare.generations import ETCD
from hardway.declare.phases.base import Model
from hardway.declare.resources import RandomKey
from hardway.engine.guards import first_state
from hardway.inventory.allot import allot_pod_cidrs
from hardway.inventory.load import load
from hardway.inventory.model import Cluster
from hardway.lint import rules as across
from hardway.lint.declared import declared_setup
from hardway.probe.setup.material import parsed
from hardway.probe.setup.model import COMPONENTS, Certificate, MachineSetup, Provider, Setup
from hardway.rules import Evidence, Finding, examine
from hardway.state import State

INVENTORIES = Path(__file__).parents[2] / "inventories"
NOW = datetime(2026, 11, 21, tzinfo=UTC)
LAB = yaml.safe_load((INVENTORIES / "lab.yaml").read_text())


def declared(folder: Path, inventory: Mapping[str, Any]) -> tuple[Cluster, Declaration]:
    path = folder / "hardway.yaml"
    path.write_text(dumped(dict(inventory)))
    cluster = allot_pod_cidrs(load(path), {})
    versions = {name: one.version for name, one in releases_for(cluster.kubernetes).items()}
    return cluster, declare(Model(cluster, begun(cluster), versions))


def begun(cluster: Cluster) -> State:
    """The State in which etcd is told who its first members are."""
    return replace(first_state(cluster), etcd="bootstrapping", etcd_token="lab-1")


@cache
def good() -> tuple[Cluster, Setup]:
    """The seven machines before anything is made."""
    cluster = allot_pod_cidrs(load(INVENTORIES / "lab.yaml"), {})
    versions = {name: one.version for name, one in releases_for(cluster.kubernetes).items()}
    declaration = declare(Model(cluster, begun(cluster), versions))
    return cluster, declared_setup(cluster, declaration, {}, NOW)


def found(cluster: Cluster, setup: Setup) -> list[Finding]:
    return examine(across.RULES, Evidence(cluster, setup=setup))


def told(findings: list[Finding]) -> list[tuple[str, str, str]]:
    return [(one.rule, one.machine, one.what) for one in findings]


@pytest.mark.parametrize("name", ["lab", "lab-pair", "lab-small", "single", "vagrant"])
@pytest.mark.parametrize("kubernetes", ["1.36.4", "1.35.6"])
def test_nothing_is_found_in_a_shipped_inventory(name: str, kubernetes: str, tmp_path: Path) -> None:
    inventory = yaml.safe_load((INVENTORIES / f"{name}.yaml").read_text()) | {"kubernetes": kubernetes}
    cluster, declaration = declared(tmp_path, inventory)
    setup = declared_setup(cluster, declaration, {}, NOW)
    assert found(cluster, setup) == []
    there = {name for one in setup.machines.values() for name in one.components}
    assert there == set(COMPONENTS) - (set() if cluster.load_balancers else {"haproxy"})


@given(inventories())
def test_nothing_is_found_in_any_good_inventory(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    cluster, declaration = declared(tmp_path_factory.mktemp("any"), yaml.safe_load(text))
    assert told(found(cluster, declared_setup(cluster, declaration, {}, NOW))) == []


CASES = [
    ("pod-addresses", {"kubelet": {"maxPods": 254}}, "worker-0",
     "its kubelet takes 254 pods, and its 10.200.0.0/24 has addresses for 253"),
    ("service-range", {"kube-apiserver": {"service-cluster-ip-range": "10.96.0.0/16"}}, "controller-0",
     "kube-controller-manager has --service-cluster-ip-range=10.32.0.0/24, kube-apiserver has 10.96.0.0/16"),
    ("service-range", {"kube-apiserver": {"service-cluster-ip-range": "10.96.0.0/16"},
                       "kube-controller-manager": {"service-cluster-ip-range": "10.96.0.0/16"}}, "controller-0",
     "kube-apiserver has --service-cluster-ip-range=10.96.0.0/16, the inventory service_cidr 10.32.0.0/24"),
    ("api-server-names", {"kube-apiserver": {"service-cluster-ip-range": "10.96.0.0/16"}}, "controller-2",
     "/etc/kubernetes/pki/kube-apiserver.crt, what kube-apiserver shows, lacks 10.96.0.1"),
    ("api-server-names", {"kube-apiserver": {"tls-cert-file": "/etc/etcd/pki/server.crt"}}, "controller-1",
     "/etc/etcd/pki/server.crt, what kube-apiserver shows, lacks 10.32.0.1, kubernetes, kubernetes.default, "
     "kubernetes.default.svc, kubernetes.default.svc.cluster.local"),
    ("key-pair", {"kube-apiserver": {"tls-cert-file": "/etc/etcd/pki/server.crt"}}, "controller-1",
     "/etc/etcd/pki/server.crt does not belong to the key that kube-apiserver has beside it"),
    ("kubeconfig-ca", {"kube-apiserver": {"tls-cert-file": "/etc/etcd/pki/server.crt"}}, "worker-1",
     "/etc/kubernetes/kubelet.conf trusts a CA that did not issue controller-0:/etc/etcd/pki/server.crt, "
     "controller-1:/etc/etcd/pki/server.crt, controller-2:/etc/etcd/pki/server.crt"),
    ("kubeconfig-server", {"kube-apiserver": {"tls-cert-file": "/etc/etcd/pki/server.crt"}}, "worker-0",
     "/etc/kubernetes/kubelet.conf dials 10.240.0.30, which is not among the SANs of "
     "controller-0:/etc/etcd/pki/server.crt, controller-1:/etc/etcd/pki/server.crt, "
     "controller-2:/etc/etcd/pki/server.crt"),
    ("kubeconfig-client", {"kube-apiserver": {"client-ca-file": "/etc/kubernetes/pki/front-proxy-ca.crt"}}, "worker-0",
     "the client certificate in /etc/kubernetes/kubelet.conf was not issued by the client CA of "
     "controller-0, controller-1, controller-2"),
    ("front-proxy", {"kube-apiserver": {"client-ca-file": "/etc/kubernetes/pki/front-proxy-ca.crt"}}, "controller-0",
     "--requestheader-client-ca-file and --client-ca-file are one CA (/etc/kubernetes/pki/front-proxy-ca.crt)"),
    ("front-proxy", {"kube-apiserver": {"requestheader-allowed-names": "aggregator"}}, "controller-0",
     "/etc/kubernetes/pki/front-proxy-client.crt has CN front-proxy-client; "
     "--requestheader-allowed-names has aggregator"),
    ("cluster-dns", {"kubelet": {"clusterDNS": ["10.33.0.10"]}}, "worker-0",
     "its kubelet gives pods clusterDNS 10.33.0.10, outside of 10.32.0.0/24"),
    ("cluster-dns", {"kubelet": {"clusterDNS": ["10.32.0.11"]}}, "worker-0",
     "its kubelet gives pods clusterDNS 10.32.0.11; the DNS Service has 10.32.0.10"),
    ("cluster-dns", {"kubelet": {"clusterDNS": None}}, "worker-2", "its kubelet gives pods no clusterDNS"),
    ("cluster-domain", {"kubelet": {"clusterDomain": "example.net"}}, "worker-0",
     "its kubelet gives pods clusterDomain example.net, not cluster.local"),
    ("pod-range", {"kubelet": {"podCIDR": "10.200.9.0/24"}}, "worker-1",
     "its kubelet has podCIDR 10.200.9.0/24, its CNI bridge 10.200.1.0/24"),
    ("cluster-cidr", {"kube-proxy": {"clusterCIDR": "10.244.0.0/16"}}, "worker-0",
     "kube-proxy has clusterCIDR 10.244.0.0/16, the cluster 10.200.0.0/16"),
    ("cluster-cidr", {"kube-controller-manager": {"cluster-cidr": "10.244.0.0/16"}}, "controller-0",
     "kube-controller-manager has --cluster-cidr=10.244.0.0/16, the inventory 10.200.0.0/16"),
    ("proxy-node-name", {"kube-proxy": {"hostnameOverride": "elsewhere"}}, "worker-2",
     "its kubelet registers as worker-2, and kube-proxy looks for node elsewhere"),
    ("kubelet-names", {"kubelet": {"tlsCertFile": None, "tlsPrivateKeyFile": None}}, "worker-2",
     "its kubelet names no tlsCertFile, and makes itself a certificate"),
    ("etcd-names", {"etcd": {"advertise-client-urls": "https://192.0.2.7:2379"}}, "controller-0",
     "API servers dial its etcd as 192.0.2.7, which /etc/etcd/pki/server.crt does not hold"),
    ("etcd-names", {"etcd": {"initial-advertise-peer-urls": "https://192.0.2.7:2380"}}, "controller-2",
     "the other members dial its etcd as 192.0.2.7, which /etc/etcd/pki/peer.crt does not hold"),
    ("etcd-members", {"etcd": {"initial-advertise-peer-urls": "https://192.0.2.7:2380"}}, "controller-2",
     "--initial-cluster has https://10.240.0.12:2380 for it; --initial-advertise-peer-urls https://192.0.2.7:2380"),
    ("etcd-members", {"etcd": {"name": "alone"}}, "controller-2", "--name=alone is not in its --initial-cluster"),
    ("etcd-servers", {"kube-apiserver": {"etcd-servers": "https://10.240.0.10:12379"}}, "controller-0",
     "--etcd-servers has https://10.240.0.10:12379, where no member listens"),
    ("etcd-trust", {"kube-apiserver": {"etcd-cafile": "/etc/kubernetes/pki/ca.crt"}}, "controller-1",
     "kube-apiserver trusts /etc/kubernetes/pki/ca.crt, which did not issue /etc/etcd/pki/server.crt of "
     "etcd on controller-0"),
    ("etcd-trust", {"etcd": {"trusted-ca-file": "/etc/kubernetes/pki/ca.crt"}}, "controller-1",
     "etcd trusts /etc/kubernetes/pki/ca.crt, which did not issue /etc/kubernetes/pki/apiserver-etcd-client.crt of "
     "kube-apiserver on controller-0"),
    ("etcd-trust", {"etcd": {"peer-trusted-ca-file": "/etc/kubernetes/pki/ca.crt"}}, "controller-1",
     "etcd trusts /etc/kubernetes/pki/ca.crt, which did not issue /etc/etcd/pki/peer.crt of another etcd "
     "on controller-2"),
    ("kubelet-trust", {"kube-apiserver": {"kubelet-certificate-authority": "/etc/kubernetes/pki/etcd/ca.crt"}},
     "controller-0", "kube-apiserver trusts /etc/kubernetes/pki/etcd/ca.crt, which did not issue "
     "/etc/kubernetes/pki/kubelet.crt of kubelet on worker-0"),
    ("usage", {"kube-apiserver": {"etcd-certfile": "/etc/kubernetes/pki/kube-apiserver.crt"}}, "controller-0",
     "/etc/kubernetes/pki/kube-apiserver.crt is not good for clientAuth"),
    ("usage", {"kube-apiserver": {"client-ca-file": "/etc/kubernetes/pki/kube-apiserver.crt"}}, "controller-0",
     "/etc/kubernetes/pki/kube-apiserver.crt is trusted as a CA, and is none"),
    ("kubelet-client-user",
     {"kube-apiserver": {"kubelet-client-certificate": "/etc/kubernetes/pki/front-proxy-client.crt"}}, "controller-0",
     "kube-apiserver asks kubelets as front-proxy-client, to whom no rights on kubelets are bound"),
    ("component-user", {"kube-scheduler": {"kubeconfig": "/etc/kubernetes/admin.conf"}}, "controller-0",
     "/etc/kubernetes/admin.conf says to be hardway-admin; Kubernetes' role for kube-scheduler is bound to "
     "system:kube-scheduler"),
    ("token-key",
     {"kube-controller-manager": {"service-account-private-key-file": "/etc/kubernetes/pki/ca-signing.key"}},
     "controller-0", "kube-controller-manager signs tokens with a key that the API server on controller-0, "
     "controller-1, controller-2 does not know"),
    ("unknown-flag", {"kube-apiserver": {"audit-log-maxagee": 3}}, "controller-1",
     "kube-apiserver 1.36.4 does not know --audit-log-maxagee"),
    ("unknown-flag", {"etcd": {"enable-v2": True}}, "controller-1", "etcd 3.6.14 does not know --enable-v2"),
    ("unknown-flag", {"kube-apiserver": {"kubelet-https": True}}, "controller-1",
     "kube-apiserver 1.36.4 does not know --kubelet-https"),
    ("deprecated-flag", {"kube-apiserver": {"apiserver-count": 3}}, "controller-2",
     "kube-apiserver --apiserver-count: apiserver-count is deprecated and will be removed in a future version."),
    ("unknown-field", {"kubelet": {"maxPod": 60}}, "worker-0",
     "kubelet's configuration has maxPod, which KubeletConfiguration does not have: it is ignored"),
    ("unknown-field", {"kubelet": {"authentication": {"anonymus": {"enabled": True}}}}, "worker-0",
     "kubelet's configuration has authentication.anonymus, which KubeletConfiguration does not have: it is ignored"),
    ("wrong-value", {"kube-apiserver": {"audit-log-maxage": "thirty"}}, "controller-0",
     "kube-apiserver does not take --audit-log-maxage=thirty"),
    ("wrong-value", {"kube-apiserver": {"profiling": "no"}}, "controller-0",
     "kube-apiserver does not take --profiling=no"),
    ("wrong-value", {"kube-apiserver": {"event-ttl": 2}}, "controller-0",
     "kube-apiserver does not take --event-ttl=2"),
    ("wrong-value", {"kube-apiserver": {"max-requests-inflight": 4000.5}}, "controller-0",
     "kube-apiserver does not take --max-requests-inflight=4000.5"),
    ("wrong-value", {"kube-apiserver": {"oidc-required-claim": "group"}}, "controller-0",
     "kube-apiserver does not take --oidc-required-claim=group"),
    ("wrong-value", {"kube-controller-manager": {"node-monitor-period": "often"}}, "controller-2",
     "kube-controller-manager does not take --node-monitor-period=often"),
    ("wrong-value", {"etcd": {"quota-backend-bytes": "8Gi"}}, "controller-0",
     "etcd does not take --quota-backend-bytes=8Gi"),
    ("wrong-value", {"etcd": {"heartbeat-interval": -5}}, "controller-0",
     "etcd does not take --heartbeat-interval=-5"),
    ("wrong-type", {"kubelet": {"maxPods": "lots"}}, "worker-0",
     'kubelet\'s configuration has a wrong type: maxPods is the text "lots"'),
    ("wrong-type", {"kubelet": {"serializeImagePulls": "no"}}, "worker-0",
     'kubelet\'s configuration has a wrong type: serializeImagePulls is the text "no"'),
    ("wrong-type", {"kubelet": {"evictionHard": {"memory.available": 200}}}, "worker-0",
     "kubelet's configuration has a wrong type: evictionHard.memory.available is 200, a number"),
    ("wrong-type", {"kubelet": {"syncFrequency": 60}}, "worker-0",
     "kubelet's configuration has a wrong type: syncFrequency is 60, a number"),
    ("wrong-type", {"kubelet": {"clusterDNS": "10.32.0.10"}}, "worker-0",
     'kubelet\'s configuration has a wrong type: clusterDNS is the text "10.32.0.10"'),
    ("wrong-type", {"kubelet": {"authentication": True}}, "worker-0",
     "kubelet's configuration has a wrong type: authentication is true, a truth value"),
    ("wrong-type", {"kube-proxy": {"conntrack": {"maxPerCore": "all"}}}, "worker-1",
     'kube-proxy\'s configuration has a wrong type: conntrack.maxPerCore is the text "all"'),
    ("wrong-type", {"containerd": {"oom_score": "lots"}}, "worker-0",
     'containerd\'s configuration has a wrong type: oom_score is the text "lots"'),
    ("feature-gate", {"kube-apiserver": {"feature-gates": {"NoSuchGate": True}}}, "controller-0",
     "kube-apiserver's feature gate NoSuchGate is unknown"),
    ("feature-gate", {"kube-scheduler": {"feature-gates": "APIResponseCompresion=true"}}, "controller-0",
     "kube-scheduler's feature gate APIResponseCompresion is unknown"),
    ("feature-gate", {"kubelet": {"featureGates": {"NodeSwap": False}}}, "worker-0",
     "kubelet's feature gate NodeSwap is locked"),
    ("admission-plugin", {"kube-apiserver": {"enable-admission-plugins": ["NodeRestriction", "PodSecurityPolicy"]}},
     "controller-0", "kube-apiserver has no admission plugin PodSecurityPolicy (--enable-admission-plugins)"),
    ("containerd-plugin",
     {"containerd": {"plugins": {"io.containerd.cri.v1.images": {"registry": {"config_pat": "/x"}}}}}, "worker-0",
     "containerd's configuration has config_pat below registry, which it does not have there"),
    ("containerd-plugin", {"containerd": {"plugins": {"io.containerd.grpc.v1.cri": {"enable_selinux": True}}}},
     "worker-0", "containerd's configuration has enable_selinux below io.containerd.grpc.v1.cri, which it "
     "does not have there"),
    ("write-path", {"etcd": {"data-dir": "/data/etcd"}}, "controller-0",
     "etcd has --data-dir=/data/etcd; its unit, a backup and a reset have /var/lib/etcd"),
    ("write-path", {"etcd": {"wal-dir": "/wal"}}, "controller-1",
     "etcd has --wal-dir=/wal; its unit may write below /var/lib/etcd only"),
    ("write-path", {"kube-apiserver": {"audit-log-path": "/var/log/audit.log"}}, "controller-0",
     "kube-apiserver has --audit-log-path=/var/log/audit.log; its unit may write below /var/log/kubernetes only"),
    ("balancer-bind", {"haproxy": {"frontend kube-apiserver": {"bind": "*:7443"}}}, "lb-0",
     "HAProxy binds *:7443; kubelets and people dial the endpoint at 10.240.0.30:6443"),
    ("balancer-bind", {"haproxy": {"frontend kube-apiserver": {"bind": "127.0.0.1:6443"}}}, "lb-0",
     "HAProxy binds 127.0.0.1:6443; kubelets and people dial the endpoint at 10.240.0.30:6443"),
    ("runtime-socket", {"containerd": {"grpc": {"address": "/run/other.sock"}}}, "worker-0",
     "the kubelet's containerRuntimeEndpoint is unix:///run/containerd/containerd.sock; "
     "containerd answers at /run/other.sock"),
    ("runtime-socket", {"containerd": {"grpc": {"address": "/run/other.sock"}},
                        "kubelet": {"containerRuntimeEndpoint": "unix:///run/other.sock"}}, "worker-0",
     "crictl's runtime-endpoint is unix:///run/containerd/containerd.sock; containerd answers at /run/other.sock"),
    ("etcd-urls", {"etcd": {"listen-peer-urls": "https://0.0.0.0:12380"}}, "controller-0",
     "etcd has --listen-peer-urls=https://0.0.0.0:12380; other members, API servers and checks dial "
     "https://10.240.0.10:2380"),
    ("etcd-urls", {"etcd": {"listen-client-urls": "https://10.240.0.10:2379"}}, "controller-1",
     "etcd has --listen-client-urls=https://10.240.0.10:2379; other members, API servers and checks dial "
     "https://10.240.0.11:2379, https://127.0.0.1:2379"),
    ("etcd-urls", {"etcd": {"initial-advertise-peer-urls": None}}, "controller-2",
     "etcd has no --initial-advertise-peer-urls; other members, API servers and checks dial https://10.240.0.12:2380"),
    ("api-port", {"kube-apiserver": {"secure-port": 8443}}, "controller-0",
     "kube-apiserver has --secure-port=8443; balancers, components beside it and proofs dial 6443"),
    ("missing-file", {"kube-apiserver": {"oidc-ca-file": "/etc/kubernetes/pki/oidc-ca.crt"}}, "controller-0",
     "kube-apiserver reads /etc/kubernetes/pki/oidc-ca.crt (--oidc-ca-file), which nobody puts there"),
    ("missing-file", {"kube-apiserver": {"tls-sni-cert-key": "/etc/kubernetes/a.crt,/etc/kubernetes/a.key:api.corp"}},
     "controller-0", "kube-apiserver reads /etc/kubernetes/a.key (--tls-sni-cert-key), which nobody puts there"),
    ("missing-file", {"kubelet": {"tlsCertFile": "/etc/kubernetes/pki/other.crt"}}, "worker-0",
     "kubelet reads /etc/kubernetes/pki/other.crt (tlsCertFile), which nobody puts there"),
    ("unshipped-file", {"kube-apiserver": {"oidc-ca-file": "/etc/ssl/corp.pem"}}, "controller-0",
     "kube-apiserver reads /etc/ssl/corp.pem (--oidc-ca-file), which hardway does not put there"),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "settings", "machine", "what"), CASES)
def test_a_setting_that_breaks_an_agreement_is_found(
    rule: str, settings: dict[str, Any], machine: str, what: str, tmp_path: Path
) -> None:
    cluster, declaration = declared(tmp_path, LAB | {"settings": settings})
    findings = found(cluster, declared_setup(cluster, declaration, {}, NOW))
    assert (rule, machine, what) in told(findings)
    assert all(one.fix and one.why and one.symptom for one in findings)


GOOD_SETTINGS: dict[str, dict[str, Any]] = {
    "a member that listens everywhere": {"etcd": {
        "listen-peer-urls": "https://0.0.0.0:2380", "listen-client-urls": "https://0.0.0.0:2379"}},
    "a balancer that binds its own address": {"haproxy": {"frontend kube-apiserver": {"bind": "10.240.0.30:6443"}}},
    "an audit log elsewhere in its folder": {"kube-apiserver": {"audit-log-path": "/var/log/kubernetes/a/audit.log"}},
    "a file that is shipped": {"kube-apiserver": {"oidc-ca-file": "/etc/kubernetes/pki/oidc-ca.crt"}},
    "a folder that a drop-in opens": {"etcd": {"wal-dir": "/wal"}},
}  # fmt: skip


@pytest.mark.parametrize("settings", GOOD_SETTINGS.values(), ids=GOOD_SETTINGS)
def test_settings_that_agree_with_the_model_are_no_finding(settings: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("CA\n")
    (tmp_path / "wal.conf").write_text("[Service]\nReadWritePaths=/wal\n")
    files = {
        "/etc/kubernetes/pki/oidc-ca.crt": {"source": "ca.pem", "machines": "controller"},
        "/etc/systemd/system/etcd.service.d/10-wal.conf": {"source": "wal.conf", "machines": "controller"},
    }
    cluster, declaration = declared(tmp_path, LAB | {"settings": settings, "files": files})
    assert told(found(cluster, declared_setup(cluster, declaration, {}, NOW))) == []


def test_a_worker_of_another_name_is_found(tmp_path: Path) -> None:
    cluster, setup = good()
    worker = setup.machines["worker-1"]
    kubelet = worker.components["kubelet"]
    renamed = replace(kubelet, flags={**kubelet.flags, "hostname-override": "node-1"})
    findings = found(cluster, _with(setup, replace(worker, components={**worker.components, "kubelet": renamed})))
    assert ("node-name", "worker-1") in [(one.rule, one.machine) for one in findings]
    assert findings[0].symptom == (
        'workers: nodes "node-1" is forbidden: node "worker-1" is not allowed to modify node "node-1"'
    )


def _with(setup: Setup, *machines: MachineSetup, **changes: Any) -> Setup:
    return replace(setup, machines={**setup.machines, **{one.name: one for one in machines}}, **changes)


def _config(machine: MachineSetup, user: str, **changes: Any) -> MachineSetup:
    kubeconfigs = {**machine.kubeconfigs, user: replace(machine.kubeconfigs[user], **changes)}
    return replace(machine, kubeconfigs=kubeconfigs)


def _client(machine: MachineSetup, **changes: Any) -> MachineSetup:
    client = machine.kubeconfigs["kubelet"].client
    assert client is not None
    return _config(machine, "kubelet", client=replace(client, **changes))


def _shown(machine: MachineSetup, purpose: str, **changes: Any) -> MachineSetup:
    return replace(machine, presents={**machine.presents, purpose: replace(machine.presents[purpose], **changes)})


TWICE = {IPv4Network("10.200.1.0/24"): "10.240.0.21", IPv4Network("10.200.2.0/24"): "10.240.0.22"}
ALTERED: list[tuple[str, str, Callable[[MachineSetup], MachineSetup], str]] = [
    ("node-name", "worker-0", lambda one: _client(one, organizations=()),
     "/etc/kubernetes/kubelet.conf (client-certificate) has no O at all, not O system:nodes"),
    ("node-name", "worker-0", lambda one: _client(one, common_name="worker-0"),
     "/etc/kubernetes/kubelet.conf (client-certificate) has CN worker-0, not system:node:…"),
    ("node-name", "lb-0", lambda one: replace(one, loose=(Certificate("/root/x.pem", "system:node:worker-9",
                                                                      ("system:nodes",)),)),
     "/root/x.pem is for node worker-9, and no worker is called that"),
    ("kubeconfig-server", "worker-0", lambda one: _config(one, "kubelet", server="http://10.240.0.30:6443"),
     "/etc/kubernetes/kubelet.conf dials http://10.240.0.30:6443: an API server is dialled by https://"),
    ("kubeconfig-ca", "worker-0", lambda one: _config(one, "kubelet", authorities=()),
     "/etc/kubernetes/kubelet.conf holds no CA"),
    ("key-pair", "worker-0", lambda one: _config(one, "kubelet", key="another"),
     "client certificate and key in /etc/kubernetes/kubelet.conf do not belong together"),
    ("kubelet-names", "worker-0", lambda one: _shown(one, "kubelet/server", addresses=()),
     "API servers dial its kubelet as 10.240.0.20, which /etc/kubernetes/pki/kubelet.crt does not hold"),
    ("encryption-key", "controller-2",
     lambda one: replace(one, encryption=(Provider("secretbox", (("other", 32),)),)),
     "its encryption keys are not those of controller-0"),
    ("encryption-key", "controller-0",
     lambda one: replace(one, encryption=(Provider("secretbox", (("secrets/encryption-key", 31),)),)),
     "a key of secretbox decodes to 31 bytes, not to 32"),
    ("encryption-identity", "controller-0",
     lambda one: replace(one, encryption=(Provider("identity"), *(one.encryption or ()))),
     "the first provider of its encryption configuration is identity"),
    ("pod-range", "worker-1", lambda one: replace(one, pod_range=IPv4Network("10.200.0.0/25")),
     "its pods have 10.200.0.0/25, which worker-0 has too (10.200.0.0/24)"),
    ("pod-range", "worker-1", lambda one: replace(one, pod_range=IPv4Network("10.9.0.0/24")),
     "its pods have 10.9.0.0/24, outside of the cluster's 10.200.0.0/16"),
    ("pod-range", "worker-1", lambda one: replace(one, pod_range=IPv4Network("10.200.7.0/24")),
     "its pods have 10.200.7.0/24; the routes of other machines lead 10.200.1.0/24 to it"),
    ("pod-routes", "controller-1", lambda one: replace(one, routes=TWICE),
     "it has no route to 10.200.0.0/24, the pods of worker-0"),
    ("pod-routes", "worker-1", lambda one: replace(one, routes={**(one.routes or {}), **TWICE}),
     "it has a route for its own pods, 10.200.1.0/24 via 10.240.0.21"),
    ("pod-routes", "worker-0", lambda one: replace(one, routes=dict.fromkeys(TWICE, "10.240.0.21")),
     "it has 10.200.2.0/24 via 10.240.0.21, the pods of worker-2"),
    ("balanced-servers", "lb-0", lambda one: replace(one, balanced=(*one.balanced[:2], "10.240.0.13:6443")),
     "HAProxy passes connections to 10.240.0.13:6443, where no API server listens"),
    ("balanced-servers", "lb-0", lambda one: replace(one, balanced=one.balanced[:2]),
     "HAProxy passes no connection to 10.240.0.12"),
    ("resolver-family", "worker-0", lambda one: replace(one, nameservers=("2001:db8::53", "fe80::1%eth0", "::1")),
     "pods' names go to 2001:db8::53, fe80::1%eth0, ::1, and pods have no IPv6"),
    ("resolver-loop", "worker-0", lambda one: replace(one, nameservers=("127.0.0.53",)),
     "pods' names go to 127.0.0.53, which is CoreDNS itself once it is in a pod"),
    ("version-skew", "worker-0", lambda one: replace(one, versions={**one.versions, "kubelet": "1.32.9"}),
     "kubelet is 1.32.9; API servers are 1.36"),
    ("version-skew", "worker-0", lambda one: replace(one, versions={**one.versions, "kubelet": "1.37.0"}),
     "kubelet is 1.37.0; API servers are 1.36"),
    ("version-skew", "controller-0", lambda one: replace(one, versions={**one.versions, "kubectl": "1.34.1"}),
     "kubectl is 1.34.1; API servers are 1.36"),
    ("expired", "worker-0", lambda one: _shown(one, "kubelet/server", not_after=NOW - timedelta(days=1)),
     "/etc/kubernetes/pki/kubelet.crt expired on 2026-11-20 00:00 UTC"),
    ("expired", "worker-0", lambda one: _shown(one, "kubelet/server", not_before=NOW + timedelta(hours=2)),
     "/etc/kubernetes/pki/kubelet.crt is not valid before 2026-11-21 02:00 UTC"),
    ("expiring", "worker-0", lambda one: _shown(one, "kubelet/server", not_after=NOW + timedelta(days=29, hours=1)),
     "/etc/kubernetes/pki/kubelet.crt expires in 29 days, on 2026-12-20"),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "name", "alter", "what"), ALTERED)
def test_a_setup_that_was_made_wrong_is_found(
    rule: str, name: str, alter: Callable[[MachineSetup], MachineSetup], what: str
) -> None:
    cluster, setup = good()
    findings = found(cluster, _with(setup, alter(setup.machines[name])))
    assert (rule, name, what) in told(findings)
    assert all(one.fix and one.why and one.symptom for one in findings)


def test_token_issuers_that_differ_are_found(tmp_path: Path) -> None:
    machines = {**LAB["machines"], "controller-1": {**LAB["machines"]["controller-1"], "settings": {
        "kube-apiserver": {"service-account-issuer": "https://elsewhere"}}}}  # fmt: skip
    cluster, declaration = declared(tmp_path, LAB | {"machines": machines})
    assert told(found(cluster, declared_setup(cluster, declaration, {}, NOW))) == [
        ("token-issuer", "controller-1", "its API server issues tokens as https://elsewhere, controller-0 as "
         "https://kubernetes.default.svc.cluster.local")
    ]  # fmt: skip


@pytest.mark.parametrize(("prefix", "usable"), [(28, 13), (27, 29), (26, 61), (25, None)])
def test_a_share_is_measured_against_the_pods_that_a_kubelet_takes(
    prefix: int, usable: int | None, tmp_path: Path
) -> None:
    machines = {"one": {"role": ["controller", "worker"], "address": "192.0.2.10"}}
    small = {"cluster": "small", "network": {"pod_prefix": prefix}, "machines": machines}
    cluster, declaration = declared(tmp_path, small)
    ids = {one.rule for one in found(cluster, declared_setup(cluster, declaration, {}, NOW))}
    assert ids == ({"pod-addresses"} if usable else set())
    right = small | {"settings": {"kubelet": {"maxPods": usable or 110}}}
    cluster, declaration = declared(tmp_path, right)
    assert found(cluster, declared_setup(cluster, declaration, {}, NOW)) == []


def test_every_rule_has_a_test_in_which_it_finds_something() -> None:
    tried = {case[0] for case in CASES} | {case[0] for case in ALTERED} | {"token-issuer"}
    assert {rule.id for rule in across.RULES} == tried


def test_rules_about_what_is_not_there_yet_are_silent() -> None:
    """In chapter certs only certificates exist."""
    cluster, setup = good()
    shown = setup.machines["controller-0"].presents["kube-apiserver/server"]
    alone = replace(shown, where="/root/kubernetes.pem")
    half = Setup({"controller-0": MachineSetup("controller-0", loose=(alone,))}, NOW, "by hand")
    assert found(cluster, half) == []
    lacking = replace(alone, addresses=tuple(one for one in alone.addresses if one != "10.32.0.1"))
    [finding] = found(cluster, _with(half, MachineSetup("controller-0", loose=(lacking,))))
    assert (finding.rule, finding.what) == (
        "api-server-names",
        "/root/kubernetes.pem, what kube-apiserver shows, lacks 10.32.0.1",
    )
    assert finding.symptom.startswith("dns: x509: certificate is valid for 127.0.0.1, 10.240.0.10, ")


def made(declaration: Declaration, when: datetime) -> dict[str, bytes]:
    """The workspace of a declaration, all of it made at a time."""
    values = {"workspace/path": b"/somewhere"}
    for _, local in declaration.local:
        values[local.path] = local.make(values, when)
    return values


def test_certificates_that_are_made_are_judged_by_what_they_say(tmp_path: Path) -> None:
    cluster, declaration = declared(tmp_path, yaml.safe_load((INVENTORIES / "lab-small.yaml").read_text()))
    values = made(declaration, NOW)
    assert told(found(cluster, declared_setup(cluster, declaration, values, NOW))) == []

    expiring = declared_setup(cluster, declaration, values, NOW + timedelta(days=340))
    assert {one.rule for one in found(cluster, expiring)} == {"expiring"}

    spec = pki.CertificateSpec("kube-apiserver", dns_names=("kubernetes",), usages=frozenset({"server"}))
    key, ca, ca_key = values["pki/kube-apiserver.key"], values[f"{ETCD.path}.crt"], values[f"{ETCD.path}.key"]
    forged = declared_setup(
        cluster, declaration, {**values, "pki/kube-apiserver.crt": pki.issue(spec, key, ca, ca_key, NOW)}, NOW
    )
    assert {one.rule for one in found(cluster, forged)} == {"api-server-names", "kubeconfig-server", "kubeconfig-ca"}


def test_a_private_key_is_in_no_setup(tmp_path: Path) -> None:
    cluster, declaration = declared(tmp_path, yaml.safe_load((INVENTORIES / "lab-small.yaml").read_text()))
    values = made(declaration, NOW)
    text = repr(declared_setup(cluster, declaration, values, NOW))
    random = next(local for _, local in declaration.local if isinstance(local, RandomKey))
    assert "PRIVATE" not in text
    assert repr(values[random.path])[2:20] not in text


def test_issuers_are_told_by_signature_where_both_are_made() -> None:
    key, other = pki.new_key("ecdsa-p256"), pki.new_key("ecdsa-p256")
    spec = pki.CertificateSpec("a CA", is_ca=True)
    ca, twin = pki.issue_ca(spec, key, NOW), pki.issue_ca(spec, other, NOW)
    leaf = parsed(pki.issue(pki.CertificateSpec("leaf"), other, ca, key, NOW), "leaf")
    assert leaf.issued_by(parsed(ca, "ca"))
    assert not leaf.issued_by(parsed(twin, "twin"))


@pytest.mark.parametrize(
    ("names", "host", "covered"),
    [
        (("kubernetes",), "Kubernetes", True),
        (("*.example.net",), "api.example.net", True),
        (("*.example.net",), "a.b.example.net", False),
        (("example.net",), "api.example.net", False),
    ],
)
def test_a_name_is_covered_as_tls_clients_see_it(names: tuple[str, ...], host: str, covered: bool) -> None:
    assert Certificate("x", "x", dns_names=names).covers(host) == covered


def _without(machine: MachineSetup, component: str) -> MachineSetup:
    """The machine before that component was set up there: what it would use lies there unused."""
    prefix = f"{component}/"
    return replace(
        machine,
        components={name: one for name, one in machine.components.items() if name != component},
        presents={name: one for name, one in machine.presents.items() if not name.startswith(prefix)},
        trusts={name: one for name, one in machine.trusts.items() if not name.startswith(prefix)},
        keys={name: one for name, one in machine.keys.items() if not name.startswith(prefix)},
        kubeconfigs={name: one for name, one in machine.kubeconfigs.items() if name != component},
        loose=(*machine.loose, *(one for name, one in machine.presents.items() if name.startswith(prefix))),
        balanced=() if component == "haproxy" else machine.balanced,
    )


def test_what_is_not_set_up_yet_or_was_not_asked_is_no_fault() -> None:
    cluster, setup = good()
    halves = [
        replace(setup, machines={name: one for name, one in setup.machines.items() if name != left_out})
        for left_out in setup.machines
    ]
    halves += [_with(setup, _without(one, name)) for one in setup.machines.values() for name in one.components]
    assert [told(found(cluster, half)) for half in halves if found(cluster, half)] == []
