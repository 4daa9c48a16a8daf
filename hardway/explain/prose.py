"""The explanations that people wrote: YAML beside the templates, its gaps filled from the model.

A text may hold `{{ first_service }}` and whatever else `vocabulary` knows; `when` is an expression of the same
words, and what it is false for is left out. Nothing here says what is declared: that is asked of the phases.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any, TypeVar

import jinja2

from hardway import data, yaml_text
from hardway.declare.phases.base import Model
from hardway.explain.vocabulary import vocabulary

_ENVIRONMENT = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)


@dataclass(frozen=True)
class Entry:
    """What is said of one thing of a chapter.

    `covers` are patterns of keys (`service:etcd.service`), names or workspace paths of what belongs together;
    `reader` is a few words for a table, `what` and `without` are sentences. `group` is a heading within the
    chapter; `detail` keeps it out of a chapter's short page; `sidecar` names the file that has its settings' whys.
    """

    name: str
    covers: tuple[str, ...]
    what: str
    reader: str
    without: str
    group: str = ""
    detail: bool = False
    sidecar: str = ""


@dataclass(frozen=True)
class Pitfall:
    """What is easy to get wrong, about the thing `of`; `shows` is the chapter in which it would be noticed."""

    of: str
    text: str
    shows: str
    fault: str = ""
    when: str = ""


@dataclass(frozen=True)
class Ask:
    """A further question: what to ask `hardway explain`, and what the answer holds."""

    what: str
    gives: str
    when: str = ""


@dataclass(frozen=True)
class ChapterProse:
    """`grouping` is what the groups of its things are, as a heading; empty where they say it themselves."""

    why: str
    grouping: str
    things: tuple[Entry, ...]
    wrong: tuple[Pitfall, ...]
    more: tuple[Ask, ...]


@dataclass(frozen=True)
class Known:
    """What is said of one value: an address, a port, a name, a setting that somebody may ask for.

    `key` is the inventory's, where it is that key's value, and `at` where it only follows from one; `keys` are
    further words that lead here. `steps` tell who gives it to whom, in order. `without` is the error that its
    absence causes, `fault` what makes that happen in a lab.
    """

    value: str
    title: str
    text: str = ""
    key: str = ""
    at: str = ""
    keys: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()
    not_used: str = ""
    without: str = ""
    fault: str = ""
    see: tuple[str, ...] = ()


@dataclass(frozen=True)
class Term:
    """A word of the field, as this project uses it; `see` are questions that lead on."""

    word: str
    text: str
    also: tuple[str, ...] = ()
    see: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cause:
    """What may be behind an error message; `ask` is a command that shows whether it is, `shows` what to look for."""

    cause: str
    ask: str
    shows: str


@dataclass(frozen=True)
class Message:
    """An error message; `prints` are texts that components' programs hold, `also` further ways to ask for it."""

    message: str
    by: str
    text: str
    chapters: tuple[str, ...]
    causes: tuple[Cause, ...]
    prints: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    see: tuple[str, ...] = ()


@dataclass(frozen=True)
class Gain:
    """What a chapter made possible, and commands that show it."""

    phase: str
    text: str
    commands: tuple[str, ...] = ()
    when: str = ""


_Kind = TypeVar("_Kind", Entry, Pitfall, Ask, Known, Term, Gain, Cause, Message)


def chapter_prose(model: Model, name: str) -> ChapterProse:
    """What is written about a chapter, filled for this model."""
    raw = _raw(f"templates/prose/chapters/{name}.yaml")
    words = vocabulary(model)
    return ChapterProse(
        why=_filled(raw["why"], words),
        grouping=raw.get("grouping", ""),
        things=tuple(_made(Entry, one, words) for one in raw["things"]),
        wrong=tuple(_chosen(Pitfall, raw.get("wrong", []), words)),
        more=tuple(_chosen(Ask, raw.get("more", []), words)),
    )


def gains(model: Model) -> tuple[Gain, ...]:
    """What each chapter made possible, and the preflight before them all."""
    return tuple(_chosen(Gain, _raw("templates/prose/gains.yaml"), vocabulary(model)))


def known_values(model: Model) -> tuple[Known, ...]:
    """What is written about values; an entry with `each` stands once for every machine of that role."""
    words = vocabulary(model)
    cluster = model.cluster
    groups = {
        "machines": cluster.machines,
        "controllers": cluster.controllers,
        "workers": cluster.workers,
        "load_balancers": cluster.load_balancers,
    }
    found: dict[tuple[str, str, tuple[str, ...]], Known] = {}
    for raw in _raw("templates/prose/values.yaml"):
        one = dict(raw)
        each = one.pop("each", None)
        for machine in groups[each] if each else (None,):
            more = {"m": machine, "fqdn": cluster.fqdn(machine)} if machine else {}
            for known in _chosen(Known, [one], {**words, **more}):
                # What is said first is the more particular: an endpoint before a machine's address.
                found.setdefault((known.value, known.key, known.keys), known)
    return tuple(found.values())


def terms(model: Model) -> tuple[Term, ...]:
    """The glossary."""
    words = vocabulary(model)
    return tuple(_made(Term, one, words) for one in _raw("templates/prose/words.yaml"))


def absent(model: Model) -> tuple[Term, ...]:
    """Words of the field for what this cluster does not have."""
    words = vocabulary(model)
    return tuple(_made(Term, one, words) for one in _raw("templates/prose/absent.yaml"))


def messages(model: Model) -> tuple[Message, ...]:
    """Error messages, the particular ones first."""
    words = vocabulary(model)
    return tuple(_message(raw, words) for raw in _raw("templates/prose/errors.yaml"))


def _message(raw: Mapping[str, Any], words: Mapping[str, Any]) -> Message:
    causes = tuple(_made(Cause, one, words) for one in raw["causes"])
    return replace(_made(Message, {**raw, "causes": []}, words), causes=causes)


@cache
def sidecar(name: str) -> Mapping[str, str]:
    """The whys of a template's settings, by flag, directive or path: `units/etcd`, `configs/kubelet-config`."""
    read: dict[str, str] = yaml_text.document(data.read(f"templates/{name}.why.yaml"))
    return read


@cache
def _raw(name: str) -> Any:
    return yaml_text.document(data.read(name))


def _chosen(kind: type[_Kind], raw: list[Mapping[str, Any]], words: Mapping[str, Any]) -> Iterator[_Kind]:
    for one in raw:
        when = one.get("when", "")
        if not when or _ENVIRONMENT.compile_expression(when, undefined_to_none=False)(**words):
            kept = one if kind is not Known else {key: value for key, value in one.items() if key != "when"}
            yield _made(kind, kept, words)


def _made(kind: type[_Kind], raw: Mapping[str, Any], words: Mapping[str, Any]) -> _Kind:
    known = {field.name for field in fields(kind)}
    if strange := raw.keys() - known:
        raise ValueError(f"{kind.__name__} has no {', '.join(sorted(strange))}: {dict(raw)}")
    return kind(**{key: value if key == "when" else _value(value, words) for key, value in raw.items()})


def _value(value: Any, words: Mapping[str, Any]) -> Any:
    if isinstance(value, list):
        return tuple(_value(one, words) for one in value)
    return _filled(value, words) if isinstance(value, str) else value


def _filled(text: str, words: Mapping[str, Any]) -> str:
    return " ".join(_sentence(text).render(**words).split())


@cache
def _sentence(text: str) -> jinja2.Template:
    """The same few hundred are asked for with every page."""
    return _ENVIRONMENT.from_string(text)
