"""What is typed for the machines: alike for several of them once, files first, then what runs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from hardway.declare.phases.base import Placed, Proof
from hardway.declare.resources import ApiObjects, Binary, File, Image, ManualStep, Resource, Service
from hardway.declare.resources.base import quote
from hardway.explain.shell.words import Names, Raw, Who, asked, document, generalized, pieces, quoted

_RUNNING = (Service, Image, ApiObjects)
_PROOF_SECONDS = 30


@dataclass(frozen=True)
class Action:
    """One resource on machines where the same is typed for it."""

    machines: tuple[str, ...]
    resource: Resource
    typed: tuple[ManualStep, ...]


def actions(
    placed: Sequence[Placed],
    sources: Mapping[str, str],
    names: Mapping[str, Names],
    rendered: Mapping[tuple[str, str], str] = MappingProxyType({}),
) -> list[Action]:
    """In an order that is every machine's own. `sources` has workspace files by their text.

    `rendered` has files that `hardway render` wrote, by machine and key of the resource that they are.
    """
    by_machine: dict[str, dict[str, Resource]] = {}
    for one in placed:
        by_machine.setdefault(one.machine, {})[one.resource.key] = one.resource
    found: list[Action] = []
    for key in _merged(by_machine.values()):
        resources: dict[str, Resource] = {}
        steps: dict[str, tuple[ManualStep, ...]] = {}
        for name, mine in by_machine.items():
            if key in mine:
                resources[name] = mine[key]
                steps[name] = _typed(mine[key], sources, rendered.get((name, key)))
        for machines, typed in _alike(steps, names):
            found.append(Action(machines, resources[machines[0]], typed))
    return found


def _merged(orders: Iterable[Iterable[str]]) -> list[str]:
    """One order that keeps each of several."""
    merged: list[str] = []
    for order in orders:
        at = 0
        for key in order:
            if key in merged:
                at = merged.index(key) + 1
            else:
                merged.insert(at, key)
                at += 1
    return merged


def _typed(resource: Resource, sources: Mapping[str, str], rendered: str | None) -> tuple[ManualStep, ...]:
    """A text that is in the workspace as a file is not typed once more, nor one that was rendered."""
    steps: list[ManualStep] = []
    for step in resource.manual_steps():
        source = sources.get(step.text) or (rendered if step.text else None)
        steps.append(step if source is None else replace(step, text="", source=source))
    return tuple(steps)


def _alike(
    steps: Mapping[str, tuple[ManualStep, ...]], names: Mapping[str, Names]
) -> Iterator[tuple[tuple[str, ...], tuple[ManualStep, ...]]]:
    """Machines with the steps that are the same there, in general words where that can be said."""
    same: dict[tuple[ManualStep, ...], list[str]] = {}
    for name, typed in steps.items():
        same.setdefault(typed, []).append(name)
    general = _general_steps(steps, names) if len(same) > 1 else None
    if general is not None:
        same = {general: list(steps)}
    for typed, machines in same.items():
        yield tuple(machines), typed


def _general_steps(
    steps: Mapping[str, tuple[ManualStep, ...]], names: Mapping[str, Names]
) -> tuple[ManualStep, ...] | None:
    if len(set(map(len, steps.values()))) > 1:
        return None
    found: list[ManualStep] = []
    for row in zip(*steps.values(), strict=True):
        general = _general(dict(zip(steps, row, strict=True)), names)
        if general is None:
            return None
        found.append(general)
    return tuple(found)


def _general(typed: Mapping[str, ManualStep], names: Mapping[str, Names]) -> ManualStep | None:
    """What is typed for several machines alike, but for what is each one's own; None where there is more to it."""
    found: list[str] = []
    for part in _PARTS:
        general = _general_text({name: part(one) for name, one in typed.items()}, names)
        if general is None:
            return None
        found.append(general)
    return ManualStep(*found)


_PARTS: tuple[Callable[[ManualStep], str], ...] = (
    lambda one: one.command,
    lambda one: one.text,
    lambda one: one.source,
)


def _general_text(texts: Mapping[str, str], names: Mapping[str, Names]) -> str | None:
    """Line by line: what is the same everywhere stays as it is, also where it names a machine."""
    rows = [text.split("\n") for text in texts.values()]
    if len({len(row) for row in rows}) > 1:
        return None
    lines: list[str] = []
    for row in zip(*rows, strict=True):
        general = set(row)
        if len(general) > 1:
            general = {generalized(line, names[name]) for name, line in zip(texts, row, strict=True)}
        if len(general) > 1:
            return None
        lines += general
    return "\n".join(lines)


def typed_lines(phase: str, found: Sequence[Action]) -> list[str]:
    """All of one chapter: what is on disk or in the kernel by groups of machines, then what runs in its order."""
    running = [one for one in found if isinstance(one.resource, _RUNNING)]
    groups: dict[tuple[str, ...], list[Action]] = {}
    for one in found:
        if not isinstance(one.resource, _RUNNING):
            groups.setdefault(one.machines, []).append(one)
    lines: list[str] = []
    for machines, mine in groups.items():
        who = Who(machines)
        lines += ["", f"# {phase} on {', '.join(machines)}", *who.loop(_on_disk(phase, who, mine))]
    lines += _enable([one for one in running if isinstance(one.resource, Service)])
    for one in running:
        lines += ["", *_running(phase, one)]
    return lines


def _on_disk(phase: str, who: Who, found: Sequence[Action]) -> list[str]:
    """Commands first (a folder, a user before what needs them), then files that are in the workspace, then texts."""
    commands: list[str] = []
    files: list[tuple[Resource, ManualStep]] = []
    texts: list[str] = []
    for action in found:
        for step in action.typed:
            if step.source:
                files.append((action.resource, step))
            elif not step.text:
                commands.append(step.command)
            if step.text:
                texts += [f"# {phase}/{action.resource.name.rpartition('/')[2]}", *_fed(who, step)]
    return [*_commands(who, commands), *_sent(who, files), *texts]


def _commands(who: Who, commands: Sequence[str]) -> list[str]:
    if not commands:
        return []
    lines: list[str] = []
    for named, some in itertools.groupby(commands, lambda command: "$machine" in command):
        mine = list(some)
        if len(mine) == 1 and "\n" not in mine[0] and "'" not in mine[0]:
            lines.append(f"ssh {who.word} {quoted(mine[0])}")
        else:
            mark, *text = document("\n".join(mine) + "\n", loop=named)
            lines += [f"ssh {who.word} sh -eu {mark}", *text]
    return lines


def _fed(who: Who, typed: ManualStep) -> list[str]:
    """A command with its text on standard input."""
    if files := pieces(typed.text):
        return [f"cat {' '.join(map(quoted, files))} | ssh {who.word} {quoted(typed.command)}"]
    mark, *text = document(typed.text, loop=len(who.machines) > 1)
    first, *rest = f"ssh {who.word} {quoted(typed.command)} {mark}".split("\n")
    return [*asked(typed.text, who), first, *map(Raw, rest), *text]


def _sent(who: Who, files: Sequence[tuple[Resource, ManualStep]]) -> list[str]:
    """Files that keep their names and are root's go together, by tar over ssh; each other one alone."""
    together: dict[tuple[str, str], list[str]] = {}
    alone: list[ManualStep] = []
    for resource, typed in files:
        folders = _folders(resource, typed.source)
        if folders is None:
            alone.append(typed)
        else:
            source, target, name = folders
            together.setdefault((source, target), []).append(name)
    for_arch = any("$arch" in typed.source for _, typed in files)
    lines = [f"arch=$(arch_of {who.word})"] if for_arch else []
    for (source, target), names in together.items():
        lines += _wrapped(["tar cf -", *(["-C " + quoted(source)] if source else []), *map(quoted, names)])
        lines[-1] += " |"
        lines.append(f"  ssh {who.word} {quoted('tar xf - --no-same-owner -C ' + quote(target))}")
    return lines + [f"ssh {who.word} {quoted(one.command)} <{quoted(one.source)}" for one in alone]


def _folders(resource: Resource, source: str) -> tuple[str, str, str] | None:
    """The folders here and there below which a file has the same name, and that name."""
    if not isinstance(resource, File | Binary) or "$machine" in source or source.endswith(resource.path):
        return None
    if isinstance(resource, File) and (
        (resource.owner, resource.group) != ("root", "root") or not _keeps_mode(resource, source)
    ):
        return None
    here, there = source.split("/"), resource.path.split("/")
    same = 0
    for one, other in zip(reversed(here), reversed(there), strict=False):
        if one != other:
            break
        same += 1
    if not same:
        return None
    return "/".join(here[:-same]), "/".join(there[:-same]), "/".join(here[-same:])


def _keeps_mode(resource: File, source: str) -> bool:
    """In the workspace what is public has mode 644, all else 600."""
    return resource.mode == (0o644 if source.endswith((".crt", ".pub")) else 0o600)


def _wrapped(words: Sequence[str]) -> list[str]:
    """Words on lines of at most a hundred characters."""
    lines = [words[0]]
    for word in words[1:]:
        if len(lines[-1]) + len(word) > 98:
            lines[-1] += " \\"
            lines.append(f"    {word}")
        else:
            lines[-1] += f" {word}"
    return lines


def _enable(services: Sequence[Action]) -> list[str]:
    """systemd reads all units of a chapter, and brings them back after a reboot, before the first one starts."""
    units: dict[str, list[str]] = {}
    for one in services:
        for name in one.machines:
            units.setdefault(name, []).append(one.resource.name)
    alike: dict[tuple[str, ...], list[str]] = {}
    for name, mine in units.items():
        alike.setdefault(tuple(mine), []).append(name)
    lines: list[str] = []
    for together, names in alike.items():
        who = Who(tuple(names))
        command = quoted(f"systemctl daemon-reload && systemctl --quiet enable {' '.join(together)}")
        lines += ["", "# known to systemd, also after a reboot", *who.loop([f"ssh {who.word} {command}"])]
    return lines


def _running(phase: str, one: Action) -> list[str]:
    who = Who(one.machines)
    name = one.resource.name
    match one.resource:
        case Service() as service:
            together = ": together, none waits for another" if len(one.machines) > 1 else ""
            lines = [f"# {phase}/{name}{together}", *who.loop(_commands(who, [one.typed[0].command]))]
            if service.ready is not None:
                lines += [f"# until {service.ready.what}", *who.loop(
                    _prove(who, max(1, int(service.ready.limit)), "succeeds", "", service.ready.script)
                )]  # fmt: skip
            return lines
        case Image():
            typed = one.typed[0]
            body = [
                f"arch=$(arch_of {who.word})",
                f"[ ! -e {quoted(typed.source)} ] || ssh {who.word} {quoted(typed.command)} <{quoted(typed.source)}",
            ]
            return [f"# {name}: where there is no archive, the kubelet pulls it", *who.loop(body)]
    lines = [f"# {phase}: objects of the API, {name}"]
    for typed in one.typed:
        lines += who.loop(_fed(who, typed) if typed.text else _commands(who, [typed.command]))
    return lines


def proof_lines(proofs: Sequence[Proof], names: Mapping[str, Names]) -> list[str]:
    """The same question to several machines once; what it proves, and why that matters, above it."""
    alike: dict[Proof, list[Proof]] = {}
    for one in proofs:
        general = _general_proof(one, names[one.machine])
        alike.setdefault(general, []).append(one)
    lines: list[str] = []
    for general, mine in alike.items():
        shown = mine[0] if len(mine) == 1 else general
        who = Who(tuple(one.machine for one in mine))
        seconds = int(max(shown.within, _PROOF_SECONDS))
        lines.append(f"# proof: {shown.name.replace('$machine', 'it')}; {shown.why}")
        lines += who.loop(_prove(who, seconds, shown.expectation, shown.expected, shown.query))
    return lines


def _general_proof(proof: Proof, machine: Names) -> Proof:
    return replace(
        proof,
        machine="",
        name=generalized(proof.name, machine),
        query=generalized(proof.query, machine),
        expected=generalized(proof.expected, machine),
    )


def _prove(who: Who, seconds: int, how: str, wanted: str, query: str) -> list[str]:
    mark, *text = document(query + "\n", loop=len(who.machines) > 1)
    return [f"prove {who.word} {seconds} {how} {quoted(wanted) if wanted else chr(39) * 2} {mark}", *text]
