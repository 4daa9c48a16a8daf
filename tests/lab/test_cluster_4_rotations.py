"""What the cluster trusts is exchanged under clients that count, and what was trusted before is refused at the end."""

import base64
import json
import random
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from driving import Site
from load import Load, assert_served, counting

pytestmark = pytest.mark.lab

CONTROLLERS = ("controller-0", "controller-1", "controller-2")
PKI = "/etc/kubernetes/pki"
LIMIT = 1500
TOKEN_SECRET = """\
apiVersion: v1
kind: Secret
metadata: {name: long-lived, namespace: default, annotations: {kubernetes.io/service-account.name: default}}
type: kubernetes.io/service-account-token
"""


def pods(site: Site) -> dict[str, int]:
    """How often the containers of each pod were restarted, by the pod's UID; those of the load are not among them."""
    found = json.loads(site.kubectl("get", "pods", "-n", "kube-system", "-o", "json"))
    return {
        one["metadata"]["uid"]: sum(status["restartCount"] for status in one["status"]["containerStatuses"])
        for one in found["items"]
    }


@contextmanager
def under_load(site: Site, folder: Path) -> Iterator[Load]:
    """Clients count meanwhile; afterwards nothing has failed, pods are the same, and nothing is left to do."""
    before = pods(site)
    with counting(site.workspace / "kubeconfig", folder) as load:
        began = time.monotonic()
        yield load
        print(f"{time.monotonic() - began:.0f} s: ", end="")
    print(load)
    assert pods(site) == before
    assert_served(load)
    site.unchanged("init")


def answers(site: Site, token: str) -> dict[str, str]:
    """What each API server says to a token."""
    ask = "/usr/local/bin/kubectl --kubeconfig=/dev/null --insecure-skip-tls-verify --token={} get --raw=/api 2>&1"
    asked = f"{ask.format(token)} --server=https://$(hostname):6443; true"
    return site.everywhere(asked, CONTROLLERS)


def long_lived(site: Site) -> str:
    path = "jsonpath={.data.token}"
    for _ in range(60):
        if token := site.kubectl("get", "secret", "long-lived", "-n", "default", "-o", path, code=None).strip():
            return site.on("controller-0", f"echo {token} | base64 -d")
        time.sleep(0.5)
    raise AssertionError("the Secret has no token after 30 s")


@pytest.mark.in_turn("rotations")
def test_the_key_of_service_accounts(seven: Site, tmp_path: Path) -> None:
    manifest = tmp_path / "secret.yaml"
    manifest.write_text(TOKEN_SECRET)
    seven.kubectl("apply", "-f", str(manifest))
    try:
        tokens = [
            seven.kubectl("create", "token", "default", "-n", "kube-system", "--duration=2h").strip(),
            long_lived(seven),
        ]
        for token in tokens:
            assert all('"versions"' in said for said in answers(seven, token).values())
        with under_load(seven, tmp_path):
            # Anywhere in its four stages: the same command goes on.
            killed = seven.start("certs", "rotate-sa", "--yes", stdout=subprocess.DEVNULL)
            time.sleep(random.uniform(5, 150))
            killed.kill()
            killed.wait()
            seven.hardway("certs", "rotate-sa", "--yes", "-o", "json", timeout=LIMIT)
        for token in tokens:
            assert all("Unauthorized" in said for said in answers(seven, token).values())
        assert all('"versions"' in said for said in answers(seven, long_lived(seven)).values())
    finally:
        seven.kubectl("delete", "secret", "long-lived", "-n", "default")


@pytest.mark.in_turn("rotations")
def test_the_encryption_key_and_what_it_encrypts(seven: Site, tmp_path: Path) -> None:
    """By another provider, and ConfigMaps, too."""
    inventory = seven.inventory.read_text()
    secrets = [f"kept-{number}" for number in range(20)]
    for name in secrets:
        seven.kubectl("create", "secret", "generic", name, "--from-literal=word=kept")
    try:
        before = seven.processes()
        [old] = _encryption_keys(seven)
        seven.inventory.write_text(f"{inventory}\nencryption: {{provider: aesgcm, resources: [secrets, configmaps]}}\n")
        assert "hardway encryption rotate" in seven.hardway("plan", code=1).out
        with under_load(seven, tmp_path):
            seven.hardway("encryption", "rotate", "--yes", "-o", "json", timeout=LIMIT)
        [new] = _encryption_keys(seven)
        assert new != old
        assert seven.processes() == before
        told = json.loads(seven.hardway("encryption", "status", "-o", "json").out)
        [key] = told["keys"]
        assert (key["provider"], key["name"], told["unencrypted"]) == ("aesgcm", new, {})
        for what in ("secrets", "configmaps"):
            values = f"{_etcdctl()} get /registry/{what}/ --prefix --print-value-only"
            found = seven.on("controller-0", f"{values} | grep -a -o '^k8s:enc:[a-z]*:v1:[^:]*:' | sort -u")
            assert found.split() == [f"k8s:enc:aesgcm:v1:{new}:"]
        assert key["objects"]["secrets"] >= len(secrets)
        read = seven.kubectl("get", "secret", "kept-7", "-o", "jsonpath={.data.word}")
        assert base64.b64decode(read) == b"kept"
        assert "root-ca" in seven.kubectl("get", "configmaps", "-n", "kube-system")
    finally:
        seven.kubectl("delete", "secret", *secrets)


def _encryption_keys(site: Site) -> list[str]:
    config = site.on("controller-1", "cat /etc/kubernetes/encryption-config.yaml")
    return [line.split()[-1] for line in config.splitlines() if "- name: " in line]


def _etcdctl(pair: str = "healthcheck-client", folder: str = "/etc/etcd/pki") -> str:
    files = f"--cacert=/etc/etcd/pki/ca.crt --cert={folder}/{pair}.crt --key={folder}/{pair}.key"
    return f"/usr/local/bin/etcdctl {files} --endpoints=https://127.0.0.1:2379 --command-timeout=5s"


@pytest.mark.in_turn("rotations")
def test_every_ca(seven: Site, tmp_path: Path) -> None:
    kept = tmp_path / "old.conf"
    kept.write_text((seven.workspace / "kubeconfig").read_text())
    everywhere = "for f in ca.crt etcd/ca.crt front-proxy-ca.crt; do sed -n 3p /etc/kubernetes/pki/$f; done"
    old_lines = seven.on("controller-0", everywhere).split()
    seven.everywhere("mkdir -p /root/old && cp /etc/etcd/pki/healthcheck-client.* /root/old/", CONTROLLERS)
    try:
        with under_load(seven, tmp_path):
            seven.hardway("certs", "rotate-ca", "all", "--wait", "15s", "--yes", "-o", "json", timeout=LIMIT)
        for said in seven.everywhere(
            f"{_etcdctl(folder='/root/old')} endpoint health 2>&1; true", CONTROLLERS
        ).values():
            assert "unhealthy" in said or "certificate" in said, said
        for name in CONTROLLERS:
            server = f"--server=https://{seven.machines[name]}:6443"
            program, _ = seven.own_kubectl()
            words = ["--insecure-skip-tls-verify", server, "get", "--raw=/api"]
            assert "Unauthorized" in _said(program[0], kept, words)
        for line in old_lines:
            found = f"grep -rlsF -- '{line}' /etc /var/lib/kubelet /var/lib/hardway /var/lib/kube-proxy; true"
            assert set(seven.everywhere(found).values()) == {""}, line
            for what in ("configmaps", "secrets"):
                assert line not in seven.kubectl("get", what, "-A", "-o", "json")
    finally:
        seven.everywhere("rm -rf /root/old", CONTROLLERS)


def _said(program: str, kubeconfig: Path, words: list[str]) -> str:
    # The old CA in it cannot be given together with no verification.
    lines = [line for line in kubeconfig.read_text().splitlines() if "certificate-authority-data" not in line]
    kubeconfig.write_text("\n".join(lines) + "\n")
    done = subprocess.run([program, f"--kubeconfig={kubeconfig}", *words], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr
