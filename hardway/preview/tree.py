"""Every artifact of every machine as a tree of files: what a person would type, without asking any machine.

A tree is written into a folder that holds nothing else, or an earlier such tree.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hardway.declare.declaration import Declaration
from hardway.declare.resources import ApiObjects, Block, File, WorkspaceFile
from hardway.errors import UsageError
from hardway.values import OPERATOR, fill, placeholders, sha256

INDEX = "INDEX"
_HEAD = "# Written by hardway render: mode, owner, sha256, chapter, path, and what is not filled in.\n"


@dataclass(frozen=True)
class Artifact:
    """`path` is below the tree's root, and begins with the machine; `unknown` names the placeholders left in it."""

    path: str
    phase: str
    text: str
    mode: int
    owner: str
    unknown: tuple[str, ...]

    @property
    def content(self) -> bytes:
        """What an operator ships may be no text."""
        return self.text.encode(errors="surrogateescape")


@dataclass(frozen=True)
class Rendered:
    """What `render` wrote, and where; without the texts, which are there."""

    folder: str
    artifacts: tuple[Listed, ...]


@dataclass(frozen=True)
class Listed:
    """An artifact as the index has it; `mode` is octal, as `ls` and `chmod` have it."""

    path: str
    phase: str
    mode: str
    owner: str
    sha256: str
    unknown: tuple[str, ...]


def listed(root: Path, artifacts: Sequence[Artifact]) -> Rendered:
    return Rendered(
        str(root),
        tuple(
            Listed(one.path, one.phase, f"{one.mode:04o}", one.owner, sha256(one.content), one.unknown)
            for one in artifacts
        ),
    )


def tree(declaration: Declaration, values: Mapping[str, bytes], *, with_secrets: bool) -> list[Artifact]:
    """The artifacts by path. Unresolved placeholders, and those of secrets, are printed by name."""
    found = [*_placed(declaration, values, with_secrets), *_operators(declaration, values, with_secrets)]
    return sorted(found, key=lambda one: one.path)


def _placed(declaration: Declaration, values: Mapping[str, bytes], with_secrets: bool) -> Iterator[Artifact]:
    for one in declaration.placed:
        match one.resource:
            case File() as file:
                text, unknown = _filled(file.text, values, with_secrets)
                owner = f"{file.owner}:{file.group}"
                yield Artifact(f"{one.machine}{file.path}", one.phase, text, file.mode, owner, unknown)
            case Block() as block:
                begin, end = block.marks()
                text, unknown = _filled(f"{begin}\n{block.text}{end}\n", values, with_secrets)
                yield Artifact(f"{one.machine}{block.path}", one.phase, text, 0o644, "root:root", unknown)
            case ApiObjects() as objects:
                path = f"api-objects/{objects.title}.yaml"
                yield Artifact(path, one.phase, objects.manifest, 0o644, "-", ())


def _operators(declaration: Declaration, values: Mapping[str, bytes], with_secrets: bool) -> Iterator[Artifact]:
    for phase, local in declaration.local:
        if isinstance(local, WorkspaceFile):
            text, unknown = _filled(local.text, values, with_secrets)
            yield Artifact(f"{OPERATOR}/{local.path}", phase, text, local.mode, "-", unknown)


def _filled(text: str, values: Mapping[str, bytes], with_secrets: bool) -> tuple[str, tuple[str, ...]]:
    """The text with what is known, one by one: one that stays must not keep the others back."""
    left: dict[str, None] = {}
    for placeholder in dict.fromkeys(placeholders(text)):
        value = fill(str(placeholder), values) if with_secrets or not placeholder.secret else None
        if value is None:
            left[placeholder.name] = None
        else:
            text = text.replace(str(placeholder), value.decode(errors="surrogateescape"))
    return text, tuple(left)


def write_tree(root: Path, artifacts: Sequence[Artifact]) -> None:
    """The same artifacts give the same bytes. Raises UsageError for a folder that holds something else."""
    try:
        _clear(root)
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        (root / INDEX).write_text(_HEAD + "".join(map(_line, artifacts)), encoding="utf-8")
        for one in artifacts:
            path = root / one.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
            path.write_bytes(one.content)
            path.chmod(one.mode)
    except OSError as error:
        raise UsageError(f"{root} cannot be written: {error.strerror}", hint="give another folder") from error


def _line(one: Artifact) -> str:
    unknown = f"  {' '.join(one.unknown)}" if one.unknown else ""
    return f"{one.mode:04o} {one.owner} {sha256(one.content)} {one.phase} {one.path}{unknown}\n"


def _clear(root: Path) -> None:
    """Takes an earlier tree away, and nothing beside it."""
    if not root.exists() or not any(root.iterdir()):
        return
    index = root / INDEX
    if not index.is_file() or not (text := index.read_text(encoding="utf-8")).startswith(_HEAD):
        raise UsageError(f"{root} is not empty, and not a tree of hardway's", hint="give a new folder")
    base = root.resolve()
    for line in text[len(_HEAD) :].splitlines():
        path = root / line.split(" ", 5)[4]
        # A path from a file is no reason to delete something elsewhere.
        if not path.parent.resolve().is_relative_to(base):
            continue
        path.unlink(missing_ok=True)
        _prune(path.parent, root)


def _prune(folder: Path, root: Path) -> None:
    while folder != root and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent
