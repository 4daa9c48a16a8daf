"""A plan as a person reads it: by chapter in the order of doing, what is alike on several machines once."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from hardway.console.words import counted, duration, machines, typed, wrapped
from hardway.engine.blockers import Blocker
from hardway.engine.plan import SHORT
from hardway.lint.rules.times import is_pending
from hardway.preview.alike import MANY, Block, alike, each, runs, without_own
from hardway.preview.items import Item
from hardway.preview.origin import Origin
from hardway.preview.plan import Preview, Unobserved
from hardway.rules import Finding
from hardway.values import OPERATOR

_SIGNS = {"create": "+", "update": "~", "delete": "-"}
_DEEP = " " * 6
_PATHS = ("file", "operator-file", "binary", "directory")
_KINDS = {"objects": "API objects", "module": "kernel modules", "swap": "swap", "random": "key"}
_MANY_CHAPTERS = 3
"""Named in a command up to this many; `init` does all of them."""

_JOINED = "\u00a0"
"""The space within a remark, which must not become the end of a line."""


def plan_page(
    plan: Preview,
    *,
    seconds: float,
    width: int = 80,
    verbose: bool = False,
    following: bool = True,
    given: str = "",
) -> list[str]:
    """All of it, within the width but for lines that are to be typed; `following`: with counts and the next move.

    `given` is what commands repeat.
    """
    lines = _changes(plan, width, verbose)
    lines += _notes(plan, width)
    if following:
        lines += _end(plan, seconds, width, given)
    return lines if following or not lines else lines[:-1]


def _changes(plan: Preview, width: int, verbose: bool) -> list[str]:
    place = {name: number for number, name in enumerate((OPERATOR, *plan.machines))}
    by_phase: dict[str, dict[str, list[Item]]] = {}
    for item in plan.items:
        by_phase.setdefault(item.phase, {}).setdefault(item.machine, []).append(item)
    lines: list[str] = []
    for phase in plan.touched_phases:
        told: dict[str, list[tuple[Block, Block]]] = {}
        for name in sorted(by_phase[phase], key=place.__getitem__):
            items = by_phase[phase][name]
            own = _blocks(items, width, verbose)
            general = _blocks([without_own(item) for item in items], width, verbose)
            told[name] = list(zip(own, general, strict=True))
        paragraphs = each(told) if verbose and len(plan.machines) >= MANY else alike(told)
        for who, blocks in sorted(paragraphs.items(), key=lambda one: place[one[0][0]]):
            lines += [f"{_who(who, plan)}: {phase}", ""]
            for block in blocks:
                lines += block
            lines += [""] if lines[-1] else []
    return lines


def _who(names: Sequence[str], plan: Preview) -> str:
    if names == (OPERATOR,):
        return "your workspace"
    count = f" ({len(names)} alike)" if MANY <= len(names) < len(plan.machines) else ""
    return machines(names, plan.machines) + count


def _blocks(items: Sequence[Item], width: int, verbose: bool) -> list[Block]:
    """What differs with evidence has a block of its own; what is simply made is told folder by folder."""
    found: list[Block] = []
    simple: dict[tuple[str, str, tuple[str, ...], Origin | None], list[Item]] = {}
    for item in items:
        if item.evidence or item.diff or verbose:
            found.append(_detailed(item, width))
        else:
            simple.setdefault((_sign(item), _folder(item), item.known_after, item.origin), []).append(item)
    told = [_listed(sign, folder, after, some, width) for (sign, folder, after, _), some in simple.items()]
    return told + found


def _sign(item: Item) -> str:
    return _SIGNS.get(item.verb, "!")


def _folder(item: Item) -> str:
    """Where a thing is, or of what kind it is: what goes on one line with it."""
    if item.kind in _PATHS:
        return item.name.rpartition("/")[0] + "/"
    if item.machine == OPERATOR:
        folder, slash, _ = item.name.rpartition("/")
        return folder + slash or "./"
    if item.kind == "service":
        return item.verb
    return _KINDS.get(item.kind, item.kind)


def _listed(sign: str, folder: str, after: Sequence[str], items: Sequence[Item], width: int) -> Block:
    names = runs([_short(item) for item in items])
    note = f"known after {', '.join(after)}" if after else ""
    versions = sorted({item.after.split(" (")[0] for item in items if item.kind == "binary" and item.after})
    if len({version.rpartition(" ")[2] for version in versions}) == 1 and versions:
        note = versions[0].rpartition(" ")[2]
    names += [f"({note})".replace(" ", _JOINED)] if note else []
    lines = _wrapped(f"  {sign} {folder}  ", " ".join(names), width, _DEEP)
    return (*lines, *_origin(items[0], width))


def _short(item: Item) -> str:
    if item.kind == "directory":
        return item.name.rpartition("/")[2] + "/"
    if item.kind in _PATHS or item.machine == OPERATOR:
        return item.name.rpartition("/")[2]
    if item.kind in ("sysctl",):
        return f"{item.name}={item.after}"
    if item.kind == "routes":
        return f"{item.name} ({item.after})".replace(" ", _JOINED)
    if item.kind in ("hostname", "swap"):
        return item.after or item.name
    return item.name.removesuffix(".service")


def _detailed(item: Item, width: int) -> Block:
    title = item.name if item.kind in (*_PATHS, "service") or item.machine == OPERATOR else f"{item.kind} {item.name}"
    verb = "" if item.verb in ("create", "update", "delete") else f": {item.verb}"
    lines = [f"  {_sign(item)} {title}{verb}"]
    for phrase in filter(None, item.evidence):
        lines += _wrapped(_DEEP, phrase, width, _DEEP)
    lines += _origin(item, width)
    if item.known_after:
        lines += _wrapped(_DEEP, f"known after {', '.join(item.known_after)}", width, _DEEP)
    if item.kind == "binary" and item.before:
        lines += [f"{_DEEP}is      {item.before}", f"{_DEEP}becomes {item.after}"]
    elif item.kind in ("block", "routes", "sysctl", "hostname") and (item.before or item.after):
        lines += _pair(item, width)
    for line in item.diff:
        lines += _diff_line(line, width)
    return (*lines, "")


def _origin(item: Item, width: int) -> list[str]:
    return _wrapped(_DEEP, f"from {_whence(item.origin)}", width, _DEEP) if item.origin else []


def _whence(origin: Origin) -> str:
    if origin.inventory:
        return f"hardway {origin.version} or the inventory: both differ from what {origin.before} applied last"
    return f"hardway {origin.version}, which declares this otherwise than {origin.before} did"


def _pair(item: Item, width: int) -> list[str]:
    before, after = item.before.splitlines(), item.after.splitlines()
    shown = [f"-{line}" for line in before if line not in after] + [f"+{line}" for line in after if line not in before]
    pieces: list[str] = []
    for line in shown:
        pieces += _diff_line(line, width)
    return pieces


def _diff_line(line: str, width: int) -> list[str]:
    """What is the same is cut; what differs goes on below itself, since its end may be what differs."""
    room = width - len(_DEEP)
    if len(line) <= room:
        return [_DEEP + line]
    if line[0] not in "+-":
        return [_DEEP + line[: room - 1] + "…"]
    pieces = textwrap.wrap(line, room, subsequent_indent=line[0] + " " * 5, drop_whitespace=False)
    return [_DEEP + piece for piece in pieces]


def _notes(plan: Preview, width: int) -> list[str]:
    lines: list[str] = []
    lines += _blockers(plan, width)
    lines += _warnings(plan, width)
    lines += _not_seen(plan, width)
    lines += _unknown(plan, width)
    if plan.unmanaged:
        count = sum(len(keys) for keys in plan.unmanaged.values())
        who = machines(plan.unmanaged, plan.machines)
        text = f"{counted(count, 'thing')} on {who}, as declared, but hardway did not put them there"
        lines += _wrapped("unmanaged", f" {text}", width, " " * 10)
    if plan.to_get:
        text = f"{counted(len(plan.to_get), 'file')} of components to get, whose digests are then accepted"
        lines += _wrapped("first    ", f"{text}: {', '.join(plan.to_get)}", width, " " * 9)
    return [*lines, ""] if lines else []


def _blockers(plan: Preview, width: int) -> list[str]:
    """What a run would stop at, once for all machines of which it is true."""
    alike: dict[Blocker, list[str]] = {}
    for one in plan.blockers:
        alike.setdefault(replace(one, machine=""), []).append(one.machine)
    lines: list[str] = []
    for one, names in alike.items():
        head = "pending  " if one.kind.startswith("pending:") else "blocked  "
        named = [name for name in names if name]
        where = f"{machines(named, plan.machines)}: " if named else ""
        rule = f" ({one.kind.removeprefix('lint:')})" if one.kind.startswith("lint:") else ""
        subjects = f": {', '.join(one.subjects)}" if one.subjects else ""
        lines += _wrapped(head, f"{where}{one.what}{rule}{subjects}", width, " " * 9)
        if one.hint:
            lines += _wrapped(" " * 9, one.hint, width, " " * 9)
    return lines


def _warnings(plan: Preview, width: int) -> list[str]:
    """What the rules across artifacts warn of, once for all machines of which it is true."""
    alike: dict[Finding, list[str]] = {}
    for one in plan.findings:
        alike.setdefault(replace(one, machine=""), []).append(one.machine)
    lines: list[str] = []
    for one, names in alike.items():
        who = machines(names, (*plan.machines, OPERATOR))
        head = "pending" if is_pending(replace(one, machine=names[0])) else one.level
        lines += _wrapped(f"{head:<9}", f"{who}: {one.what} ({one.rule})", width, " " * 9)
        lines += _wrapped(" " * 9, one.fix, width, " " * 9)
    return lines


def _unknown(plan: Preview, width: int) -> list[str]:
    """Things that could not be looked at, once for all machines of which it is true."""
    where: dict[tuple[str, str], list[str]] = {}
    for one in plan.unknown:
        where.setdefault((one.what, one.why), []).append(one.machine)
    things: dict[tuple[tuple[str, ...], str], list[str]] = {}
    for (what, why), names in where.items():
        things.setdefault((tuple(names), why), []).append(what)
    lines: list[str] = []
    for (who, why), whats in things.items():
        text = f"{machines(who, plan.machines)}: {', '.join(whats)}: {why}"
        lines += _wrapped("unknown  ", text, width, " " * 9)
    return lines


def _not_seen(plan: Preview, width: int) -> list[str]:
    """Machines that could not be looked at; of many with the same reason once."""
    where: dict[tuple[str, str], list[Unobserved]] = {}
    for one in plan.unobserved:
        reason = (one.what.replace(one.machine, "NAME"), one.hint.replace(one.machine, "NAME"))
        where.setdefault(reason, []).append(one)
    told: list[tuple[str, str, str]] = []
    for (what, hint), some in where.items():
        if len(some) >= MANY:
            told.append((machines([one.machine for one in some], plan.machines), what, hint))
        else:
            told += [(one.machine, one.what, one.hint) for one in some]
    lines: list[str] = []
    for who, what, hint in told:
        lines += _wrapped("not seen ", f"{who}: {what}", width, " " * 9)
        if hint:
            lines += _wrapped(" " * 9, hint, width, " " * 9)
    return lines


def _end(plan: Preview, seconds: float, width: int, given: str) -> list[str]:
    seen = len(plan.machines) - len(plan.unobserved)
    same = seen - len(set(plan.touched) - {one.machine for one in plan.unobserved})
    observed = f"{counted(seen, 'machine')} observed in {duration(seconds)}, nothing changed."
    if not seen:
        return ["No machine could be observed.", *_next(plan, given)]
    if not plan.items:
        return [f"Nothing to do: {counted(same, 'machine')} as declared. {observed}", *_next(plan, given)]
    others = f"{same} other {'machine' if same == 1 else 'machines'} as declared. " if same else ""
    return [
        *_wrapped("", others + observed, width, ""),
        *_wrapped("", counts(plan), width, ""),
        *_origins(plan, width),
        *_delivery(plan, width),
        *_next(plan, given),
    ]


def _origins(plan: Preview, width: int) -> list[str]:
    """How many of the changes another version of hardway brings along."""
    lines: list[str] = []
    for origin, count in Counter(item.origin for item in plan.items if item.origin).items():
        verb = "comes" if count == 1 else "come"
        lines += _wrapped("", f"{count} of these {verb} from {_whence(origin)}.", width, "")
    return lines


def _delivery(plan: Preview, width: int) -> list[str]:
    """Where the bytes come from, where that is not this computer."""
    delivery = plan.delivery
    if delivery is None or delivery.by == "operator":
        return []
    source = f"the mirror {delivery.mirror}" if delivery.mirror else " and ".join(delivery.hosts)
    way = f" through {delivery.proxy}" if delivery.proxy else ""
    return _wrapped("", f"Each machine downloads its binaries by itself: from {source}{way}.", width, "")


def counts(plan: Preview) -> str:
    """`12 to make, 1 to change, 1 restart. Plan 0f3c9a…`."""
    still = [item for item in plan.items if item.kind != "service"]
    numbers = [
        (sum(item.verb == "create" for item in still), "to create"),
        (sum(item.verb not in ("create", "delete") for item in still), "to update"),
        (sum(item.verb == "delete" for item in plan.items), "to delete"),
        (sum(item.verb == "enable" for item in plan.items), "to enable"),
    ]
    parts = [f"{count} {word}" for count, word in numbers if count]
    services = Counter(item.verb for item in plan.items if item.kind == "service")
    parts += [counted(services[verb], verb) for verb in ("start", "restart", "reload") if services[verb]]
    return f"{', '.join(parts)}. Plan {plan.identifier[:SHORT]}."


def command(plan: Preview) -> str:
    """What would do it, and no more than it; empty where nothing is to be done, or something speaks against it."""
    if plan.blockers or not plan.items:
        return ""
    phases = plan.touched_phases if plan.initialized else plan.phases
    if plan.whole and not (plan.adopt or plan.deep) and (not plan.initialized or len(phases) > _MANY_CHAPTERS):
        return "hardway init"
    words = ["hardway", "apply", *(() if plan.whole and len(phases) > _MANY_CHAPTERS else phases)]
    # The smoke test is of all machines or of none.
    if plan.limited or (plan.initialized and "smoke-test" not in phases and len(plan.touched) < len(plan.machines)):
        words += ["-l", ",".join(plan.touched or plan.machines)]
    words += ["--adopt"] if plan.adopt else []
    return " ".join([*words, "--deep"] if plan.deep else words)


def _next(plan: Preview, given: str) -> list[str]:
    if plan.blockers:
        return _unblocking(plan, given)
    if plan.unobserved:
        return _without(plan, given)
    if not plan.items:
        take_over = [f"Take it over:       {typed('hardway apply --adopt', given)}"] if plan.unmanaged else []
        return ["", *take_over, f"Does it also work?  {typed('hardway verify', given)}"]
    lines = [
        "",
        f"Do it:  {typed(command(plan), given)}",
        f"        with --expect {plan.identifier[:SHORT]}: this plan, or nothing",
    ]
    running = next((item for item in plan.items if item.kind == "service" and item.verb in ("restart", "reload")), None)
    if running:
        unit = running.name.removesuffix(".service")
        lines.append(f"Logs:  {typed(f'hardway logs {running.machine} {unit}', given)}")
    elif any(item.verb == "create" for item in plan.items):
        lines.append(f"What is in the files?  {typed('hardway render DIR', given)}")
    return lines


def _unblocking(plan: Preview, given: str) -> list[str]:
    """The next moves where something speaks against a run; none is proposed that would be refused."""
    commands = [one.command for one in plan.blockers if one.command]
    if not plan.refusals:
        commands.append("hardway plan --adopt")
    lines = [f"Blocked by {counted(len(plan.blockers), 'thing')}: nothing can be applied as it is."]
    return ["", *lines, *(f"  {typed(one, given)}" for one in dict.fromkeys(commands))]


def _without(plan: Preview, given: str) -> list[str]:
    """What looks into machines that did not answer, and what goes on without them."""
    names = ",".join(one.machine for one in plan.unobserved)
    lines = ["", "Next", f"  {typed(f'hardway preflight -l {names}', given)}"]
    does = command(plan)
    if does:
        # What is limited to machines that answer needs no more.
        words = does if "-l" in does.split() else f"{does} --skip-unreachable"
        lines.append(f"  {typed(words, given)}   goes on without {names}")
    return lines


def _wrapped(head: str, text: str, width: int, indent: str) -> list[str]:
    return [line.replace(_JOINED, " ") for line in wrapped(head, text, width, indent)] or [head.rstrip()]
