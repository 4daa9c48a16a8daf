"""Chapter encryption: Secrets are encrypted in etcd.

No `identity` provider: on a cluster that never held plain Secrets it would only allow one to be read.
"""

from collections.abc import Iterator

from hardway.declare.generations import encryption_key
from hardway.declare.phases.base import Declared, Model, Phase, Proof
from hardway.declare.phases.etcd import OWN
from hardway.declare.phases.paths import ENCRYPTION_CONFIG, KUBECTL
from hardway.declare.render import render
from hardway.declare.resources import File, Local, RandomKey
from hardway.values import Placeholder

PREFIX = "/registry/secrets/"
"""Below which etcd has the Secrets."""
COUNTED = f"""\
fields=$({OWN} get {PREFIX} --prefix --count-only --write-out=fields)
all=$(echo "$fields" | sed -n 's/^"Count" : //p')
at=$(echo "$fields" | sed -n 's/^"Revision" : //p')
[ -n "$all" ] && [ -n "$at" ]
"""
"""Sets `all`, how many there are, and `at`, the revision at which that was so; fails where etcd does not answer."""
VALUES = f'{OWN} get {PREFIX} --prefix --rev="$at" --print-value-only'
"""Prints them, as they were then."""
BEGINNING = "^k8s:enc:[a-z]*:v[0-9]*:[^:]*:"
"""What an encrypted value in etcd begins with, as grep has it: provider, version, and the key's name."""
_METRIC = "apiserver_encryption_config_controller_last_config_info"
LOADED = f"""\
sha256sum {ENCRYPTION_CONFIG} | cut -d' ' -f1
{KUBECTL} get --raw=/metrics | sed -n '/^{_METRIC}/s/.*sha256:\\([0-9a-f]*\\).*/\\1/p'"""
"""Prints the digest of the configuration on the disk, and of that with which the API server works (its metric)."""


def beginning(provider: str, key: str) -> str:
    """What a value begins with that this key has encrypted (apiserver, storage/value/encrypt)."""
    return f"k8s:enc:{provider}:v1:{key}:"


def local(model: Model) -> Iterator[Local]:
    for name in model.state.encryption_keys:
        yield RandomKey(encryption_key(name), 32)


def encryption_config(model: Model) -> str:
    """The first key writes, all of them read."""
    keys = "\n".join(_entry(name) for name in model.state.encryption_keys)
    return render("configs/encryption-config.yaml", provider=model.cluster.encryption.provider, keys=keys)


def _entry(name: str) -> str:
    secret = Placeholder(encryption_key(name), "base64", secret=True)
    return f"      - name: {name}\n        secret: {secret}"


def resources(model: Model) -> Iterator[Declared]:
    for machine in model.cluster.controllers:
        yield machine.name, File(ENCRYPTION_CONFIG, encryption_config(model), mode=0o600)


def proofs(model: Model) -> Iterator[Proof]:
    for machine in model.cluster.controllers:
        yield Proof(
            machine.name,
            "each key decodes to 32 bytes",
            f"sed -n 's/^ *secret: //p' {ENCRYPTION_CONFIG} | while read -r key; do "
            'echo "$key" | base64 -d | wc -c; done | sort -u',
            "an API server with a malformed key does not start; one with another key cannot read what is there",
            "equals",
            "32",
        )


PHASE = Phase(
    "encryption",
    "Data encryption at rest",
    "Who steals etcd's disk or a snapshot of it must not read Secrets.",
    resources,
    proofs,
    local,
)
