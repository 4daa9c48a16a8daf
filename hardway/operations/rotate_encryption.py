"""`encryption rotate`: a next key for what is encrypted in etcd; all is written again, and no API server restarts.

API servers look at their encryption configuration once a minute. All of them can read what the next key writes before
one writes with it, and the key before goes when nothing in etcd needs it any more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from hardway.declare.phases.base import Model, Proof
from hardway.declare.phases.encryption import COUNTED, LOADED, VALUES, beginning
from hardway.declare.phases.paths import KUBECTL
from hardway.engine.session import Session
from hardway.errors import WorkspaceError
from hardway.events import Note
from hardway.operations.stage import Operation, Stage
from hardway.state import State

NAME = "encryption rotate"
RELOAD_LIMIT = 90.0
"""Seconds until every API server has read a changed configuration: each looks once a minute."""
REWRITE_LIMIT = 3600.0
TRIES = 3
"""How often all Secrets are gone through: what somebody else changed meanwhile is left to the next time."""


def operation() -> Operation:
    return Operation(
        NAME,
        (),
        (
            Stage("read", _reading, _loaded, why="every API server can read what the next key writes"),
            Stage("write", _writing, _loaded, why="every API server writes with the next key"),
            Stage("rewrite", _writing, _rewritten, _rewrite, why="all Secrets are written again"),
            Stage("retire", _retired, _loaded, why="no API server has the key before; the workspace keeps it"),
        ),
    )


def _reading(state: State) -> State:
    if len(state.encryption_keys) > 1:
        return state
    [current] = state.encryption_keys
    return replace(state, encryption_keys=(current, f"key{_number(current) + 1}"))


def _writing(state: State) -> State:
    newest_first = sorted(state.encryption_keys, key=_number, reverse=True)
    return replace(state, encryption_keys=tuple(newest_first))


def _retired(state: State) -> State:
    return replace(state, encryption_keys=(max(state.encryption_keys, key=_number),))


def _number(name: str) -> int:
    if not name.removeprefix("key").isdecimal():
        raise WorkspaceError(f"the encryption key {name} is not one of hardway's names, key1, key2 and so on")
    return int(name.removeprefix("key"))


def _loaded(model: Model) -> Iterator[Proof]:
    for machine in model.cluster.controllers:
        yield Proof(
            machine.name,
            "the API server works with the encryption configuration that is there",
            f'said=$(\n{LOADED}\n); echo "$said"; [ "$(echo "$said" | wc -l)" = 2 ] && '
            '[ "$(echo "$said" | sort -u | wc -l)" = 1 ]',
            "an API server that does not know a key cannot read what another one wrote with it",
            within=RELOAD_LIMIT,
        )


def _rewritten(model: Model) -> Iterator[Proof]:
    wanted = beginning(model.cluster.encryption.provider, model.state.encryption_keys[0])
    yield Proof(
        model.cluster.controllers[0].name,
        f"every Secret in etcd begins with {wanted}",
        f"export LC_ALL=C\n{COUNTED}"
        f"new=$({VALUES} | grep -a -c '^{wanted}' || true)\n"
        'echo "$new of $all"; [ "$new" = "$all" ]',
        "what the key before has written cannot be read once it is gone",
        within=15,
    )


def _rewrite(session: Session, model: Model) -> None:
    """A patch that changes nothing is written all the same, where another key than the first wrote what is there.

    What is created or changed meanwhile is of the next key anyway.
    """
    controller = model.cluster.controllers[0].name
    [wanted] = _rewritten(model)
    for number in range(1, TRIES + 1):
        session.events(Note("writing all Secrets again" if number == 1 else "writing again what was left"))
        session.run(controller, REWRITE, what="write all Secrets again", timeout=REWRITE_LIMIT)
        if session.run(controller, wanted.query, what="look what is left", check=False).code == 0:
            return


# A patch without content leaves all as it is, `last-applied-configuration` too, which `kubectl replace` would fill.
REWRITE = f"""\
export KUBECTL='{KUBECTL}'
{KUBECTL} get namespaces -o name | cut -d/ -f2 | xargs -I NAMESPACE sh -c '
  $KUBECTL get secrets -n "$1" -o name |
    xargs -r -n 100 -P 4 $KUBECTL patch -n "$1" --type=merge -p "{{}}" >/dev/null || true
' sh NAMESPACE
"""
