"""How things are said: sizes, times, names of machines, and what changed, in few words. Pure text."""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence

from hardway.events import Changed

_PAST = {
    "create": "created",
    "update": "updated",
    "delete": "deleted",
    "start": "started",
    "restart": "restarted",
    "reload": "reloaded",
    "enable": "enabled",
}
_KINDS = {
    "directory": ("folder", "folders"),
    "operator-file": ("file", "files"),
    "binary": ("binary", "binaries"),
    "objects": ("set of API objects", "sets of API objects"),
    "module": ("kernel module", "kernel modules"),
    "swap": ("swap setting", "swap settings"),
}
_NAMED = 3
"""Services up to this many are named, more are counted."""


def wrapped(head: str, text: str, width: int, indent: str | None = None) -> list[str]:
    """The text behind its head; further lines below its own beginning, or behind `indent`. Words are never cut.

    No line at all for an empty text.
    """
    below = " " * len(head) if indent is None else indent
    return textwrap.wrap(
        text, width, initial_indent=head, subsequent_indent=below, break_long_words=False, break_on_hyphens=False
    )


def with_commands(head: str, text: str, width: int) -> list[str]:
    """Each line of the text wrapped behind its head, but those that begin with two spaces: commands, kept whole."""
    lines: list[str] = []
    for line in text.splitlines():
        lines += [" " * len(head) + line] if line.startswith("  ") else wrapped(head, line, width)
        head = " " * len(head)
    return lines


def hanging(head: str, text: str, width: int, indent: str | None = None) -> list[str]:
    """As `wrapped`; of an empty text the head remains."""
    return wrapped(head, text, width, indent) or [head.rstrip()]


def size(count: int) -> str:
    """Bytes in at most seven characters: `812 B`, `12 kB`, `163 MB`, `1.1 GB`."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= factor:
            value = count / factor
            return f"{value:.1f} {unit}" if value < 10 and unit != "kB" else f"{value:.0f} {unit}"
    return f"{count} B"


def duration(seconds: float) -> str:
    """`1.3 s`, `42 s`, `4 min 49 s`, `2 h 5 min`."""
    if seconds < 59.5:
        return f"{seconds:.1f} s" if seconds < 20 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


def uptime(seconds: float) -> str:
    """In its largest unit of which there are two: `45 s`, `119 s`, `12 min`, `5 h`, `12 d`."""
    for unit, factor in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * factor:
            return f"{int(seconds // factor)} {unit}"
    return f"{int(seconds)} s"


def clock(seconds: float) -> str:
    """`0:07`, `12:40`, `1:02:40`: for what ticks."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"


def counted(count: int, one: str, many: str = "") -> str:
    """`1 machine`, `7 machines`, `2 binaries`."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def machines(names: Iterable[str], everybody: Sequence[str] = ()) -> str:
    """`controller-0..2 worker-1`, in the order of `everybody`; all of them, when they are many, by their number."""
    unique = set(names)
    if len(everybody) > 3 and unique == set(everybody):
        return f"all {len(unique)} machines"
    order = {name: place for place, name in enumerate(everybody)}
    return ranges(sorted(unique, key=lambda name: (order.get(name, len(order)), _natural(name))))


def ranges(names: Iterable[str]) -> str:
    """`lb-0 controller-0..2`: names in the order given, neighbours in number as a range."""
    runs: list[list[str]] = []
    for name in names:
        if runs and _follows(runs[-1][-1], name):
            runs[-1].append(name)
        else:
            runs.append([name])
    return " ".join(_run(run) for run in runs)


def _natural(name: str) -> list[str | int]:
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]


def _numbered(name: str) -> tuple[str, int] | None:
    found = re.fullmatch(r"(.*?)(0|[1-9]\d*)", name)
    return (found.group(1), int(found.group(2))) if found else None


def _follows(before: str, after: str) -> bool:
    one, other = _numbered(before), _numbered(after)
    return one is not None and other == (one[0], one[1] + 1)


def _run(run: list[str]) -> str:
    last = _numbered(run[-1])
    return f"{run[0]}..{last[1]}" if len(run) > 2 and last else " ".join(run)


def past(verb: str) -> str:
    """`created` for `create`; a verb that is not known as it is."""
    return _PAST.get(verb, verb)


def _key(what: str) -> tuple[str, str]:
    """Kind and name of a key such as `file:/etc/hosts`; a path of the operator's workspace has no kind."""
    before, colon, after = what.partition(":")
    return (before, after) if colon and "/" not in before else ("", what)


def thing(what: str) -> str:
    """What a key is about: its name, with the kind where the name alone says too little."""
    kind, name = _key(what)
    return name if kind in ("", "file", "operator-file", "directory", "binary", "service", name) else f"{kind} {name}"


def kind(what: str) -> str:
    """The kind that a key begins with; that of a path is told by its ending."""
    named = _key(what)[0]
    if named:
        return named
    endings = {".key": "key", ".crt": "certificate", "kubeconfig": "kubeconfig"}
    return next((name for ending, name in endings.items() if what.endswith(ending)), "file")


def changes(group: Iterable[Changed]) -> str:
    """`made 9 files, 3 folders; started etcd.service`: what was done to one machine."""
    by_verb: dict[str, list[str]] = {}
    for change in group:
        by_verb.setdefault(change.verb, []).append(change.what)
    return "; ".join(f"{past(verb)} {_things(whats)}" for verb, whats in by_verb.items())


def _things(whats: Sequence[str]) -> str:
    services = [thing(what) for what in whats if kind(what) == "service"]
    others = [what for what in whats if kind(what) != "service"]
    if len(others) == 1:
        words = [thing(others[0])]
    else:
        words = [counted(count, *_KINDS.get(name, (name, ""))) for name, count in Counter(map(kind, others)).items()]
    if len(services) > 1:
        services = [name.removesuffix(".service") for name in services]
    return ", ".join(words + (services if len(services) <= _NAMED else [counted(len(services), "service")]))


def grouped(group: Sequence[Changed], everybody: Sequence[str]) -> list[str]:
    """One line for all machines to which the same was done."""
    by_machine: dict[str, list[Changed]] = {}
    for change in group:
        by_machine.setdefault(change.machine, []).append(change)
    alike: dict[str, list[str]] = {}
    for machine, done in by_machine.items():
        alike.setdefault(changes(done), []).append(machine)
    return [
        f"{machines(names, everybody)}: {'each ' if len(names) > 1 else ''}{words}" for words, names in alike.items()
    ]


GROUPS = (
    "access", "access user", "artifacts", "certs", "encryption", "etcd", "inventory", "lab", "node", "upgrade",
    "workspace",
)  # fmt: skip
"""Commands that have commands of their own, and do nothing with other words."""
BELOW_COMMANDS = ("backup install", "watch install")
"""Those of a command that also does something by itself."""


def typed(command: str, given: str) -> str:
    """A command of hardway's with the flags that the user gave to find the cluster (`Options.given`), but not for help.

    Both are quoted, to be pasted into a shell.
    """
    if not given or not command.startswith("hardway ") or command.endswith(" --help"):
        return command
    words = command.split(" ")
    place = 2
    # A group is followed by the command that is meant; called bare it is one itself.
    while place < len(words) and not words[place].startswith("-"):
        if " ".join(words[1:place]) not in GROUPS and " ".join(words[1 : place + 1]) not in BELOW_COMMANDS:
            break
        place += 1
    return " ".join([*words[:place], given, *words[place:]])
