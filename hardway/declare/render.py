"""Text: templates filled with values, and the operator's settings merged over what came out.

A template is a whole artifact with substitutions only. What an operator sets beside it is merged
*after* rendering, by flag name or by the path in the YAML or TOML document, so that a template can be
read alone. Texts may have placeholders (`hardway.values.Placeholder`): they survive all of this. An empty overlay
leaves a text as it is, byte for byte.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import Any

import jinja2
import yaml

from hardway import data, yaml_text
from hardway.errors import UsageError

_PLAIN_WORD = re.compile(r"[^\s\"'\\;]*")
_PLACEHOLDER_AS_VALUE = re.compile(r"(?m)(=\s*)(⟦[^⟧]+⟧)(\s*(?:#.*)?)$")
_BARE = "bare:"
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

    None takes a flag away, a list is joined with commas. Raises UsageError for a value that no
    command line can hold.
    """
    if not settings:
        return unit
    before, command, after = _exec_start(unit)
    given = {name.removeprefix("--"): value for name, value in settings.items()}
    wanted = dict(given)
    kept = []
    for word in command[1:]:
        name = word.removeprefix("--").partition("=")[0]
        if name not in given:
            kept.append(word)
        elif (value := wanted.pop(name, None)) is not None:
            kept.append(_flag(component, name, value))
    kept += [_flag(component, name, value) for name, value in wanted.items() if value is not None]
    return before + " \\\n  ".join([command[0], *kept]) + after


def flags(unit: str) -> dict[str, str]:
    """The flags of a unit's ExecStart and their values as written."""
    words = [word.removeprefix("--").partition("=") for word in _exec_start(unit)[1][1:]]
    return {name: value for name, _, value in words}


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


def _flag(component: str, name: str, value: Any) -> str:
    if isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, Mapping):
        text = ",".join(f"{key}={one}" for key, one in value.items())
    elif isinstance(value, Sequence) and not isinstance(value, str):
        text = ",".join(map(str, value))
    else:
        text = str(value)
    if "\n" in text or "\0" in text:
        raise UsageError(f"settings.{component}.{name}: a flag cannot hold a line break")
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
    return yaml.safe_dump(merged, sort_keys=False, allow_unicode=True, width=1000)


def merge_toml(text: str, overlay: Mapping[str, Any]) -> str:
    """A TOML document with an overlay merged in by path; placeholders may stand where a boolean is meant."""
    if not overlay:
        return text
    quoted = _PLACEHOLDER_AS_VALUE.sub(rf'\1"{_BARE}\2"\3', text)
    merged = merge(tomllib.loads(quoted), overlay)
    return "\n".join(_toml_table((), merged)).strip() + "\n"


def merge_sections(text: str, overlay: Mapping[str, Any]) -> str:
    """An HAProxy configuration with directives put into its sections: `{"defaults": {"timeout client": "2h"}}`.

    A directive replaces the lines of its section that begin with it, else it is added; None takes it away.
    Raises UsageError for a section that is not there.
    """
    lines = text.split("\n")
    for section, directives in overlay.items():
        if section not in lines:
            raise UsageError(f"settings.haproxy: there is no section {section!r}")
        for name, value in directives.items():
            start = lines.index(section) + 1
            end = next((n for n in range(start, len(lines)) if lines[n] and lines[n][0] not in " #"), len(lines))
            body = [line for line in lines[start:end] if not f"{line.strip()} ".startswith(f"{name} ")]
            while body and not body[-1].strip():
                body.pop()
            added = [] if value is None else [f"  {name} {value}".rstrip()]
            lines[start:end] = [*body, *added, ""]
    return "\n".join(lines)


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
        return "{ " + ", ".join(f"{_toml_key(k)} = {_toml_value(v)}" for k, v in value.items()) + " }"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(map(_toml_value, value)) + "]"
    text = str(value)
    if text.startswith(_BARE):
        return text.removeprefix(_BARE)
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'
