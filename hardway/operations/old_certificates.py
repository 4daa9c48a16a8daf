"""Who still shows a certificate of a CA that is about to go: API servers write into their audit log which one it was.

(`user.extra` of an event: apiserver/pkg/authentication/request/x509: CommonNameUserConversion.)
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from hardway.declare import pki
from hardway.declare.generations import KUBERNETES
from hardway.declare.phases import control_plane
from hardway.declare.phases.base import Model
from hardway.declare.phases.paths import KUBECTL
from hardway.declare.render import flags
from hardway.declare.resources.base import quote
from hardway.engine.session import Session
from hardway.errors import HardwayError
from hardway.inventory.model import Machine

ROTATED = "/var/lib/kubelet/pki/kubelet-client-current.pem"
"""What the cluster signed for a kubelet."""
READ_LIMIT = 300.0


@dataclass(frozen=True)
class Shown:
    """A certificate that a user showed from an address, by its SHA-256, and in how many requests."""

    user: str
    certificate: str
    address: str
    requests: int

    @property
    def words(self) -> str:
        return f"{self.user} from {self.address}: {self.requests} requests"


def still_shown(session: Session, model: Model, span: timedelta) -> list[Shown]:
    """Listens for a span of time, and returns what was shown that the CA that signs now has not signed.

    Raises HardwayError where an API server writes no audit log to a file.
    """
    controllers = [machine.name for machine in model.cluster.controllers]
    logs = {machine.name: _log_of(model, machine) for machine in model.cluster.controllers}
    ends = session.each(controllers, lambda name: session.run(name, _end(logs[name]), what="look for its audit log"))
    time.sleep(span.total_seconds())
    shown: dict[tuple[str, str, str], int] = {}
    read = session.each(
        controllers,
        lambda name: session.run(
            name, users_since(logs[name], *ends[name].text.split()), what="read its audit log", timeout=READ_LIMIT
        ),
    )
    for answer in read.values():
        for line in answer.text.splitlines():
            user, certificate, address, requests = line.split("\t")
            shown[user, certificate, address] = shown.get((user, certificate, address), 0) + int(requests)
    known = set(_current(session, model))
    return [Shown(*key, requests) for key, requests in sorted(shown.items()) if key[1] not in known]


def _log_of(model: Model, machine: Machine) -> str:
    path = flags(control_plane.unit(model, machine, "kube-apiserver")).get("audit-log-path", "")
    if not path.startswith("/"):
        raise HardwayError(
            "its API server writes no audit log to a file, so nobody knows who still uses the CA before",
            machine=machine.name,
            said="both CAs are trusted, and everything serves",
            hint="--force goes on without looking",
        )
    return path


def _end(log: str) -> str:
    """Prints the inode and size of a log, to be read on from there."""
    return f"stat -c '%i %s' {quote(log)}"


def users_since(log: str, inode: str, size: str) -> str:
    """A script that prints what was written to a log since it ended there, also where it was rotated meanwhile.

    A line for each certificate: user, SHA-256, address and number of requests. The user stands before all in an event
    that somebody else has a say in.
    """
    return f"""\
folder=$(dirname {quote(log)})
{{
  before=$(find "$folder" -maxdepth 1 -inum {quote(inode)})
  [ -z "$before" ] || tail -c +$(({int(size)} + 1)) "$before"
  [ "$before" = {quote(log)} ] || cat {quote(log)}
}} | LC_ALL=C awk '
  match($0, /"user":[{{]"username":"[^"]*"/) {{
    name = substr($0, RSTART + 20, RLENGTH - 21)
    rest = substr($0, RSTART + RLENGTH)
    from = match(rest, /"sourceIPs":[[]"[^"]*"/)
    address = from ? substr(rest, RSTART + 14, RLENGTH - 15) : "?"
    if (from) rest = substr(rest, 1, from)
    if (!match(rest, /"authentication.kubernetes.io.credential-id":[[]"X509SHA256=[0-9a-f]*"/)) next
    id = substr(rest, RSTART, RLENGTH - 1)
    sub(/.*=/, "", id)
    count[name "\\t" id "\\t" address]++
  }}
  END {{ for (one in count) print one "\\t" count[one] }}'
"""


def _current(session: Session, model: Model) -> Iterator[str]:
    """Of certificates of the CA that signs: the workspace's, those of kubelets, and what the cluster has signed."""
    ca = session.workspace.values()[f"{KUBERNETES.signer(model.state)}.crt"]
    workers = [machine.name for machine in model.cluster.workers]
    kubelets = session.each(workers, lambda name: session.run(name, _KUBELET, what="look what its kubelet shows"))
    signed = session.run(
        model.cluster.controllers[0].name, f"{KUBECTL} get csr -o json", what="look what the cluster has signed"
    )
    found = [pem for path, pem in session.workspace.values().items() if path.endswith(".crt")]
    found += [answer.stdout for answer in kubelets.values()]
    for item in json.loads(signed.stdout)["items"]:
        found.append(base64.b64decode(item.get("status", {}).get("certificate", "")))
    yield from fingerprints_of(found, ca)


_KUBELET = f"[ ! -e {ROTATED} ] || openssl x509 -in {ROTATED}"


def fingerprints_of(pems: Sequence[bytes], ca: bytes) -> Iterator[str]:
    """As an audit log has them, of those of these certificates that the CA signed."""
    for pem in pems:
        try:
            if pki.is_issued_by(pem, ca):
                yield pki.fingerprint(pem).replace(":", "").lower()
        except pki.PemError:
            continue  # a request that nobody has signed
