"""Command lines as units and processes have them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import chain

from hardway.accepted import ADDING_UP, flags_of_types

_COMMAND = re.compile(r"^ExecStart=(?!\s*$)((?:[^\\\n]|\\\n|\\.)*)", re.MULTILINE)
_SETTING = re.compile(r"^Environment=(.*)$", re.MULTILINE)
_FILE = re.compile(r"^EnvironmentFile=-?(.*)$", re.MULTILINE)


def exec_start(unit: str) -> list[str]:
    """The words of a unit's last ExecStart; empty where it has none or cannot be read."""
    last = unit.rfind("\nExecStart=")
    found = _COMMAND.findall(unit, last + 1) if last > 0 and unit[last - 1] != "\\" else []
    found = found or _COMMAND.findall(unit)
    if not found:
        return []
    words = _words(found[-1].replace("\\\n", " "))
    return [word.replace("%%", "%").replace("$$", "$") for word in [words[0].lstrip("@-:+!"), *words[1:]]]


def environment(unit: str, files: Mapping[str, str]) -> dict[str, str]:
    """What a unit sets by Environment= and by those of its EnvironmentFile= that are among `files` (text by path)."""
    settings = _SETTING.findall(unit)
    for path in _FILE.findall(unit):
        # In systemd a file overrides what the unit itself says.
        settings += [line for line in files.get(path, "").splitlines() if not line.startswith(("#", ";"))]
    words = chain.from_iterable(_words(line) for line in settings)
    return dict(word.partition("=")[::2] for word in words)


def flags(argv: Sequence[str]) -> dict[str, str]:
    """Flags by name, `_` as `-`; one without a value is `true`.

    Of several of one name the last holds, but of a type that adds up: there they are joined with commas.
    """
    found: dict[str, str] = {}
    for number, word in enumerate(argv):
        if not word.startswith("-") or word.strip("-") == "":
            continue
        name, equals, value = word.lstrip("-").partition("=")
        if not equals:
            following = argv[number + 1] if number + 1 < len(argv) else "-"
            value = "true" if following.startswith("-") else following
        name = name.replace("_", "-")
        adds_up = name in found and name in flags_of_types(ADDING_UP)
        found[name] = f"{found[name]},{value}" if adds_up else value
    return found


@lru_cache(maxsize=1024)
def _words(line: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(line, posix=True)) or ("",)
    except ValueError:
        return tuple(line.split()) or ("",)
