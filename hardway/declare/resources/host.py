"""What belongs to a machine's operating system: packages, its name, users."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from hardway.declare.resources.base import Absent, Context, Difference, ManualStep, Observed, Present, Resource, quote


@dataclass(frozen=True)
class Package(Resource):
    """A package of the distribution, by Debian's name; `command` proves that it is there.

    A command, or the path of a file, that exists on every distribution where the package does, so looking
    needs no package manager. `keep_service_off`: the package's own unit must not start by being installed.
    `proxy` is the URL through which the package manager reaches its sources, unless it has one of its own.
    """

    kind: ClassVar[str] = "package"
    package: str
    command: str
    keep_service_off: str = ""
    proxy: str = ""

    @property
    def name(self) -> str:
        return self.package

    @classmethod
    def probe(cls, wanted: Sequence[Self]) -> str:
        commands = quote(*(one.command for one in wanted))
        return f"for c in {commands}; do if PATH=$PATH:/usr/sbin:/sbin command -v $c >/dev/null; then echo $c; fi; done"

    @classmethod
    def parse(cls, wanted: Sequence[Self], output: str) -> dict[str, Observed]:
        seen = set(output.split())
        return {one.key: Present() if one.command in seen else Absent() for one in wanted}

    def diff(self, observed: Observed, context: Context) -> Difference | None:
        return Difference("create", "is not installed") if isinstance(observed, Absent) else None

    def steps(self, difference: Difference, context: Context) -> str:
        return f"install_package {quote(self.package, self.command, self.keep_service_off, self.proxy)}"

    def manual_steps(self) -> tuple[ManualStep, ...]:
        there = f"[ -e {self.command} ]" if self.command.startswith("/") else f"command -v {quote(self.command)}"
        proxy = f"http_proxy={self.proxy} https_proxy={self.proxy} " if self.proxy else ""
        get = f"{proxy}apt-get install -y --no-install-recommends {quote(self.package)} </dev/null"
        install = f"{there} >/dev/null || {get}"
        off = f"systemctl disable --now {quote(self.keep_service_off)}" if self.keep_service_off else ""
        return tuple(ManualStep(line) for line in (install, off) if line)

    def entry(self, observed: Observed, context: Context) -> dict[str, Any]:
        return {"installed": isinstance(observed, Absent) or bool(context.noted.get(self.key, {}).get("installed"))}


@dataclass(frozen=True)
class Hostname(Resource):
    """The machine's own name, now and after a reboot."""

    kind: ClassVar[str] = "hostname"
    hostname: str

    @property
    def name(self) -> str:
        return "hostname"

    @classmethod
    def probe(cls, wanted: Sequence[Self]) -> str:
        return "uname -n; cat /etc/hostname 2>/dev/null || true"

    @classmethod
    def parse(cls, wanted: Sequence[Self], output: str) -> dict[str, Observed]:
        lines = [*output.split(), "", ""][:2]
        return {one.key: Present((lines[0], lines[1])) for one in wanted}

    def diff(self, observed: Observed, context: Context) -> Difference | None:
        if not isinstance(observed, Present) or observed.value == (self.hostname, self.hostname):
            return None
        now, stored = observed.value
        return Difference("update", f"is {now}, and {stored or 'unset'} after a reboot", now, self.hostname)

    def steps(self, difference: Difference, context: Context) -> str:
        name = quote(self.hostname)
        return (
            f"printf '%s\\n' {name} >/etc/hostname; hostnamectl set-hostname -- {name} 2>/dev/null || hostname {name}"
        )

    def manual_steps(self) -> tuple[ManualStep, ...]:
        return (ManualStep(f"hostnamectl set-hostname {quote(self.hostname)}"),)

    def entry(self, observed: Observed, context: Context) -> dict[str, Any]:
        noted = context.noted.get(self.key)
        if noted:
            return {"previous": noted.get("previous")}
        return {"previous": observed.value[0] if isinstance(observed, Present) else None}

    @classmethod
    def undo(cls, name: str, entry: Mapping[str, Any]) -> str:
        previous = str(entry.get("previous") or "")
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", previous):
            return ""
        name = quote(previous)
        return (
            f"printf '%s\\n' {name} >/etc/hostname; hostnamectl set-hostname -- {name} 2>/dev/null || hostname {name}"
        )


@dataclass(frozen=True)
class User(Resource):
    """A system user without a login, with a group of the same name."""

    kind: ClassVar[str] = "user"
    user: str
    home: str

    @property
    def name(self) -> str:
        return self.user

    @classmethod
    def probe(cls, wanted: Sequence[Self]) -> str:
        return f"getent passwd {quote(*(one.user for one in wanted))} || true"

    @classmethod
    def parse(cls, wanted: Sequence[Self], output: str) -> dict[str, Observed]:
        seen = {line.partition(":")[0] for line in output.splitlines()}
        return {one.key: Present() if one.user in seen else Absent() for one in wanted}

    def diff(self, observed: Observed, context: Context) -> Difference | None:
        return Difference("create", "is not there") if isinstance(observed, Absent) else None

    def steps(self, difference: Difference, context: Context) -> str:
        add = quote(
            "useradd", "--system", "--user-group", "--no-create-home", "--home-dir", self.home,
            "--shell", "/usr/sbin/nologin", self.user,
        )  # fmt: skip
        return f"getent passwd {quote(self.user)} >/dev/null || {add}"

    def manual_steps(self) -> tuple[ManualStep, ...]:
        add = f"useradd --system --user-group --no-create-home --home-dir {quote(self.home)}"
        there = f"getent passwd {quote(self.user)} >/dev/null"
        return (ManualStep(f"{there} ||\n  {add} --shell /usr/sbin/nologin {quote(self.user)}"),)

    def entry(self, observed: Observed, context: Context) -> dict[str, Any]:
        return {"made": isinstance(observed, Absent) or bool(context.noted.get(self.key, {}).get("made"))}

    @classmethod
    def undo(cls, name: str, entry: Mapping[str, Any]) -> str:
        return f"userdel -- {quote(name)} 2>/dev/null || true" if entry.get("made") else ""
