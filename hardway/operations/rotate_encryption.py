"""`encryption rotate`: a next key for what is encrypted in etcd; all is written again, and no API server restarts.

API servers look at their encryption configuration once a minute. All of them can read what the next key writes before
one writes with it, and the key before goes when nothing in etcd needs it any more.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace

from hardway.declare.generations import KUBERNETES
from hardway.declare.phases.base import Model, Proof
from hardway.declare.phases.certs import server_trust_path, verify_by
from hardway.declare.phases.encryption import (
    LOADED,
    beginning,
    counted,
    encrypted,
    number_of,
    prefix,
    provider_of,
    stored,
    writes_plain,
)
from hardway.declare.phases.etcd import OWN
from hardway.declare.phases.paths import ADMIN_CONF, KUBECTL
from hardway.declare.resources.base import quote
from hardway.engine.session import Session
from hardway.events import Note
from hardway.inventory.model import API_PORT, Encryption
from hardway.operations.stage import Operation, Stage
from hardway.state import ENCRYPTED_RESOURCES, ENCRYPTION_PROVIDER, State

NAME = "encryption rotate"
RELOAD_LIMIT = 90.0
"""Seconds until every API server has read a changed configuration: each looks once a minute."""
REWRITE_LIMIT = 3600.0
TRIES = 3
"""How often everything is gone through: an API server may end a connection, or have too much to do."""
CONNECTIONS = 4
"""On which requests follow each other while everything is written again."""


def operation(wanted: Encryption, kept: Collection[str] = ()) -> Operation:
    """To what the inventory says: its provider with a next key, and its resources, those encrypted and no others.

    `kept` are the names of the keys that the workspace has, which older snapshots need: the next one is none of them.
    """
    return Operation(
        NAME,
        (),
        (
            Stage("read", _reading(wanted, kept), _loaded, why="every API server can read what the next key writes"),
            Stage("write", _writing, _loaded, why="every API server writes with the next key"),
            Stage("rewrite", _writing, _rewritten, _rewrite, why="everything is written again"),
            Stage("retire", _retired, _loaded, why="no API server has the key before; the workspace keeps it"),
        ),
    )


def _reading(wanted: Encryption, kept: Collection[str]) -> Callable[[State], State]:
    def edit(state: State) -> State:
        # That of a rotation which was cut has its next key. How many there are does not say so: a snapshot that was
        # restored may need several.
        if state.operation:
            return state
        names = state.encryption_keys
        following = f"key{max(number_of(name) for name in (*names, *kept)) + 1}"
        before, changing = _changing(state, wanted.resources)
        return replace(
            state,
            encryption_keys=(*names, following),
            encryption_providers={**{name: _provider(state, name) for name in names}, following: wanted.provider},
            encryption_changing=changing,
            fixed={**state.fixed, ENCRYPTED_RESOURCES: ", ".join(before)},
        )

    return edit


def _changing(state: State, wanted: Collection[str]) -> tuple[Sequence[str], tuple[str, ...]]:
    """The resources that are encrypted, and which of them, or beside them, do not stay as they are.

    What is in both forms, which a restore leaves, changes also where the inventory has not.
    """
    before = state.fixed[ENCRYPTED_RESOURCES].split(", ")
    mixed = {*state.encryption_changing}
    changing = tuple(sorted({*before} ^ {*wanted} | mixed))
    to_encrypt = mixed & {*wanted}
    to_decrypt = [name for name in sorted(mixed) if name not in wanted and name not in before]
    return [name for name in before if name not in to_encrypt] + to_decrypt, changing


def _provider(state: State, key: str) -> str:
    return state.encryption_providers.get(key, state.fixed[ENCRYPTION_PROVIDER])


def _writing(state: State) -> State:
    newest_first = sorted(state.encryption_keys, key=number_of, reverse=True)
    return replace(state, encryption_keys=tuple(newest_first))


def _retired(state: State) -> State:
    if len(state.encryption_keys) == 1 and not state.encryption_changing:
        return state
    newest = max(state.encryption_keys, key=number_of)
    before, changing = state.fixed[ENCRYPTED_RESOURCES].split(", "), state.encryption_changing
    left = [name for name in before if name not in changing]
    resources = [*left, *(name for name in changing if name not in before)]
    fixed = {ENCRYPTION_PROVIDER: _provider(state, newest), ENCRYPTED_RESOURCES: ", ".join(resources)}
    return replace(
        state,
        encryption_keys=(newest,),
        encryption_providers={},
        encryption_changing=(),
        fixed={**state.fixed, **fixed},
    )


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
    key = model.state.encryption_keys[0]
    wanted = beginning(provider_of(model, key), key)
    for resource in encrypted(model):
        plain = writes_plain(model, resource)
        sought, number = ("k8s:enc:", "0") if plain else (wanted, "$all")
        yield Proof(
            model.cluster.controllers[0].name,
            f"{resource} in etcd: {'none is encrypted' if plain else f'each begins with {wanted}'}",
            f"export LC_ALL=C\n{counted(resource)}"
            f"found=$({stored(resource)} | grep -a -c '^{sought}' || true)\n"
            f'echo "$found of $all"; [ "$found" = "{number}" ]',
            "what the key before has written cannot be read once it is gone",
            within=15,
        )


def _rewrite(session: Session, model: Model) -> None:
    """A patch that changes nothing is written all the same, where another key than the first wrote what is there.

    What is created or changed meanwhile is of the next key anyway.
    """
    controller = model.cluster.controllers[0].name
    for resource, wanted in zip(encrypted(model), _rewritten(model), strict=True):
        for number in range(1, TRIES + 1):
            session.events(Note(f"writing all {resource} again{'' if number == 1 else ', once more'}"))
            answer = session.run(
                controller, rewrite(model, resource), what=f"write all {resource} again", timeout=REWRITE_LIMIT
            )
            if refused := answer.text.strip():
                session.events(Note(f"{resource}: answers that were not 200, by status: {refused}"))
            if session.run(controller, wanted.query, what="look what is left", check=False).code == 0:
                break


def rewrite(model: Model, resource: str) -> str:
    """A script for a controller that prints how many requests of each status were not answered 200.

    A patch without content leaves all as it is, `last-applied-configuration` too, which `kubectl replace` would fill.
    kubectl sends five requests a second (client-go's default), and is no program to be started ten thousand times; so
    the requests are sent one after another on connections of openssl's, which HTTP/1.1 allows, and answered with
    metadata only.
    """
    plural, _, group = resource.partition(".")
    served = f"{KUBECTL} get crd {quote(resource)} -o jsonpath='{{.spec.versions[?(@.served==true)].name}}'"
    version = f"version=$({served} | cut -d' ' -f1)\n[ -n \"$version\" ]\n" if group else ""
    base = f"/apis/{group}/$version" if group else "/api/v1"
    trust = verify_by(model, KUBERNETES, server_trust_path(model))
    return f"""\
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM
{OWN} get {prefix(resource)} --prefix --keys-only | sed -n 's|^{prefix(resource)}||p' >"$folder/names"
[ -s "$folder/names" ] || exit 0
{version}for end in certificate key; do
  sed -n "s/^ *client-$end-data: //p" {ADMIN_CONF} | base64 -d >"$folder/$end"
done
requests() {{ # those of the part of all names that has this number
  awk -v part="$1" -v base="{base}" '
    function request(name, more) {{
      at = index(name, "/")
      if (at) base_of = base "/namespaces/" substr(name, 1, at - 1); else base_of = base
      printf "PATCH %s/{plural}/%s HTTP/1.1\\r\\n", base_of, substr(name, at + 1)
      printf "Host: kubernetes\\r\\nContent-Type: application/merge-patch+json\\r\\nContent-Length: 2\\r\\n"
      printf "Accept: application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1\\r\\n%s\\r\\n{{}}", more
    }}
    NR % {CONNECTIONS} == part {{ if (last) request(last, ""); last = $0 }}
    END {{ if (last) request(last, "Connection: close\\r\\n") }}' "$folder/names"
}}
number=0
while [ "$number" -lt {CONNECTIONS} ]; do
  requests "$number" | openssl s_client -quiet -connect 127.0.0.1:{API_PORT} {trust} -verify_ip 127.0.0.1 \
    -verify_return_error -cert "$folder/certificate" -key "$folder/key" 2>"$folder/said-$number" |
    grep -a -o '^HTTP/1.1 [0-9]*' | cut -d' ' -f2 >"$folder/answers-$number" &
  number=$((number + 1))
done
wait
[ -n "$(cat "$folder"/answers-*)" ] || {{ cat "$folder"/said-* >&2; exit 1; }}
cat "$folder"/answers-* | grep -v '^200' | sort | uniq -c | tr -s ' \n' ' '
"""
