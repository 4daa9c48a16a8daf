"""The certificates of a cluster for people: what ends first comes first, and each certificate once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

from hardway.certificates.check import Certificates, Description, OnDisk, Served
from hardway.console.tables import table
from hardway.console.words import counted, duration, machines, typed, wrapped
from hardway.declare.pki import renewal_margin
from hardway.values import OPERATOR

_DIGITS = 8
"""Of a serial number that are shown."""
_MANY = 6
"""Names in a proposed command; of more it is all."""
_DISK = ("CERTIFICATE", "CA", "ENDS", "LEFT", "SERIAL", "WHERE")
_SERVED = ("PORT", "MACHINE", "PROCESS", "ENDS", "SERIAL", "ON DISK")


def certificates_page(
    found: Certificates, everybody: Sequence[str], *, seconds: float, width: int, verbose: bool, given: str
) -> list[str]:
    """Within the width. `verbose`: subjects, issuers, names, and each place; `given` is what commands repeat."""
    lines = table(_DISK, [_row(some, everybody) for some in _alike(found.disk)], width).splitlines()
    lines += ["", *table(_SERVED, [_served_row(one) for one in found.served], width).splitlines(), ""]
    if verbose:
        for some in _alike(found.disk):
            lines += [*_described(some, width), ""]
    for one in found.unread:
        lines += wrapped("not seen ", f"{one.machine}: {one.what}", width)
    for other in found.differing:
        shown = f"{other.component} at {other.address} shows another certificate than {other.path}"
        lines += wrapped("differs  ", f"{other.machine}: {shown}", width)
    count = len({one.certificate.serial for one in found.disk})
    looked = f"{counted(count, 'certificate')} in {counted(len(found.disk), 'place')}, "
    looked += f"{counted(len(found.served), 'port')}, {duration(seconds)}"
    lines.append(f"{looked}. {_verdict(found)}")
    return lines + [f"Issue again:  {typed(command, given)}" for command in _commands(found)]


def _commands(found: Certificates) -> Iterator[str]:
    """What issues again what ends; what is not due yet by its name, and a CA always."""
    ending = [one for one in found.ending if isinstance(one, OnDisk) and one.name]
    leaves = [one for one in ending if not one.certificate.is_ca]
    early = [one for one in leaves if one.certificate.not_after - found.at > _margin(one.certificate)]
    names = sorted({one.name for one in leaves}) if early else []
    if leaves:
        words = names if len(names) <= _MANY else ["--all"]
        yield " ".join(["hardway certs renew", *words])
    if cas := sorted({one.name for one in ending if one.certificate.is_ca}):
        yield " ".join(["hardway certs renew", *cas])


def _margin(one: Description) -> timedelta:
    return renewal_margin(one.not_before, one.not_after)


def _verdict(found: Certificates) -> str:
    ended = sum(bool(one.certificate and one.certificate.age == "expired") for one in found.ending)
    parts = [
        (ended, "expired"), (len(found.ending) - ended, "near their ends"),
        (len(found.differing), "not shown as on disk"), (len(found.silent), "silent"),
    ]  # fmt: skip
    told = ", ".join(f"{count} {words}" for count, words in parts if count)
    return f"{told[:1].upper()}{told[1:]}." if told else "None ends soon, and each that is shown is the one on disk."


def _alike(disk: Sequence[OnDisk]) -> list[list[OnDisk]]:
    """The places of each certificate together, in the order of their ends."""
    found: dict[tuple[str, str], list[OnDisk]] = {}
    for one in disk:
        found.setdefault((one.certificate.issuer, one.certificate.serial), []).append(one)
    return list(found.values())


def _row(some: Sequence[OnDisk], everybody: Sequence[str]) -> tuple[str, ...]:
    one = some[0].certificate
    name = next((place.name for place in some if place.name), "") or one.subject
    places = {place.machine for place in some if place.machine != OPERATOR}
    where = machines(places, everybody) if places else "workspace"
    return name, _ca(one), f"{one.not_after:%Y-%m-%d}", _left(one), one.serial[:_DIGITS], where


def _ca(one: Description) -> str:
    return f"{one.ca} {one.generation if one.generation != 1 else ''}".strip() or "another"


def _left(one: Description) -> str:
    if one.age == "expired":
        return "expired"
    if one.age == "not yet valid":
        return "not yet"
    return f"{one.days_left} d, ends" if one.age == "ending" else f"{one.days_left} d"


def _served_row(one: Served) -> tuple[str, ...]:
    port = one.address.rpartition(":")[2]
    if one.certificate is None:
        return port, one.machine, one.component, "", "", "no answer"
    same = {True: "the same", False: "another", None: "makes its own"}[one.as_on_disk]
    ends = f"{one.certificate.not_after:%Y-%m-%d}"
    return port, one.machine, one.component, ends, one.certificate.serial[:_DIGITS], same


def _described(some: Sequence[OnDisk], width: int) -> Iterator[str]:
    one = some[0].certificate
    yield f"{one.subject}  serial {one.serial}"
    yield from wrapped("  from     ", f"{one.issuer} ({_ca(one)})", width)
    yield from wrapped("  valid    ", f"{one.not_before:%Y-%m-%d %H:%M} to {one.not_after:%Y-%m-%d %H:%M} UTC", width)
    yield from wrapped("  names    ", ", ".join((*one.dns_names, *one.addresses)), width)
    yield from wrapped("  found in ", ", ".join(f"{place.machine}:{place.path}" for place in some), width)
