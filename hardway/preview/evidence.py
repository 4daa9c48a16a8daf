"""What shows that something differs: the present text, the flags that a process runs with."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from hardway.declare.resources import File, Present, Service
from hardway.declare.resources.base import quote
from hardway.declare.resources.files import Stat
from hardway.engine.changes import Change
from hardway.engine.observe import View
from hardway.probe.script import Answers, Question
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


def questions(what: Wanted) -> Iterator[Question]:
    """Reads, and nothing else."""
    for path in what.files:
        yield Question(f"file {path}", f"head -c {LONGEST} -- {quote(path)} 2>/dev/null")
    for pid in what.processes:
        yield Question(f"process {pid}", f"tr '\\0' '\\n' 2>/dev/null </proc/{pid}/cmdline")


def read(what: Wanted, answers: Answers) -> Details:
    """What was answered; nothing of what is gone meanwhile."""
    files: dict[str, bytes] = {}
    for path in what.files:
        answer = answers[f"file {path}"]
        if answer.code == 0:
            files[path] = answer.raw
    processes: dict[int, tuple[str, ...]] = {}
    for pid in what.processes:
        if words := answers[f"process {pid}"].output:
            processes[pid] = tuple(words.rstrip("\n").split("\n"))
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
