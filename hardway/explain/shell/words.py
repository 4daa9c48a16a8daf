"""Pieces of bash: words, here-documents, and texts whose placeholders become the command that gives them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from hardway.facts import question
from hardway.values import Placeholder, placeholders

_ACTIVE = re.compile(r"[\\$`]")
_OURS = r"machine\b|arch\b|\{(?:address|pods)\["
"""What may follow a dollar that counts: the variables of a script of ours."""
_WORD = re.compile(r"[\w@%+=:,./$-]+")


class Raw(str):
    """A line that must stay as it is: of a here-document, or inside quotes."""

    __slots__ = ()


@dataclass(frozen=True)
class Who:
    """Machines for which the same is typed: one by its name, several in a loop."""

    machines: tuple[str, ...]

    @property
    def word(self) -> str:
        return self.machines[0] if len(self.machines) == 1 else '"$machine"'

    def loop(self, body: Sequence[str]) -> list[str]:
        """The lines, in a loop where there are several machines."""
        if len(self.machines) == 1:
            return list(body)
        indented = (line if isinstance(line, Raw) else f"  {line}" for line in body)
        return [f"for machine in {' '.join(self.machines)}; do", *indented, "done"]


def quoted(text: str) -> str:
    """One word of bash in which `$machine` and `$arch` still count, and nothing else does."""
    if _WORD.fullmatch(text) and "$" not in text:
        return text
    if not _variable(text):
        return shlex.quote(text)
    return '"' + _escaped(text, rf'[\\"`]|\$(?!{_OURS})') + '"'


def document(text: str, *, loop: bool = False) -> list[str]:
    """What follows `<<`: mark, lines, mark. Placeholders become commands; secrets stay in files.

    In a `loop` the variables of `generalized` count.
    """
    mark = "EOF"
    while mark in text.splitlines():
        mark += "_"
    if not any(placeholders(text)) and not (loop and _variable(text)):
        return [f"<<'{mark}'", *map(Raw, text.removesuffix("\n").split("\n")), Raw(mark)]
    escape = rf"[\\`]|\$(?!{_OURS})" if loop else _ACTIVE.pattern
    live = _escaped(text, escape)
    for placeholder in dict.fromkeys(placeholders(text)):
        live = live.replace(str(placeholder), given(placeholder))
    return [f"<<{mark}", *map(Raw, live.removesuffix("\n").split("\n")), Raw(mark)]


def given(placeholder: Placeholder) -> str:
    """The command that gives what fills a placeholder, or the variable that `asked` set."""
    kind, _, name = placeholder.name.partition("/")
    if kind == "fact":
        return f"${name.replace('-', '_')}"
    if placeholder.name == "workspace/path":
        return "$(pwd)"
    return (
        f"$(openssl base64 -A -in {placeholder.name})" if placeholder.form == "base64" else f"$(cat {placeholder.name})"
    )


def asked(text: str, who: Who) -> list[str]:
    """A line for each fact that a text needs: only the machine itself can say it."""
    lines: dict[str, None] = {}
    for placeholder in placeholders(text):
        kind, _, name = placeholder.name.partition("/")
        if kind == "fact":
            lines[f"{name.replace('-', '_')}=$(ssh {who.word} {shlex.quote(question(name))})"] = None
    return list(lines)


def pieces(text: str) -> list[str] | None:
    """The workspace's files of which a text is made, where it is made of nothing else."""
    found = list(placeholders(text))
    if not found or "".join(map(str, found)) != text or any(placeholder.form != "plain" for placeholder in found):
        return None
    return [placeholder.name for placeholder in found]


@dataclass(frozen=True)
class Names:
    """What is a machine's own: its name, its address, the range of its pods; what is empty is not looked for."""

    name: str
    address: str = ""
    pods: str = ""


def generalized(text: str, machine: Names) -> str:
    """The text with what is this machine's own as variables, where it is a word of its own."""
    if machine.pods:
        text = text.replace(machine.pods, "${pods[$machine]}")
    if machine.address:
        text = re.sub(rf"(?<![\w.]){re.escape(machine.address)}(?![\w]|[.]\w)", "${address[$machine]}", text)
    return re.sub(rf"(?<![\w.]){re.escape(machine.name)}(?![\w])", "$machine", text)


def variables(machines: Sequence[Names], lines: Sequence[str]) -> list[str]:
    """The tables that these lines look into, by a machine's name."""
    said = "\n".join(lines)
    found: list[str] = []
    for table in ("address", "pods"):
        if f"${{{table}[" in said:
            values = {one.name: getattr(one, table) for one in machines}
            entries = " ".join(f"[{name}]={value}" for name, value in values.items() if value)
            found.append(f"declare -A {table}=({entries})")
    return found


def _variable(text: str) -> bool:
    return re.search(rf"\$(?:{_OURS})", text) is not None


def _escaped(text: str, what: str) -> str:
    return re.sub(what, lambda found: "\\" + found[0], text)
