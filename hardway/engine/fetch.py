"""Machines download their binaries by themselves (`artifacts: {fetch: machines}`), before anything there changes.

Each published file is checked against its digest on the machine, then taken apart; what is in an archive is known by
the digest that the machine states, which must be the same on all of them, and is recorded in the lock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from hardway.artifacts.lock import Entry, Lock
from hardway.declare.declaration import Declaration
from hardway.declare.network.proxy import environment
from hardway.declare.resources.base import quote
from hardway.engine.changes import Change, by_machine
from hardway.engine.observe import View
from hardway.engine.resolver import FileKey, Resolver
from hardway.engine.scripts import FETCHED
from hardway.engine.session import Session
from hardway.errors import ArtifactError, ProtocolError
from hardway.events import MachineProgress
from hardway.inventory.model import Cluster

if TYPE_CHECKING:
    from hardway.artifacts.downloads import Download

LIMIT = 3600.0
"""Seconds that one file may take; a line on which nothing moves for a minute is given up before."""

_FUNCTIONS = f"""
umask 077
mkdir -p {FETCHED}
cd {FETCHED}
# What a lost connection left running may still write here.
exec 9>lock
flock 9
# stop WHAT: what is wrong, in one word for hardway; standard error has what was said of it.
stop() {{ echo "stopped $1"; exit 0; }}
# download URL FILE: goes on with what is in FILE.
download() {{
  if command -v curl >/dev/null 2>&1; then
    curl -fsSL -C - --connect-timeout 10 --speed-limit 1 --speed-time 60 -o "$2" -- "$1" </dev/null
  elif [ -x /usr/lib/apt/apt-helper ]; then
    /usr/lib/apt/apt-helper -qq -o APT::Sandbox::User=root -o Acquire::Retries=0 -o Acquire::http::Timeout=60 \\
      download-file "$1" "$2" </dev/null >&2
  else
    stop tools
  fi
}}
# full: whether less than 1 MiB is free here.
full() {{ set -- $(df -Pk . | tail -n 1); [ "$4" -lt 1024 ]; }}
digest() {{ sha256sum <"$1" | cut -c 1-64; }}
# whole URL FILE: what broke off is kept and continued; where the server does not do that, it begins again.
whole() {{
  for try in 1 2 3 4; do
    ! download "$1" "$2" 2>said || return 0
    ! full || {{ cat said >&2; rm -f -- "$2"; stop disk; }}
    ! grep -q 'byte ranges\\|Cannot resume\\|416' said || rm -f -- "$2"
  done
  cat said >&2
  stop download
}}
# fetch URL DIGEST: into DIGEST.part, checked. What has another digest is got once more from its beginning.
fetch() {{
  for try in 1 2; do
    whole "$1" "$2.part"
    came=$(digest "$2.part")
    [ "$came" != "$2" ] || return 0
    said="$(stat -c %s -- "$2.part") bytes with sha256 $came, not $2"
    rm -f -- "$2.part"
  done
  echo "$said" >&2
  stop digest
}}
# keep FILE NAME: by its own digest, which is noted for this published file.
keep() {{
  kept=$(digest "$1")
  chmod 0755 -- "$1"
  mv -fT -- "$1" "$kept"
  echo "$kept $2" >>list.new
}}
# known LIST: whether all that came out of a file is still here.
known() {{
  [ -s "$1" ] || return 1
  while read -r kept name; do [ -e "$kept" ] || return 1; done <"$1"
}}
"""


def prepare(
    session: Session, declaration: Declaration, changes: Sequence[Change], views: Mapping[str, View], resolver: Resolver
) -> None:
    """Makes sure that a digest is accepted for all that changes install. Raises ArtifactError.

    Where the published file is the binary itself, nothing is downloaded for that.
    """
    architectures = _architectures(views)
    missing = resolver.unaccepted(declaration, architectures)
    unknown: set[str] = set()
    for download in missing.values():
        if download.is_archive:
            unknown.add(download.url)
        else:
            resolver.lock.add(*download.entries(dict.fromkeys(download.members, download.digest)))
    if unknown:
        _fetch(session, changes, architectures, resolver, unknown)


def fetch(
    session: Session, changes: Sequence[Change], views: Mapping[str, View], resolver: Resolver
) -> dict[str, dict[FileKey, str]]:
    """Has every machine download what its changes install. Returns the digests of what it has then, by machine.

    Images that no mirror has are not among them.
    """
    return _fetch(session, changes, _architectures(views), resolver)


def _architectures(views: Mapping[str, View]) -> dict[str, str]:
    return {name: view.facts.arch for name, view in views.items()}


def _fetch(
    session: Session,
    changes: Sequence[Change],
    architectures: Mapping[str, str],
    resolver: Resolver,
    only: set[str] | None = None,
) -> dict[str, dict[FileKey, str]]:
    wanted: dict[str, list[Download]] = {}
    for name, own in by_machine(changes).items():
        needs = resolver.downloads([(name, change.resource) for change in own], architectures)
        files = {download.url: download for download in needs.values() if only is None or download.url in only}
        if files:
            wanted[name] = list(files.values())
    came = session.each(wanted, lambda name: _fetch_each(session, name, wanted[name]))
    return {name: _accepted(name, files, resolver.lock) for name, files in came.items()}


def _fetch_each(session: Session, name: str, files: Iterable[Download]) -> list[tuple[Download, dict[str, str]]]:
    came = []
    for download in files:
        what = f"download {download.wanted.name}"
        session.events(MachineProgress(name, what, "running"))
        result = session.run(name, script(download, session.cluster), what=what, timeout=LIMIT)
        came.append((download, _digests(name, download, result.text, result.stderr.decode(errors="replace"))))
        session.events(MachineProgress(name, what, "done"))
    return came


def script(download: Download, cluster: Cluster) -> str:
    """Downloads one file, and prints `DIGEST NAME` of each binary in it; what is there already is not got again."""
    url, digest = quote(download.url), download.digest
    ways = [f"export {name.lower()}={quote(value)}" for name, value in environment(cluster).items()]
    if download.is_archive:
        keep = [f"rm -rf {digest}.d; mkdir {digest}.d", _unpack(digest)]
        for name, path in download.members.items():
            inside = quote(f"{digest}.d/{path}")
            keep.append(
                f'[ -f {inside} ] || {{ echo "it holds no {path}" >&2; stop archive; }}\nkeep {inside} {quote(name)}'
            )
        keep.append(f"rm -rf {digest}.d {digest}.part")
    else:
        keep = [f"keep {digest}.part {quote(name)}" for name in download.members]
    steps = "\n".join([f"fetch {url} {digest}", "rm -f list.new", *keep, f"mv -fT list.new {digest}.list"])
    return "\n".join(
        ["set -eu", *ways, _FUNCTIONS, f"if ! known {digest}.list; then", steps, "fi", f"cat {digest}.list", ""]
    )


def _unpack(digest: str) -> str:
    full = "! full || stop disk"
    return f"tar -xzf {digest}.part -C {digest}.d --no-same-owner || {{ rm -rf {digest}.d; {full}; stop archive; }}"


def _digests(name: str, download: Download, output: str, said: str) -> dict[str, str]:
    lines = output.splitlines()
    if lines and lines[-1].startswith("stopped "):
        raise _stopped(name, download, lines[-1].split()[1], said)
    found: dict[str, str] = {}
    for line in lines:
        digest, _, member = line.partition(" ")
        found[member] = digest
    if found.keys() != download.members.keys():
        raise ProtocolError(
            f"{download.wanted.name} was downloaded, and holds something else", machine=name, said=output
        )
    return found


def _stopped(name: str, download: Download, why: str, said: str) -> ArtifactError:
    what, hint = _WHY[why]
    return ArtifactError(
        f"{download.wanted.name} {what}; nothing there was changed",
        machine=name,
        tried=f"GET {download.url}",
        said=said.strip() or None,
        hint=hint.format(machine=name),
    )


_FROM_HERE = "or upload from this computer: artifacts: {{fetch: operator}}"
_WHY: Mapping[str, tuple[str, str]] = {
    "tools": (
        "cannot be downloaded: there is neither curl nor apt-helper",
        f"install curl there, {_FROM_HERE}",
    ),
    "download": (
        "could not be downloaded",
        "check from there what is wrong (hardway ssh {machine}): its network, DNS, the inventory's proxy and mirror, "
        f"and ca-certificates for https; run the same command again and it resumes; {_FROM_HERE}",
    ),
    "digest": (
        "is not the file whose digest is pinned",
        "check what answers at that address (a proxy, a mirror); the file was deleted",
    ),
    "archive": ("is not an archive that can be read", "install tar and gzip there; check what answers at that address"),
    "disk": ("does not fit on the disk", f"hardway ssh {{machine}} -- df -h {FETCHED}; free some space there"),
}


def _accepted(name: str, came: Iterable[tuple[Download, dict[str, str]]], lock: Lock) -> dict[FileKey, str]:
    """The digests, accepted in the lock. Raises ArtifactError where one file gave something else elsewhere."""
    found: dict[FileKey, str] = {}
    for download, digests in came:
        entries = download.entries(digests)
        for entry in entries:
            _refuse_another(name, download, entry, lock)
        lock.add(*entries)
        for member, digest in digests.items():
            found[(member, download.wanted.version, download.wanted.arch)] = digest
    return found


def _refuse_another(name: str, download: Download, entry: Entry, lock: Lock) -> None:
    kinds = ("download", "mirror")
    accepted = lock.accepted(entry.name, entry.version, entry.arch).items()
    earlier = [digest for digest, source in accepted if source.startswith(kinds)]
    if earlier and entry.digest not in earlier:
        raise ArtifactError(
            f"{entry.name} out of {download.wanted.name} is not what others found in it",
            machine=name,
            said=f"sha256 {entry.digest} here, {earlier[0]} elsewhere",
            hint=f"one file cannot hold two programs: check that machine's disk and tar, or {lock.path.name}",
        )
