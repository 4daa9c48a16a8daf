"""Journals of several machines as one: each line after its machine's name, in the order of time."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hardway.console.printing import print_json, print_text
from hardway.errors import FAILED, INTERRUPTED, OK
from hardway.remote import fan_out

SORTABLE = ("--output=short-iso-precise", "--utc")
"""What journalctl is told, so that lines begin with a time that is alike on all machines."""


@dataclass(frozen=True)
class Line:
    """A line of a machine's journal; `at` sorts by time among lines of the same form."""

    at: str
    machine: str
    text: str


class Journals:
    """Shows what commands print, by machine; a `follow` never ends by itself."""

    def __init__(self, commands: Mapping[str, Sequence[str]], *, is_json: bool, follow: bool) -> None:
        self._commands, self._is_json, self._follow = commands, is_json, follow
        self._width = max(map(len, commands))
        self._running: list[subprocess.Popen[str]] = []

    def show(self, forks: int) -> int:
        """The exit status: FAILED where one command failed, after what the others printed."""
        try:
            found = fan_out(self._commands, self._read, len(self._commands) if self._follow else forks)
        except KeyboardInterrupt:
            if not self._follow:
                raise
            return INTERRUPTED
        finally:
            for process in self._running:
                process.terminate()
        lines: list[Line] = []
        for _, told in found.values():
            lines += told
        for line in sorted(lines, key=lambda line: line.at):
            self._print(line)
        return FAILED if any(code for code, _ in found.values()) else OK

    def _read(self, machine: str) -> tuple[int, list[Line]]:
        """Exit status and lines of one command; those of one that is followed are printed as they come."""
        kept: list[Line] = []
        at = ""
        with tempfile.TemporaryFile("w+", errors="replace") as errors:
            process = subprocess.Popen(
                self._commands[machine], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True,
                errors="replace",
            )  # fmt: skip
            self._running.append(process)
            for text in process.stdout or ():
                if self._is_json and not text.startswith("{"):
                    # Some accounts greet those who log in.
                    print_text(self._marked(machine, text.rstrip("\n")), stream=sys.stderr)
                    continue
                # `-- Boot …` has no time of its own.
                at = at if text.startswith("-- ") else self._time(text)
                line = Line(at, machine, text.rstrip("\n"))
                self._print(line) if self._follow else kept.append(line)
            code = process.wait()
            errors.seek(0)
            for text in errors:
                print_text(self._marked(machine, text.rstrip("\n")), stream=sys.stderr)
        return code, kept

    def _time(self, text: str) -> str:
        return str(json.loads(text)["__REALTIME_TIMESTAMP"]) if self._is_json else text.partition(" ")[0]

    def _print(self, line: Line) -> None:
        if self._is_json:
            print_json({"MACHINE": line.machine, **json.loads(line.text)}, indent=None)
        else:
            print_text(self._marked(line.machine, line.text))

    def _marked(self, machine: str, text: str) -> str:
        return f"{machine:<{self._width}}  {text}"
