"""What is typed on the operator's own computer: keys, certificates, kubeconfigs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from hardway.declare.resources import Local
from hardway.explain.shell.words import document
from hardway.inventory.model import Cluster


def local_lines(phase: str, found: Sequence[Local], cluster: Cluster) -> list[str]:
    """Each file under its name; a key and what it is for under one."""
    notes = _notes(cluster)
    folders = sorted({str(PurePosixPath(one.path).parent) for one in found} - {"."})
    lines = ["", f"mkdir -p {' '.join(folders)}"] if folders else []
    title = ""
    for one in found:
        name = one.path.removeprefix("pki/").removesuffix(".key").removesuffix(".crt").removesuffix(".pub")
        if name != title:
            lines += ["", f"# {phase}/{name}"]
            title = name
        typed = one.manual_step(notes)
        first, *rest = typed.command.split("\n")
        mark, *text = document(typed.text) if typed.text else ("",)
        lines += [f"{first} {mark}".rstrip(), *text, *rest]
    return lines


def _notes(cluster: Cluster) -> Mapping[str, str]:
    """Why a certificate holds a name."""
    names = {
        "kubernetes.default.svc": "as programs in pods call the API",
        f"kubernetes.default.svc.{cluster.network.cluster_domain}": "its full name, which DNS answers for",
        str(cluster.first_service_address): f"first of {cluster.network.service_cidr}: what every pod dials",
        "localhost": "for those on the same machine",
        "127.0.0.1": "for those on the same machine",
        **dict.fromkeys(cluster.certs.extra_sans, "as the inventory asks for"),
        **{str(machine.ip): machine.name for machine in cluster.machines},
    }
    dialled = cluster.endpoint_host
    named = f"{names[dialled]}: " if dialled in names else ""
    return {**names, dialled: f"{named}what kubelets and your kubectl dial"}
