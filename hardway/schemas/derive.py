"""The schemas from the dataclasses of events and views. `python -m hardway.schemas.derive` rewrites the files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter

from hardway import events
from hardway.artifacts.stock import Stock
from hardway.certificates.check import Certificates
from hardway.declare.network.flows import Flow
from hardway.doctor.doctor import Diagnosis
from hardway.explain import Page
from hardway.explain.kubeadm import Counterpart
from hardway.explain.pages import KINDS
from hardway.inventory.schema import json_schema
from hardway.inventory.starter import Started
from hardway.inventory.view import Checked, Shown
from hardway.lab.lab import MachineStatus
from hardway.lab.model import FaultSummary
from hardway.map import Map
from hardway.operations.backup import Backup
from hardway.operations.etcd_defrag import Alarms
from hardway.operations.etcd_restore import Rehearsed
from hardway.operations.etcd_snapshot import Snapshot
from hardway.operations.seal import Compared
from hardway.operations.signing import Asked, Taken
from hardway.operations.timer import Timers
from hardway.operations.users import Revoked, User, Users
from hardway.preview.plan import Preview
from hardway.preview.tree import Rendered
from hardway.schemas import EVENTS, FOLDER
from hardway.status.encryption import EncryptionStatus
from hardway.status.status import Etcd, Status
from hardway.status.upgrade import UpgradePlan
from hardway.verify.agreement import Agreement
from hardway.verify.verification import Verification
from hardway.watch.watch import Watched

DRAFT = "https://json-schema.org/draft/2020-12/schema"


@dataclass(frozen=True)
class Document:
    """What a command prints: a value's fields, and what its `to_json` adds to them."""

    command: str
    of: Any
    more: Mapping[str, Any] = field(default_factory=dict)


DOCUMENTS = {
    "plan": Document("hardway plan", Preview, {"command": str}),
    "verify": Document("hardway verify", Verification),
    "agreement": Document("hardway verify --offline, --by-hand", Agreement),
    "status": Document("hardway status", Status, {"well": bool}),
    "upgrade-plan": Document("hardway upgrade plan", UpgradePlan, {"possible": bool}),
    "encryption-status": Document("hardway encryption status", EncryptionStatus, {"well": bool}),
    "access-user-add": Document("hardway access user add", User),
    "access-user-list": Document("hardway access user list", Users),
    "access-user-revoke": Document("hardway access user revoke", Revoked),
    "etcd-alarm": Document("hardway etcd alarm", Alarms),
    "etcd-restore": Document("hardway etcd restore --rehearse", Rehearsed),
    "etcd-snapshot": Document("hardway etcd snapshot", Snapshot),
    "etcd-status": Document("hardway etcd status", Etcd),
    "backup": Document("hardway backup", Backup),
    "install": Document("hardway backup install, hardway watch install", Timers),
    "certs-check": Document("hardway certs check", Certificates),
    "watch": Document("hardway watch", Watched, {"well": bool}),
    "doctor": Document("hardway doctor", Diagnosis),
    "map": Document("hardway map", Map),
    "render": Document("hardway render", Rendered),
    "kubeadm-map": Document("hardway kubeadm-map", list[Counterpart]),
    "ports": Document("hardway preflight --ports", list[Flow]),
    "artifacts": Document("hardway artifacts", list[Stock]),
    "inventory-new": Document("hardway inventory new", Started),
    "inventory-check": Document("hardway inventory check", Checked),
    "inventory-show": Document("hardway inventory show", Shown),
    "certs-csr": Document("hardway certs csr", Asked),
    "certs-import": Document("hardway certs import", Taken),
    "workspace-status": Document("hardway workspace status", Compared),
    "lab-status": Document("hardway lab status", list[MachineStatus]),
    "lab-faults": Document("hardway lab break --list", list[FaultSummary]),
}


def schemas() -> dict[str, dict[str, Any]]:
    """Every schema by its name."""
    found = {name: _document(one) for name, one in DOCUMENTS.items()}
    return {EVENTS: _events(), "explain": _pages(), "inventory": json_schema(), **found}


def _document(of: Document) -> dict[str, Any]:
    told = TypeAdapter(of.of).json_schema(mode="serialization")
    for name, kind in of.more.items():
        told["properties"][name] = TypeAdapter(kind).json_schema()
    return _finished(told, f"hardway: what `{of.command} -o json` prints")


def _events() -> dict[str, Any]:
    """Any one of the events; each has its name and when it happened."""
    kinds = [one for one in events.Event.__subclasses__() if one.__module__ == events.__name__]
    definitions: dict[str, Any] = {}
    for kind in kinds:
        told = TypeAdapter(kind).json_schema(mode="serialization", ref_template="#/$defs/{model}Fields")
        inner = told.pop("$defs", {})
        body = inner[kind.__name__] if "$ref" in told else told
        definitions |= {f"{name}Fields": part for name, part in inner.items()}
        definitions[kind.__name__] = _event(kind, body)
    union = {"oneOf": [{"$ref": f"#/$defs/{kind.__name__}"} for kind in kinds], "$defs": definitions}
    return _finished(union, "hardway: one line of a run with `-o json`, and how any command says that it failed")


def _event(kind: type[events.Event], body: dict[str, Any]) -> dict[str, Any]:
    said = {"event": {"const": kind.__name__}, "at": {"type": "string", "format": "date-time"}}
    return {**body, "properties": {**said, **body.get("properties", {})}}


def _pages() -> dict[str, Any]:
    """Any one of the pages of `explain`, each with its kind."""
    told = TypeAdapter(Page).json_schema(mode="serialization")
    for name, kind in KINDS.items():
        page = told["$defs"][name]
        page["properties"] = {"kind": {"const": kind}, **page["properties"]}
    return _finished(told, "hardway: what `hardway explain -o json` prints")


def _finished(told: dict[str, Any], title: str) -> dict[str, Any]:
    return {"$schema": DRAFT, **_strict(told), "title": title}


def _strict(body: Any) -> Any:
    """Objects hold what is named and nothing else, and all of it: a reader need not ask whether a key is there.

    But for the text of a script, which is told from -vv on.
    """
    if isinstance(body, list):
        return [_strict(one) for one in body]
    if not isinstance(body, dict):
        return body
    told = {key: _strict(one) for key, one in body.items() if key not in ("title", "default")}
    for names in ("properties", "$defs"):
        if names in body:
            told[names] = {name: _strict(one) for name, one in body[names].items()}
    if "properties" in body:
        told["additionalProperties"] = False
        told["required"] = [name for name in body["properties"] if name != "script"]
    return told


def text(of: dict[str, Any]) -> str:
    """As it stands in a file."""
    return json.dumps(of, indent=1, ensure_ascii=False) + "\n"


def write() -> None:
    """Rewrites every file, and takes away what is no longer derived."""
    wanted = schemas()
    for path in FOLDER.glob("*.json"):
        if path.name.removesuffix(".json") not in wanted:
            path.unlink()
    for name, of in wanted.items():
        (FOLDER / f"{name}.json").write_text(text(of), encoding="utf-8")


if __name__ == "__main__":
    write()
