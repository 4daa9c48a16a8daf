"""What the kernel is asked to do: sysctls, modules, no swap."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from hardway.declare.resources.base import (
    Absent,
    Context,
    Difference,
    ManualStep,
    Observed,
    Present,
    Resource,
    Unknown,
    quote,
)


@dataclass(frozen=True)
class Sysctl(Resource):
    """A kernel setting in force now; the file below /etc/sysctl.d that keeps it is a `File`.

    `at_least` accepts larger numbers, for limits that a machine may have raised further.
    """

    kind: ClassVar[str] = "sysctl"
    setting: str
    value: str
    at_least: bool = False

    @property
    def name(self) -> str:
        return self.setting

    @property
    def path(self) -> str:
        return "/proc/sys/" + self.setting.replace(".", "/")

    @classmethod
    def probe(cls, wanted: Sequence[Self]) -> str:
        # Not `read`: a shell reads byte by byte, and these files have only a first byte then.
        return f"grep -s '' -- {quote(*(one.path for one in wanted))} /dev/null || true"

    @classmethod
    def parse(cls, wanted: Sequence[Self], output: str) -> dict[str, Observed]:
        seen = dict(line.split(":", 1) for line in output.splitlines() if ":" in line)
        return {one.key: Present(" ".join(seen[one.path].split())) if one.path in seen else Absent() for one in wanted}

    def diff(self, observed: Observed, context: Context) -> Difference | None:
        if isinstance(observed, Unknown):
            return None
        before = observed.value if isinstance(observed, Present) else ""
        if before == self.value or (self.at_least and before.isdigit() and int(before) >= int(self.value)):
            return None
        return Difference("update", f"is {before or 'not there'}", before, self.value)

    def steps(self, difference: Difference, context: Context) -> str:
        return f"sysctl -q -w {quote(f'{self.setting}={self.value}')}"

    def manual_steps(self) -> tuple[ManualStep, ...]:
        enough = f'[ "$(sysctl -n {quote(self.setting)})" -ge {quote(self.value)} ] || ' if self.at_least else ""
        return (ManualStep(f"{enough}sysctl -q -w {quote(f'{self.setting}={self.value}')}"),)

    def entry(self, observed: Observed, context: Context) -> dict[str, Any]:
        noted = context.noted.get(self.key)
        if noted:  # the value before hardway came, not before this run
            return {"previous": noted.get("previous")}
        return {"previous": observed.value if isinstance(observed, Present) else None}

    @classmethod
    def undo(cls, name: str, entry: Mapping[str, Any]) -> str:
        previous = str(entry.get("previous"))
        # A journal may hold anything; a setting of hardway's was a number before, too.
        return f"sysctl -q -w {quote(f'{name}={previous}')} || true" if re.fullmatch(r"-?\d+", previous) else ""


@dataclass(frozen=True)
class Module(Resource):
    """A kernel feature that may be a module or built in.

    `sign` is a path that exists when it is there, or a path and a word that stands in it then
    (`/proc/filesystems overlay`): a kernel with everything built in has no /lib/modules.
    """

    kind: ClassVar[str] = "module"
    module: str
    sign: str

    @property
    def name(self) -> str:
        return self.module

    @property
    def test(self) -> str:
        """sh that succeeds where the feature is there."""
        path, _, word = self.sign.partition(" ")
        return f"grep -qw {quote(word)} {quote(path)}" if word else f"[ -e {quote(path)} ]"

    @classmethod
    def probe(cls, wanted: Sequence[Self]) -> str:
        return "\n".join(f"if {one.test}; then echo {one.module}; fi" for one in wanted)

    @classmethod
    def parse(cls, wanted: Sequence[Self], output: str) -> dict[str, Observed]:
        seen = set(output.split())
        return {one.key: Present() if one.module in seen else Absent() for one in wanted}

    def diff(self, observed: Observed, context: Context) -> Difference | None:
        return Difference("start", "is not loaded") if isinstance(observed, Absent) else None

    def steps(self, difference: Difference, context: Context) -> str:
        # A module stays loaded on reset: others may have come to use it.
        return f"modprobe -- {quote(self.module)} || {self.test}"

    def manual_steps(self) -> tuple[ManualStep, ...]:
        return (ManualStep(f"{self.test} || modprobe {quote(self.module)}"),)


SWAP_SERVICES = ("zramswap.service", "zram-config.service", "dphys-swapfile.service")
"""Of Debian's zram-tools, of Ubuntu's zram-config, and of Raspberry Pi OS: each calls swapon by itself."""


@dataclass(frozen=True)
class SwapOff(Resource):
    """No swap in use, and none after a reboot.

    Lines of /etc/fstab are commented with a mark; swap units of systemd (partitions found by type, zram of its
    generator) are masked, and so are services that make swap at each boot.
    """

    kind: ClassVar[str] = "swap"

    @property
    def name(self) -> str:
        return "off"

    @classmethod
    def probe(cls, wanted: Sequence[Self]) -> str:
        return (
            "sed -n '2,$s/^/used /p' /proc/swaps 2>/dev/null\n"
            "sed -n '/^[^#]\\S*\\s\\+\\S\\+\\s\\+swap\\s/s/^/fstab /p' /etc/fstab 2>/dev/null\n"
            "systemctl list-units --all --plain --no-legend --type=swap 2>/dev/null |"
            " while read -r u rest; do"
            ' case $(systemctl is-enabled "$u" 2>/dev/null) in masked*) ;; *) echo "unit $u";; esac; done\n'
            f"for u in {quote(*SWAP_SERVICES)}; do"
            ' case $(systemctl is-enabled "$u" 2>/dev/null) in enabled*) echo "unit $u";; esac; done'
        )

    @classmethod
    def parse(cls, wanted: Sequence[Self], output: str) -> dict[str, Observed]:
        lines = tuple(line.strip() for line in output.splitlines() if line.strip())
        return {one.key: Present(lines) if lines else Absent() for one in wanted}

    def diff(self, observed: Observed, context: Context) -> Difference | None:
        if not isinstance(observed, Present):
            return None
        return Difference("update", "; ".join(observed.value))

    def steps(self, difference: Difference, context: Context) -> str:
        return "swap_off"

    def manual_steps(self) -> tuple[ManualStep, ...]:
        units = "systemctl list-units --all --plain --no-legend --type=swap | cut -d' ' -f1"
        services = f"systemctl list-unit-files --state=enabled --no-legend {quote(*SWAP_SERVICES)} | cut -d' ' -f1"
        return (
            ManualStep(f"{services} | xargs -r systemctl mask --now"),
            ManualStep("swapoff -a"),
            ManualStep(r"""[ ! -e /etc/fstab ] || sed -i '/^[^#]\S*\s\+\S\+\s\+swap\s/s/^/#/' /etc/fstab"""),
            ManualStep(f"{units} | xargs -r systemctl mask"),
        )

    def entry(self, observed: Observed, context: Context) -> dict[str, Any]:
        lines = observed.value if isinstance(observed, Present) else ()
        noted = context.noted.get(self.key, {}).get("units", [])
        units = [line.split()[1] for line in lines if line.startswith("unit ")]
        return {"units": sorted({*noted, *units})}

    @classmethod
    def undo(cls, name: str, entry: Mapping[str, Any]) -> str:
        swap = [unit for unit in entry.get("units", ()) if unit.endswith(".swap") or unit in SWAP_SERVICES]
        unmask = f"systemctl unmask --quiet -- {quote(*swap)} || true\n" if swap else ""
        return unmask + "swap_back"
