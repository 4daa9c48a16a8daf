"""The check as metrics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hardway.certificates.check import Certificates
from hardway.console.prometheus import Sample, metric


def lines(found: Certificates) -> list[str]:
    """All metrics, each with its help and its type."""
    own = {"cluster": found.cluster}
    return [
        *_metric("file_not_after", "When a certificate in a file ends, in seconds since the epoch.", _files(found)),
        *_metric("served_not_after", "When a certificate that is served ends, in seconds.", _served(found)),
        *_metric("served_as_on_disk", "1 where the certificate is served that is beside the process.", _same(found)),
        *_metric("unread", "1 for a machine, a file or a port that could not be looked at.", _unread(found)),
        *_metric("checked", "When all of this was looked at, in seconds since the epoch.", [
            (own, found.at.timestamp()),
        ]),
    ]  # fmt: skip


def _files(found: Certificates) -> Iterator[Sample]:
    for one in found.disk:
        labels = {"cluster": found.cluster, "machine": one.machine, "path": one.path, "name": one.name}
        yield labels | {"ca": one.certificate.ca}, one.certificate.not_after.timestamp()


def _served(found: Certificates) -> Iterator[Sample]:
    for one in found.served:
        if one.certificate:
            labels = {"cluster": found.cluster, "machine": one.machine, "component": one.component}
            yield labels | {"address": one.address}, one.certificate.not_after.timestamp()


def _same(found: Certificates) -> Iterator[Sample]:
    for one in found.served:
        if one.as_on_disk is not None:
            labels = {"cluster": found.cluster, "machine": one.machine, "component": one.component}
            yield labels | {"address": one.address}, float(one.as_on_disk)


def _unread(found: Certificates) -> Iterator[Sample]:
    for one in found.unread:
        yield {"cluster": found.cluster, "machine": one.machine, "what": one.what}, 1.0
    for silent in found.silent:
        yield {"cluster": found.cluster, "machine": silent.machine, "what": silent.address}, 1.0


def _metric(name: str, help_text: str, samples: Iterable[Sample]) -> Iterator[str]:
    return metric(f"hardway_certificate_{name}", help_text, samples)
