"""`hardway kubectl` takes the direct way to the API, else a tunnel through the first controller that answers."""

import os
import socket
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from in_process import ran

PAIR = """\
cluster: real
endpoint: 192.0.2.9
machines:
  c0: {role: controller, address: 192.0.2.10, ssh: {host: 127.0.0.2, port: 1}}
  c1: {role: controller, address: 192.0.2.11, ssh: {host: 127.0.0.3, port: 1}}
  c2: {role: controller, address: 192.0.2.12, ssh: {host: 127.0.0.4, port: 1}}
  w0: {role: worker, address: 192.0.2.20, ssh: {host: 127.0.0.5, port: 1}}
"""
SSH = """\
#!{python}
import os, socket, ssl, sys
machine, forward = sys.argv[-1], sys.argv[sys.argv.index("-L") + 1]
open("ssh.log", "a").write(f"{{machine}} {{forward.split(':', 2)[2]}}\\n")
if machine in os.environ["OFF"].split():
    sys.exit(255)
listener = socket.create_server(("127.0.0.1", int(forward.split(":")[1])))
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("tls.pem")
while True:
    line, _ = listener.accept()
    if os.environ["API"] == "on":
        try:
            context.wrap_socket(line, server_side=True)
        except OSError:
            pass
    line.close()
"""
KUBECTL = """\
#!{python}
import sys
open("kubectl.log", "w").write(" ".join(sys.argv[1:]))
sys.exit(7)
"""
Kubectl = Callable[..., tuple[int, str]]


def self_signed() -> bytes:
    """A key and a certificate of its own, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "api")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(hours=1))
    form = serialization.PrivateFormat.PKCS8
    private = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    return private + builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@pytest.fixture
def kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Kubectl:
    """Runs `hardway kubectl`: `off` do not answer by ssh, behind the others there is an `api` or none."""
    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    workspace = tmp_path / ".hardway" / "real"
    workspace.mkdir(parents=True)
    for path in (workspace / "ssh_config", workspace / "kubeconfig"):
        path.write_text("")
    (tmp_path / "tls.pem").write_bytes(self_signed())
    (tmp_path / "real.yaml").write_text(PAIR)
    for program, text in (("ssh", SSH), ("kubectl", KUBECTL)):
        (tmp_path / program).write_text(text.format(python=sys.executable))
        (tmp_path / program).chmod(0o755)
    dial = socket.create_connection

    def loopback_only(address: tuple[str, int], *args: Any, **kwargs: Any) -> socket.socket:
        if not address[0].startswith("127."):
            raise ConnectionRefusedError
        return dial(address, *args, **kwargs)

    monkeypatch.setattr("socket.create_connection", loopback_only)

    def run(*words: str, off: str = "", api: bool = True) -> tuple[int, str]:
        monkeypatch.setenv("OFF", off)
        monkeypatch.setenv("API", "on" if api else "off")
        code, _, err = ran(monkeypatch, capsys, "kubectl", "-i", "real.yaml", *words)
        return code, err

    return run


def tunnels(folder: Path) -> list[str]:
    return (folder / "ssh.log").read_text().splitlines()


@pytest.mark.parametrize(("off", "through"), [("", ["c0"]), ("c0", ["c0", "c1"]), ("c0 c1", ["c0", "c1", "c2"])])
def test_the_first_controller_that_answers_is_the_way(
    kubectl: Kubectl, tmp_path: Path, off: str, through: list[str]
) -> None:
    code, err = kubectl("get", "nodes", "--", "-i", off=off)
    assert (code, err) == (7, "")
    assert tunnels(tmp_path) == [f"{name} 192.0.2.9:6443" for name in through]
    kubeconfig, server, *words = (tmp_path / "kubectl.log").read_text().split()
    assert kubeconfig.startswith("--kubeconfig=")
    assert server.startswith("--server=https://127.0.0.1:")
    assert words == ["get", "nodes", "--", "-i"]


def test_no_controller_that_answers_is_an_error(kubectl: Kubectl, tmp_path: Path) -> None:
    code, err = kubectl("get", "nodes", off="c0 c1 c2")
    assert code not in (0, 7)
    assert "SSH to c0, c1, c2" in err
    assert not (tmp_path / "kubectl.log").exists()


@pytest.mark.parametrize("words", [("kubectl", "get", "nodes"), ("ssh", "c0"), ("logs", "c0", "etcd")])
def test_a_computer_without_ssh_is_told_so(
    kubectl: Kubectl,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
) -> None:
    (tmp_path / "ssh").unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    code, _, err = ran(monkeypatch, capsys, words[0], "-i", "real.yaml", *words[1:])
    assert code == 1
    assert "there is no ssh client on this computer" in err


def test_a_tunnel_without_an_api_behind_it_is_an_error(kubectl: Kubectl, tmp_path: Path) -> None:
    code, err = kubectl("get", "nodes", api=False)
    assert code not in (0, 7)
    assert "192.0.2.9:6443 does not answer, neither here nor by way of c0" in err
    assert tunnels(tmp_path) == ["c0 192.0.2.9:6443"]
    assert not (tmp_path / "kubectl.log").exists()


def test_where_the_api_answers_there_is_no_tunnel(
    kubectl: Kubectl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    became: list[list[str]] = []

    def replaced(program: str, words: list[str]) -> None:
        became.append(words)
        raise SystemExit(7)

    monkeypatch.setattr("os.execv", replaced)
    monkeypatch.setattr("socket.create_connection", lambda *_args: socket.socket())
    assert kubectl("get", "nodes") == (7, "")
    kubeconfig = tmp_path / ".hardway" / "real" / "kubeconfig"
    assert became == [[str(tmp_path / "kubectl"), f"--kubeconfig={kubeconfig}", "get", "nodes"]]
    assert not (tmp_path / "ssh.log").exists()
