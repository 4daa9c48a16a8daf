"""`encryption status`: which keys encrypt, what each has encrypted in etcd, and which API servers know them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from hardway.console.words import counted
from hardway.declare.phases.encryption import BEGINNING, COUNTED, LOADED, VALUES
from hardway.engine.session import Session
from hardway.errors import HardwayError
from hardway.probe.script import Answers, Question
from hardway.state import State

LIMIT = 120.0
_WHOLE = "      1 whole"
_SERVER = Question("server", LOADED, limit=10)
_READ = Question(
    "read",
    # Values are bytes; what comes back is text, and says nothing of them. The last line says that all were read.
    f"""\
{COUNTED}echo "$all"
{{ {VALUES} && echo whole; }} | LC_ALL=C grep -a -o -e '{BEGINNING}' -e '^whole$' | sort | uniq -c
""",
    limit=60,
    strict=True,
)


@dataclass(frozen=True)
class EncryptionKey:
    """`writes`: what is written now is encrypted with it; `known`: it is declared to API servers.

    `secrets` is how many Secrets in etcd are encrypted with it.
    """

    provider: str
    name: str
    writes: bool
    known: bool
    secrets: int


@dataclass(frozen=True)
class EncryptionStatus:
    """`servers` says of each controller whether its API server works with the keys that are declared to it, and None
    where it does not answer. `unencrypted` is how many Secrets in etcd are not encrypted at all.
    """

    keys: tuple[EncryptionKey, ...]
    unencrypted: int
    servers: Mapping[str, bool | None]
    operation: str = ""
    """The command that goes on with a rotation under way; empty where there is none."""

    @property
    def well(self) -> bool:
        """Whether all is encrypted with the one key that writes, and every API server knows it."""
        spread = [key for key in self.keys if not key.writes and (key.secrets or key.known)]
        return not (spread or self.unencrypted or self.operation) and all(self.servers.values())

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "well": self.well}


def encryption_status(session: Session, state: State) -> EncryptionStatus:
    """Asks the controllers that are reached. Raises HardwayError where no etcd member among them answers."""
    names = [machine.name for machine in session.cluster.controllers if machine.name in session.machines]
    asked = session.each(names, lambda name: _asked(session, name))
    servers = {name: _loaded(answers) for name, answers in asked.items()}
    read = next((one["read"] for one in asked.values() if _WHOLE in one["read"].lines), None)
    if read is None:
        said = next((one["read"].error for one in asked.values() if one["read"].error), "")
        raise HardwayError("no etcd member answers: what is encrypted is not known", said=said, hint="hardway doctor")
    number, *lines = [line for line in read.lines if line != _WHOLE]
    found = _by_key(lines)
    provider = session.cluster.encryption.provider
    declared = [(provider, name) for name in state.encryption_keys]
    keys = [
        EncryptionKey(*key, writes=key == declared[0], known=key in declared, secrets=found.get(key, 0))
        for key in [*declared, *(key for key in found if key not in declared)]
    ]
    plain = int(number) - sum(found.values())
    operation = state.operation.command if state.operation else ""
    return EncryptionStatus(tuple(keys), plain, servers, operation)


def _asked(session: Session, name: str) -> Answers:
    return session.ask(name, (_SERVER, _READ), what="ask what is encrypted", timeout=LIMIT)


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
        lines.append(f"{key.name}  {key.provider}  {use}, {counted(key.secrets, 'Secret')}")
    if found.unencrypted:
        lines.append(f"{counted(found.unencrypted, 'Secret')} not encrypted")
    for name, loaded in found.servers.items():
        if loaded is None:
            lines.append(f"{name}: the API server does not answer")
        elif not loaded:
            lines.append(f"{name}: the API server has not read its configuration yet (it looks once a minute)")
    if found.operation:
        lines.append(f"a rotation is under way; to go on with it: {found.operation}")
    return lines
