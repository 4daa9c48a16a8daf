"""A machine of which a test has but one folder."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hardway.journal import FOLDER
from hardway.remote import MachineIO, Result


@dataclass
class Moved:
    """A machine on which hardway's own folder lies elsewhere, and whose systemd is left alone."""

    machine: MachineIO
    folder: str

    @property
    def name(self) -> str:
        return self.machine.name

    def run(self, script: str, *, timeout: float, what: str, check: bool = True) -> Result:
        moved = script.replace(FOLDER, self.folder).replace("systemctl ", ": ")
        return self.machine.run(moved, timeout=timeout, what=what, check=check)

    def stream(self, chunks: Iterable[bytes] | Sequence[Path], command: str, **more: Any) -> Result:
        return self.machine.stream(chunks, command.replace(FOLDER, self.folder), **more)

    def lock(self, holder: str, path: str = "") -> None:
        self.machine.lock(holder, path)

    def reconnect(self) -> None:
        self.machine.reconnect()

    def close(self) -> None:
        self.machine.close()
