"""A real kube-apiserver with an etcd, on loopback: what clients meet with, without a cluster."""

import base64
import json
import os
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from hardway.declare.pki import CertificateSpec, issue, issue_ca, new_key, public_key_pem
from hardway.declare.render import merge_flags
from hardway.probe.setup.commands import exec_start

LIMIT = 60
_SERVER = CertificateSpec("kube-apiserver", addresses=("127.0.0.1",), usages=frozenset({"server"}))
_OPERATOR = CertificateSpec("operator", organizations=("system:masters",), usages=frozenset({"client"}))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


class RealApi:
    """The API server can be killed and started again; etcd goes on."""

    def __init__(self, programs: Mapping[str, Path], folder: Path, etcd: str) -> None:
        self._program, self._folder, self.etcd = programs["kube-apiserver"], folder, etcd
        self.settings: Mapping[str, object] = {}
        """What is laid over its flags at its next start."""
        self._url = f"https://127.0.0.1:{free_port()}"
        self.kubeconfig = folder / "kubeconfig"
        self._make_files()
        self._tls = ssl.create_default_context(cafile=str(folder / "ca.crt"))
        self._tls.load_cert_chain(folder / "operator.crt", folder / "operator.key")
        self.start()

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return self._url.removeprefix("https://")

    def start(self) -> None:
        """Starts it, and waits until it is ready."""
        at = self._folder
        flags = [
            f"--etcd-servers={self.etcd}", "--bind-address=127.0.0.1", f"--secure-port={self._url.rpartition(':')[2]}",
            # Not looked for among this computer's interfaces, and told to nobody.
            "--advertise-address=192.0.2.1", "--endpoint-reconciler-type=none",
            f"--tls-cert-file={at}/server.crt", f"--tls-private-key-file={at}/server.key",
            f"--client-ca-file={at}/ca.crt", "--authorization-mode=RBAC", "--service-cluster-ip-range=192.0.2.0/24",
            "--service-account-issuer=https://kubernetes.default.svc", f"--service-account-key-file={at}/sa.pub",
            f"--service-account-signing-key-file={at}/sa.key",
        ]  # fmt: skip
        unit = "[Service]\nExecStart=" + " \\\n  ".join([str(self._program), *flags]) + "\n"
        command = exec_start(merge_flags(unit, "kube-apiserver", self.settings))
        with (at / "kube-apiserver.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env={"HOME": str(at)})
        deadline = time.monotonic() + LIMIT
        while not self._ready():
            assert self.process.poll() is None, (at / "kube-apiserver.log").read_text()[-2000:]
            assert time.monotonic() < deadline, "kube-apiserver is not ready"
            time.sleep(0.2)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def status_with(self, token: str) -> int:
        """What it answers to somebody who shows nothing but a token: 401 where it does not believe it."""
        request = urllib.request.Request(f"{self._url}/version", headers={"Authorization": f"Bearer {token}"})
        plain = ssl.create_default_context(cafile=str(self._folder / "ca.crt"))
        try:
            with urllib.request.urlopen(request, timeout=10, context=plain) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as refused:
            return refused.code

    def ask(self, path: str, method: str = "GET", body: object = None) -> bytes:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self._url + path, data, {"Content-Type": "application/json"} if data else {}, method=method
        )
        with urllib.request.urlopen(request, timeout=10, context=self._tls) as answer:
            return bytes(answer.read())

    def _ready(self) -> bool:
        try:
            return self.ask("/readyz") == b"ok"
        except (OSError, urllib.error.URLError):
            return False

    def _make_files(self) -> None:
        now, ca_key = datetime.now(UTC), new_key("ecdsa-p256")
        ca = issue_ca(CertificateSpec("ca", is_ca=True), ca_key, now)
        self._write("ca.crt", ca)
        for name, spec in (("server", _SERVER), ("operator", _OPERATOR)):
            key = new_key("ecdsa-p256")
            self._write(f"{name}.key", key)
            self._write(f"{name}.crt", issue(spec, key, ca, ca_key, now))
        signing = new_key("ecdsa-p256")
        self._write("sa.key", signing)
        self._write("sa.pub", public_key_pem(signing))
        cluster = {"server": self._url, "certificate-authority-data": self._base64("ca.crt")}
        user = {
            "client-certificate-data": self._base64("operator.crt"),
            "client-key-data": self._base64("operator.key"),
        }
        config = {  # JSON is YAML, too
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "real",
            "contexts": [{"name": "real", "context": {"cluster": "real", "user": "operator"}}],
            "clusters": [{"name": "real", "cluster": cluster}],
            "users": [{"name": "operator", "user": user}],
        }
        self._write("kubeconfig", json.dumps(config).encode())

    def _write(self, name: str, content: bytes) -> None:
        path = self._folder / name
        path.touch(0o600)
        path.write_bytes(content)

    def _base64(self, name: str) -> str:
        return base64.b64encode((self._folder / name).read_bytes()).decode()


@contextmanager
def real_api(programs: Mapping[str, Path], folder: Path) -> Iterator[RealApi]:
    """`programs`: etcd and kube-apiserver. Both end with the block."""
    client, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    flags = [
        f"--data-dir={folder}/etcd", f"--listen-client-urls={client}", f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=default={peer}",
    ]  # fmt: skip
    with (
        (folder / "etcd.log").open("ab") as log,
        subprocess.Popen([programs["etcd"], *flags], stdout=log, stderr=log, env={"PATH": os.environ["PATH"]}) as etcd,
    ):
        try:
            api = RealApi(programs, folder, client)
            try:
                yield api
            finally:
                api.kill()
        finally:
            etcd.kill()
