"""Generations of what a cluster trusts and signs with: which files of the workspace they are.

A CA or a key that is rotated gets a next generation beside the first one: `pki/ca.crt` is generation 1 of a CA,
`pki/ca-2.crt` generation 2. State says which are trusted and which one signs. Trust is a text of several
certificates; what signs is one pair, since the controller manager takes exactly one certificate.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hardway.inventory.model import AuthorityName
from hardway.state import FIRST_GENERATION, State
from hardway.values import Placeholder


@dataclass(frozen=True)
class CA:
    """A certificate authority: its name in State, its workspace path without ending or generation, its CN."""

    name: AuthorityName
    path: str
    common_name: str

    def generation(self, number: int) -> str:
        """The workspace path of a generation, without its ending."""
        return generation(self.path, number)

    def common_name_of(self, number: int) -> str:
        """Two CAs of one name would be told apart by their keys alone."""
        return generation(self.common_name, number)

    def generations(self, state: State) -> list[int]:
        """All that a certificate or a trust is declared of."""
        authority = state.authority(self.name)
        return sorted({*authority.trusted, authority.signing})

    def signer(self, state: State) -> str:
        """The generation that signs, as a workspace path without its ending."""
        return self.generation(state.authority(self.name).signing)

    def trusted(self, state: State) -> list[str]:
        """The certificates that are trusted, as workspace paths, in order."""
        return [f"{self.generation(number)}.crt" for number in state.authority(self.name).trusted]

    def trust(self, state: State) -> str:
        """All certificates that are trusted, one after another: a text with a placeholder for each."""
        return "".join(str(Placeholder(path)) for path in self.trusted(state))

    def bundle(self, state: State, *, own: bool = False) -> str:
        """The workspace file that holds all that is trusted, for texts in which it stands as one value (base64).

        `own`: the operator's CA, which has the certificates above it in there, too.
        """
        trusted = self.trusted(state)
        return trusted[0] if len(trusted) == 1 and not own else f"{self.path}-bundle.crt"

    def above(self, number: int) -> str:
        """The workspace file with the certificates above a generation that is an operator's CA, up to the root."""
        return f"{self.generation(number)}-above.crt"

    def served(self, number: int) -> str:
        """The workspace file with what a server sends after its own certificate, where the CA is an operator's."""
        return f"{self.generation(number)}-served.crt"


KUBERNETES = CA("kubernetes", FIRST_GENERATION["kubernetes"], "kubernetes-ca")
ETCD = CA("etcd", FIRST_GENERATION["etcd"], "etcd-ca")
FRONT_PROXY = CA("front-proxy", FIRST_GENERATION["front-proxy"], "kubernetes-front-proxy-ca")
CAS = (KUBERNETES, ETCD, FRONT_PROXY)


def generation(path: str, number: int) -> str:
    """The path of a generation of what generation 1 has at `path`."""
    return path if number == 1 else f"{path}-{number}"


def token_key(number: int) -> str:
    """The name of a generation of the service-account key, below `pki/` and without its ending."""
    return generation("sa", number)


_FIRST_KEY = "secrets/encryption-key"


def encryption_key(name: str) -> str:
    """The workspace path of an encryption key by its name in the configuration."""
    return _FIRST_KEY if name == "key1" else f"{_FIRST_KEY}-{name}"


def encryption_keys(paths: Iterable[str]) -> list[str]:
    """The names of the encryption keys among these workspace paths."""
    names = []
    for path in paths:
        if path == _FIRST_KEY:
            names.append("key1")
        elif path.startswith(f"{_FIRST_KEY}-"):
            names.append(path.removeprefix(f"{_FIRST_KEY}-"))
    return names
