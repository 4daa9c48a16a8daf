"""The person who called: with sudo, root does the work but the workspace and the cache stay theirs."""

import os
import pwd
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Invoker:
    """`uid` and `gid` own what is written in the workspace; `cache` is their XDG cache folder."""

    uid: int
    gid: int
    cache: Path

    def make_folder(self, folder: Path, mode: int = 0o755) -> None:
        """Make a folder and those above it that are missing, as theirs."""
        missing = [above for above in (folder, *folder.parents) if not above.exists()]
        for above in reversed(missing):
            above.mkdir(mode=mode)
            os.chown(above, self.uid, self.gid)

    def write(self, file: Path, content: bytes, mode: int) -> None:
        """Replace a file as one, theirs from the start."""
        fresh = file.with_name(f".{file.name}.new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
        with os.fdopen(descriptor, "wb") as opened:
            os.fchown(descriptor, self.uid, self.gid)
            os.fchmod(descriptor, mode)
            opened.write(content)
        fresh.replace(file)


def invoker(environment: Mapping[str, str] = os.environ) -> Invoker:
    """Who called, through sudo or not. sudo drops XDG_CACHE_HOME unless it is told to keep it."""
    uid = int(environment.get("SUDO_UID", os.getuid()))
    gid = int(environment.get("SUDO_GID", os.getgid()))
    named = environment.get("XDG_CACHE_HOME")
    home = environment.get("HOME") if "SUDO_UID" not in environment else None
    return Invoker(uid, gid, Path(named) if named else Path(home or pwd.getpwuid(uid).pw_dir) / ".cache")
