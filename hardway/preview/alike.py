"""What is true of many machines is told once."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from hardway.preview.items import Item

MANY = 8
"""From so many machines on, what is alike on them is told once, with NAME for their names."""

_OWN = re.compile(r"(changed |started |pid |secret: |to become )(?:\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC|sha256:\w+|\d+)")

_NUMBERED = re.compile(r"(.*?-)(0|[1-9]\d*)((?:[-.]\D.*)?)")

Block = tuple[str, ...]
"""Lines that belong together."""

Told = Mapping[str, Sequence[tuple[Block, Block]]]
"""By machine, what is to be said of it: with and without what is only its own."""
Paragraphs = dict[tuple[str, ...], list[Block]]
"""What is said, by the machines of which all of it is true."""


def each(told: Told) -> Paragraphs:
    """Every machine for itself."""
    paragraphs: Paragraphs = {}
    for name, pairs in told.items():
        paragraphs[(name,)] = [own for own, _ in pairs]
    return paragraphs


def alike(told: Told) -> Paragraphs:
    """What is the same on several machines once; on many also what differs only in what is each one's own."""
    common: dict[Block, list[tuple[str, Block]]] = {}
    for name, pairs in told.items():
        for own, general in pairs:
            common.setdefault(general, []).append((name, own))
    said: dict[Block, list[str]] = {}
    for general, having in common.items():
        differ = len({own for _, own in having}) > 1
        for name, own in having:
            said.setdefault(general if differ and len(having) >= MANY else own, []).append(name)
    paragraphs: Paragraphs = {}
    for block, names in said.items():
        paragraphs.setdefault(tuple(names), []).append(block)
    return paragraphs


def without_own(item: Item) -> Item:
    """The item as of any machine: without its name, the times of what happened there, and numbers of processes."""
    name = re.compile(rf"(?<![\w.-]){re.escape(item.machine)}(?![\w-])")

    def general(text: str) -> str:
        if item.machine in text:
            text = name.sub("NAME", text)
        return _OWN.sub(r"\1…", text)

    return replace(
        item,
        evidence=tuple(map(general, item.evidence)),
        before=general(item.before),
        after=general(item.after),
        diff=tuple(map(general, item.diff)),
    )


def runs(names: Sequence[str]) -> list[str]:
    """Names with `worker-0..99.crt` for many that differ in one number only."""
    grouped: dict[tuple[str, str], list[int]] = {}
    found: dict[str, tuple[str, str]] = {}
    for name in names:
        if numbered := _NUMBERED.fullmatch(name):
            before, number, after = numbered.groups()
            found[name] = (before, after)
            grouped.setdefault((before, after), []).append(int(number))
    told: dict[str, None] = {}
    for name in names:
        numbers = grouped[found[name]] if name in found else []
        if len(numbers) < MANY:
            told[name] = None
            continue
        before, after = found[name]
        for run in _ranges(sorted(numbers)):
            told[f"{before}{run}{after}"] = None
    return list(told)


def _ranges(numbers: Sequence[int]) -> list[str]:
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][-1] + 1:
            found[-1].append(number)
        else:
            found.append([number])
    return [f"{run[0]}..{run[-1]}" if len(run) > 1 else str(run[0]) for run in found]
