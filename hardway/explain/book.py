"""All that can be asked about one cluster, gathered once: things, facts, what is written about values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

from hardway.declare.declaration import Declaration
from hardway.declare.phases import PHASE_NAMES
from hardway.declare.phases.base import Model, Proof
from hardway.declare.resources import Service
from hardway.explain.facts import Fact, facts
from hardway.explain.prose import Known, Message, Term, absent, known_values, messages, terms
from hardway.explain.things import Thing, things
from hardway.explain.vocabulary import who
from hardway.values import OPERATOR


@dataclass(frozen=True)
class Book:
    model: Model
    declaration: Declaration

    @cached_property
    def things(self) -> tuple[Thing, ...]:
        found: list[Thing] = []
        for name in PHASE_NAMES:
            found += things(self.model, self.declaration, name)
        return tuple(found)

    @cached_property
    def facts(self) -> tuple[Fact, ...]:
        return tuple(chain.from_iterable(map(facts, self.things)))

    @cached_property
    def known(self) -> tuple[Known, ...]:
        return known_values(self.model)

    @cached_property
    def titles(self) -> Mapping[str, str]:
        """What a value is, in a few words."""
        return {one.value: one.title for one in reversed(self.known) if one.value}

    def about(self, setting: str) -> str:
        """What is written about a setting that no template has: one that the operator added."""
        names = {setting.partition(".")[0], setting.rpartition(".")[2]}
        for one in self.known:
            if names & {*one.keys}:
                return f"{one.title}. {one.text}"
        return ""

    def has_value(self, what: str) -> bool:
        """Whether a value of this cluster, or the key of one, is called so."""
        return any(what == one.value or what in one.keys for one in self.known)

    @cached_property
    def terms(self) -> tuple[Term, ...]:
        return terms(self.model)

    @cached_property
    def absent(self) -> tuple[Term, ...]:
        return absent(self.model)

    @cached_property
    def messages(self) -> tuple[Message, ...]:
        return messages(self.model)

    def there(self, asked: Iterable[str]) -> list[str]:
        """Of further questions those that this cluster has an answer to: not each has a balancer or routes."""
        here = {one.name for one in self.things}
        return [one for one in asked if one in here or "/" not in one or one.partition("/")[0] not in PHASE_NAMES]

    @property
    def proofs(self) -> Iterable[tuple[str, Proof]]:
        return self.declaration.proofs

    def on(self, machines: Iterable[str]) -> str:
        """Machines in words; the operator's own computer is the workspace."""
        names = set(machines)
        told = who(self.model.cluster, names - {OPERATOR})
        return ", ".join(filter(None, [told, "workspace" if OPERATOR in names else ""]))

    def services(self, path: str) -> Iterable[tuple[str, str, Service]]:
        """Chapter, machine and service of each unit that is restarted or reloaded when this path changes."""
        for one in self.declaration.placed:
            service = one.resource
            if isinstance(service, Service) and path in (*service.inputs, *service.reload_inputs):
                yield one.phase, one.machine, service


def pattern(what: str) -> re.Pattern[str]:
    """Finds a value as a whole word: `10.32.0.1` is not in `10.32.0.10`, nor `kubernetes` in a longer name or a path.

    A name with dots may be the end of a longer one: `cluster.local`.
    """
    if what[:1].isdigit():
        before, after = r"(?<![\w.])(?<!\d/)", r"(?![\w]|\.\d|/\d)"
    elif what[:1].isalnum():
        before, after = (r"(?<![\w-])", r"(?![\w-])") if "." in what else (r"(?<![\w./-])", r"(?![\w/-]|\.\w)")
    else:
        before, after = (r"(?<![\w.])" if what[:1] == "/" else ""), r"(?![\w-])"
    return re.compile(before + re.escape(what) + after)
