"""What is encrypted in a snapshot, and the State in which API servers can read it.

The snapshot itself says it: what a value in etcd begins with names its provider and its key.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from hardway.declare.generations import encryption_key
from hardway.declare.phases.base import Model
from hardway.declare.phases.encryption import encrypted, prefix, provider_of
from hardway.declare.resources.base import quote
from hardway.errors import HardwayError, WorkspaceError
from hardway.state import ENCRYPTED_RESOURCES, State, advanced

SECRETS = "secrets"
READ_LIMIT = 300.0

# A value is one line of text in this format, however long; `Count` is the last line of a whole answer.
LOOK = f"""\
value() {{ ask get "$1" --write-out=json | sed -n 's/.*"value":"\\([^"]*\\)".*/\\1/p'; }}
look() {{ # RESOURCE PREFIX: what values begin with, and an object for each
  ask --command-timeout={READ_LIMIT:.0f}s get "$2" --prefix --write-out=fields | LC_ALL=C cut -b 1-1000 |
    LC_ALL=C awk '
      /^"Key" : / {{ key = substr($0, 10, length($0) - 10) }}
      /^"Value" : / {{
        begins = match($0, /^"Value" : "k8s:enc:[a-z]*:v[0-9]*:[^:]*:/) ? substr($0, 12, RLENGTH - 11) : "-"
        if (!(begins in seen)) print key
        seen[begins] = 1
      }}
      /^"Count" : / {{ print "whole" }}' |
    while read -r key; do
      if [ "$key" = whole ]; then echo "whole $1"; else echo "object $1 $key $(value "$key")"; fi
    done
}}
"""


@dataclass(frozen=True)
class Stored:
    """An object in a snapshot: its resource, its key in etcd, and its value there.

    One stands for all of its resource that begin with the same provider and key, or are not encrypted.
    """

    resource: str
    path: str
    value: bytes

    @property
    def name(self) -> str:
        """As NAMESPACE/NAME."""
        return self.path.removeprefix(prefix(self.resource))

    @property
    def sealed(self) -> tuple[str, str, bytes] | None:
        """Provider, name of the key, and what it encrypted; None where it is not encrypted."""
        parts = self.value.split(b":", 5)
        if len(parts) < 6 or parts[:2] != [b"k8s", b"enc"]:
            return None
        return parts[2].decode(), parts[4].decode(), parts[5]


def resources_of(model: Model, noted: Collection[str]) -> tuple[str, ...]:
    """Those that may be encrypted in a snapshot: by its note, and by State."""
    known = encrypted(model)
    return (*known, *(name for name in noted if name not in known))


def looking(resources: Iterable[str]) -> str:
    """What a script in a scratch etcd does after LOOK."""
    return "".join(f"look {quote(name, prefix(name))}\n" for name in resources)


def stored(lines: Mapping[str, Sequence[str]], resources: Iterable[str]) -> list[Stored]:
    """What the script has said, by the first word of its lines. Raises HardwayError where it broke off."""
    missing = [name for name in resources if name not in lines.get("whole", ())]
    if missing:
        raise HardwayError(f"{missing[0]} in the snapshot could not be read", hint="run the same command again")
    found = []
    for line in lines.get("object", ()):
        resource, path, value = line.split()
        found.append(Stored(resource, path, base64.b64decode(value)))
    return found


def readable(model: Model, values: Mapping[str, bytes], objects: Sequence[Stored]) -> State:
    """The State in which API servers read these objects, and still what there is now.

    Raises WorkspaceError for a key that is lost or another one, HardwayError for Secrets that are not encrypted.
    """
    state = model.state
    providers = {name: provider_of(model, name) for name in state.encryption_keys}
    settled = state.fixed.get(ENCRYPTED_RESOURCES, ", ".join(model.cluster.encryption.resources)).split(", ")
    wanted, mixed = {*settled} ^ {*state.encryption_changing}, {*state.encryption_changing}
    for one in objects:
        if one.sealed:
            provider, key, _ = one.sealed
            _require_key(one, values.get(encryption_key(key)), providers.setdefault(key, provider))
        elif one.resource == SECRETS:
            raise HardwayError(
                f"Secret {one.name} in the snapshot is not encrypted, and API servers here read no such Secret",
                said="nothing was changed",
            )
        if (one.sealed is None) == (one.resource in wanted):
            mixed.add(one.resource)
    if len(providers) == len(state.encryption_keys) and mixed == {*state.encryption_changing}:
        return state
    return advanced(
        state,
        encryption_keys=tuple(providers),
        encryption_providers=providers,
        encryption_changing=tuple(sorted(mixed)),
        fixed={**state.fixed, ENCRYPTED_RESOURCES: ", ".join(_as_if_begun(settled, wanted, mixed))},
    )


def _as_if_begun(settled: Sequence[str], wanted: Collection[str], mixed: Collection[str]) -> list[str]:
    """The resources that are encrypted for a rotation that has begun to change the mixed ones to what is wanted."""
    known = [*settled, *sorted(name for name in mixed if name not in settled)]
    return [name for name in known if (name in wanted) != (name in mixed)]


def _require_key(one: Stored, content: bytes | None, declared: str) -> None:
    assert one.sealed
    provider, key, text = one.sealed
    what = f"{one.resource.removesuffix('s').capitalize()} {one.name} in the snapshot"
    if content is None:
        raise WorkspaceError(
            f"{what} needs {key}, which the workspace does not have",
            said="nothing was changed",
            hint=f"put {encryption_key(key)} back into the workspace from the backup of that time",
        )
    if provider != declared or not opens(provider, content, text):
        raise WorkspaceError(
            f"{what} was encrypted by another {key} ({provider}) than the workspace has",
            said="nothing was changed",
            hint="use the workspace of that time; hardway encryption status shows what the cluster has now",
        )


def opens(provider: str, key: bytes, sealed: bytes) -> bool:
    """Whether a key of 32 bytes opens what an API server wrote with it (apiserver, storage/value/encrypt)."""
    try:
        match provider:
            case "secretbox":
                SecretBox(key).decrypt(sealed)
            case "aesgcm":
                AESGCM(key).decrypt(sealed[:12], sealed[12:], None)
            case "aescbc":
                decryptor = Cipher(algorithms.AES(key), modes.CBC(sealed[:16])).decryptor()
                plain = decryptor.update(sealed[16:]) + decryptor.finalize()
                padding = plain[-1]
                return 0 < padding <= 16 and plain.endswith(bytes([padding]) * padding)
            case _:
                return False
    except (CryptoError, InvalidTag, ValueError, IndexError):
        return False
    return True
