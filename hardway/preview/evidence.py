"""What shows that something differs: the present text, the flags that a process runs with."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hardway.declare.resources import File, Present, Service
from hardway.declare.resources.base import quote
from hardway.declare.resources.files import Stat
from hardway.engine.plan import Change, View
from hardway.values import placeholders

LONGEST = 256 * 1024
"""Bytes of a file that are worth reading for a diff."""


@dataclass(frozen=True)
class Wanted:
    """What is still to be read on one machine."""

    files: tuple[str, ...] = ()
    processes: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.files or self.processes)


@dataclass(frozen=True)
class Details:
    """What was read: files by path, the words of each process by its pid."""

    files: Mapping[str, bytes] = field(default_factory=dict)
    processes: Mapping[int, tuple[str, ...]] = field(default_factory=dict)


def wanted(changes: Sequence[Change], view: View) -> Wanted:
    """The differing files that hold no secret, and the processes that would be restarted."""
    files, processes = [], []
    for change in changes:
        seen = view.observed.get(change.key)
        if not isinstance(seen, Present):
            continue
        if isinstance(change.resource, File) and not change.resource.secret:
            if isinstance(seen.value, Stat) and seen.value.is_regular and seen.value.size <= LONGEST:
                files.append(change.resource.path)
        elif isinstance(change.resource, Service) and change.restarts and seen.value.is_active and seen.value.pid:
            processes.append(seen.value.pid)
    return Wanted(tuple(files), tuple(processes))


def script(what: Wanted, nonce: str) -> str:
    """Reads, and nothing else."""
    lines = [f"printf '\\n{nonce} file %s\\n' {quote(path)}; cat -- {quote(path)}" for path in what.files]
    lines += [f"printf '\\n{nonce} process %s\\n' {pid}; tr '\\0' '\\n' </proc/{pid}/cmdline" for pid in what.processes]
    return "\n".join(f"{{ {line}; }} 2>/dev/null || true" for line in lines) + f"\nprintf '\\n{nonce} end -\\n'\n"


def parse(output: bytes, nonce: str) -> Details:
    """What `script` printed."""
    files: dict[str, bytes] = {}
    processes: dict[int, tuple[str, ...]] = {}
    for part in output.split(f"\n{nonce} ".encode())[1:]:
        head, _, content = part.partition(b"\n")
        what, _, name = head.decode().partition(" ")
        if what == "file":
            files[name] = content
        elif what == "process" and content:
            processes[int(name)] = tuple(content.decode(errors="replace").rstrip("\n").split("\n"))
    return Details(files, processes)


def runs_with(unit: str, running: Sequence[str]) -> tuple[list[str], list[str]]:
    """The flags with which a process differs from its unit's text: those it has, and those it lacks."""
    declared = {word for word in command(unit) if not ({"$", "%"} & set(word) or any(placeholders(word)))}
    uncertain = len(declared) < len(command(unit))
    flags = [word for word in running[1:] if word.startswith("-")]
    has = [word for word in flags if word not in declared]
    lacks = [word for word in declared if word.startswith("-") and word not in flags]
    return ([] if uncertain else has), sorted(lacks)


def command(unit: str) -> list[str]:
    """The words of a unit's ExecStart; empty where it has none."""
    start = unit.find("\nExecStart=")
    if start < 0:
        return []
    joined = unit[start + len("\nExecStart=") :].replace("\\\n", " ")
    try:
        return shlex.split(joined.partition("\n")[0])
    except ValueError:
        return []
