"""The operator's folder of one cluster: the only I/O with it.

`.hardway/<cluster>/` beside the inventory, mode 0700: pki/, kubeconfigs/, secrets/, state.json,
kubeconfig, ssh_config, known_hosts, logs/. Keys are made once; losing the folder while a cluster
lives is an error, never a new CA.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shlex
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from hardway.errors import Locked, WorkspaceError
from hardway.files import LEFT, replacing
from hardway.inventory.model import GIVEN_CERTIFICATE, GIVEN_KEY, Cluster, OperatorFile
from hardway.state import DamagedState, State

OPENING = "opening.json"
"""There while `workspace open` writes: the digest of what the workspace becomes."""
WATCHED = "watch.json"
"""What the hooks of `hardway watch` were told last."""
SNAPSHOTS = "snapshots"
"""The folder of etcd's snapshots that hardway takes by itself, before an upgrade."""
_OPENED = ".opened-"
"""How files begin that hold for a while what was in an encrypted one; who makes one keeps it locked."""
_HALF_WRITTEN = (LEFT, ".upload-", ".stage-")
TEMPORARY = (*_HALF_WRITTEN, _OPENED, ".recover-")
"""How names of files and folders begin that are no part of the workspace."""
_HELD = ("pki", "kubeconfigs", "secrets")
_HELD_FILES = ("kubeconfig", "ssh_config", ".gitignore")
MINIMUM_FREE = 50 * 2**20
"""Bytes; keys, kubeconfigs and logs need far less, and a full disk is found before anything begins."""


WALK = "walk.json"
"""How far a person has come with `hardway walk`."""


_PEM_KEY = re.compile(rb"\s*-----BEGIN [A-Z ]*PRIVATE KEY-----\s[\x00-\x7f]+-----END [A-Z ]*PRIVATE KEY-----\s*")
_SECRET_SIZE = 32


def _undamaged(path: Path, content: bytes) -> bytes:
    """The content of a file that can be a key, where it has to be one: nothing is made from half a key."""
    if path.suffix == ".key":
        wrong = not _PEM_KEY.fullmatch(content) and "holds no whole private key"
    else:
        wrong = path.parent.name == "secrets" and len(content) != _SECRET_SIZE and f"is not {_SECRET_SIZE} bytes long"
    if wrong:
        raise WorkspaceError(
            f"{path} {wrong if content else 'is empty'}; nothing was changed",
            hint="restore it from a backup of the workspace, then run the same command again",
        )
    return content


class Workspace:
    """Files by their path inside the folder; nothing is written before `create`.

    `files` are the operator's own, beside the inventory, which machines get, too. `given` are files of the operator's
    that count as values, by the values' names. `beside` is the inventory's folder.
    """

    def __init__(
        self,
        root: Path,
        files: Sequence[OperatorFile] = (),
        given: Mapping[str, Path] | None = None,
        beside: Path | None = None,
    ) -> None:
        self.root, self._files, self.given, self.beside = root, files, given or {}, beside or root.parent
        self.known_hosts = root / "known_hosts"

    @classmethod
    def of(cls, cluster: Cluster, root: Path | None) -> Workspace:
        """`root`: as `--workspace` says; else beside the inventory."""
        given: dict[str, Path] = {}
        for name, authority in cluster.certs.authorities.items():
            given[GIVEN_CERTIFICATE.format(name)] = authority.certificate
            if authority.key is not None:
                given[GIVEN_KEY.format(name)] = authority.key
        beside = cluster.path.resolve().parent
        return cls((root or beside / ".hardway" / cluster.name).resolve(), cluster.files, given, beside)

    @property
    def kubeconfig(self) -> Path:
        return self.root / "kubeconfig"

    def create(self) -> None:
        """Makes the folder; raises WorkspaceError where it cannot be written or its disk is full."""
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.root.chmod(0o700)
            # Also the folder that holds the clusters: nobody should commit keys by `git add .`.
            holder = self.root.parent / ".gitignore"
            if self.root.parent.name == ".hardway" and not holder.exists():
                holder.write_text("*\n", encoding="utf-8")
            space = os.statvfs(self.root)
        except OSError as error:
            raise WorkspaceError(f"{self.root} cannot be written: {error.strerror}", hint="--workspace DIR") from error
        if space.f_bavail * space.f_frsize < MINIMUM_FREE:
            raise WorkspaceError(f"the disk of {self.root} is full", hint="free 50 MB, or use --workspace DIR")

    def values(self) -> dict[str, bytes]:
        """All that fills placeholders, by name; also `workspace/path`. Raises WorkspaceError for a damaged key."""
        found = {"workspace/path": str(self.root).encode()}
        found |= {file.hidden.name: file.content for file in self._files}
        for folder in _HELD:
            for path in sorted((self.root / folder).rglob("*")):
                if path.is_file() and not path.name.startswith("."):
                    found[str(path.relative_to(self.root))] = _undamaged(path, path.read_bytes())
        for name in _HELD_FILES:
            path = self.root / name
            if path.is_file():
                found[name] = path.read_bytes()
        for name, path in self.given.items():
            try:
                found[name] = path.read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                continue  # a copy in the workspace may be enough
            except OSError as error:
                raise WorkspaceError(
                    f"{path} cannot be read: {error.strerror}", hint="make it readable for you"
                ) from error
        return found

    def write(self, name: str, content: bytes, mode: int) -> None:
        """Raises WorkspaceError."""
        write_file(self.root / name, content, mode)

    def retire(self, name: str) -> None:
        """Moves a file to `retired/`, where nothing reads it any more; one that is not there is left to itself."""
        path, kept = self.root / name, self.root / "retired" / name
        if path.is_file():
            kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.replace(kept)

    def path_of(self, name: str) -> Path:
        """Where a value of this name is, or would be."""
        return self.given.get(name, self.root / name)

    def mode(self, name: str) -> int | None:
        """The permissions of a file; None where it is not there."""
        try:
            return stat.S_IMODE(self.path_of(name).stat().st_mode)
        except FileNotFoundError:
            return None

    def load_state(self) -> State | None:
        path = self.root / "state.json"
        try:
            return State.from_json(path.read_text(encoding="utf-8"), str(path))
        except FileNotFoundError:
            return None
        except DamagedState as error:
            away = shlex.join(["mv", str(path), f"{path}.damaged"])
            error.hint = (
                "restore it from a backup; machines have copies, too: once it is out of the way, "
                f"hardway plan says how to get one\n    {away}"
            )
            raise

    def save_state(self, state: State) -> None:
        """Raises WorkspaceError for one that is older than what is there: somebody else's change would be lost."""
        known = self.load_state()
        if known is not None and known.generation > state.generation:
            raise WorkspaceError(
                f"{self.root}/state.json is newer (generation {known.generation}) than what was to be written "
                f"({state.generation}): another run has changed it",
                hint="give the same command again",
            )
        if state != known:
            self.write("state.json", state.to_json().encode(), 0o600)

    def forget_state(self) -> None:
        """After the whole cluster was reset: the keys stay, and the next cluster is a new one, to be walked again."""
        for name in ("state.json", WALK):
            (self.root / name).unlink(missing_ok=True)

    def _sweep(self) -> None:
        """Away with what a run that was killed had half written; there may be private keys in it."""
        for folder, _, files in os.walk(self.root):
            for name in files:
                if name.startswith(_HALF_WRITTEN):
                    Path(folder, name).unlink(missing_ok=True)
        for path in self.root.glob(f"{_OPENED}*"):
            with contextlib.suppress(FileNotFoundError, BlockingIOError), path.open("rb") as opened:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()

    @contextlib.contextmanager
    def opened(self) -> Iterator[tuple[Path, IO[bytes]]]:
        """A file for what must not stay on disk, with mode 0600: it is gone after the block.

        The next run that locks the workspace takes away what one left behind that was killed.
        """
        self.create()
        with tempfile.NamedTemporaryFile(dir=self.root, prefix=_OPENED) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield Path(file.name), file.file

    def require_whole(self) -> None:
        """Raises WorkspaceError where `workspace open` was interrupted: the keys of two times are mixed here."""
        if (self.root / OPENING).exists():
            raise WorkspaceError(
                f"{self.root} is half opened: hardway workspace open was interrupted; nothing was changed",
                hint="give that command again, with the same FILE: hardway workspace open FILE",
            )

    @contextlib.contextmanager
    def lock(self, holder: str) -> Iterator[None]:
        """For those who write. Raises Locked with who holds it; a dead holder's lock is gone by itself."""
        descriptor = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                by = os.pread(descriptor, 1000, 0).decode(errors="replace").strip()
                raise Locked(
                    f"{self.root} is in use by {by or 'somebody'}",
                    hint="wait for that run to finish, or kill its pid",
                ) from error
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, holder.encode(), 0)
            self._sweep()
            yield
        finally:
            os.close(descriptor)


def write_file(path: Path, content: bytes, mode: int = 0o600) -> None:
    """By rename, so that nobody ever reads half a key; a full disk leaves the old file. Raises WorkspaceError."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with replacing(path, mode) as file:
            file.write(content)
    except OSError as error:
        raise WorkspaceError(f"{path} could not be written: {error.strerror}", hint="free some disk") from error
