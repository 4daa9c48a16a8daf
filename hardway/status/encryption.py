"""`encryption status`: which keys encrypt, what each has encrypted in etcd, and which API servers know them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hardway.declare.phases.base import Model
from hardway.declare.phases.encryption import BEGINNING, LOADED, counted, encrypted, provider_of, stored
from hardway.engine.session import Session
from hardway.errors import HardwayError
from hardway.probe.script import Answers, Question
from hardway.state import State

LIMIT = 120.0
_WHOLE = "      1 whole"
_SERVER = Question("server", LOADED, limit=10)


def _read(resource: str) -> Question:
    """Values are bytes; what comes back is text, and says nothing of them. The last line says that all were read."""
    return Question(
        f"read:{resource}",
        f"""\
{counted(resource)}echo "$all"
{{ {stored(resource)} && echo whole; }} | LC_ALL=C grep -a -o -e '{BEGINNING}' -e '^whole$' | sort | uniq -c
""",
        limit=60,
        strict=True,
    )


@dataclass(frozen=True)
class EncryptionKey:
    """`writes`: what is written now is encrypted with it; `known`: it is declared to API servers.

    `objects` is how many in etcd are encrypted with it, by resource (`secrets`).
    """

    provider: str
    name: str
    writes: bool
    known: bool
    objects: Mapping[str, int]


@dataclass(frozen=True)
class EncryptionStatus:
    """`servers` says of each controller whether its API server works with the keys that are declared to it, and None
    where it does not answer. `unencrypted` is how many objects in etcd are not encrypted at all, by resource; one
    that has none is not in there.
    """

    keys: tuple[EncryptionKey, ...]
    unencrypted: Mapping[str, int]
    servers: Mapping[str, bool | None]
    operation: str = ""
    """The command that goes on with a rotation under way; empty where there is none."""

    @property
    def well(self) -> bool:
        """Whether all is encrypted with the one key that writes, and every API server knows it."""
        spread = [key for key in self.keys if not key.writes and (key.objects or key.known)]
        return not (spread or self.unencrypted or self.operation) and all(self.servers.values())

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "well": self.well}


def encryption_status(session: Session, state: State) -> EncryptionStatus:
    """Asks the controllers that are reached. Raises HardwayError where no etcd member among them answers."""
    model = Model(session.cluster, state, {})
    resources = encrypted(model)
    names = [machine.name for machine in session.cluster.controllers if machine.name in session.machines]
    asked = session.each(names, lambda name: _asked(session, name, resources))
    servers = {name: _loaded(answers) for name, answers in asked.items()}
    found: dict[tuple[str, str], dict[str, int]] = {}
    plain: dict[str, int] = {}
    for resource in resources:
        number, *lines = _answered(resource, list(asked.values()))
        by_key = _by_key(lines)
        for key, count in by_key.items():
            found.setdefault(key, {})[resource] = count
        if left := int(number) - sum(by_key.values()):
            plain[resource] = left
    declared = [(provider_of(model, name), name) for name in state.encryption_keys]
    strangers = [key for key in found if key not in declared]
    keys = [
        EncryptionKey(*key, writes=key == declared[0], known=key in declared, objects=found.get(key, {}))
        for key in [*declared, *strangers]
    ]
    operation = state.operation.command if state.operation else ""
    return EncryptionStatus(tuple(keys), plain, servers, operation)


def _answered(resource: str, asked: Sequence[Answers]) -> list[str]:
    """What the first member said that could read all of it. Raises HardwayError where there is none."""
    answers = [one[f"read:{resource}"] for one in asked]
    for one in answers:
        if _WHOLE in one.lines:
            return [line for line in one.lines if line != _WHOLE]
    said = next((one.error for one in answers if one.error), "")
    raise HardwayError("no etcd member answers: what is encrypted is not known", said=said, hint="hardway doctor")


def _asked(session: Session, name: str, resources: Sequence[str]) -> Answers:
    questions = (_SERVER, *(_read(resource) for resource in resources))
    return session.ask(name, questions, what="ask what is encrypted", timeout=LIMIT)


def _loaded(answers: Answers) -> bool | None:
    said = answers["server"].output.split()
    return None if len(said) != 2 else said[0] == said[1]


def _by_key(lines: list[str]) -> dict[tuple[str, str], int]:
    """From `12 k8s:enc:secretbox:v1:key1:`."""
    found = {}
    for line in lines:
        number, provider, name = re.fullmatch(r"\s*(\d+) k8s:enc:(\w+):v\d+:([^:]+):", line).groups()  # type: ignore[union-attr]
        found[provider, name] = int(number)
    return found


def encryption_page(found: EncryptionStatus) -> list[str]:
    """A line for each key, one for each API server that does not know them."""
    lines = []
    for key in found.keys:
        use = "writes and reads" if key.writes else "reads" if key.known else "known to no API server"
        there = ", ".join(f"{count} {resource}" for resource, count in key.objects.items()) or "nothing"
        lines.append(f"{key.name}  {key.provider}  {use}, has encrypted {there}")
    for resource, count in found.unencrypted.items():
        lines.append(f"not encrypted: {count} {resource}")
    for name, loaded in found.servers.items():
        if loaded is None:
            lines.append(f"{name}: the API server does not answer")
        elif not loaded:
            lines.append(f"{name}: the API server has not read its configuration yet (it looks once a minute)")
    if found.operation:
        lines.append(f"a rotation is under way; to go on with it: {found.operation}")
    return lines
