"""What the components of each release accept: flags and fields with their types, feature gates, admission plugins.

The lists in components/flags/ are generated from the binaries and their sources. Texts are judged as Go reads them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cache
from ipaddress import ip_address
from typing import Any

from hardway import data
from hardway.values import has_placeholder_marks

MINORS = ("1.35", "1.36")
"""Kubernetes releases that have a list."""
REPEATED = ("stringArray", "namedCertKey", "mapStringStringNoSplit", "reserved-memory")
"""Types of flags that are given once for each value: a comma is part of the value."""
ADDING_UP = (
    *REPEATED, "strings", "mapStringString", "mapStringBool", "stringToString", "colonSeparatedMultimapStringString",
    "int32Slice", "[]v1.Taint",
)  # fmt: skip
"""Types of flags that may be given several times, and then have all the values."""


@cache
def known(minor: str) -> Mapping[str, Any]:
    """What the binaries of a Kubernetes release know, such as `1.36`; empty for one without a list."""
    try:
        found: Mapping[str, Any] = json.loads(data.read(f"components/flags/kubernetes-{minor}.json"))
    except FileNotFoundError:
        return {}
    return found


@cache
def flags_of_types(types: tuple[str, ...], component: str | None = None) -> frozenset[str]:
    """Names of flags that have one of the types in any release, of one component or of all."""
    found: set[str] = set()
    for minor in MINORS:
        for name, flags in known(minor)["types"].items():
            if component in (None, name):
                found |= {flag for flag, kind in flags.items() if kind in types}
    return frozenset(found)


def nearest(word: str, words: Iterator[str] | Sequence[str] | Mapping[str, Any]) -> str:
    """What was probably meant; empty where nothing is near."""
    near = get_close_matches(word, list(words), 1) or [one for one in words if one.lower() == word.lower()]
    return near[0] if near else ""


# Texts as Go reads them.

_DURATION = re.compile(r"[-+]?(?:0|(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+)")
_WHOLE = re.compile(r"[-+]?(?:0[xX][\da-fA-F_]+|0[bB][01_]+|0[oO]?[0-7_]*|[1-9][\d_]*)")
_QUANTITY = re.compile(r"(?=.)[-+]?\d*\.?\d*(?:[KMGTPE]i|[numkMGTPE]|[eE][-+]?\d+)?")
_TRUTH = ("1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False")
_LIMITS = {
    "int32": (-(2**31), 2**31 - 1), "int": (-(2**63), 2**63 - 1), "int64": (-(2**63), 2**63 - 1),
    "uint": (0, 2**64 - 1), "uint32": (0, 2**32 - 1), "uint64": (0, 2**64 - 1),
}  # fmt: skip


def _is_whole(text: str, kind: str) -> bool:
    if not _WHOLE.fullmatch(text):
        return False
    digits = text.replace("_", "")
    octal = re.fullmatch(r"([-+]?)0([0-7]+)", digits)
    low, high = _LIMITS[kind]
    return low <= (int(octal[1] + octal[2], 8) if octal else int(digits, 0)) <= high


def _is_float(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_address(text: str) -> bool:
    try:
        ip_address(text.strip() or "0.0.0.0")
    except ValueError:
        return False
    return True


def _are_pairs(text: str) -> bool:
    """With one `=` all of the text is one pair."""
    parts = [text] if text.count("=") == 1 else text.split(",")
    return all("=" in part for part in parts)


def _are_truths(text: str) -> bool:
    return all(part.partition("=")[2].strip() in _TRUTH for part in text.split(",") if part)


_READ: Mapping[str, tuple[str, Callable[[str], bool]]] = {
    "bool": ("true or false", lambda text: text in _TRUTH),
    "duration": ("a duration such as 30s, 5m or 1h30m", lambda text: bool(_DURATION.fullmatch(text))),
    "quantity": ("a quantity such as 500m, 200Mi or 1Gi", lambda text: bool(_QUANTITY.fullmatch(text))),
    "ip": ("an IP address", _is_address),
    "mapStringBool": ("NAME=true or NAME=false, by commas", _are_truths),
    "mapStringStringNoSplit": ("KEY=VALUE", lambda text: "=" in text),
    "stringToString": ("KEY=VALUE, by commas", _are_pairs),
    "Level": ("a whole number, not below zero", lambda text: text.isdecimal() and int(text) < 2**31),
    "int32Slice": ("whole numbers, by commas", lambda text: all(_is_whole(one, "int32") for one in text.split(","))),
} | dict.fromkeys(("float", "float32", "float64"), ("a number", _is_float))  # fmt: skip


def _whole_number(kind: str) -> str:
    low, high = _LIMITS[kind]
    if low == 0:
        return "a whole number, not below zero"
    return "a whole number" if high > 2**32 else f"a whole number of at most {high}"


def refused_text(kind: str, text: str) -> str:
    """What a flag of this type takes, where it does not take the text; empty where it does, or nobody knows."""
    if kind in _LIMITS:
        return "" if _is_whole(text, kind) else _whole_number(kind)
    wanted, takes = _READ.get(kind, ("", None))
    return "" if takes is None or takes(text) else wanted


# Values of configuration files, as JSON has them.


@dataclass(frozen=True)
class Mistake:
    """One thing in a configuration that its component does not take: where, what, and what would be right."""

    path: tuple[str, ...]
    what: str
    right: str
    unknown: bool = False
    """Whether there is no such field."""


def mistakes(config: Mapping[str, Any], fields: Mapping[str, Any]) -> Iterator[Mistake]:
    """Where a configuration is not what its fields say. null is none: it stands for the field's own default."""
    for one in _mistakes(config, fields, ()):
        home = _home(one.path[-1], fields) if one.unknown else ()
        meant = ".".join(home)
        yield replace(one, right=f"write it as {meant}, if that is meant") if meant else one


def _home(name: str, fields: Mapping[str, Any]) -> tuple[str, ...]:
    """Where a field of that name is; empty where there is none, or it belongs to items of a list."""
    if name in fields:
        return (name,)
    for above, below in fields.items():
        if isinstance(below, Mapping) and "*" not in below and (found := _home(name, below)):
            return (above, *found)
    return ()


def _mistakes(config: Mapping[str, Any], fields: Mapping[str, Any], above: tuple[str, ...]) -> Iterator[Mistake]:
    for name, value in config.items():
        if value is None:
            continue
        path = (*above, str(name))
        kind = fields.get(name, fields.get("*"))
        if name not in fields and "*" not in fields:
            near = nearest(str(name), fields)
            right = f"write {near}, if that is meant" if near else f"take {name} away"
            yield Mistake(path, "is no field", right, unknown=True)
        elif kind is not None:
            yield from _wrong_value(value, kind, path)


def _wrong_value(value: Any, kind: Any, path: tuple[str, ...]) -> Iterator[Mistake]:
    if isinstance(kind, Mapping):
        if isinstance(value, Mapping):
            yield from _mistakes(value, kind, path)
        else:
            yield Mistake(path, f"is {described(value)}", "give it a mapping of its fields")
    elif isinstance(kind, list) or kind.startswith("[]"):
        item = kind[0] if isinstance(kind, list) else kind.removeprefix("[]")
        if isinstance(value, list):
            for number, one in enumerate(value):
                yield from _wrong_value(one, item, (*path, str(number)))
        else:
            yield Mistake(path, f"is {described(value)}", "give it a list such as [a, b]")
    elif kind.startswith("map[string]"):
        if isinstance(value, Mapping):
            for name, one in value.items():
                yield from _wrong_value(one, kind.removeprefix("map[string]"), (*path, str(name)))
        else:
            yield Mistake(path, f"is {described(value)}", "give it a mapping such as {a: b}")
    elif value is not None and (wanted := refused_value(kind, value)):
        yield Mistake(path, f"is {described(value)}", f"give it {wanted}")


def refused_value(kind: str, value: Any) -> str:
    """What a field of this type takes, where it does not take the value."""
    if isinstance(value, str) and has_placeholder_marks(value):
        return ""
    if kind == "duration or int":
        return "" if _is_int(value) else refused_value("duration", value)
    if kind == "quantity":
        return refused_text(kind, str(value)) if _is_number(value) or isinstance(value, str) else _READ[kind][0]
    if kind == "string":
        return "" if isinstance(value, str) else f'a text, in quotes: "{_plain(value)}"'
    if kind == "bool":
        return "" if isinstance(value, bool) else _READ[kind][0]
    if kind in _LIMITS:
        low, high = _LIMITS[kind]
        return "" if _is_int(value) and low <= value <= high else _whole_number(kind)
    if kind.startswith("float"):
        return "" if _is_number(value) else _READ[kind][0]
    if not isinstance(value, str):
        return _READ[kind][0] if kind in _READ else ""
    return refused_text(kind, value)


def described(value: Any) -> str:
    """A value as a message says it, with what YAML takes it for."""
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, str):
        return f"the text {json.dumps(value, ensure_ascii=False)}"
    return f"{_plain(value)}, a {'truth value' if isinstance(value, bool) else 'number'}"


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_int(value: Any) -> bool:
    return _is_number(value) and float(value).is_integer()


OLD_CRI = "io.containerd.grpc.v1.cri"
IMAGES, RUNTIME = "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime"
"""The plugins that a version-3 configuration of containerd has in place of the old one."""


def containerd_mistakes(config: Mapping[str, Any], fields: Mapping[str, Any]) -> Iterator[Mistake]:
    """Wrong types, what is of version 2, and what the plugins of the CRI do not have.

    Of other plugins only the fields of the default configuration are known, which may leave some out.
    """
    for one in mistakes(config, fields):
        if not one.unknown or one.path[:2] in (("plugins", IMAGES), ("plugins", RUNTIME)):
            yield one
    plugins = config.get("plugins")
    old = plugins.get(OLD_CRI) if isinstance(plugins, Mapping) else None
    listed = fields.get("plugins", {})
    for name, value in old.items() if isinstance(old, Mapping) else ():
        if value is not None and name not in listed.get(OLD_CRI, {}):
            yield Mistake(("plugins", OLD_CRI, str(name)), "is not there in version 3", _new_place(name, listed), True)


def _new_place(name: str, plugins: Mapping[str, Mapping[str, Any]]) -> str:
    if name == "sandbox_image":
        return f"write it as pinned_images: {{sandbox: IMAGE}} below {IMAGES}"
    for new in (IMAGES, RUNTIME):
        if name in plugins.get(new, {}):
            return f"write it below {new}"
    return f"write it below {IMAGES} or {RUNTIME}, as `containerd config default` has it"


# Names in values.


def refused_gate(name: str, value: str, gates: Mapping[str, bool | None]) -> str:
    """What to do about a feature gate that the binary refuses; empty where it takes it."""
    if name not in gates:
        near = nearest(name, gates)
        return f"write {near}, if that is meant" if near else f"take {name} away"
    only = gates[name]
    if only is not None and value.strip() in _TRUTH and (value.strip().lower() in ("1", "t", "true")) != only:
        return f"take {name} away: this release has it {'always' if only else 'never'}"
    return ""


SECTIONS = (
    "global", "defaults", "frontend", "backend", "listen", "peers", "resolvers", "userlist", "mailers", "cache",
    "program", "ring", "http-errors", "log-forward", "fcgi-app", "crt-store", "traces",
)  # fmt: skip
"""Words that begin a section of HAProxy's configuration."""


def refused_section(title: str, directives: object) -> str:
    """What is wrong with a section of HAProxy's configuration; empty where it can be one."""
    if directives is not None and not isinstance(directives, Mapping):
        return f"is {described(directives)}; a section holds directives, such as {{timeout client: 2h}}"
    word, _, name = title.partition(" ")
    if word not in SECTIONS:
        near = nearest(word, SECTIONS)
        right = f"did you mean {near}?" if near else f"there are {', '.join(SECTIONS)}"
        return f"HAProxy has no such section; {right}"
    return "" if name or word in ("global", "defaults") else f"a section {word} has a name, such as {word} stats"
