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
from hardway.errors import WorkspaceError
from hardway.state import ENCRYPTED_RESOURCES, ENCRYPTION_PROVIDER
from hardway.values import Placeholder

IDENTITY = "identity"
"""The provider that does not encrypt."""


def prefix(resource: str) -> str:
    """Below which etcd has the objects of a resource: `secrets`, or a custom one as PLURAL.GROUP."""
    plural, _, group = resource.partition(".")
    return f"/registry/{group}/{plural}/" if group else f"/registry/{plural}/"


def counted(resource: str) -> str:
    """Sets `all`, how many objects etcd has, and `at`, the revision at which that was so; fails without etcd."""
    return f"""\
fields=$({OWN} get {prefix(resource)} --prefix --count-only --write-out=fields)
all=$(echo "$fields" | sed -n 's/^"Count" : //p')
at=$(echo "$fields" | sed -n 's/^"Revision" : //p')
[ -n "$all" ] && [ -n "$at" ]
"""


def stored(resource: str) -> str:
    """Prints their values, as they were then."""
    return f'{OWN} get {prefix(resource)} --prefix --rev="$at" --print-value-only'


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


def provider_of(model: Model, key: str) -> str:
    """The provider of a key; while the provider is exchanged, keys differ in that."""
    settled = model.state.fixed.get(ENCRYPTION_PROVIDER, model.cluster.encryption.provider)
    return model.state.encryption_providers.get(key, settled)


def encrypted(model: Model) -> tuple[str, ...]:
    """The resources that are encrypted, or are being decrypted."""
    settled = model.state.fixed.get(ENCRYPTED_RESOURCES, "")
    names = settled.split(", ") if settled else model.cluster.encryption.resources
    return (*names, *(one for one in model.state.encryption_changing if one not in names))


def writes_plain(model: Model, resource: str) -> bool:
    """Whether API servers write a resource as it is for now: until all can read the other form, or for good after."""
    if resource not in model.state.encryption_changing:
        return False
    keys = model.state.encryption_keys
    newest_writes = keys[0] == max(keys, key=number_of)
    return newest_writes == (resource in model.state.fixed[ENCRYPTED_RESOURCES].split(", "))


def number_of(key: str) -> int:
    """Raises WorkspaceError for a name that is not one of hardway's."""
    if not key.removeprefix("key").isdecimal():
        raise WorkspaceError(f"the encryption key {key} is not one of hardway's names, key1, key2 and so on")
    return int(key.removeprefix("key"))


def encryption_config(model: Model) -> str:
    """The first key writes, all of them read.

    What is only now encrypted, or decrypted, has the identity provider, too, until all of it is written again.
    """
    keys = _providers(model)
    changing = model.state.encryption_changing
    settled = "\n".join(f"  - {name}" for name in encrypted(model) if name not in changing)
    text = render("configs/encryption-config.yaml", resources=settled, providers="\n".join(keys))
    for name in changing:
        plain = f"  - {IDENTITY}: {{}}"
        providers = [plain, *keys] if writes_plain(model, name) else [*keys, plain]
        text += "\n".join(["- resources:", f"  - {name}", "  providers:", *providers, ""])
    return text


def _providers(model: Model) -> list[str]:
    """Keys of one provider that follow each other are one entry."""
    entries: list[str] = []
    before = ""
    for name in model.state.encryption_keys:
        provider = provider_of(model, name)
        if provider != before:
            entries.append(f"  - {provider}:\n      keys:")
        secret = Placeholder(encryption_key(name), "base64", secret=True)
        entries.append(f"      - name: {name}\n        secret: {secret}")
        before = provider
    return entries


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
