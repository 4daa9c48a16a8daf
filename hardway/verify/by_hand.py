"""The setup of machines that somebody set up by hand, half-way or wholly. It looks, and writes nothing."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

from hardway.engine.session import Session
from hardway.errors import HardwayError, UsageError
from hardway.lint.declared import dns_service, kubelet_users
from hardway.preview.plan import Unobserved
from hardway.probe.control import API_MOST
from hardway.probe.script import Question, understood
from hardway.probe.setup import seen
from hardway.probe.setup.material import Material, interpret
from hardway.probe.setup.model import MachineSetup, Setup
from hardway.probe.setup.redaction import book_of, redacted
from hardway.probe.setup.seen import ENDINGS, LARGEST, Glimpse
from hardway.values import OPERATOR

OBJECTS = ("services -n kube-system", "clusterroles", "clusterrolebindings")
"""What rules ask of the API, where it answers."""


def set_up_by_hand(
    session: Session | None, folder: Path | None, unreached: Mapping[str, HardwayError]
) -> tuple[Setup, list[Unobserved]]:
    """The setup of the session's machines, and of a folder of the operator's; and what could not be checked.

    Raises UsageError for a folder that cannot be read, or that holds nothing that could be judged.
    """
    glimpses: dict[str, Glimpse | HardwayError] = dict(unreached)
    if session is not None:
        glimpses |= session.each(session.machines, lambda name: _look(session, name))
    order = [one.name for one in session.cluster.machines] if session is not None else []
    materials = {name: one.material for name in order if isinstance(one := glimpses.get(name), Glimpse)}
    if folder is not None:
        materials[OPERATOR] = read_folder(folder)
    machines = {name: interpreted(one) for name, one in materials.items()}
    if folder is not None:
        _require_any(folder, machines[OPERATOR])
    documents = _objects(session, machines) if session is not None else None
    setup = Setup(
        machines,
        datetime.now(UTC),
        "by hand",
        dns_service=dns_service(documents or []),
        kubelet_users=None if documents is None else kubelet_users(documents),
    )
    gone = [
        Unobserved(name, error.what, error.said or "", error.hint or "")
        for name, error in glimpses.items()
        if isinstance(error, HardwayError)
    ]
    return setup, gone


def interpreted(material: Material) -> MachineSetup:
    return interpret(material, book_of(material.files.values()))


def _look(session: Session, name: str) -> Glimpse | HardwayError:
    """One script, and one more as long as what was read names other files."""
    try:
        answers = session.ask(name, seen.look(), what="look at what was set up by hand")
        with understood(name, "what was set up by hand"):
            glimpse = seen.parse(name, answers)
        for _ in range(seen.ROUNDS):
            wanted = glimpse.wanted()
            if not wanted:
                break
            answers = session.ask(name, [seen.read(wanted)], what=f"read {len(wanted)} files")
            with understood(name, "files"):
                glimpse = seen.parse(name, answers, glimpse, wanted)
    except HardwayError as error:
        return error
    return glimpse


def read_folder(folder: Path) -> Material:
    """Certificates, keys and kubeconfigs of a folder. Raises UsageError."""
    files = {}
    try:
        for path in sorted(folder.iterdir()):
            if path.is_file() and path.suffix.removeprefix(".") in ENDINGS and path.stat().st_size <= LARGEST:
                files[str(path)] = redacted(path.read_text(encoding="utf-8", errors="replace"))
    except OSError as error:
        raise UsageError(f"{folder} cannot be read: {error.strerror}", hint="--folder DIR, with *.pem files") from error
    return Material(OPERATOR, files, {})


def _require_any(folder: Path, found: MachineSetup) -> None:
    if not (found.loose or found.loose_kubeconfigs or found.loose_keys):
        endings = ", ".join(f"*.{ending}" for ending in ENDINGS)
        raise UsageError(
            f"no certificate, key or kubeconfig is in {folder} (checked: {endings}; not subfolders)",
            hint="--folder DIR, where DIR itself holds them, such as kubernetes.pem or admin.kubeconfig",
        )


def _objects(session: Session, machines: Mapping[str, MachineSetup]) -> list[Mapping[str, Any]] | None:
    """API objects, asked on a controller with an administrator's kubeconfig; None where there is none that works."""
    for name, machine in machines.items():
        admins = [one.where for one in (*machine.loose_kubeconfigs, *machine.kubeconfigs.values())
                  if one.client and ("system:masters" in one.client.organizations or "admin" in one.where)]  # fmt: skip
        if name not in session.machines or "kube-apiserver" not in machine.components or not admins:
            continue
        kubectl = f"kubectl {shlex.join([f'--kubeconfig={admins[0]}'])} --request-timeout=5s"
        questions = [Question(what, f"{kubectl} get {what} -o json", limit=10, most=API_MOST) for what in OBJECTS]
        answers = session.ask(name, questions, what="ask the API")
        if all(answers[what].code == 0 for what in OBJECTS):
            with understood(name, "API objects"):
                return [*chain.from_iterable(json.loads(answers[what].output)["items"] for what in OBJECTS)]
    return None
