"""What is read of command lines, files and machines, and that no secret is read with it."""

import base64
import json
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from hardway.declare import pki
from hardway.declare.kube.kubeconfig import kubeconfig
from hardway.lint.declared import kubelet_users
from hardway.probe.script import Answer, Answers, answers, script
from hardway.probe.setup.commands import environment, exec_start, flags
from hardway.probe.setup.material import Command
from hardway.probe.setup.model import MachineSetup, Provider
from hardway.probe.setup.redaction import redacted
from hardway.probe.setup.seen import Glimpse, look, parse, read
from hardway.values import fill, sha256
from hardway.verify.by_hand import interpreted, read_folder

NOW = datetime(2026, 11, 21, tzinfo=UTC)
KEY, CA_KEY = pki.new_key("ecdsa-p256"), pki.new_key("ecdsa-p256")
CA = pki.issue_ca(pki.CertificateSpec("kubernetes-ca", is_ca=True), CA_KEY, NOW)
CERTIFICATE = pki.issue(pki.CertificateSpec("system:node:node-0", ("system:nodes",)), KEY, CA, CA_KEY, NOW)
IDENTITY = pki.public_key_digest(pki.public_key_pem(KEY))
SECRET = bytes(range(32))
VALUES = {"pki/ca.crt": CA, "pki/node.crt": CERTIFICATE, "pki/node.key": KEY}
CONFIG = (fill(kubeconfig("small", "https://server:6443", "pki/ca.crt", "node", "node"), VALUES) or b"").decode()
ENCRYPTION = f"""\
kind: EncryptionConfiguration
resources:
  - providers:
      - aescbc:
          keys:
            - name: key1
              secret: {base64.b64encode(SECRET).decode()}
      - identity: {{}}
"""
FLOW = f"""\
kind: EncryptionConfiguration
resources: [{{providers: [{{aescbc: {{keys: [{{name: key1, secret: "{base64.b64encode(SECRET).decode()}"}}]}}}}]}}]
"""
CANARIES = (base64.b64encode(SECRET).decode(), *KEY.decode().splitlines()[1:-1], base64.b64encode(KEY).decode()[40:90])


def test_a_unit_is_read_as_systemd_reads_it() -> None:
    unit = """\
[Service]
Environment="ETCD_UNSUPPORTED_ARCH=arm64" ETCD_NAME=a
EnvironmentFile=-/run/etcd.env
EnvironmentFile=/not/there
ExecStart=
ExecStart=-/usr/local/bin/etcd --data-dir /var/lib/etcd \\
  "--initial-cluster=a=https://10.0.0.1:2380" \\
  --log_level=100%%
Restart=on-failure
"""
    argv = exec_start(unit)
    assert argv[0] == "/usr/local/bin/etcd"
    assert flags(argv[1:]) == {
        "data-dir": "/var/lib/etcd",
        "initial-cluster": "a=https://10.0.0.1:2380",
        "log-level": "100%",
    }
    files = {"/run/etcd.env": "# its own\nETCD_NAME=b\nETCD_DATA_DIR='/var/lib/x'\n"}
    assert environment(unit, files) == {
        "ETCD_UNSUPPORTED_ARCH": "arm64",
        "ETCD_NAME": "b",
        "ETCD_DATA_DIR": "/var/lib/x",
    }
    assert environment(unit, {}) == {"ETCD_UNSUPPORTED_ARCH": "arm64", "ETCD_NAME": "a"}


@pytest.mark.parametrize("unit", ["", "[Service]\nType=oneshot\n", "[Service]\nExecStart=\n"])
def test_a_unit_that_starts_nothing_has_no_command(unit: str) -> None:
    assert exec_start(unit) == []


def test_a_flag_that_adds_up_has_all_its_values() -> None:
    assert flags(["--service-account-issuer=a", "--service-account-issuer=b", "--feature-gates=A=true",
                  "--feature-gates=B=true", "--event-ttl=1h", "--event-ttl=2h"]) == {
        "service-account-issuer": "a,b", "feature-gates": "A=true,B=true", "event-ttl": "2h"
    }  # fmt: skip


def test_a_flag_without_a_value_is_true() -> None:
    assert flags(["--a", "--b=1", "-Ws", "-f", "/x", "--", "--c"]) == {
        "a": "true", "b": "1", "Ws": "true", "f": "/x", "c": "true"
    }  # fmt: skip


def by_script(paths: list[Path], before: str = "") -> str:
    """What a machine would answer."""
    asked = script([read([str(path) for path in paths])], "NONCE")
    done = subprocess.run(["sh", "-euc", before + asked], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout


def parsed(output: str) -> Glimpse:
    return parse("m", answers(output.encode(), "NONCE"))


def on_a_machine(paths: list[Path]) -> MachineSetup:
    return interpreted(parsed(by_script(paths)).material)


def in_a_folder(paths: list[Path]) -> MachineSetup:
    return interpreted(read_folder(paths[0].parent))


READERS = pytest.mark.parametrize("read", [on_a_machine, in_a_folder])


def written(folder: Path, **texts: str | bytes) -> list[Path]:
    paths = []
    for name, text in texts.items():
        path = folder / name.replace("__", ".").replace("_", "-")
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        paths.append(path)
    return paths


@READERS
def test_a_kubeconfig_is_read_without_its_key(read: Callable[[list[Path]], MachineSetup], tmp_path: Path) -> None:
    [config] = read(written(tmp_path, node__kubeconfig=CONFIG)).loose_kubeconfigs
    assert (config.server, config.key) == ("https://server:6443", IDENTITY)
    assert config.client is not None
    assert config.client.key == IDENTITY
    assert config.client.issued_by(config.authorities[0])


@READERS
@pytest.mark.parametrize("text", [ENCRYPTION, FLOW])
def test_an_encryption_key_is_known_by_its_digest(
    read: Callable[[list[Path]], MachineSetup], text: str, tmp_path: Path
) -> None:
    encryption = read(written(tmp_path, encryption_config__yaml=text)).encryption
    assert encryption is not None
    assert encryption[0] == Provider("aescbc", ((sha256(SECRET), 32),))


def test_no_secret_leaves_a_machine(tmp_path: Path) -> None:
    as_json = json.dumps({"kind": "Config", "users": [{"user": {
        "client-key-data": base64.b64encode(KEY).decode(), "token": CANARIES[0]}}]})  # fmt: skip
    said = by_script(
        written(
            tmp_path, node__kubeconfig=CONFIG, one__yaml=ENCRYPTION, two__yaml=FLOW, both__pem=CERTIFICATE + KEY,
            key__pem=KEY, other__conf=as_json, users__yaml=f"token: {CANARIES[0]}\npassword: '{CANARIES[0]}'\n",
        )
    )  # fmt: skip
    assert [canary for canary in CANARIES if canary in said] == []
    assert said.count(IDENTITY) == 4
    assert "BEGIN CERTIFICATE" in said


def test_no_secret_is_left_in_a_text_of_the_operators() -> None:
    text = redacted(CONFIG + ENCRYPTION + FLOW + KEY.decode() + f"token: {CANARIES[0]}\n")
    assert [canary for canary in CANARIES if canary in text] == []


def test_where_openssl_is_missing_a_key_is_unknown(tmp_path: Path) -> None:
    [path] = written(tmp_path, key__pem=KEY)
    said = by_script([path], "command() { return 1; }\n")
    glimpse = parsed(said)
    assert "PRIVATE" not in said
    assert glimpse.material.unknown == {str(path): "openssl is not installed there: its key was not compared"}


def test_a_public_key_and_a_certificate_stand_for_their_pair(tmp_path: Path) -> None:
    public = read_folder(written(tmp_path, sa__pub=pki.public_key_pem(KEY))[0].parent)
    assert IDENTITY in public.files[str(tmp_path / "sa.pub")]


def said(texts: dict[str, str]) -> Answers:
    return Answers({name: Answer(0, text.encode()) for name, text in texts.items()})


ANSWER = said({
    "host": "node-0\n",
    "routes": "default via 10.0.0.1 dev eth0\n10.200.1.0/24 via 10.0.0.21 dev eth0\n"
    "10.200.0.0/24 dev cni0 proto kernel scope link src 10.200.0.1\n",
    "process kubelet 412": "argv /usr/local/bin/kubelet\nargv --config=/x/kubelet.yaml\n"
    "argv --kubeconfig=/x/kubelet.kubeconfig\nversion 1.36.4\n",
    "unit /etc/systemd/system/kubelet.service": "[Service]\nExecStart=/usr/local/bin/kubelet --config=/old.yaml\n",
    "version /etc/systemd/system/kubelet.service": "1.36.4\n",
    "unit /etc/systemd/system/kube-proxy.service": "[Service]\nExecStart=/usr/local/bin/kube-proxy \\\n"
    "  --config=/x/proxy.yaml\n",
    "version /etc/systemd/system/kube-proxy.service": "1.36.3\n",
})  # fmt: skip


def test_what_runs_goes_before_what_its_unit_says() -> None:
    glimpse = parse("m", ANSWER)
    assert glimpse.material.hostname == "node-0"
    assert glimpse.material.commands == {
        "kubelet": Command(
            ("/usr/local/bin/kubelet", "--config=/x/kubelet.yaml", "--kubeconfig=/x/kubelet.kubeconfig"), "pid 412"
        ),
        "kube-proxy": Command(
            ("/usr/local/bin/kube-proxy", "--config=/x/proxy.yaml"), "/etc/systemd/system/kube-proxy.service"
        ),
    }
    assert glimpse.material.versions == {"kubelet": "1.36.4", "kube-proxy": "1.36.3"}
    assert glimpse.material.routes == {IPv4Network("10.200.1.0/24"): "10.0.0.21"}


def test_what_is_named_is_asked_for_until_nothing_new_is_named() -> None:
    glimpse = parse("m", ANSWER)
    assert glimpse.wanted() == {"/x/kubelet.yaml", "/x/kubelet.kubeconfig", "/x/proxy.yaml"}
    files = {"file /x/kubelet.yaml": "tlsCertFile: /x/kubelet.pem\n", "file /x/proxy.yaml": "clientConnection: {}\n"}
    later = parse("m", said(files), glimpse, glimpse.wanted())
    assert later.wanted() == {"/x/kubelet.pem"}
    last = parse("m", said({"file /x/kubelet.pem": CERTIFICATE.decode()}), later, later.wanted())
    assert last.wanted() == set()
    assert interpreted(last.material).presents["kubelet/server"].common_name == "system:node:node-0"


def test_a_way_of_several_hops_is_none_to_pods() -> None:
    text = "default proto static\n\tnexthop via 10.0.0.1 dev eth0 weight 1\n10.200.1.0/24 via 10.0.0.2 dev eth0\n"
    routes = parse("m", said({"routes": text})).material.routes
    assert routes == {IPv4Network("10.200.1.0/24"): "10.0.0.2"}


def test_the_script_that_looks_around_is_sh() -> None:
    subprocess.run(["sh", "-n"], input=script(look(), "NONCE"), text=True, check=True)
    assert isinstance(parse("m", Answers()), Glimpse)


def test_who_may_ask_kubelets_is_told_by_any_role_that_allows_it() -> None:
    role = {
        "kind": "ClusterRole",
        "metadata": {"name": "mine"},
        "rules": [{"resources": ["nodes/proxy"], "verbs": ["*"]}],
    }
    bound = {"kind": "ClusterRoleBinding", "roleRef": {"name": "mine"}, "subjects": [{"name": "kubernetes"}]}
    assert kubelet_users([role, bound]) == {"kubernetes"}
    assert kubelet_users([bound]) == frozenset()
