"""What a text says, setting by setting: flags and directives of a unit, keys of YAML and TOML, lines of the rest."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

from hardway import yaml_text
from hardway.declare.render import flags
from hardway.values import Placeholder, placeholders

SettingKind = Literal["flag", "directive", "key", "line"]
_PLACEHOLDER_AS_VALUE = re.compile(r"(?m)(=\s*)(⟦[^⟧]+⟧)(\s*(?:#.*)?)$")
_NOT_A_SETTING = ("apiVersion", "kind")


@dataclass(frozen=True)
class Setting:
    """One of them; `name` is a flag without dashes, a directive, or a path such as `authentication.x509`."""

    kind: SettingKind
    name: str
    value: str


def settings(path: str, text: str) -> list[Setting]:
    """Everything that a file says, in its order; a text of no known form gives its lines."""
    if path.endswith(".service"):
        return [*_flags(text), *_directives(text)]
    if path.endswith(".toml"):
        quoted = _PLACEHOLDER_AS_VALUE.sub(r'\1"\2"\3', text)
        return [Setting("key", name, value) for name, value in leaves(tomllib.loads(quoted))]
    if path.endswith("haproxy.cfg"):
        return list(_sections(text))
    if path.endswith("keepalived.conf"):
        return list(_blocks(text))
    if path.endswith((".yaml", ".conflist")) or text.startswith("apiVersion:"):
        return list(chain.from_iterable(map(_keys, yaml_text.documents(text))))
    return list(_lines(text))


def documents(manifest: str) -> Iterator[tuple[str, list[Setting]]]:
    """Each object of a manifest by `Kind/name`, with its keys."""
    for document in yaml_text.documents(manifest):
        if document:
            yield f"{document['kind']}/{document['metadata']['name']}", list(_keys(document))


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Paths and values at any depth. A list of plain values is one value; items of others share their path."""
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield from leaves(one, (*path, f'"{key}"' if "." in str(key) else str(key)))
    elif isinstance(value, list) and any(isinstance(one, Mapping | list) for one in value):
        for one in value:
            yield from leaves(one, path)
    else:
        yield ".".join(path), plain(value)


def plain(value: Any) -> str:
    """A value as configuration writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ", ".join(map(plain, value)) or "none"
    return "" if value is None else str(value)


def shown(text: str) -> str:
    """The text with its placeholders named: what fills them is secret, is in the workspace, or is a machine's own."""
    for placeholder in set(placeholders(text)):
        text = text.replace(str(placeholder), _named(placeholder))
    return text


def _named(placeholder: Placeholder) -> str:
    if placeholder.secret:
        return f"(secret: {placeholder.name})"
    where, _, name = placeholder.name.partition("/")
    if where == "fact":
        return f"(as the machine is: {name})"
    return f"({placeholder.name})" if where in ("pki", "secrets") else f"(known later: {name})"


def _keys(document: Any) -> Iterator[Setting]:
    for name, value in leaves(document):
        if name not in _NOT_A_SETTING:
            yield Setting("key", name, value)


def _flags(unit: str) -> Iterator[Setting]:
    if "\n  --" in unit:
        for name, value in flags(unit).items():
            yield Setting("flag", name, value)


def _directives(unit: str) -> Iterator[Setting]:
    continued = False
    for line in unit.splitlines():
        if not continued and line[:1].isupper() and "=" in line:
            name, _, value = line.partition("=")
            yield Setting("directive", name, value.removesuffix(" \\"))
        continued = line.endswith("\\")


def _sections(text: str) -> Iterator[Setting]:
    section = ""
    for line in text.splitlines():
        if line and line[0] not in " #":
            section = line.split()[0]
        elif (words := line.strip()) and not words.startswith("#"):
            name, value = _directive(words)
            yield Setting("key", f"{section}.{name}", value)


def _blocks(text: str) -> Iterator[Setting]:
    """keepalived's: a keyword of a block, or a block within one, whose lines are its values."""
    open_blocks: list[str] = []
    for line in text.splitlines():
        words = line.strip()
        if words.endswith("{"):
            open_blocks.append(words.split()[0])
        elif words == "}":
            open_blocks.pop()
        elif words and not words.startswith("#"):
            keyword, _, value = words.partition(" ")
            if len(open_blocks) > 1:
                keyword, value = open_blocks[1], words
            yield Setting("key", f"{open_blocks[0]}.{keyword}", value)


def _directive(words: str) -> tuple[str, str]:
    """HAProxy's directives of two words are named by both."""
    first, _, rest = words.partition(" ")
    if first in ("timeout", "option", "stats", "http-check"):
        second, _, rest = rest.partition(" ")
        return f"{first} {second}", rest
    return first, rest


def _lines(text: str) -> Iterator[Setting]:
    for line in text.splitlines():
        words = line.strip()
        if not words or words[0] in "#[":
            continue
        name, equals, value = words.partition("=")
        if equals and re.fullmatch(r"[\w.-]+\s*", name):
            yield Setting("key", name.strip(), value.strip())
        else:
            yield Setting("line", "", words)
