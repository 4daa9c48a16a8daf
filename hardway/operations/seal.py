"""`workspace seal` and `workspace open`: the workspace in one file encrypted with age, which a team can keep in git.

Who sealed last is known by lineage: each sealed copy lists the digests of those before it, and only a workspace that
is one of them is replaced by `open`.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Literal

from hardway.errors import WorkspaceError
from hardway.operations.age import Decrypt, Encrypt, decrypt_file
from hardway.state import State
from hardway.workspace import OPENING, SNAPSHOTS, TEMPORARY, WALK, WATCHED, Workspace

LINEAGE = "sealed.json"
"""In the workspace: digests of the sealed copies that it comes from, the newest last."""
SEALING = "sealing.json"
"""In the workspace: what FILE.json is going to say, until it does."""
_STATE = "state.json"
_LOCAL = {"known_hosts", "ssh_config", "lock", ".gitignore", WALK, WATCHED, LINEAGE, OPENING, SEALING}
_LOCAL_FOLDERS = {"logs", "lab", SNAPSHOTS}
_PUBLIC = (".crt", ".pub", ".csr")
"""What others may read; all else comes out with mode 0600, whatever it had."""
Comparison = Literal["same", "sealed-newer", "workspace-newer", "diverged", "empty"]


@dataclass(frozen=True)
class Sealed:
    """What a sealed copy is of; written as FILE.json beside FILE, and it holds no secret.

    `digest` is that of the files within, `lineage` those of the copies before it, `sha256` that of FILE.
    """

    cluster: str
    cluster_id: str
    generation: int
    sealed: str
    digest: str
    lineage: tuple[str, ...]
    sha256: str = ""


@dataclass(frozen=True)
class Compared:
    """What a sealed copy is of, and how the workspace here stands to it; `half_opened`: an `open` was interrupted."""

    cluster: str
    cluster_id: str
    generation: int
    sealed: str
    comparison: Comparison
    half_opened: bool


@dataclass(frozen=True)
class _File:
    content: bytes
    mode: int


def seal(workspace: Workspace, path: Path, encrypt: Encrypt) -> Sealed:
    """Writes FILE and FILE.json. Raises WorkspaceError where FILE has what this workspace never had."""
    workspace.require_whole()
    state, files = workspace.load_state(), _files(workspace)
    if state is None:
        raise WorkspaceError(f"{workspace.root} has no State; nothing was sealed", hint="hardway init")
    _end_interrupted(workspace, path)
    lineage, digest = _lineage(workspace), _digest(files)
    if path.exists() and note_of(path).digest not in (*lineage, digest):
        raise WorkspaceError(
            f"{path} was sealed from another copy of the workspace, which has changed since; nothing was changed",
            hint="find out which of the two the cluster has (hardway plan); seal that one to another name",
        )
    before = tuple(known for known in lineage if known != digest)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    sealed = Sealed(state.cluster, state.cluster_id, state.generation, now, digest, before)
    target = io.BytesIO()
    encrypt(io.BytesIO(_packed(sealed, files)), target)
    content = target.getvalue()
    sealed = replace(sealed, sha256=hashlib.sha256(content).hexdigest())
    # First the workspace: a copy that is written and not known here would be refused as somebody else's.
    _remember(workspace, sealed)
    note = json.dumps(asdict(sealed), indent=1).encode() + b"\n"
    workspace.write(SEALING, note, 0o600)
    beside = Workspace(path.resolve().parent)
    beside.write(path.name, content, 0o600)
    beside.write(_note(path).name, note, 0o600)
    (workspace.root / SEALING).unlink()
    return sealed


def _end_interrupted(workspace: Workspace, path: Path) -> None:
    """Writes the note of a FILE that was written when `seal` was killed: without it, it would be somebody else's."""
    pending = workspace.root / SEALING
    if not pending.exists():
        return
    note = pending.read_bytes()
    if path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() == json.loads(note)["sha256"]:
        Workspace(path.resolve().parent).write(_note(path).name, note, 0o600)
    pending.unlink()


def open_sealed(workspace: Workspace, cluster: str, path: Path, decrypt: Decrypt) -> Sealed:
    """Makes the workspace what FILE holds. Raises WorkspaceError, and changes nothing, where that would lose something.

    Each file is replaced by rename, the State last; one that was cut goes on with the same command.
    """
    sealed, files = _unpacked(path, decrypt)
    if sealed.cluster != cluster:
        raise WorkspaceError(f"{path} is of the cluster {sealed.cluster}, not {cluster}", said="nothing was changed")
    present = _files(workspace)
    if _opening(workspace) != sealed.digest:
        workspace.require_whole()
        _refuse_loss(compare(workspace, sealed), workspace, path)
    workspace.write(OPENING, json.dumps(sealed.digest).encode(), 0o600)
    for name in sorted(files, key=lambda name: (name == _STATE, name)):
        # A key that others could read is one that is to be written again.
        if present.get(name) != files[name] or workspace.mode(name) != files[name].mode:
            workspace.write(name, files[name].content, files[name].mode)
    for name in present.keys() - files.keys():
        (workspace.root / name).unlink()
    _remember(workspace, sealed)
    (workspace.root / OPENING).unlink()
    return sealed


def compare(workspace: Workspace, sealed: Sealed) -> Comparison:
    """Which of the two comes from the other."""
    files = _files(workspace)
    digest = _digest(files)
    if not files:
        return "empty"
    if digest == sealed.digest:
        return "same"
    if digest in sealed.lineage:
        return "sealed-newer"
    return "workspace-newer" if sealed.digest in _lineage(workspace) else "diverged"


def compared(workspace: Workspace, sealed: Sealed) -> Compared:
    """The same, with what a person wants to know beside it."""
    comparison, half_opened = compare(workspace, sealed), _opening(workspace) is not None
    return Compared(sealed.cluster, sealed.cluster_id, sealed.generation, sealed.sealed, comparison, half_opened)


def note_of(path: Path) -> Sealed:
    """What FILE.json says. Raises WorkspaceError where it is missing, damaged, or of another FILE."""
    note = _note(path)
    try:
        sealed = _sealed(json.loads(note.read_bytes()))
        matches = hashlib.sha256(path.read_bytes()).hexdigest() == sealed.sha256
    except OSError as error:
        raise WorkspaceError(f"{error.filename} cannot be read: {error.strerror}", hint="keep both files") from error
    except (ValueError, TypeError, KeyError) as error:
        raise WorkspaceError(f"{note} is damaged", hint="take both files from the same commit") from error
    if not matches:
        raise WorkspaceError(f"{note} is not of this {path.name}", hint="take both files from the same commit")
    return sealed


def _refuse_loss(comparison: Comparison, workspace: Workspace, path: Path) -> None:
    if comparison == "workspace-newer":
        raise WorkspaceError(
            f"{workspace.root} has changed since {path} was sealed; nothing was changed",
            hint="hardway workspace seal, with the same FILE",
        )
    if comparison == "diverged":
        raise WorkspaceError(
            f"{workspace.root} and {path} have both changed; nothing was changed",
            hint="open it elsewhere with --workspace DIR; hardway plan says which of the two the cluster has",
        )


def _opening(workspace: Workspace) -> str | None:
    try:
        return str(json.loads((workspace.root / OPENING).read_bytes()))
    except FileNotFoundError:
        return None


def _lineage(workspace: Workspace) -> tuple[str, ...]:
    try:
        return tuple(json.loads((workspace.root / LINEAGE).read_bytes()))
    except FileNotFoundError:
        return ()


def _remember(workspace: Workspace, sealed: Sealed) -> None:
    workspace.write(LINEAGE, json.dumps([*sealed.lineage, sealed.digest]).encode(), 0o600)


def _is_shared(name: PurePosixPath) -> bool:
    local = str(name) in _LOCAL or name.parts[0] in _LOCAL_FOLDERS
    return not local and not any(part.startswith(TEMPORARY) for part in name.parts)


def _files(workspace: Workspace) -> dict[str, _File]:
    files = {}
    for path in sorted(workspace.root.rglob("*")):
        name = PurePosixPath(path.relative_to(workspace.root))
        if _is_shared(name) and path.is_file() and not path.is_symlink():
            files[str(name)] = _File(path.read_bytes(), _mode(name, path.stat().st_mode))
    return files


def _mode(name: PurePosixPath, mode: int) -> int:
    return mode & 0o644 if name.suffix in _PUBLIC else 0o600


def _digest(files: Mapping[str, _File]) -> str:
    every = [[name, hashlib.sha256(files[name].content).hexdigest()] for name in sorted(files)]
    return hashlib.sha256(json.dumps(every).encode()).hexdigest()


def _packed(sealed: Sealed, files: Mapping[str, _File]) -> bytes:
    """A tar archive, so that `age -d FILE | tar x` reads it without hardway."""
    buffer = io.BytesIO()
    note = _File(json.dumps(asdict(sealed)).encode(), 0o600)
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, file in {LINEAGE: note, **files}.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(file.content), file.mode
            archive.addfile(member, io.BytesIO(file.content))
    return buffer.getvalue()


def _unpacked(path: Path, decrypt: Decrypt) -> tuple[Sealed, dict[str, _File]]:
    """Wholly in memory, and checked, before anything is written."""
    plain = io.BytesIO()
    decrypt_file(path, decrypt, plain)
    plain.seek(0)
    files: dict[str, _File] = {}
    try:
        with tarfile.open(fileobj=plain, mode="r:gz") as archive:
            for member in archive:
                body = archive.extractfile(member)
                if body is None or not _is_safe(member.name):
                    raise ValueError(member.name)
                files[member.name] = _File(body.read(), _mode(PurePosixPath(member.name), member.mode))
        sealed = _sealed(json.loads(files.pop(LINEAGE).content))
        State.from_json(files[_STATE].content.decode(), _STATE)
    except (tarfile.TarError, ValueError, TypeError, KeyError, OSError, EOFError) as error:
        raise WorkspaceError(f"{path} holds no workspace", hint="give a FILE of hardway workspace seal") from error
    if _digest(files) != sealed.digest:
        raise WorkspaceError(f"{path} is damaged", hint="take an earlier one from git")
    return sealed, files


def _is_safe(name: str) -> bool:
    pure = PurePosixPath(name)
    inside = not pure.is_absolute() and ".." not in pure.parts and str(pure) == name
    return inside and (name == LINEAGE or _is_shared(pure))


def _sealed(raw: dict[str, object]) -> Sealed:
    sealed = Sealed(**raw)  # type: ignore[arg-type]
    return replace(sealed, lineage=tuple(sealed.lineage))


def _note(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")
