"""A cluster of a company's intermediates, held against real programs: what each believes, and what it refuses."""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from etcd_life import real_programs
from fake.authorities import Company, company, pem, signed
from fake.cluster import PAIR, FakeCluster, room
from fake.machine import why_not
from real_api import free_port

from hardway.declare import authority
from hardway.declare.declaration import declare
from hardway.declare.phases.base import Model
from hardway.declare.pki import CertificateSpec, new_key
from hardway.declare.requests import request
from hardway.declare.resources import Context, NodeTaints, Observed, Present, taints

ETCD, KUBERNETES = real_programs("etcd"), real_programs("kubernetes")
HAPROXY = shutil.which("haproxy", path="/usr/sbin:/usr/bin")
LIMIT = 60
ROOT = company("Root")
OTHER = company("Other", ROOT)
"""Another intermediate of the same company: nothing that it signs may open anything here."""
MINE = {name: company(f"Issuing {name}", ROOT) for name in ("kubernetes", "etcd", "front-proxy")}
MASTERS = CertificateSpec("somebody", ("system:masters",), usages=frozenset({"client"}))

pytestmark = [
    pytest.mark.skipif(ETCD is None or KUBERNETES is None, reason="needs binaries in the cache: hardway artifacts get"),
    pytest.mark.skipif(bool(why_not()), reason=why_not()),
]


@dataclass(frozen=True)
class Real:
    """Real servers with the files that hardway puts on a controller. `pki` is its /etc/kubernetes/pki."""

    made: FakeCluster
    pki: Path
    etcd: str
    api: str

    def ask(self, path: str, trusted: Path, shown: tuple[Path, Path]) -> bytes:
        """An answer of the API to a client with OpenSSL, which shows this certificate with this key."""
        context = ssl.create_default_context(cafile=str(trusted))
        context.load_cert_chain(*shown)
        with urllib.request.urlopen(self.api + path, timeout=10, context=context) as answer:
            return bytes(answer.read())

    @property
    def masters(self) -> tuple[Path, Path]:
        root = self.made.workspace().root / "pki"
        return root / "break-glass.crt", root / "break-glass.key"


@contextmanager
def running(program: Path, log: Path, *flags: str) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as out:
        process = subprocess.Popen([program, *flags], stdout=out, stderr=out, env={"PATH": os.environ["PATH"]})
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def cluster(folder: Path) -> FakeCluster:
    authorities = []
    for name, ca in MINE.items():
        (folder / f"{name}.crt").write_bytes(ca.crt + ROOT.crt)
        (folder / f"{name}.key").write_bytes(ca.pem_key)
        authorities.append(f"{name}: {{certificate: {name}.crt, key: {name}.key}}")
    made = FakeCluster.new(folder, f"certs: {{authorities: {{{', '.join(authorities)}}}}}\n{PAIR}")
    made.init()
    return made


@pytest.fixture(scope="module")
def real() -> Iterator[Real]:
    assert ETCD is not None and KUBERNETES is not None
    folder = room()
    made = cluster(folder)
    etc = made.machines["head"].root / "etc"
    own, pki = etc / "etcd/pki", etc / "kubernetes/pki"
    client, peer, port = f"https://127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}", free_port()
    etcd_flags = [
        f"--data-dir={folder}/data", f"--listen-client-urls={client}", f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=default={peer}",
        f"--cert-file={own}/server.crt", f"--key-file={own}/server.key", "--client-cert-auth",
        f"--trusted-ca-file={own}/ca.crt",
    ]  # fmt: skip
    api_flags = [
        f"--etcd-servers={client}", f"--etcd-cafile={pki}/etcd/ca.crt",
        f"--etcd-certfile={pki}/apiserver-etcd-client.crt", f"--etcd-keyfile={pki}/apiserver-etcd-client.key",
        "--bind-address=127.0.0.1", f"--secure-port={port}", "--advertise-address=192.0.2.1",
        "--endpoint-reconciler-type=none", "--authorization-mode=RBAC", "--service-cluster-ip-range=192.0.2.0/24",
        f"--tls-cert-file={pki}/kube-apiserver.crt", f"--tls-private-key-file={pki}/kube-apiserver.key",
        f"--client-ca-file={pki}/ca.crt", f"--requestheader-client-ca-file={pki}/front-proxy-ca.crt",
        f"--proxy-client-cert-file={pki}/front-proxy-client.crt",
        f"--proxy-client-key-file={pki}/front-proxy-client.key", "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
        "--service-account-issuer=https://kubernetes.default.svc", f"--service-account-key-file={pki}/sa.pub",
        f"--service-account-signing-key-file={pki}/sa.key",
    ]  # fmt: skip
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        stack.enter_context(running(ETCD["etcd"], folder / "etcd.log", *etcd_flags))
        server = stack.enter_context(running(KUBERNETES["kube-apiserver"], folder / "api.log", *api_flags))
        found = Real(made, pki, client, f"https://127.0.0.1:{port}")
        deadline = time.monotonic() + LIMIT
        while not ready(found):
            assert server.poll() is None, (folder / "api.log").read_text()[-2000:]
            assert time.monotonic() < deadline, (folder / "api.log").read_text()[-2000:]
            time.sleep(0.2)
        yield found


def ready(real: Real) -> bool:
    try:
        return real.ask("/readyz", real.pki / "ca-bundle.crt", real.masters) == b"ok"
    except (OSError, urllib.error.URLError):
        return False


def shown(folder: Path, by: Company, spec: CertificateSpec = MASTERS) -> tuple[Path, Path]:
    """A client's certificate with the one that issued it after it, as TLS sends both; and its key."""
    key = new_key("ecdsa-p256")
    crt, own = folder / "client.crt", folder / "client.key"
    crt.write_bytes(pem(signed(request(spec, key), by), by.certificate))
    own.write_bytes(key)
    return crt, own


def test_openssl_believes_the_api_server_by_the_bundle_and_by_the_root_alone(real: Real, tmp_path: Path) -> None:
    """By the issuing CA alone it does not: that is why pods, HAProxy and kubeconfigs have the bundle."""
    (tmp_path / "root.crt").write_bytes(ROOT.crt)
    for trusted in (real.pki / "ca-bundle.crt", tmp_path / "root.crt"):
        assert real.ask("/readyz", trusted, real.masters) == b"ok"
    with pytest.raises(urllib.error.URLError, match="unable to get issuer certificate"):
        real.ask("/readyz", real.pki / "ca.crt", real.masters)


def test_another_intermediate_of_the_company_opens_nothing(real: Real, tmp_path: Path) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        real.ask("/api/v1/secrets", real.pki / "ca-bundle.crt", shown(tmp_path, OTHER))
    assert caught.value.code == 401
    # Nor does a certificate that etcd's own CA signed.
    with pytest.raises(urllib.error.HTTPError) as caught:
        real.ask("/api/v1/secrets", real.pki / "ca-bundle.crt", shown(tmp_path, MINE["etcd"]))
    assert caught.value.code == 401
    assert json.loads(real.ask("/api/v1/secrets", real.pki / "ca-bundle.crt", shown(tmp_path, MINE["kubernetes"])))


def etcdctl(real: Real, crt: Path, key: Path) -> subprocess.CompletedProcess[str]:
    assert ETCD is not None
    ca = real.pki.parents[1] / "etcd/pki/ca.crt"
    argv = [ETCD["etcdctl"], f"--endpoints={real.etcd}", f"--cacert={ca}", f"--cert={crt}", f"--key={key}",
            "--command-timeout=3s", "get", "/registry", "--prefix", "--keys-only", "--limit=1"]  # fmt: skip
    return subprocess.run(argv, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("by", [OTHER, MINE["kubernetes"]], ids=["of the company", "of the cluster"])
def test_no_other_certificate_reads_etcd(real: Real, tmp_path: Path, by: Company) -> None:
    refused = etcdctl(real, *shown(tmp_path, by))
    assert refused.returncode != 0 and refused.stdout == ""


def test_etcds_own_clients_do(real: Real) -> None:
    own = real.pki.parents[1] / "etcd/pki"
    assert etcdctl(real, own / "healthcheck-client.crt", own / "healthcheck-client.key").stdout.startswith("/registry")


@contextmanager
def manager(real: Real, folder: Path, *more: str) -> Iterator[Path]:
    """A real controller manager; its log."""
    assert KUBERNETES is not None
    crt, key = (base64.b64encode(path.read_bytes()).decode() for path in real.masters)
    trusted = base64.b64encode((real.pki / "ca-bundle.crt").read_bytes()).decode()
    config = {
        "apiVersion": "v1", "kind": "Config", "current-context": "real",
        "contexts": [{"name": "real", "context": {"cluster": "real", "user": "masters"}}],
        "clusters": [{"name": "real", "cluster": {"server": real.api, "certificate-authority-data": trusted}}],
        "users": [{"name": "masters", "user": {"client-certificate-data": crt, "client-key-data": key}}],
    }  # fmt: skip
    (folder / "kubeconfig").write_text(json.dumps(config))
    flags = [
        f"--kubeconfig={folder}/kubeconfig", f"--root-ca-file={real.pki}/ca-bundle.crt", "--leader-elect=false",
        "--bind-address=127.0.0.1", f"--secure-port={free_port()}",
        "--controllers=root-ca-certificate-publisher-controller,certificatesigningrequest-signing-controller",
    ]  # fmt: skip
    with running(KUBERNETES["kube-controller-manager"], folder / "manager.log", *flags, *more):
        yield folder / "manager.log"


def until(found: Callable[[], str | None], log: Path) -> str:
    deadline = time.monotonic() + LIMIT
    while (said := found()) is None:
        assert time.monotonic() < deadline, log.read_text()[-2000:]
        time.sleep(0.2)
    return said


def test_pods_get_the_bundle(real: Real, tmp_path: Path) -> None:
    """Also of a controller manager that has no CA's key."""
    with manager(real, tmp_path) as log:
        assert until(lambda: _published(real), log) == (ISSUING + ROOT.crt).decode()
    assert "Skipping CSR signer controller because no csr cert/key was specified" in log.read_text()


def test_what_the_controller_manager_signs_is_believed(real: Real, tmp_path: Path) -> None:
    """A kubelet's renewal goes this way: signed by the intermediate, and taken by who trusts that alone."""
    kubectl, key = _kubectl(real, tmp_path), new_key("ecdsa-p256")
    asked = base64.b64encode(request(CertificateSpec("eve", usages=frozenset({"client"})), key)).decode()
    wish = {
        "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": "eve"},
        "spec": {"request": asked, "signerName": "kubernetes.io/kube-apiserver-client", "usages": ["client auth"]},
    }  # fmt: skip
    subprocess.run([*kubectl, "create", "-f", "-"], input=json.dumps(wish), text=True, check=True, capture_output=True)
    subprocess.run([*kubectl, "certificate", "approve", "eve"], check=True, capture_output=True)

    def signed_one() -> str | None:
        argv = [*kubectl, "get", "csr", "eve", "-o", "jsonpath={.status.certificate}"]
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout or None

    pair = [
        f"--cluster-signing-{kind}-file={real.pki}/ca-signing.{end}" for kind, end in (("cert", "crt"), ("key", "key"))
    ]
    with manager(real, tmp_path, *pair) as log:
        (tmp_path / "eve.crt").write_bytes(base64.b64decode(until(signed_one, log)))
    (tmp_path / "eve.key").write_bytes(key)
    with pytest.raises(urllib.error.HTTPError) as caught:
        real.ask("/api/v1/secrets", real.pki / "ca-bundle.crt", (tmp_path / "eve.crt", tmp_path / "eve.key"))
    assert caught.value.code == 403
    assert b'User \\"eve\\" cannot list' in caught.value.read()


ISSUING = MINE["kubernetes"].crt


def _published(real: Real) -> str | None:
    path = "/api/v1/namespaces/default/configmaps/kube-root-ca.crt"
    try:
        found: Mapping[str, dict[str, str]] = json.loads(real.ask(path, real.pki / "ca-bundle.crt", real.masters))
    except urllib.error.HTTPError:
        return None
    return found["data"]["ca.crt"]


def test_every_proof_of_the_chapter_holds(real: Real) -> None:
    """The very commands that hardway asks on machines, typed to the real openssl."""
    made = real.made
    model = Model(made.cluster, made.state(), made.resolver().versions)
    proofs = declare(model).of("certs").proofs
    assert len(proofs) > 10
    for _, proof in proofs:
        query = proof.query.replace("/etc/", f"{made.machines[proof.machine].root}/etc/")
        answer = subprocess.run(["sh", "-c", query], capture_output=True, text=True, check=False)
        assert proof.holds(answer.returncode, answer.stdout), f"{proof.name}: {query}: {answer.stdout}{answer.stderr}"


@pytest.mark.skipif(HAPROXY is None, reason="needs haproxy")
@pytest.mark.parametrize(("trusted", "state"), [("ca-bundle.crt", "UP"), ("ca.crt", "DOWN")])
def test_haproxy_takes_the_api_server_by_the_bundle(real: Real, tmp_path: Path, trusted: str, state: str) -> None:
    assert HAPROXY is not None
    certificate, key = real.masters
    (tmp_path / "client.pem").write_bytes(certificate.read_bytes() + key.read_bytes())
    (tmp_path / "haproxy.cfg").write_text(
        f"global\n  stats socket {tmp_path}/admin.sock level admin\n"
        "defaults\n  mode tcp\n  timeout connect 1s\n  timeout client 5s\n  timeout server 5s\n"
        f"frontend f\n  bind 127.0.0.1:{free_port()}\n  default_backend b\n"
        "backend b\n  option httpchk\n  http-check send meth GET uri /readyz ver HTTP/1.1 hdr Host kubernetes\n"
        f"  server s {real.api.removeprefix('https://')} check check-ssl check-alpn http/1.1 inter 200ms fall 1 rise 1"
        f" verify required ca-file {real.pki}/{trusted} crt {tmp_path}/client.pem verifyhost kubernetes\n"
    )
    with running(Path(HAPROXY), tmp_path / "haproxy.log", "-db", "-f", f"{tmp_path}/haproxy.cfg"):
        deadline = time.monotonic() + LIMIT
        while True:
            checked = _haproxy(tmp_path / "admin.sock")
            if checked in (state, f"{state} 1/1") and checked:
                break
            assert time.monotonic() < deadline, checked
            time.sleep(0.2)


def _haproxy(admin: Path) -> str:
    """The state of the server, once it was checked."""
    with socket.socket(socket.AF_UNIX) as talk:
        try:
            talk.connect(str(admin))
        except OSError:
            return ""
        talk.sendall(b"show stat\n")
        lines = talk.makefile().read().splitlines()
    head = lines[0].removeprefix("# ").split(",")
    for line in lines[1:]:
        row = dict(zip(head, line.split(","), strict=False))
        if row.get("svname") == "s" and row.get("check_status", "").lstrip("* ") not in ("", "INI"):
            return row["status"]
    return ""


def test_taints_are_put_on_and_taken_away_and_kubernetes_own_stay(real: Real, tmp_path: Path) -> None:
    """The very scripts, typed to a real kubectl and API server."""
    assert KUBERNETES is not None
    kubectl = _kubectl(real, tmp_path)
    node = '{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "w1"}, "spec": {"taints": [%s]}}'
    own = '{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}'
    subprocess.run([*kubectl, "apply", "-f", "-"], input=node % own, text=True, check=True, capture_output=True)

    def run(script: str) -> str:
        place = " ".join(map(str, kubectl))
        script = script.replace(f"[ -x {taints.KUBECTL} ] && [ -s {taints.KUBECONFIG} ]", "true")
        script = script.replace(f"{taints.KUBECTL} --kubeconfig={taints.KUBECONFIG}", place)
        return subprocess.run(["sh", "-euc", script], text=True, check=True, capture_output=True).stdout

    def seen(wanted: NodeTaints) -> Observed:
        return NodeTaints.parse([wanted], run(NodeTaints.probe([wanted])))[wanted.key]

    ready = "node.kubernetes.io/not-ready=:NoSchedule"
    first = NodeTaints((("w1", ("dedicated=db:NoSchedule", "spot=:PreferNoSchedule")), ("w2", ("a=b:NoExecute",))))
    second = NodeTaints((("w1", ("dedicated=gpu:NoSchedule",)),))
    noted: dict[str, Any] = {}
    for wanted, found in ((first, first.nodes[0][1]), (second, second.nodes[0][1])):
        context = Context("head", noted=noted)
        difference = wanted.diff(seen(wanted), context)
        assert difference is not None
        noted = {wanted.key: wanted.entry(seen(wanted), context)}
        for _ in range(2):
            run(wanted.steps(difference, context))
        assert seen(wanted) == Present({"w1": frozenset({ready, *found})})
        assert wanted.diff(seen(wanted), Context("head", noted=noted)) is None
    run(NodeTaints.undo("nodes", noted[second.key]))
    assert seen(second) == Present({"w1": frozenset({ready})})


def _kubectl(real: Real, folder: Path) -> list[str | Path]:
    """Whom the API server believes, without the files of a controller."""
    assert KUBERNETES is not None
    certificate, key = real.masters
    return [
        KUBERNETES["kubectl"], f"--server={real.api}", f"--certificate-authority={real.pki}/ca-bundle.crt",
        f"--client-certificate={certificate}", f"--client-key={key}", f"--cache-dir={folder}/cache",
    ]  # fmt: skip


def dns(*names: str) -> list[x509.GeneralName]:
    return [x509.DNSName(name) for name in names]


def networks(*ranges: str) -> list[x509.GeneralName]:
    return [x509.IPAddress(ip_network(one)) for one in ranges]


LIMITS = {
    "a domain": x509.NameConstraints(dns("corp.example"), None),
    "below a domain": x509.NameConstraints(dns(".corp.example"), None),
    "two domains": x509.NameConstraints(dns("corp.example", "svc"), None),
    "all but a domain": x509.NameConstraints(None, dns("corp.example")),
    "a range": x509.NameConstraints(networks("10.0.0.0/8"), None),
    "a domain and a range": x509.NameConstraints([*dns("corp.example"), *networks("10.0.0.0/8")], None),
    "all but a range": x509.NameConstraints(None, networks("10.32.0.0/16")),
    "an IPv6 range": x509.NameConstraints(networks("2001:db8::/32"), None),
}
NAMES = ("corp.example", "api.corp.example", "xcorp.example", "kubernetes.default.svc", "*.corp.example")
ADDRESSES = ("10.32.0.1", "127.0.0.1", "2001:db8::7")


@pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS)
def test_openssl_refuses_the_names_that_are_said_to_be_forbidden(limits: x509.NameConstraints, tmp_path: Path) -> None:
    ca = company("Limited", ROOT, more=limits)
    (tmp_path / "root.crt").write_bytes(ROOT.crt)
    (tmp_path / "ca.crt").write_bytes(ca.crt)
    key = new_key("ecdsa-p256")
    for one in (*NAMES, *ADDRESSES):
        is_name = one in NAMES
        names, addresses = ((one,), ()) if is_name else ((), (one,))
        spec = CertificateSpec("x", dns_names=names, addresses=addresses, usages=frozenset({"server"}))
        (tmp_path / "leaf.crt").write_bytes(pem(signed(request(spec, key), ca)))
        argv = ["openssl", "verify", "-CAfile", "root.crt", "-untrusted", "ca.crt", "leaf.crt"]
        believed = subprocess.run(argv, cwd=tmp_path, capture_output=True, check=False).returncode == 0
        assert (authority.forbidden(ca.crt, names, addresses) == []) == believed, one


CHAINS = {
    "two": (ISSUING + ROOT.crt, MINE["kubernetes"]),
    "no CA": ((LEAF := company("Leaf", ROOT, is_ca=False, signs=False)).crt + ROOT.crt, LEAF),
    "may not sign": ((QUIET := company("Quiet", ROOT, signs=False)).crt + ROOT.crt, QUIET),
    "a short root": (
        (BELOW := company("Below", NARROW := company("Narrow", pathlen=0))).crt + NARROW.crt,
        BELOW,
    ),
    "long enough": ((DEEP := company("Deep", WIDE := company("Wide", pathlen=1))).crt + WIDE.crt, DEEP),
    "three, short": (
        (THIRD := company("Third", SECOND := company("Second", ROOT, pathlen=0))).crt + SECOND.crt + ROOT.crt,
        THIRD,
    ),
    "expired": ((SOLD := company("Sold", ROOT, days=-0.5, begins=-3)).crt + ROOT.crt, SOLD),
    "for servers only": (
        (ONLY := company("Only", ROOT, usages=(ExtendedKeyUsageOID.SERVER_AUTH,))).crt + ROOT.crt,
        ONLY,
    ),
}


@pytest.mark.parametrize(("text", "ca"), CHAINS.values(), ids=CHAINS)
def test_openssl_believes_what_is_signed_by_a_ca_with_which_nothing_is_wrong(
    text: bytes, ca: Company, tmp_path: Path
) -> None:
    """And by no other."""
    certificates = authority.certificates(text)
    (tmp_path / "root.crt").write_bytes(pem(certificates[-1]))
    (tmp_path / "above.crt").write_bytes(pem(*certificates[:-1]))
    spec = CertificateSpec("x", ("o",), ("x",), usages=frozenset({"client", "server"}))
    (tmp_path / "leaf.crt").write_bytes(pem(signed(request(spec, new_key("ecdsa-p256")), ca)))
    believed = True
    for purpose in ("sslclient", "sslserver"):
        argv = ["openssl", "verify", "-purpose", purpose, "-CAfile", "root.crt", "-untrusted", "above.crt", "leaf.crt"]
        believed &= subprocess.run(argv, cwd=tmp_path, capture_output=True, check=False).returncode == 0
    assert (authority.problems(text, None, datetime.now(UTC)) == []) == believed
