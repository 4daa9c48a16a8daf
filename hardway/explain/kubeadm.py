"""What in hardway corresponds to kubeadm's commands, phases and files: for people who know kubeadm."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from hardway import data, yaml_text
from hardway.console.words import hanging
from hardway.explain.page import aligned


@dataclass(frozen=True)
class Counterpart:
    """`ours` is a command, a path on a machine, or `workspace: PATH`; empty where nothing corresponds."""

    group: str
    theirs: str
    ours: str
    note: str


def counterparts(word: str = "") -> list[Counterpart]:
    """All of them, or those in which a word stands."""
    return [one for one in _all() if word.casefold() in f"{one.theirs} {one.ours} {one.note}".casefold()]


def _all() -> Iterator[Counterpart]:
    groups: list[dict[str, Any]] = yaml_text.document(data.read("templates/prose/kubeadm.yaml"))
    for group in groups:
        for row in group["rows"]:
            yield Counterpart(group["title"], row["theirs"], row["ours"], row["note"])


def counterpart_lines(found: Sequence[Counterpart], width: int) -> list[str]:
    """Tables by group: kubeadm's on the left. What is said about a row stands below it."""
    lines: list[str] = []
    wide = max(len(one.theirs) for one in found)
    for group, rows in groupby(found, key=lambda one: one.group):
        lines += ["", *aligned([(f"{group.upper():<{wide}}", "HARDWAY")], width)]
        for one in rows:
            lines += aligned([(f"{one.theirs:<{wide}}", one.ours or "-")], width)
            lines += hanging("    ", one.note, width) if one.note else []
    return lines[1:]


def counterpart_markdown(found: Sequence[Counterpart]) -> list[str]:
    """The same as Markdown."""
    lines: list[str] = []
    for group, rows in groupby(found, key=lambda one: one.group):
        lines += ["", f"## {group}", "", "| kubeadm | hardway | |", "| --- | --- | --- |"]
        for one in rows:
            lines.append(f"| {_code(one.theirs)} | {_code(one.ours)} | {one.note} |")
    return lines[1:]


def _code(text: str) -> str:
    if text.startswith("("):
        return text
    where, _, path = text.rpartition(": ")
    return " ".join(filter(None, (f"{where}:" if where else "", f"`{path}`" if path else "")))
