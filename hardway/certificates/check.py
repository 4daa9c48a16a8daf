"""How long does each certificate last, and do processes show the one that is beside them? One script a machine."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Literal

from hardway.declare import pki
from hardway.declare.declaration import Declaration
from hardway.declare.generations import CAS
from hardway.declare.resources import File
from hardway.engine.session import Session
from hardway.errors import DIFFERS, FAILED, OK, HardwayError
from hardway.inventory.model import Cluster
from hardway.probe import certificates, served
from hardway.probe.certificates import KUBELET_CLIENT
from hardway.probe.script import Answers, understood
from hardway.probe.served import HAPROXY, Port
from hardway.state import State
from hardway.values import OPERATOR, placeholders

Age = Literal["good", "ending", "expired", "not yet valid"]

KUBELETS_OWN = 10
"""The part of its life that a certificate has left when its kubelet, which renews it much earlier, is late."""


@dataclass(frozen=True)
class Description:
    """What a certificate says. `ca` and `generation` tell which of the cluster's CAs signed it; `serial` is
    hexadecimal. `days_left` is negative after its end; `age`: whether it ends within the time that was asked for.
    """

    subject: str
    issuer: str
    ca: str
    generation: int | None
    is_ca: bool
    dns_names: tuple[str, ...]
    addresses: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    days_left: int
    serial: str
    age: Age


@dataclass(frozen=True)
class OnDisk:
    """A certificate in a file. `name` is what `hardway certs renew` calls it, empty for what a kubelet renews.

    `path` is on the machine, with `#ca` or `#client` in a kubeconfig; of the operator's in the workspace. Further
    certificates of one file have their number behind it.
    """

    machine: str
    path: str
    name: str
    certificate: Description


@dataclass(frozen=True)
class Served:
    """A certificate that a process shows. `as_on_disk` is None where it makes its own, or nothing was answered."""

    machine: str
    component: str
    address: str
    path: str
    certificate: Description | None
    as_on_disk: bool | None


@dataclass(frozen=True)
class Unread:
    """A machine, or a file on it, that could not be looked at."""

    machine: str
    what: str


@dataclass(frozen=True)
class Certificates:
    """All that was found, at a time; `disk` is ordered by the ends of lives."""

    cluster: str
    at: datetime
    disk: tuple[OnDisk, ...]
    served: tuple[Served, ...]
    unread: tuple[Unread, ...]

    @property
    def ending(self) -> tuple[OnDisk | Served, ...]:
        """What has ended, or does within the time that was asked for."""
        found: list[OnDisk | Served] = [one for one in self.disk if one.certificate.age != "good"]
        found += [one for one in self.served if one.certificate and one.certificate.age != "good"]
        return tuple(found)

    @property
    def differing(self) -> tuple[Served, ...]:
        """Processes that show another certificate than the one that is there."""
        return tuple(one for one in self.served if one.as_on_disk is False)

    @property
    def silent(self) -> tuple[Served, ...]:
        return tuple(one for one in self.served if one.certificate is None)

    @property
    def exit_code(self) -> int:
        """3 where something ends or differs, 1 where something could not be looked at."""
        if self.ending or self.differing:
            return DIFFERS
        return FAILED if self.unread or self.silent else OK

    def to_json(self) -> dict[str, Any]:
        told: dict[str, Any] = asdict(self)
        told["at"] = self.at.isoformat()
        for one in (*told["disk"], *told["served"]):
            if certificate := one["certificate"]:
                for name in ("not_before", "not_after"):
                    certificate[name] = certificate[name].isoformat()
        return told


def ask(session: Session, cluster: Cluster) -> dict[str, Answers]:
    """What is on the machines of the session and what is served there."""

    def asked(name: str) -> Answers:
        ports = served.ports(cluster, cluster.machine(name))
        questions = [certificates.QUESTION, *(port.question for port in ports)]
        return session.ask(name, questions, what="look at its certificates")

    return session.each(session.machines, asked)


def check(
    cluster: Cluster,
    state: State,
    declaration: Declaration,
    values: Mapping[str, bytes],
    answers: Mapping[str, Answers],
    unreached: Mapping[str, HardwayError],
    within: timedelta | None = None,
) -> Certificates:
    """Judges what was answered. `values` are the workspace's files.

    `within`: what ends in that time is `ending`; without it what is due for renewal.
    """
    now = datetime.now(UTC)
    reader = _Reader(_authorities(state, values), now, within)
    found = list(_operators(reader, values))
    unread = [Unread(name, error.what) for name, error in unreached.items()]
    for name, said in answers.items():
        with understood(name, "which certificates lie there"):
            names = _names(declaration, name)
            for path, pem in certificates.pems(said).items():
                lying = [OnDisk(name, where, names.get(path, ""), one) for where, one in reader.all(path, pem)]
                found += lying
                unread += [] if lying else [Unread(name, path)]
    shown: list[Served] = []
    for name, said in answers.items():
        with understood(name, "which certificates are served there"):
            for port in served.ports(cluster, cluster.machine(name)):
                shown.append(_served(name, port, said, reader, found))
    ordered = sorted(found, key=lambda one: (one.certificate.not_after, one.machine, one.path))
    return Certificates(cluster.name, now, tuple(ordered), tuple(shown), tuple(unread))


def _served(machine: str, port: Port, said: Answers, reader: _Reader, disk: list[OnDisk]) -> Served:
    answer = said[port.question.name]
    lying = [one for one in disk if one.path == port.path and one.machine == machine]
    # What an API server shows through the balancer is on the controllers, and was made here.
    lying = lying or [one for one in disk if one.path in (port.path, f"pki/{port.component}.crt")]
    if port.component == HAPROXY:
        shown = reader.loaded(answer.output, lying)
    else:
        shown = next((one for _, one in reader.all(port.path, answer.raw)), None)
    same = None
    if shown is not None and port.path:
        same = any(one.certificate.serial == shown.serial for one in lying)
    return Served(machine, port.component, port.address, port.path, shown, same)


class _Reader:
    """Describes certificates as seen now."""

    def __init__(self, cas: Mapping[str, tuple[str, int]], now: datetime, within: timedelta | None) -> None:
        """`cas`: by PEM text of each CA its name and generation."""
        self._now, self._within = now, within
        self._cas = [(pem.encode(), *known) for pem, known in cas.items()]
        # Many machines have the same certificates, and each signature takes its time.
        self.describe = lru_cache(maxsize=4096)(self._describe)

    def all(self, path: str, text: bytes) -> list[tuple[str, Description]]:
        """Every certificate of a text, with the path and, from the second one on, its number."""
        found: list[tuple[str, Description]] = []
        for number, pem in enumerate(pki.split(text), 1):
            try:
                one = self.describe(pem, own=path == KUBELET_CLIENT)
            except pki.PemError:
                continue
            found.append((path if number == 1 else f"{path}#{number}", one))
        return found

    def loaded(self, answer: str, lying: list[OnDisk]) -> Description | None:
        """What HAProxy has loaded: it says of a certificate less than is in it."""
        said = served.loaded(answer)
        serial = said.get("Serial", "").lstrip("0")
        if not serial:
            return None
        for one in lying:
            if one.certificate.serial == serial:
                return one.certificate
        begin, end = _gmt(said["notBefore"]), _gmt(said["notAfter"])
        return Description(
            said["Subject"], said["Issuer"], "", None, False, (), (), begin, end, (end - self._now).days, serial,
            self._age(begin, end, pki.renewal_margin(begin, end)),
        )  # fmt: skip

    def _describe(self, pem: bytes, own: bool) -> Description:
        one = pki.read(pem)
        ca, generation = self._issuer(pem)
        life = one.not_after - one.not_before
        margin = life / KUBELETS_OWN if own else pki.renewal_margin(one.not_before, one.not_after)
        return Description(
            subject=one.subject,
            issuer=one.issuer,
            ca=ca,
            generation=generation,
            is_ca=one.is_ca,
            dns_names=one.dns_names,
            addresses=one.addresses,
            not_before=one.not_before,
            not_after=one.not_after,
            days_left=(one.not_after - self._now).days,
            serial=f"{one.serial:X}",
            age=self._age(one.not_before, one.not_after, margin),
        )

    def _age(self, begin: datetime, end: datetime, margin: timedelta) -> Age:
        if end <= self._now:
            return "expired"
        if begin > self._now:
            return "not yet valid"
        margin = margin if self._within is None else self._within
        return "ending" if end - self._now <= margin else "good"

    def _issuer(self, pem: bytes) -> tuple[str, int | None]:
        for ca, name, generation in self._cas:
            if pki.is_issued_by(pem, ca):
                return name, generation
        return "", None


def _authorities(state: State, values: Mapping[str, bytes]) -> dict[str, tuple[str, int]]:
    found: dict[str, tuple[str, int]] = {}
    for ca in CAS:
        for number in ca.generations(state):
            path = f"{ca.generation(number)}.crt"
            if path in values:
                found[values[path].decode(errors="replace")] = (ca.name, number)
    return found


def _operators(reader: _Reader, values: Mapping[str, bytes]) -> Iterator[OnDisk]:
    for path, content in values.items():
        if path.endswith(".crt"):
            texts = {path: content}
        elif path.endswith(".conf") or path == "kubeconfig":
            texts = {f"{path}{part}": pem for part, pem in certificates.in_kubeconfig(content).items()}
        else:
            continue
        for place, pem in texts.items():
            name = _name_of(path) if path.endswith(".crt") else ""
            yield from (OnDisk(OPERATOR, where, name, one) for where, one in reader.all(place, pem))


def _names(declaration: Declaration, machine: str) -> dict[str, str]:
    """By path on a machine, what the certificate there is called."""
    found: dict[str, str] = {}
    for placed in declaration.on(machine):
        file = placed.resource
        if not isinstance(file, File):
            continue
        held = [one.name for one in placeholders(file.text) if re.fullmatch(r"pki/.*\.crt", one.name)]
        if file.path.endswith(".conf"):
            found |= {f"{file.path}{part}": _name_of(one) for part, one in zip(("#ca", "#client"), held, strict=False)}
        elif held:
            found[file.path] = _name_of(held[0])
    return found


def _name_of(path: str) -> str:
    return path.removeprefix("pki/").removesuffix(".crt")


def _gmt(text: str) -> datetime:
    """`Nov 28 01:06:45 2026 GMT`."""
    return datetime.strptime(text, "%b %d %H:%M:%S %Y GMT").replace(tzinfo=UTC)
