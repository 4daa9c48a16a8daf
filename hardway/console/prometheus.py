"""Metrics as a file for the textfile collector of Prometheus' node exporter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from hardway.errors import UsageError
from hardway.files import replacing

MODE = 0o644
"""The exporter is another user, and nothing of this is secret."""

Sample = tuple[Mapping[str, str], float]


def metric(name: str, help_text: str, samples: Iterable[Sample]) -> Iterator[str]:
    """The lines of one metric, a gauge, with its help and its type."""
    yield f"# HELP {name} {help_text}"
    yield f"# TYPE {name} gauge"
    for labels, value in samples:
        told = ",".join(f'{label}="{_escaped(one)}"' for label, one in labels.items())
        yield f"{name}{{{told}}} {value:.0f}"


def write(path: Path, lines: Iterable[str]) -> None:
    """By rename: the exporter never reads half a file. Raises UsageError where it cannot be written."""
    try:
        with replacing(path, MODE) as file:
            file.writelines(f"{line}\n".encode() for line in lines)
    except OSError as error:
        raise UsageError(
            f"{path} could not be written: {error.strerror}; what was there is untouched",
            hint="--prometheus FILE, in a folder that you may write to",
        ) from error


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
