"""What a person would type: readable, whole, right, and with no secret in it."""

import re
import subprocess
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from strategies import inventories

from hardway import facts
from hardway.artifacts.catalogue import releases_for
from hardway.declare.declaration import Declaration, declare
from hardway.declare.phases.base import Model
from hardway.declare.phases.etcd import TOKEN
from hardway.declare.pki import CertificateSpec
from hardway.declare.resources import (
    ApiObjects,
    Binary,
    Block,
    Certificate,
    Directory,
    File,
    Hostname,
    Image,
    Key,
    Local,
    ManualStep,
    Module,
    Package,
    PublicKey,
    RandomKey,
    Resource,
    Routes,
    Service,
    SwapOff,
    Sysctl,
    User,
    WorkspaceFile,
)
from hardway.explain.shell import Part, of_chapter, of_thing, script, whole
from hardway.explain.shell.words import Names, document, generalized, quoted
from hardway.inventory.allot import allot_pod_cidrs
from hardway.inventory.load import load
from hardway.state import State
from hardway.values import Placeholder
from hardway.workspace import Workspace

INVENTORIES = Path(__file__).resolve().parents[2] / "inventories"
WORKSPACE = Path("/home/ops/k8s/.hardway/lab")


def declared(path: Path) -> tuple[Model, Declaration]:
    cluster = allot_pod_cidrs(load(path), {})
    versions = {name: one.version for name, one in releases_for(cluster.kubernetes).items()}
    model = Model(cluster, State(cluster.name, "id", etcd="bootstrapping", etcd_token=TOKEN), versions)
    return model, declare(model)


def everything(path: Path) -> str:
    model, declaration = declared(path)
    return script(model, declaration, whole(declaration), workspace=WORKSPACE)


@pytest.mark.parametrize(
    ("resource", "typed"),
    [
        (File("/etc/a", "x\n", 0o600), [ManualStep("install -D -m 600 /dev/stdin /etc/a", "x\n")]),
        (
            File("/etc/pki/a.key", str(Placeholder("pki/a.key", secret=True)), 0o600, "etcd", "etcd"),
            [ManualStep("install -D -m 600 -o etcd -g etcd /dev/stdin /etc/pki/a.key", source="pki/a.key")],
        ),
        (
            Directory("/var/lib/etcd", 0o700, "etcd", "etcd"),
            [ManualStep("install -d -m 700 -o etcd -g etcd /var/lib/etcd")],
        ),
        (
            Binary("/usr/local/bin/etcd", "etcd", "3.6.14"),
            [ManualStep("install -m 755 /dev/stdin /usr/local/bin/etcd", source="bin/$arch/etcd")],
        ),
        (Service("etcd.service"), [ManualStep("systemctl restart --no-block etcd.service")]),
        (Sysctl("net.ipv4.ip_forward", "1"), [ManualStep("sysctl -q -w net.ipv4.ip_forward=1")]),
        (
            Sysctl("fs.a", "9", at_least=True),
            [ManualStep('[ "$(sysctl -n fs.a)" -ge 9 ] || sysctl -q -w fs.a=9')],
        ),
        (
            Module("overlay", "/proc/filesystems overlay"),
            [ManualStep("grep -qw overlay /proc/filesystems || modprobe overlay")],
        ),
        (
            Routes((("10.200.1.0/24", "10.0.0.2"), ("10.200.2.0/24", "10.0.0.3"))),
            [
                ManualStep("ip route replace 10.200.1.0/24 via 10.0.0.2 proto static"),
                ManualStep("ip route replace 10.200.2.0/24 via 10.0.0.3 proto static"),
            ],
        ),
        (Hostname("worker-0"), [ManualStep("hostnamectl set-hostname worker-0")]),
        (
            Package("netbase", "/etc/protocols"),
            [
                ManualStep(
                    "[ -e /etc/protocols ] >/dev/null || apt-get install -y --no-install-recommends netbase </dev/null"
                )
            ],
        ),
        (
            Image("registry/a:1", "image/a", "1"),
            [
                ManualStep(
                    "ctr -n k8s.io images import --label io.cri-containerd.pinned=pinned - >/dev/null",
                    source="bin/$arch/image-a.tar",
                )
            ],
        ),
    ],
    ids=lambda one: getattr(one, "kind", ""),
)
def test_each_kind_is_typed_by_the_command_that_everybody_knows(resource: Resource, typed: list[ManualStep]) -> None:
    assert list(resource.manual_steps()) == typed


def test_what_needs_several_commands_is_typed_in_their_order() -> None:
    lent = ApiObjects("rbac", "kind: A\n", "/etc/admin.conf", bootstrap_kubeconfig="text\n", settled="true")
    words = [one.command.split()[0] for one in lent.manual_steps()]
    assert words == ["install", "kubectl", "rm", "true"]
    assert [one.text for one in lent.manual_steps()] == ["text\n", "kind: A\n", "", ""]
    assert [one.command.split()[0] for one in SwapOff().manual_steps()] == ["systemctl", "swapoff", "[", "systemctl"]
    assert "useradd --system" in User("etcd", "/var/lib/etcd").manual_steps()[0].command
    off = Package("haproxy", "haproxy", keep_service_off="haproxy.service").manual_steps()
    assert off[1].command == "systemctl disable --now haproxy.service"


def test_a_block_leaves_the_rest_of_its_file_alone_however_often_it_is_typed(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text("127.0.0.1 localhost\n")
    for address in ("10.0.0.1", "10.0.0.2"):
        (typed,) = Block(str(path), f"{address} a\n").manual_steps()
        subprocess.run(["sh", "-euc", typed.command], input=typed.text, text=True, check=True)
    assert path.read_text() == "127.0.0.1 localhost\n# BEGIN hardway\n10.0.0.2 a\n# END hardway\n"


def test_a_block_that_lost_its_end_is_not_typed_over(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text("# BEGIN hardway\n10.0.0.9 theirs\n")
    (typed,) = Block(str(path), "10.0.0.1 a\n").manual_steps()
    assert subprocess.run(["sh", "-c", typed.command], input=typed.text, text=True, check=False).returncode == 1
    assert path.read_text() == "# BEGIN hardway\n10.0.0.9 theirs\n"


@pytest.mark.parametrize(("name", "algorithm"), [("lab", "ecdsa-p256"), ("single", "rsa-2048")])
def test_what_openssl_makes_is_as_specified(tmp_path: Path, name: str, algorithm: str) -> None:
    text = (INVENTORIES / f"{name}.yaml").read_text()
    text += f"\ncerts: {{key: {algorithm}, extra_sans: [203.0.113.7, a.example]}}\n"
    (tmp_path / "hardway.yaml").write_text(text)
    model, declaration = declared(tmp_path / "hardway.yaml")
    phases = ("certs", "kubeconfigs", "encryption", "access")
    local = tuple(one for one in declaration.local if one[0] in phases)
    part = Part("the operator's side", phases, Declaration((), local))
    folder = tmp_path / "workspace"
    typed = script(model, declaration, part, workspace=folder)
    for _ in range(2):
        subprocess.run(["bash"], input=typed, text=True, check=True, capture_output=True)
        values = Workspace(folder).values()
        wrong = {local.path: local.differences(values, datetime.now(UTC)) for _, local in declaration.local}
        assert {path: why for path, why in wrong.items() if why} == {}
        modes = {local.path: (folder / local.path).stat().st_mode & 0o777 for _, local in declaration.local}
        assert modes == {local.path: local.mode for _, local in declaration.local}


def test_keys_stay_what_they_were_when_they_are_typed_again() -> None:
    for key in (Key("pki/a.key", "rsa-2048"), RandomKey("secrets/k")):
        assert key.manual_step({}).command.startswith(f"[ -e {key.path} ] || openssl ")


def test_a_certificate_tells_what_its_names_are_for() -> None:
    spec = CertificateSpec("a", ("o",), ("localhost",), ("10.32.0.1",), frozenset({"server"}))
    typed = Certificate("pki/a.crt", spec, "ecdsa-p256", "pki/ca").manual_step({"10.32.0.1": "what pods dial"})
    assert "IP.1   = 10.32.0.1  # what pods dial" in typed.text
    assert "keyUsage               = critical, digitalSignature\n" in typed.text
    assert "-subj /O=o/CN=a" in typed.command


def test_a_file_with_placeholders_names_the_command_that_fills_them() -> None:
    local: Local = WorkspaceFile("kubeconfig", f"ca: {Placeholder('pki/ca.crt', 'base64')}\nprice: $1\n")
    assert document(local.manual_step({}).text) == [
        "<<EOF",
        "ca: $(openssl base64 -A -in pki/ca.crt)",
        "price: \\$1",
        "EOF",
    ]
    assert (
        PublicKey("pki/sa.pub", "pki/sa.key").manual_step({}).command.startswith("openssl pkey -in pki/sa.key -pubout")
    )


def test_a_document_ends_at_a_mark_that_is_not_in_it() -> None:
    assert document("a\nEOF\n") == ["<<'EOF_'", "a", "EOF", "EOF_"]


def test_what_is_a_machine_s_own_is_found_as_words_of_their_own() -> None:
    machine = Names("worker-1", "10.0.0.2", "10.200.1.0/24")
    assert generalized("pki/kubelet-worker-1.crt worker-10 worker-1.lab", machine) == (
        "pki/kubelet-$machine.crt worker-10 $machine.lab"
    )
    assert generalized("10.0.0.2:2379 10.0.0.20 110.0.0.2 10.200.1.0/24", machine) == (
        "${address[$machine]}:2379 10.0.0.20 110.0.0.2 ${pods[$machine]}"
    )
    assert document("a $machine ${address[$machine]} $HOME \\\n", loop=True) == [
        "<<EOF", "a $machine ${address[$machine]} \\$HOME \\\\", "EOF",
    ]  # fmt: skip
    assert quoted("a $machine `b`") == '"a $machine \\`b\\`"'
    assert quoted("it is $HOME") == "'it is $HOME'"


@pytest.mark.parametrize("name", ["lab", "lab-pair", "lab-small", "single", "vagrant"])
def test_the_script_of_each_inventory_is_bash_that_shellcheck_accepts(name: str, tmp_path: Path) -> None:
    path = tmp_path / "all.sh"
    path.write_text(everything(INVENTORIES / f"{name}.yaml"))
    # These two ask whether it is meant that words are expanded here and not there: it is.
    checked = subprocess.run(["shellcheck", "-e", "SC2087,SC2029", path], capture_output=True, text=True, check=False)
    assert checked.stdout == ""
    assert subprocess.run(["bash", "-n", path], capture_output=True, text=True, check=False).stderr == ""


@pytest.mark.parametrize("source", ["build", "mirror"])
def test_other_sources_are_typed_as_well(source: str, tmp_path: Path) -> None:
    mirror = ", mirror: /srv/mirror" if source == "mirror" else ""
    text = (INVENTORIES / "lab.yaml").read_text().replace("{source: auto}", f"{{source: {source}{mirror}}}")
    (tmp_path / "hardway.yaml").write_text(text)
    path = tmp_path / "all.sh"
    path.write_text(said := everything(tmp_path / "hardway.yaml"))
    assert subprocess.run(["bash", "-n", path], check=False).returncode == 0
    checked = subprocess.run(["shellcheck", "-e", "SC2087,SC2029", path], capture_output=True, text=True, check=False)
    assert checked.stdout == ""
    if source == "build":
        assert "go build" in said and "archive registry.k8s.io/coredns/coredns" in said and "curl" not in said
    else:
        assert "file:///srv/mirror/dl.k8s.io/" in said


@settings(max_examples=5)
@given(inventories())
def test_the_script_of_any_inventory_is_bash(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hardway.yaml"
        path.write_text(text)
        said = everything(path)
    assert subprocess.run(["bash", "-n"], input=said, text=True, capture_output=True, check=False).stderr == ""


def test_nobody_calls_hardway_or_python_and_no_mark_of_a_placeholder_is_left() -> None:
    for name in ("lab", "lab-pair", "lab-small", "single", "vagrant"):
        said = everything(INVENTORIES / f"{name}.yaml")
        called = re.compile(r"(^|[|;&(] *)(hardway|python3?) ", re.MULTILINE)
        assert called.search(said) is None
        assert "⟦" not in said
        assert "PRIVATE KEY" not in said


def test_every_declared_thing_is_typed_for_every_machine() -> None:
    said = everything(INVENTORIES / "lab.yaml")
    _, declaration = declared(INVENTORIES / "lab.yaml")
    for one in declaration.placed:
        name = one.resource.name.rpartition("/")[2]
        assert name in said or one.resource.kind in ("swap", "hostname"), one.resource.key
    for _, local in declaration.local:
        assert local.path in said, local.path
    assert said.count("# proof: ") > 40


def test_a_chapter_and_a_thing_are_typed_alone() -> None:
    model, declaration = declared(INVENTORIES / "lab.yaml")
    etcd = script(model, declaration, of_chapter(declaration, "etcd"), workspace=WORKSPACE)
    assert "systemctl restart --no-block etcd.service" in etcd
    assert "ETCD_INITIAL_CLUSTER_TOKEN=lab\n" in etcd
    assert etcd.index("until this member answers") < etcd.index("rm /run/etcd/first-start.env") < etcd.index("# proof:")
    assert "openssl genpkey" not in etcd
    local = tuple(one for _, one in declaration.local if one.path.startswith("pki/kube-apiserver."))
    placed = tuple(one for one in declaration.placed if "/kube-apiserver.crt" in one.resource.key)
    alone = script(model, declaration, of_thing("certs/kube-apiserver", "certs", placed, local), workspace=WORKSPACE)
    assert "# first of 10.32.0.0/24: what every pod dials" in alone
    assert "for machine in controller-0 controller-1 controller-2; do" in alone
    # Behind the way to the machines, which each script knows.
    assert len(alone[alone.index("\n# certs: ") :].splitlines()) < 60


@pytest.mark.parametrize("name", sorted(facts.ASKED))
def test_what_a_person_asks_a_machine_is_what_the_probe_finds_out(name: str) -> None:
    asked = subprocess.run(["sh", "-c", facts.ASKED[name]], capture_output=True, text=True, check=True).stdout
    probed = subprocess.run(["sh", "-c", facts.SCRIPT], capture_output=True, text=True, check=True).stdout
    assert asked.strip() == facts.parse(probed).placeholders[f"fact/{name}"].decode()
