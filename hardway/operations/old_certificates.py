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
from pathlib import PurePosixPath

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
from hardway.remote import Result

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
    ends = session.each(controllers, lambda name: session.run(name, end_of(logs[name]), what="look for its audit log"))
    time.sleep(span.total_seconds())
    shown: dict[tuple[str, str, str], int] = {}
    read = session.each(controllers, lambda name: _read(session, name, logs[name], ends[name].text))
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


def end_of(log: str) -> str:
    """Prints the inode, birth and size of a log, to be read on from there."""
    return f"stat -c '%i %W %s' {quote(log)}"


def _read(session: Session, name: str, log: str, mark: str) -> Result:
    script = users_since(log, *mark.split())
    answer = session.run(name, script, what="read its audit log", timeout=READ_LIMIT, check=False)
    if answer.code:
        raise HardwayError(
            f"{log} cannot be read from where it ended before: who still uses the CA before is not known",
            machine=name,
            said=f"{answer.stderr.decode(errors='replace').strip()}\nboth CAs are trusted, and everything serves",
            hint="the same command again, with a shorter --wait where the log was rotated too often; --force goes on "
            "without looking",
        )
    return answer


def users_since(log: str, inode: str, birth: str, size: str) -> str:
    """A script that prints what was written to a log since it ended there, however often it was rotated meanwhile.

    A line for each certificate: user, SHA-256, address and number of requests. The user stands before all in an event
    that somebody else has a say in. It fails where a part is gone: the API server keeps a few files only, and an inode
    whose file is gone is soon another file's.
    """
    path = PurePosixPath(log)
    before, ending = str(path.with_suffix("")), path.suffix
    return f"""\
export LC_ALL=C
exec 3<{quote(log)}
current=$(stat -L -c '%i %W' /proc/self/fd/3)
started=
set --
# Rotated ones have the time in their names, so these come one after another; the last one may be what fd 3 reads.
for file in {quote(before)}-*{quote(ending) if ending else ""}; do
  [ -e "$file" ] || continue
  this=$(stat -c '%i %W' "$file")
  if [ "$this" = "$current" ]; then continue; fi
  if [ "$this" = {quote(f"{inode} {birth}")} ]; then started=yes; fi
  if [ "$started" ]; then set -- "$@" "$file"; fi
done
if [ "$current" != {quote(f"{inode} {birth}")} ] && [ -z "$started" ]; then
  echo "the file that was written then is gone: the log was rotated more often than files are kept" >&2
  exit 1
fi
since() {{ tail -c +$(({int(size)} + 1)); }}
{{
  if [ "$started" ]; then
    since <"$1" && shift && for file; do cat "$file" || exit 1; done && cat <&3
  else
    since <&3
  fi && echo whole
}} | awk '
  $0 == "whole" {{ whole = 1 }}
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
  END {{
    if (!whole) exit 1
    for (one in count) print one "\\t" count[one]
  }}'
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
