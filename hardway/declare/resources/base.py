"""What every kind of resource has in common.

A resource is a frozen value: what should be on a machine. A kind knows how to ask for all its
resources with one fragment of POSIX sh (`probe`), how to read the answer (`parse`), what differs
(`diff`), the steps that fix it (`steps`), and how to take it away again (`undo`). Nothing here
performs I/O, and nothing here knows Kubernetes.
"""

from __future__ import annotations

import shlex
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self

from hardway.values import sha256

Verb = Literal["create", "update", "delete", "start", "restart", "reload", "enable"]

STAGE = "/var/lib/hardway/stage"
"""Where a machine keeps what has been sent and not yet put in place."""

REPOSITORY = "packages"
"""Below it, packages of the distribution for a machine that reaches no package source, and their index."""


@dataclass(frozen=True)
class Absent:
    """It is not there."""


@dataclass(frozen=True)
class Unknown:
    """It could not be checked: that is not the same as absent."""

    why: str


@dataclass(frozen=True)
class Present:
    """It is there, with what was seen of it; the shape of `value` is the kind's own."""

    value: Any = None


Observed = Present | Absent | Unknown


@dataclass(frozen=True)
class Difference:
    """Between what is declared and what was seen, in words and as showable values."""

    verb: Verb
    why: str
    before: str = ""
    after: str = ""


@dataclass(frozen=True)
class Context:
    """What a resource is compared and filled with on one machine.

    `values` fills the placeholders of texts; `accepted` maps (file name, version) to the SHA-256 digests
    that may be installed on this machine's architecture; `noted` is what the journal says of a key.
    """

    machine: str
    values: Mapping[str, bytes] = field(default_factory=dict)
    accepted: Mapping[tuple[str, str], frozenset[str]] = field(default_factory=dict)
    noted: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class ManualStep:
    """What a person types to make something on a machine, without any tool of ours.

    `command` is sh, as root there. It is fed `text`, which may have placeholders, or the operator's file at `source`,
    a path in the workspace in which `$arch` stands for the machine's architecture; or nothing.
    """

    command: str
    text: str = ""
    source: str = ""


class Resource(ABC):
    """Base of all kinds; each is a frozen dataclass with its own fields."""

    kind: ClassVar[str]

    @property
    @abstractmethod
    def name(self) -> str:
        """What identifies it among its kind on one machine: a path, a unit, a sysctl."""

    @property
    def key(self) -> str:
        return f"{self.kind}:{self.name}"

    @classmethod
    @abstractmethod
    def probe(cls, wanted: Sequence[Self]) -> str:
        """One sh fragment that prints what `parse` needs for all of them; it changes nothing."""

    @classmethod
    @abstractmethod
    def parse(cls, wanted: Sequence[Self], output: str) -> dict[str, Observed]:
        """The answer to `probe`, by key."""

    @abstractmethod
    def diff(self, observed: Observed, context: Context) -> Difference | None:
        """What is to be done, or None when all is as declared."""

    @abstractmethod
    def steps(self, difference: Difference, context: Context) -> str:
        """The sh fragment that does it; it is safe to run again after it was cut off anywhere."""

    @abstractmethod
    def manual_steps(self) -> tuple[ManualStep, ...]:
        """What a person would type instead of `steps`, on a machine that has none of it yet."""

    def staged(self, context: Context) -> Mapping[str, bytes]:
        """Small files that `steps` expects below STAGE, by relative path."""
        return {}

    def entry(self, observed: Observed, context: Context) -> dict[str, Any]:
        """What the journal must remember so that `undo` can take it back."""
        return {}

    @classmethod
    def undo(cls, name: str, entry: Mapping[str, Any]) -> str:
        """The sh fragment that takes away what the journal's entry says was put there."""
        return ""


def quote(*words: str) -> str:
    """Words as one sh command line."""
    return shlex.join(words)


def staged_name(key: str) -> str:
    """The name of a resource's content in the staging folder."""
    return f"files/{sha256(key.encode())[:20]}"
