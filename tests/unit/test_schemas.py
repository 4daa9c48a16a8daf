"""What -o json prints fits its schema, and the schemas in the package are those of the code."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

from hardway import events
from hardway.artifacts.catalogue import releases_for
from hardway.certificates.check import Certificates, Description, OnDisk, Served, Unread
from hardway.console import json_error
from hardway.console.jsonl import line
from hardway.declare.declaration import declare
from hardway.declare.phases.base import Model
from hardway.doctor.diagnosis import Cause
from hardway.doctor.doctor import Diagnosis
from hardway.engine.blockers import Blocker
from hardway.engine.guards import first_state
from hardway.engine.plan import Roll
from hardway.errors import HardwayError, InventoryError, Unreachable
from hardway.events import Changed, Event, Failed, Proved
from hardway.inventory.allot import allot_pod_cidrs
from hardway.inventory.load import load
from hardway.inventory.starter import Given, Started, starter
from hardway.inventory.view import checked, shown
from hardway.map import drawn
from hardway.operations.backup import Backup
from hardway.operations.etcd_defrag import Alarm, Alarms
from hardway.operations.etcd_restore import Rehearsed
from hardway.operations.etcd_snapshot import Snapshot
from hardway.operations.seal import Compared, Sealed
from hardway.operations.signing import Answer, Asked, Request, Taken
from hardway.operations.timer import Timers, Unit
from hardway.operations.users import Binding, Revoked, User, Users
from hardway.preview.items import Item
from hardway.preview.plan import Preview, Unobserved
from hardway.preview.tree import listed, tree
from hardway.remote.fan_out import MachineErrors
from hardway.schemas import EVENTS, names, schema
from hardway.schemas.derive import DOCUMENTS, schemas
from hardway.status.encryption import EncryptionKey, EncryptionStatus
from hardway.status.status import CertificateStatus, Etcd, EtcdMember, MachineStatus, Status
from hardway.status.upgrade import Obstacle, UpgradePlan
from hardway.verify.verification import Verification
from hardway.watch.watch import Finding as WatchFinding
from hardway.watch.watch import Watched

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)
CLUSTER = allot_pod_cidrs(load(ROOT / "inventories/lab.yaml"), {})
EXAMPLES: tuple[Event, ...] = (
    events.RunStarted("init", "lab", ("lb-0",), ("hosts",)),
    events.StepStarted("observe"),
    events.StepFinished("observe", 0.3),
    events.MachineProgress("lb-0", "observe", "running"),
    events.Transferred("lb-0", 1, 2),
    events.ArtifactProgress("etcd", "build", 0, 1),
    events.CommandRun("lb-0", "observe", "true", 0.1),
    events.Changed("lb-0", "hosts", "file:/etc/hosts", "update"),
    events.Proved("lb-0", "hosts", "swap is off", True, "yes"),
    events.Found("lb-0", "swap", "error", "swap is on", "swapoff -a"),
    events.Note("so it is", "warning"),
    events.RunFinished(True, 1, 0, 2.0, ("kubectl get nodes",)),
    events.Failed("LabError", "no", None, None, None, None, 1),
)


def fits(name: str, told: Any) -> None:
    Draft202012Validator(schema(name)).validate(told)


def declaration() -> Any:
    versions = {name: release.version for name, release in releases_for(CLUSTER.kubernetes).items()}
    return declare(Model(CLUSTER, replace(first_state(CLUSTER), etcd="bootstrapping", etcd_token="token"), versions))


PLAN = Preview(
    cluster="lab", machines=("lb-0",), limited=False, phases=("hosts",), initialized=True,
    items=(Item("lb-0", "hosts", "file:/etc/hosts", "update", ("edited",), "a", "b", ("-a", "+b"), ("certs",)),),
    blockers=(Blocker("conflict", "in the way", "lb-0", "/etc/x", "move it", "", ("/etc/x",)),),
    rolls=(Roll("etcd", ("c0",), ("c1", "c2")),),
    unmanaged={"lb-0": ("file:/etc/y",)}, unknown=(Unobserved("lb-0", "unit", "why"),),
    unobserved=(Unobserved("lb-0", "", "gone", "hint"),), to_get=("etcd 3",), identifier="abc",
)  # fmt: skip
PROOF = Proved("lb-0", "hosts", "swap is off", False, "swap is on")
STATUS = Status(
    "lab", "https://192.0.2.1:6443", "1",
    Etcd((EtcdMember("c0", "https://192.0.2.2:2379", True, "3.6.14", True),), "c0"),
    (MachineStatus("lb-0", ("worker",), True, versions={"kubelet": "1"}),),
    (CertificateStatus("kubernetes-ca", "operator", "pki/ca.crt", NOW, 3650),), 0, True,
)  # fmt: skip
SAYS = Description(
    "CN=head", "CN=etcd-ca", "etcd", 1, False, ("head",), ("192.0.2.2",), NOW, NOW, 0, "A1", "ending"
)  # fmt: skip
CERTIFICATES = Certificates(
    "lab", NOW, (OnDisk("c0", "/etc/etcd/pki/server.crt", "etcd/server-c0", SAYS),),
    (Served("c0", "etcd", "192.0.2.2:2379", "/etc/etcd/pki/server.crt", SAYS, True),
     Served("c0", "kube-scheduler", "127.0.0.1:10259", "", None, None)), (Unread("lb-0", "gone"),),
)  # fmt: skip
CAUSE = Cause("swap", ("lb-0",), "swap is on", ("free",), ("swapoff -a",), "the kubelet stops")
ENCRYPTION = EncryptionStatus(
    (
        EncryptionKey("secretbox", "key2", True, True, {"secrets": 12}),
        EncryptionKey("secretbox", "key1", False, True, {}),
    ),
    {"configmaps": 3},
    {"controller-0": True, "controller-1": None},
    "hardway encryption rotate",
)
SNAPSHOT = Snapshot(
    "one.db", "lab", "c1", "controller-1", "2026-11-28T12:00:00+00:00", 12, 34, 56, "ab", "3.6.14", "1.36.4",
    "secretbox", ("key1",), {"key1": "secretbox"}, ("secrets",), {"pki/ca.crt": ("ab",)},
)  # fmt: skip
SEALED = Sealed("lab", "c1", 7, "2026-11-28T12:00:00+00:00", "ab", ("cd",), "ef")
USER = User("ann", ("dev",), "2026-11-28T12:00:00+00:00", "A1", "ann.kubeconfig", trusts=("AB:CD",))
BINDING = Binding("RoleBinding", "web", "edit", "ClusterRole edit")
REQUEST = Request("admin.csr", "pki/admin.crt", "CN=ca", "/CN=hardway-admin", (), ("clientAuth",), "is not there")
UPGRADE = UpgradePlan(
    "lab", "1.35.6", "1.36.4", "1.35", {"c": "1.35.6"}, {"w": "1.35.6"}, {"etcd": ("3.6.13", "3.6.14")}, "",
    (Obstacle("path", "blocker", "no way", "stay"),),
)  # fmt: skip

DOCUMENTS_TOLD: dict[str, Callable[[], Any]] = {
    "plan": lambda: {**PLAN.to_json(), "command": "hardway init"},
    "verify": lambda: Verification(PLAN, (PROOF,), 1).to_json(),
    "status": lambda: STATUS.to_json(),
    "encryption-status": lambda: ENCRYPTION.to_json(),
    "upgrade-plan": lambda: UPGRADE.to_json(),
    "access-user-add": lambda: asdict(USER),
    "access-user-list": lambda: asdict(Users((USER,))),
    "access-user-revoke": lambda: asdict(Revoked(USER, (BINDING,), ())),
    "etcd-alarm": lambda: asdict(Alarms((Alarm("c0", "NOSPACE"),))),
    "etcd-restore": lambda: asdict(Rehearsed("one.db", 1, 1, "a/b", "key1", 1.0)),
    "etcd-snapshot": lambda: asdict(SNAPSHOT),
    "etcd-status": lambda: asdict(STATUS.etcd),
    "backup": lambda: asdict(Backup("backups/lab-1", SNAPSHOT, SEALED, 1, ("backups/lab-0",))),
    "install": lambda: asdict(Timers((Unit("/etc/systemd/system/a.timer", "[Timer]", "create"),), "ann", True)),
    "certs-check": lambda: CERTIFICATES.to_json(),
    "watch": lambda: Watched(
        "lab", NOW, (WatchFinding("etcd", "c0", "it does not serve", "hardway doctor"),), 7, 7, 3, 2, 2, 3, 3, NOW, None
    ).to_json(),
    "doctor": lambda: Diagnosis(
        "lab", ("lb-0",), ("lb-0",), 3, (replace(CAUSE, follows=(CAUSE,)),), 1, (PROOF,)
    ).to_json(),
    "map": lambda: drawn(CLUSTER, declaration()).to_json(),
    "render": lambda: asdict(listed(Path("out"), tree(declaration(), {}, with_secrets=False))),
    "certs-csr": lambda: asdict(Asked("requests", (REQUEST,))),
    "certs-import": lambda: asdict(Taken((Answer("1.cer", "pki/admin.crt", "2027-11-28"),), ("pki/kube-proxy.crt",))),
    "workspace-status": lambda: asdict(Compared("lab", "c1", 7, "2026-11-28T12:00:00+00:00", "same", False)),
    "inventory-new": lambda: asdict(Started(None, starter("seven", "prod", Given()))),
    "inventory-check": lambda: asdict(checked(CLUSTER)),
    "inventory-show": lambda: shown(CLUSTER).to_json(),
}
ASKED = {
    "agreement": ("verify", "--offline"),
    "artifacts": ("artifacts",),
    "kubeadm-map": ("kubeadm-map",),
    "ports": ("preflight", "--ports", "table"),
    "lab-status": ("lab", "status"),
    "lab-faults": ("lab", "break", "--list"),
}
"""Documents whose command says them without a machine."""


def test_the_schemas_in_the_package_are_those_of_the_code() -> None:
    derived = schemas()
    assert names() == sorted(derived)
    for name, wanted in derived.items():
        assert schema(name) == json.loads(json.dumps(wanted)), f"{name}: python -m hardway.schemas.derive"


@pytest.mark.parametrize("name", names())
def test_each_is_a_schema(name: str) -> None:
    Draft202012Validator.check_schema(schema(name))


def test_every_document_is_tried() -> None:
    assert DOCUMENTS_TOLD.keys() | ASKED.keys() == DOCUMENTS.keys()


@pytest.mark.parametrize("name", DOCUMENTS_TOLD)
def test_the_json_of_each_view_fits_its_schema(name: str) -> None:
    told = json.loads(json.dumps(DOCUMENTS_TOLD[name]()))
    fits(name, told)
    with pytest.raises(ValidationError):
        fits(name, {**told, "nobody-knows-this": 1})
    for key in told:
        with pytest.raises(ValidationError):
            fits(name, {one: value for one, value in told.items() if one != key})


@pytest.mark.parametrize("name", ASKED)
def test_the_json_of_each_command_fits_its_schema(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = json.loads(said(capsys, monkeypatch, tmp_path, *ASKED[name], "-o", "json"))
    assert told
    fits(name, told)


@pytest.mark.parametrize(
    "what",
    [
        (),
        ("certs",),
        ("certs/kube-apiserver",),
        ("10.32.0.1",),
        ("anonymous-auth",),
        ("flannel",),
        ("connection", "refused"),
    ],
)
def test_every_page_of_explain_fits_its_schema(
    what: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fits("explain", json.loads(said(capsys, monkeypatch, tmp_path, "explain", *what, "-o", "json")))


def said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, home: Path, *words: str) -> str:
    """Standard output of a command on the seven machines' inventory; standard error stays empty."""
    from hardway.cli import main

    monkeypatch.setenv("XDG_CACHE_HOME", str(home))
    monkeypatch.setenv("HARDWAY_INVENTORY", str(ROOT / "inventories/lab.yaml"))
    monkeypatch.setattr("sys.argv", ["hardway", *words])
    with contextlib.suppress(SystemExit):
        main()
    told = capsys.readouterr()
    assert told.err == ""
    return told.out


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda one: type(one).__name__)
def test_every_event_fits_and_fits_no_other(event: Event) -> None:
    for scripts in (False, True):
        told = json.loads(line(event, NOW, scripts=scripts))
        fits(EVENTS, told)
        for key in told.keys() - {"script"}:
            with pytest.raises(ValidationError):
                fits(EVENTS, {one: value for one, value in told.items() if one != key})
    with pytest.raises(ValidationError):
        fits(EVENTS, {**told, "more": 1})


def test_every_kind_of_event_has_a_schema() -> None:
    kinds = {one.__name__ for one in Event.__subclasses__() if one.__module__ == events.__name__}
    assert {one["$ref"].rpartition("/")[2] for one in schema(EVENTS)["oneOf"]} == kinds


@pytest.mark.parametrize(
    "error",
    [
        HardwayError("no", hint="yes", tried="it", said="never"),
        InventoryError(["a.yaml:1:2: cluster: is missing"]),
        MachineErrors({"w0": Unreachable("gone", machine="w0"), "w1": Unreachable("too", machine="w1")}),
    ],
)
def test_every_error_is_an_event(error: HardwayError, capsys: pytest.CaptureFixture[str]) -> None:
    import sys

    json_error(error, sys.stdout)
    told = json.loads(capsys.readouterr().out)
    fits(EVENTS, told)
    assert (told["event"], told["kind"], told["code"]) == (Failed.__name__, type(error).__name__, error.exit_code)
    assert len(told["machines"]) == (2 if isinstance(error, MachineErrors) else 0)


def test_a_secret_that_came_into_an_event_shows_its_digest() -> None:
    from hardway.values import Secret

    told = line(Changed("m", "c", Secret(b"hunter2"), "create"), NOW)  # type: ignore[arg-type]
    assert "hunter2" not in told and "sha256:" in told


def test_every_command_that_is_refused_says_so_in_json_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.unit.test_cli_flags import COMMANDS

    asking = {"ssh": ["m"], "logs": ["m"], "lab power-off": ["m"], "lab power-on": ["m"], "render": ["out"],
              "artifacts bundle": ["out"], "certs rotate-ca": ["all"], "certs csr": ["out"],
              "certs import": ["out"], "etcd snapshot": ["one.db"], "access user add": ["ann"],
              "workspace status": ["one.age"], "backup": ["out"], "backup install": ["out"],
              "access user revoke": ["ann"]}  # fmt: skip
    needless = {"schema", "kubeadm-map", "inventory new", "inventory schema"}
    monkeypatch.setattr("os.geteuid", lambda: 0)
    for name, command in COMMANDS.items():
        if name in needless or not any("-o" in one.opts for one in command.params):
            continue
        words = [*name.split(), *asking.get(name, []), "-o", "json", "-i", str(tmp_path / "nope.yaml")]
        told = json.loads(said(capsys, monkeypatch, tmp_path, *words))
        fits(EVENTS, told)
        assert (told["event"], told["code"]) == ("Failed", 2), name
