"""The tutorial's current edition, typed without a slip, is found good: with its own names, paths and flags."""

from datetime import UTC, datetime
from ipaddress import IPv4Network
from pathlib import Path

from hardway.declare import pki
from hardway.declare.kube.kubeconfig import kubeconfig
from hardway.inventory.allot import allot_pod_cidrs
from hardway.inventory.load import load
from hardway.lint import rules as across
from hardway.probe.script import Answer, Answers
from hardway.probe.setup.model import Provider, Setup
from hardway.probe.setup.redaction import redacted
from hardway.probe.setup.seen import parse
from hardway.rules import Evidence, examine
from hardway.values import fill, sha256
from hardway.verify.by_hand import interpreted

NOW = datetime(2026, 11, 21, tzinfo=UTC)
API = "https://server.kubernetes.local:6443"
SERVICE = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")
SECRET = bytes(32)
SERVER = {
    "etcd": "--name controller --initial-advertise-peer-urls http://127.0.0.1:2380 "
    "--listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 "
    "--initial-cluster controller=http://127.0.0.1:2380",
    "kube-apiserver": "--etcd-servers=http://127.0.0.1:2379 --client-ca-file=/k/ca.crt "
    "--kubelet-certificate-authority=/k/ca.crt --kubelet-client-certificate=/k/kube-api-server.crt "
    "--kubelet-client-key=/k/kube-api-server.key --service-account-key-file=/k/service-accounts.crt "
    f"--service-account-signing-key-file=/k/service-accounts.key --service-account-issuer={API} "
    "--service-cluster-ip-range=10.32.0.0/24 --tls-cert-file=/k/kube-api-server.crt "
    "--tls-private-key-file=/k/kube-api-server.key --encryption-provider-config=/k/encryption-config.yaml --v=2",
    "kube-controller-manager": "--cluster-cidr=10.200.0.0/16 --service-cluster-ip-range=10.32.0.0/24 "
    "--kubeconfig=/k/kube-controller-manager.kubeconfig --root-ca-file=/k/ca.crt "
    "--service-account-private-key-file=/k/service-accounts.key",
}
WORKER = {"kubelet": "--config=/var/lib/kubelet/kubelet-config.yaml --kubeconfig=/var/lib/kubelet/kubeconfig --v=2"}
KUBELET = """\
kind: KubeletConfiguration
authentication: {x509: {clientCAFile: /var/lib/kubelet/ca.crt}}
tlsCertFile: /var/lib/kubelet/kubelet.crt
tlsPrivateKeyFile: /var/lib/kubelet/kubelet.key
registerNode: true
maxPods: 16
"""
ENCRYPTION = """\
kind: EncryptionConfiguration
resources: [{resources: [secrets], providers: [{aescbc: {keys: [{name: key1, secret: "%s"}]}}, {identity: {}}]}]
"""
CNI = '{"type": "bridge", "ipam": {"ranges": [[{"subnet": "10.200.0.0/24"}]]}}'

CA_KEY = pki.new_key("ecdsa-p256")
CA = pki.issue_ca(pki.CertificateSpec("CA", is_ca=True), CA_KEY, NOW)
Pair = tuple[bytes, bytes]


def pair(common_name: str, *organizations: str, names: tuple[str, ...] = ()) -> Pair:
    key = pki.new_key("ecdsa-p256")
    addresses = ("127.0.0.1", "10.32.0.1") if names else ()
    spec = pki.CertificateSpec(common_name, organizations, names, addresses, frozenset({"client", "server"}))
    return pki.issue(spec, key, CA, CA_KEY, NOW), key


def config(user: Pair) -> str:
    values = {"pki/ca.crt": CA, "pki/x.crt": user[0], "pki/x.key": user[1]}
    return (fill(kubeconfig("kubernetes-the-hard-way", API, "pki/ca.crt", "x", "x"), values) or b"").decode()


def answer(hostname: str, commands: dict[str, str], files: dict[str, str | bytes]) -> Answers:
    """What a machine says when it is looked at."""
    said = {"host": hostname}
    for pid, (component, flags) in enumerate(commands.items()):
        said[f"process {component} {pid}"] = "\n".join(f"argv {word}" for word in (component, *flags.split()))
    for path, content in files.items():
        said[f"file {path}"] = redacted(content if isinstance(content, str) else content.decode())
    return Answers({name: Answer(0, text.encode()) for name, text in said.items()})


def tutorial() -> Setup:
    api = pair("kubernetes", names=(*SERVICE, "server.kubernetes.local"))
    manager, tokens = pair("system:kube-controller-manager"), pair("service-accounts")
    node = pair("system:node:node-0", "system:nodes", names=("node-0",))
    encryption = ENCRYPTION % "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
    server = {
        "/k/ca.crt": CA, "/k/kube-api-server.crt": api[0], "/k/kube-api-server.key": api[1],
        "/k/service-accounts.crt": tokens[0], "/k/service-accounts.key": tokens[1],
        "/k/encryption-config.yaml": encryption, "/k/kube-controller-manager.kubeconfig": config(manager),
    }  # fmt: skip
    worker = {
        "/var/lib/kubelet/kubelet-config.yaml": KUBELET, "/var/lib/kubelet/ca.crt": CA,
        "/var/lib/kubelet/kubelet.crt": node[0], "/var/lib/kubelet/kubelet.key": node[1],
        "/var/lib/kubelet/kubeconfig": config(node), "/etc/cni/net.d/10-bridge.conf": CNI,
    }  # fmt: skip
    told = {"server": answer("server", SERVER, server), "node-0": answer("node-0", WORKER, worker)}
    return Setup({name: interpreted(parse(name, text).material) for name, text in told.items()}, NOW, "by hand")


def test_the_tutorials_own_cluster_is_found_good() -> None:
    cluster = allot_pod_cidrs(load(Path(__file__).parents[2] / "inventories" / "lab-small.yaml"), {})
    setup = tutorial()
    server, node = setup.machines["server"], setup.machines["node-0"]
    assert set(server.presents) == {"kube-apiserver/server", "kube-apiserver/kubelet-client"}
    assert server.encryption == (Provider("aescbc", ((sha256(SECRET), 32),)), Provider("identity"))
    assert node.kubeconfigs["kubelet"].server == API
    assert node.pod_range == IPv4Network("10.200.0.0/24")
    assert [(one.rule, one.what) for one in examine(across.RULES, Evidence(cluster, setup=setup))] == []
