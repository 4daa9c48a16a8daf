"""Text: templates filled with values, and the operator's settings merged over what came out.

A template is a whole artifact with substitutions only. What an operator sets beside it is merged
*after* rendering, by flag name or by the path in the YAML or TOML document, so that a template can be
read alone. Texts may have placeholders (`hardway.values.Placeholder`): they survive all of this. An empty overlay
leaves a text as it is, byte for byte.
"""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import Any

import jinja2
import yaml

from hardway import data, yaml_text
from hardway.accepted import REPEATED, flags_of_types
from hardway.errors import UsageError

_PLAIN_WORD = re.compile(r"[^\s\"'\\;]*")
_PLACEHOLDER_AS_VALUE = re.compile(r"(?m)(=\s*)(⟦[^⟧]+⟧)(\s*(?:#.*)?)$")
_BARE = "bare:"
"""Marks a placeholder in a template that is to stand without quotes; settings are never looked at for it."""
_OTHERWISE_IN_GO = re.compile(r"[yYnN]|[-+]?(0[oO][0-7_]+|0[bB][01_]+|(\d[\d_]*\.?\d*|\.\d+)([eE][-+]?\d+)?)")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(data.folder("templates")),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # units and configurations, not HTML
        auto_reload=False,
    )
    environment.filters["yaml"] = _yaml
    return environment


_PLAIN_NAME = re.compile(r"[a-z][a-z0-9-]+([.:@][a-z0-9-]+)*")
_NO_NAMES = {"yes", "no", "on", "off", "true", "false", "null"}


def _yaml(text: str) -> str:
    """A name as every YAML reader takes it: in quotes where one might read a number, a date or a truth value.

    Readers differ: to Kubernetes' own `y` is true and `1e3` a number, and to Python's they are texts.
    """
    return text if _PLAIN_NAME.fullmatch(text) and text not in _NO_NAMES else json.dumps(text)


def render(template: str, **values: object) -> str:
    """The template at that path below `templates/`, filled. Raises jinja2.UndefinedError for a missing value."""
    return _rendered(_environment(), template, tuple((name, type(value), value) for name, value in values.items()))


@lru_cache(maxsize=4096)
def _rendered(environment: jinja2.Environment, template: str, values: tuple[tuple[str, type, object], ...]) -> str:
    """Many machines have the same text, and then it is one."""
    return environment.get_template(template).render({name: value for name, _, value in values})


def merge_flags(unit: str, component: str, settings: Mapping[str, Any]) -> str:
    """The unit with settings as flags of its ExecStart, by name: replaced where it has them, else added.

    None takes a flag away, and an entry of a mapping or a list. A list or a mapping is joined with commas, or the
    flag is repeated, as its type wants it. Raises UsageError for a value that no command line can hold.
    """
    if not settings:
        return unit
    before, command, after = _exec_start(unit)
    given = {_flag_name(name): value for name, value in settings.items()}
    wanted = dict(given)
    kept = []
    for word in command[1:]:
        name = _flag_name(word.strip('"').partition("=")[0])
        if name not in given:
            kept.append(word)
        elif name in wanted:
            kept += _flags(component, name, wanted.pop(name))
    for name, value in wanted.items():
        kept += _flags(component, name, value)
    return before + " \\\n  ".join([command[0], *kept]) + after


def _flag_name(word: str) -> str:
    """Kubernetes takes `_` for `-`."""
    return word.removeprefix("--").replace("_", "-")


def flags(unit: str) -> dict[str, str]:
    """The flags of a unit's ExecStart and their values as written; those of a repeated one by commas."""
    found: dict[str, str] = {}
    for word in _exec_start(unit)[1][1:]:
        name, _, value = word.removeprefix("--").partition("=")
        found[name] = f"{found[name]},{value}" if name in found else value
    return found


def command(unit: str) -> list[str]:
    """The words of a unit's ExecStart, as the process gets them."""
    words = shlex.split(" ".join(_exec_start(unit)[1]).removeprefix("ExecStart="))
    return [word.replace("%%", "%").replace("$$", "$") for word in words]


def _exec_start(unit: str) -> tuple[str, list[str], str]:
    """What comes before the command, the command with one flag a line, and what comes after."""
    start = unit.index("\nExecStart=") + 1
    end = start
    while True:
        end = unit.index("\n", end)
        if unit[end - 1] != "\\":
            break
        end += 1
    lines = [line.strip().removesuffix("\\").strip() for line in unit[start:end].split("\n")]
    return unit[:start], lines, unit[end:]


def _flags(component: str, name: str, value: Any) -> list[str]:
    """A setting as words of a command line: none where nothing is left of it."""
    place = f"settings.{component}.{name}"
    if value is None:
        return []
    if isinstance(value, Mapping):
        texts = [f"{key}={_plain(place, one)}" for key, one in value.items() if one is not None]
    elif isinstance(value, list | tuple):
        texts = [_plain(place, one) for one in value if one is not None]
    else:
        return [_flag(name, _plain(place, value))]
    if name in flags_of_types(REPEATED, component):
        return [_flag(name, text) for text in texts]
    return [_flag(name, ",".join(texts))] if texts or not value else []


def _plain(place: str, value: Any) -> str:
    """One value as a component reads it. Raises UsageError for what holds several."""
    if isinstance(value, Mapping | list | tuple):
        raise UsageError(
            f"{place}: no value here can hold a list or a mapping", hint="write it as the component reads it"
        )
    text = ("true" if value else "false") if isinstance(value, bool) else str(value)
    if "\n" in text or "\0" in text:
        raise UsageError(f"{place}: no value here can hold a line break")
    return text


def _flag(name: str, text: str) -> str:
    word = f"--{name}={text}".replace("%", "%%").replace("$", "$$")
    if _PLAIN_WORD.fullmatch(word):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def merge_yaml(text: str, overlay: Mapping[str, Any]) -> str:
    """A YAML document with an overlay merged in by path; None takes a key away."""
    if not overlay:
        return text
    merged = merge(yaml_text.document(text), overlay)
    return yaml.dump(merged, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000)


class _Dumper(yaml.SafeDumper):
    """Puts a text into quotes where Go's reader of YAML would see a number or a truth value in it, too."""


def _text_node(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "'" if _OTHERWISE_IN_GO.fullmatch(text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text_node)


def merge_toml(text: str, overlay: Mapping[str, Any]) -> str:
    """A TOML document with an overlay merged in by path; placeholders may stand where a boolean is meant."""
    if not overlay:
        return text
    quoted = _PLACEHOLDER_AS_VALUE.sub(rf'\1"{_BARE}\2"\3', text)
    merged = merge(_with_bare(tomllib.loads(quoted)), overlay)
    return "\n".join(_toml_table((), merged)).strip() + "\n"


class _Bare(str):
    """A text that stands in TOML without quotes."""


def _with_bare(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_bare(one) for key, one in value.items()}
    if isinstance(value, str) and value.startswith(_BARE):
        return _Bare(value.removeprefix(_BARE))
    return value


def merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings merged key by key at any depth; None removes, anything else replaces."""
    merged = dict(under)
    for key, value in over.items():
        below = merged.get(key)
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping):
            merged[key] = merge(below if isinstance(below, Mapping) else {}, value)
        else:
            merged[key] = value
    return merged


def _toml_table(path: tuple[str, ...], table: Mapping[str, Any]) -> list[str]:
    plain: dict[str, Any] = {}
    inner: dict[str, Mapping[str, Any]] = {}
    for key, value in table.items():
        (inner if isinstance(value, Mapping) else plain)[key] = value
    lines = []
    if path and (plain or not inner):
        lines += ["", f"[{'.'.join(map(_toml_key, path))}]"]
    lines += [f"{_toml_key(key)} = {_toml_value(value)}" for key, value in plain.items()]
    for key, value in inner.items():
        lines += _toml_table((*path, key), value)
    return lines


def _toml_key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _toml_value(key)


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, Mapping):
        entries = [f"{_toml_key(key)} = {_toml_value(one)}" for key, one in value.items() if one is not None]
        return "{ " + ", ".join(entries) + " }"
    if isinstance(value, Sequence) and not isinstance(value, str):
        # TOML has no null.
        return "[" + ", ".join(_toml_value(one) for one in value if one is not None) + "]"
    if isinstance(value, _Bare):
        return str(value)
    text = str(value)
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'
