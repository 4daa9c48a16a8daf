"""How the map looks: in colour and without, on paper and on a dark screen."""

from __future__ import annotations

from dataclasses import dataclass

from hardway.map import Mark
from hardway.map.draw.layout import BODY, SMALL

_LIGHT = {"page": "#ffffff", "tier": "#f3f3f0", "ink": "#1b1b1b", "soft": "#565656", "rule": "#d9d9d4",
          "ca0": "#1d5796", "ca1": "#22703a", "ca2": "#8a3391", "none": "#6a6a6a",
          "holds": "#22703a", "differs": "#a86400", "fails": "#b3201c", "unknown": "#6a6a6a"}  # fmt: skip
_DARK = {"page": "#16181b", "tier": "#202327", "ink": "#ececea", "soft": "#acacac", "rule": "#3a3e44",
         "ca0": "#7db4ee", "ca1": "#7fce94", "ca2": "#dd9be3", "none": "#a0a0a0",
         "holds": "#7fce94", "differs": "#f0b04e", "fails": "#ff837c", "unknown": "#a0a0a0"}  # fmt: skip
_PATTERNS = ("none", "7 3", "1.6 2.8")
"""Of the lines of the first, second and third CA."""
_FONT = "Helvetica, Arial, 'Liberation Sans', sans-serif"


@dataclass(frozen=True)
class Sign:
    """`shape` is a path from the middle of the sign."""

    name: str
    words: str
    shape: str


MARKS: dict[Mark, Sign] = {
    "holds": Sign("holds", "as declared, and every proof holds", "m-3 0l2.2 2.6 4-5.4"),
    "differs": Sign("differs", "differs from what is declared", "m-3 -1.4h6m-6 2.8h6m-4.4 2.2l2.8-7.2"),
    "fails": Sign("fails", "a proof does not hold", "m-2.6 -2.6l5.2 5.2m0-5.2l-5.2 5.2"),
    "unknown": Sign("unknown", "could not be checked", "m-3 0a3 3 0 1 0 6 0a3 3 0 1 0 -6 0"),
}


def wire_class(authority: int | None, *, ssh: bool = False) -> str:
    """The class of a line that rests upon a CA; None: upon none."""
    if authority is None:
        return "wire ssh" if ssh else "wire plain"
    return f"wire ca{authority % len(_PATTERNS)}"


def style() -> str:
    """The style sheet of the picture."""
    return f"""
text {{ font-family: {_FONT}; font-size: {BODY}px; }}
.title {{ font-size: 21px; font-weight: bold; }}
.bold {{ font-weight: bold; }}
.mono {{ font-variant-numeric: tabular-nums; }}
.soft, .small, .cell, .head-cell {{ font-size: {SMALL}px; }}
.head-cell {{ font-weight: bold; }}
.number {{ font-size: 8px; font-weight: bold; }}
.middle {{ text-anchor: middle; }}
.end {{ text-anchor: end; }}
.tier, .machine {{ stroke-width: 0.8; }}
.rule {{ fill: none; stroke-width: 0.6; }}
.wire {{ fill: none; stroke-width: 1.1; }}
.ca1 {{ stroke-dasharray: {_PATTERNS[1]}; }}
.ca2 {{ stroke-dasharray: {_PATTERNS[2]}; }}
.ssh {{ stroke-dasharray: 9 2.5 1.6 2.5; }}
.head, .tag {{ stroke-dasharray: none; }}
.head {{ stroke: none; }}
.sign {{ fill: none; stroke-width: 1.3; }}
{_colours(_LIGHT)}@media (prefers-color-scheme: dark) {{
{_colours(_DARK)}}}
@media print {{
{_colours(_LIGHT)}}}
"""


def _colours(of: dict[str, str]) -> str:
    lines = [
        f"text {{ fill: {of['ink']}; }}",
        f"text.soft {{ fill: {of['soft']}; }}",
        f".page {{ fill: {of['page']}; }}",
        f".tier {{ fill: {of['tier']}; stroke: {of['rule']}; }}",
        f".machine {{ fill: {of['page']}; stroke: {of['soft']}; }}",
        f".rule {{ stroke: {of['rule']}; }}",
        *(_wire(name, of[name]) for name in ("ca0", "ca1", "ca2")),
        *(_wire(name, of["none"]) for name in ("ssh", "plain")),
        *(f"{_wire(mark, of[mark])}\n.machine.{mark}, .sign.{mark} {{ stroke: {of[mark]}; }}" for mark in MARKS),
        f".tag {{ fill: {of['page']}; }}",
    ]
    return "".join(f"{line}\n" for line in lines)


def _wire(name: str, colour: str) -> str:
    return f".wire.{name} {{ stroke: {colour}; }}\n.head.{name} {{ fill: {colour}; stroke: none; }}"
