"""The check as a file for the textfile collector of Prometheus' node exporter."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from hardway.certificates.check import Certificates
from hardway.errors import UsageError

MODE = 0o644
"""The exporter is another user, and nothing of this is secret."""

Sample = tuple[Mapping[str, str], float]


def write(path: Path, found: Certificates) -> None:
    """By rename: the exporter never reads half a file. Raises UsageError where it cannot be written."""
    temporary = ""
    try:
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = file.name
            file.write(text(found))
            os.fchmod(file.fileno(), MODE)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise UsageError(
            f"{path} could not be written: {error.strerror}; what was there is untouched",
            hint="--prometheus FILE, in a folder that you may write to",
        ) from error


def text(found: Certificates) -> str:
    """All metrics, each with its help and its type."""
    own = {"cluster": found.cluster}
    lines = [
        *_metric("file_not_after", "When a certificate in a file ends, in seconds since the epoch.", _files(found)),
        *_metric("served_not_after", "When a certificate that is served ends, in seconds.", _served(found)),
        *_metric("served_as_on_disk", "1 where the certificate is served that is beside the process.", _same(found)),
        *_metric("unread", "1 for a machine, a file or a port that could not be looked at.", _unread(found)),
        *_metric("checked", "When all of this was looked at, in seconds since the epoch.", [
            (own, found.at.timestamp()),
        ]),
    ]  # fmt: skip
    return "".join(f"{line}\n" for line in lines)


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


def _metric(name: str, help_text: str, samples: Iterator[Sample] | list[Sample]) -> Iterator[str]:
    yield f"# HELP hardway_certificate_{name} {help_text}"
    yield f"# TYPE hardway_certificate_{name} gauge"
    for labels, value in samples:
        told = ",".join(f'{label}="{_escaped(one)}"' for label, one in labels.items())
        yield f"hardway_certificate_{name}{{{told}}} {value:.0f}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
