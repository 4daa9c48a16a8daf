"""`artifacts.lock` beside the inventory: which digests are accepted for each file.

Builds differ between machines and Go versions, so a file has a set of them. A YAML mapping: name of the
binary, image or published file -> version -> architecture -> sha256 -> where it came from.
"""

import fcntl
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from hardway import yaml_text
from hardway.errors import ArtifactError
from hardway.files import replacing

_HEAD = """\
# Written by hardway: the sha256 digests that this cluster's files may have, and where each came from.
# Commit it with the inventory. Take a line out, and the file is got or built again.
"""
FROM_BUNDLE = "bundle, "
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Entry:
    """One accepted digest."""

    name: str
    version: str
    arch: str
    digest: str
    source: str

    @property
    def is_bundled(self) -> bool:
        """Whether a bundle brought it: the rest of its source is then the bundle's own word."""
        return self.source.startswith(FROM_BUNDLE)


class Lock:
    """The accepted digests kept in one file; a file that is not there accepts nothing yet."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def entries(self) -> tuple[Entry, ...]:
        """All of them, sorted. Raises ArtifactError where the file is not as hardway writes it."""
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise ArtifactError(f"{self.path} cannot be read: {error.strerror}") from error
        try:
            return tuple(sorted(_entries(yaml_text.document(text) or {}), key=_order))
        except (yaml.YAMLError, AttributeError, TypeError, ValueError) as error:
            raise ArtifactError(
                f"{self.path} is not as hardway writes it",
                said=str(error),
                hint=f"restore it from version control, or delete {self.path.name} to accept new digests",
            ) from error

    def accepted(self, name: str, version: str, arch: str) -> Mapping[str, str]:
        """The digests accepted for one file, each with its source."""
        return {
            entry.digest: entry.source
            for entry in self.entries()
            if (entry.name, entry.version, entry.arch) == (name, version, arch)
        }

    def add(self, *new: Entry) -> None:
        """Accept these digests too. Writes by rename, and only where something is new.

        The first source stays, so what is built again gives no new line; but what was got or built here comes
        before a bundle's word of it.
        """
        with self._held():
            known = {_identity(entry): entry for entry in self.entries()}
            merged = dict(known)
            for entry in new:
                first = merged.get(_identity(entry))
                if first is None or (first.is_bundled and not entry.is_bundled):
                    merged[_identity(entry)] = entry
            if merged == known:
                return
            tree: dict[str, Any] = {}
            for entry in sorted(merged.values(), key=_order):
                arches = tree.setdefault(entry.name, {}).setdefault(entry.version, {})
                arches.setdefault(entry.arch, {})[entry.digest] = entry.source
            self._write(_HEAD + yaml.safe_dump(tree, sort_keys=False, width=120))

    @contextmanager
    def _held(self) -> Iterator[None]:
        # The folder is what is locked: the file itself is replaced, and a second file would be left behind.
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            folder = os.open(self.path.parent, os.O_RDONLY)
        except OSError as error:
            raise ArtifactError(f"{self.path} cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)

    def _write(self, text: str) -> None:
        try:
            with replacing(self.path, 0o644) as file:
                file.write(text.encode())
        except OSError as error:
            raise ArtifactError(f"{self.path} cannot be written: {error.strerror}") from error


def _entries(tree: Mapping[str, Any]) -> Iterator[Entry]:
    for name, versions in tree.items():
        for version, arches in versions.items():
            for arch, digests in arches.items():
                for digest, source in digests.items():
                    if not _DIGEST.fullmatch(str(digest)):
                        raise ValueError(f"{name} {version} {arch}: not a sha256 digest: {digest}")
                    yield Entry(str(name), str(version), str(arch), str(digest), str(source))


def _identity(entry: Entry) -> tuple[str, str, str, str]:
    return entry.name, entry.version, entry.arch, entry.digest


def _order(entry: Entry) -> tuple[str, tuple[int, ...], str, str]:
    numbers = tuple(int(part) for part in re.findall(r"\d+", entry.version))
    return entry.name, numbers, entry.arch, entry.digest
