"""The numbered lines in words: who calls whom, what each shows the other, and which CA checks it."""

from __future__ import annotations

from collections.abc import Sequence

from hardway.map import Map
from hardway.map.draw.kinds import Kind, authority, shown, who
from hardway.map.draw.layout import EDGE, SMALL, WIDTH
from hardway.map.draw.paper import element, leading, path, text, wrapped
from hardway.map.draw.style import wire_class

_COLUMNS = (("", 20.0), ("who calls whom, and what for", 234.0), ("port", 32.0), ("the caller shows", 146.0),
            ("checked by", 76.0), ("the server shows", 142.0), ("checked by", 70.0))  # fmt: skip
_PAD = 6.0


def table(drawn: Map, found: Sequence[Kind], top: float) -> tuple[list[str], float]:
    """The drawn rows from `top` on, and where they end."""
    parts = [*_cells([name for name, _ in _COLUMNS], top, "head-cell")]
    y = top + 5
    parts.append(path([(EDGE, y), (WIDTH - EDGE, y)], "rule"))
    everybody = [one.name for one in drawn.machines]
    for kind in found:
        cells = [_fitted(one, room) for one, (_, room) in zip(_row(drawn, kind, everybody), _COLUMNS, strict=True)]
        lines = max(map(len, cells))
        for number in range(lines):
            row = [cell[number] if number < len(cell) else "" for cell in cells]
            parts += _cells(row, y + leading(SMALL) * (number + 1), "cell" if number == 0 else "cell soft")
        parts.append(_number(kind, y + 3 + leading(SMALL) * lines / 2))
        y += leading(SMALL) * lines + 5
        parts.append(path([(EDGE, y), (WIDTH - EDGE, y)], "rule"))
    return parts, y


def _row(drawn: Map, kind: Kind, everybody: Sequence[str]) -> list[list[str]]:
    """The paragraphs of each cell."""
    first = kind.first
    caller = shown(drawn, (one.shows for one in kind.connections))
    server = shown(drawn, (one.answers_with for one in kind.connections))
    told = [caller, authority(drawn, first.checked_by), server, authority(drawn, first.trusted_by)]
    if first.protocol == "ssh":
        told = ["an SSH key", "authorized_keys", "its host key", "known_hosts"]
    elif not any(told):
        told = ["(passed on)", "", "(passed on)", ""]
    elif not server:
        told[2:] = ["(the Service's own)", "its caBundle"]
    where = f"{who(kind, everybody)}: {first.why}"
    return [[], [f"{first.caller.component} → {first.server.component}", where], [kind.port], *([one] for one in told)]


def _fitted(paragraphs: Sequence[str], room: float) -> list[str]:
    lines: list[str] = []
    for one in filter(None, paragraphs):
        lines += wrapped(one, SMALL, room - _PAD)
    return lines


def _cells(words: Sequence[str], y: float, class_: str) -> list[str]:
    parts = []
    x = EDGE
    for cell, (_, room) in zip(words, _COLUMNS, strict=True):
        if cell:
            parts.append(text(x, y, cell, class_))
        x += room
    return parts


def _number(kind: Kind, y: float) -> str:
    circle = element("circle", cx=EDGE + 7, cy=y, r=6.6, class_=f"tag {wire_class(kind.authority)}")
    return circle + text(EDGE + 7, y + 2.9, str(kind.number), "number middle")
