"""HAProxy's configuration, and what an operator sets in its sections."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hardway.accepted import refused_section
from hardway.errors import UsageError

TWO_WORDS = ("option", "timeout", "stats")
"""Directives that are named by their second word, too: one of them does not replace another."""
_Lines = list[str]


def merge_sections(text: str, overlay: Mapping[str, Any]) -> str:
    """An HAProxy configuration with directives put into its sections: `{"defaults": {"timeout client": "2h"}}`.

    A directive replaces the lines of its section that begin with it, else it is added. A list is a line for each item,
    true the directive alone; None and false take it away. A section that is not there is added, and one that is None
    taken away. Raises UsageError for what can be no section or directive.
    """
    sections = _split(text)
    for title, directives in overlay.items():
        if wrong := refused_section(title, directives):
            raise UsageError(f"settings.haproxy.{title}: {wrong}")
        if directives is None:
            sections.pop(title, None)
            continue
        body = sections.setdefault(title, [])
        for name, values in _directives(title, "", directives):
            _put(body, name, values)
    written: _Lines = []
    for title, body in sections.items():
        while body and not body[-1].strip():
            body.pop()
        written += [*([title] if title else ()), *body, ""]
    return "\n".join(written) if overlay else text


def _split(text: str) -> dict[str, _Lines]:
    """The lines of each section by its title; what comes before the first has none."""
    sections: dict[str, _Lines] = {}
    body: _Lines = []
    for line in text.split("\n"):
        if line and line[0] not in " #":
            body = sections.setdefault(line, [])
        else:
            body.append(line)
    return sections


def _directives(title: str, above: str, settings: Mapping[str, Any]) -> Iterator[tuple[str, _Lines]]:
    """Each directive's full name, and what follows that name in each of its lines."""
    for key, value in settings.items():
        name = f"{above}{key}"
        if isinstance(value, Mapping):
            yield from _directives(title, f"{name} ", value)
        elif name in TWO_WORDS and value is not None:
            yield from _by_second_word(title, name, value)
        elif value is False and name.startswith("option ") and not title.startswith("defaults"):
            # What a section does not say it has from the defaults.
            yield name, []
            yield f"no {name}", [""]
        else:
            yield name, _values(f"settings.haproxy.{title}.{name}", value)


def _by_second_word(title: str, name: str, value: Any) -> Iterator[tuple[str, _Lines]]:
    found: dict[str, _Lines] = {}
    for text in _values(f"settings.haproxy.{title}.{name}", value):
        second, _, rest = text.partition(" ")
        found.setdefault(f"{name} {second}".rstrip(), []).append(rest)
    yield from found.items()


def _values(place: str, value: Any) -> _Lines:
    if value is None or value is False:
        return []
    if value is True:
        return [""]
    items = value if isinstance(value, list | tuple) else [value]
    texts = [str(one) for one in items if one is not None]
    if any(isinstance(one, bool | Mapping | list | tuple) for one in items):
        raise UsageError(f"{place}: each item of the list is one line", hint="write it as HAProxy reads it")
    if any("\n" in text for text in texts):
        raise UsageError(f"{place}: no value here can hold a line break")
    return texts


def _put(body: _Lines, name: str, values: _Lines) -> None:
    """Where the first of the lines was that it replaces; a new default-server before the servers that it is for."""
    at = next((number for number, line in enumerate(body) if _is(line, name)), None)
    body[:] = [line for line in body if not _is(line, name)]
    if at is None:
        servers = [number for number, line in enumerate(body) if _is(line, "server")]
        at = servers[0] if name == "default-server" and servers else _end(body)
    body[at:at] = [f"  {name} {value}".rstrip() for value in values]


def _is(line: str, name: str) -> bool:
    return f"{line.strip()} ".startswith(f"{name} ")


def _end(body: _Lines) -> int:
    """After the last line that says something."""
    return max((number + 1 for number, line in enumerate(body) if line.strip()), default=0)
