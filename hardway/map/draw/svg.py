"""The map as one SVG document: nothing from outside, the same for the same cluster, legible without colour."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from hardway.console.words import counted
from hardway.map import Authority, MachineOnMap, Map, Mark
from hardway.map.draw.kinds import Kind, authority, kinds, machine_name
from hardway.map.draw.layout import BODY, EDGE, LABEL, SHRUNK, SMALL, WIDTH, Layout, laid_out, port_words
from hardway.map.draw.paper import box, element, fitted, leading, path, text, width, wrapped
from hardway.map.draw.style import MARKS, style, wire_class
from hardway.map.draw.table import table
from hardway.map.draw.wires import HEADER, ROW, Tier, Wire
from hardway.values import OPERATOR

_COLUMN = 168.0
"""A machine is never wider."""
_BETWEEN, _INNER = 8.0, 7.0
_ROLES: dict[tuple[str, ...], str] = {
    ("controller",): "controllers",
    ("worker",): "workers",
    ("load-balancer",): "load balancer",
    ("endpoint",): "your own balancer",
    (OPERATOR,): "your computer",
}


def map_svg(drawn: Map, *, seen: str = "") -> str:
    """The whole picture. `seen` says when the machines were asked; empty: nobody was."""
    found = kinds(drawn)
    layout = laid_out(drawn, found, lambda room: _authorities_height(drawn, room))
    rows, bottom = table(drawn, found, layout.bottom + 26)
    foot = _foot(drawn, seen, bottom + 8)
    height = bottom + 8 + leading(SMALL) * 2 + EDGE / 2
    parts = [
        element("title", f"Map of the cluster {drawn.cluster}", id="title"),
        element("desc", _description(drawn, found), id="desc"),
        element("style", style()),
        box(0.0, 0.0, WIDTH, height, "page", 0),
        *_title(drawn),
    ]
    for tier in layout.tiers:
        parts += _tier(drawn, tier, layout)
    for wire in layout.wires:
        parts += _line(wire, layout)
    parts += map(_tag, layout.wires)
    parts += [*rows, *foot]
    return element(
        "svg", ["\n", *parts], xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {WIDTH:.0f} {height:.0f}",
        role="img", aria_labelledby="title desc",
    )  # fmt: skip


def _title(drawn: Map) -> Iterator[str]:
    machines = [one for one in drawn.machines if one.address]
    yield text(EDGE, 30.0, drawn.cluster, "title")
    yield text(
        EDGE, 47.0,
        f"Kubernetes {drawn.kubernetes} · {counted(len(machines), 'machine')} · API at {drawn.endpoint} · "
        f"Services {drawn.service_cidr}, of which {drawn.api_address} is the API and {drawn.dns_address} DNS",
        "soft",
    )  # fmt: skip


def _description(drawn: Map, found: Sequence[Kind]) -> str:
    lines = (
        f"{one.number}: {one.first.caller.component} calls {one.first.server.component}, port {one.port}"
        for one in found
    )
    return f"Machines, ports, and who trusts whom. {'; '.join(lines)}."


def _tier(drawn: Map, tier: Tier, layout: Layout) -> Iterator[str]:
    left, right = layout.left, layout.right
    yield box(left, tier.top, right - left, tier.height, "tier", 6)
    title = _ROLES.get(tier.roles, " + ".join(tier.roles)) if len(tier.machines) > 1 else _one(tier.roles)
    yield text(left + 10, tier.top + 20, fitted(title, BODY, LABEL - 14, bold=True), "bold")
    for row in tier.rows:
        yield text(left + 10, tier.middle(row) + 3.5, row, "name")
        yield path([(left, tier.middle(row) + ROW / 2), (right, tier.middle(row) + ROW / 2)], "rule")
    yield path([(left, tier.top + HEADER), (right, tier.top + HEADER)], "rule")
    if tier.roles == (OPERATOR,):
        yield from _authorities(drawn, tier, layout)
        yield from _marks(tier.machines[0], tier, layout.left + LABEL - 14)
        return
    start, end = layout.room
    count = len(tier.machines)
    wide = min(_COLUMN, (end - start + _BETWEEN) / count - _BETWEEN)
    x = start + (end - start - count * (wide + _BETWEEN) + _BETWEEN) / 2
    for machine in tier.machines:
        yield from _machine(machine, tier, x, wide)
        x += wide + _BETWEEN


def _one(roles: tuple[str, ...]) -> str:
    return _ROLES.get(roles, " + ".join(roles)).removesuffix("s") if roles != ("load-balancer",) else "load balancer"


def _machine(machine: MachineOnMap, tier: Tier, x: float, wide: float) -> Iterator[str]:
    yield box(x, tier.top + 5, wide, tier.height - 10, f"machine {_marked(machine.mark)}".strip())
    middle = x + wide / 2
    size = max(SHRUNK, min(1, (wide - 8) / width(machine.name, BODY, bold=True))) * BODY
    name = fitted(machine.name, size, wide - 8, bold=True)
    y = tier.top + (17 if machine.address else 23)
    yield text(middle, y, name, "bold middle", whole=machine.name, style=f"font-size: {size:.1f}px")
    if machine.address:
        yield text(middle, tier.top + 28, machine.address, "soft middle")
    for row in tier.rows:
        y = tier.middle(row)
        yield path([(x, y - ROW / 2), (x + wide, y - ROW / 2)], "rule")
        if words := port_words(machine, row):
            yield text(middle, y + 3.5, fitted(words, BODY, wide - 8), "mono middle")
    yield from _marks(machine, tier, x + 9)


def _marks(machine: MachineOnMap, tier: Tier, x: float) -> Iterator[str]:
    for component in machine.components:
        if component.mark:
            yield _sign(component.mark, x, tier.middle(component.name))


def _sign(mark: Mark, x: float, y: float) -> str:
    """A shape of its own for each mark: colour alone is not seen by everybody, nor printed everywhere."""
    sign = MARKS[mark]
    return element("path", d=f"M{x:.1f} {y:.1f}{sign.shape}", class_=f"sign {sign.name}")


def _marked(mark: Mark) -> str:
    return MARKS[mark].name if mark else ""


def _names(one: Authority) -> str:
    """`kube-apiserver, kubelet (3)`: the certificates of a CA, those of one make together."""
    makes = Counter(_make(leaf.name.rpartition("/")[2], leaf.on) for leaf in one.signs)
    return ", ".join(f"{make} ({count})" if count > 1 else make for make, count in makes.items())


def _make(name: str, machines: Sequence[str]) -> str:
    for machine in machines:
        if name.endswith(f"-{machine}"):
            return name.removesuffix(f"-{machine}")
    return name


def _shares(drawn: Map, room: float) -> list[float]:
    """How wide each CA is: by the length of what it signs, and never less than its name needs."""
    least: list[float] = []
    for one in drawn.authorities:
        words = [width(word, SMALL) for word in _names(one).split()]
        least.append(2 * _INNER + max(width(authority(drawn, one.name), BODY, bold=True) + 20, *words))
    lengths = [width(_names(one), SMALL) for one in drawn.authorities]
    spare = max(0, room + _BETWEEN - sum(least) - _BETWEEN * len(least))
    return [need + spare * length / sum(lengths) for need, length in zip(least, lengths, strict=True)]


def _authorities_height(drawn: Map, room: float) -> float:
    shares = zip(drawn.authorities, _shares(drawn, room), strict=True)
    lines = max(len(wrapped(_names(one), SMALL, wide - 2 * _INNER)) for one, wide in shares)
    return HEADER + 12 + lines * leading(SMALL) + 8


def _authorities(drawn: Map, tier: Tier, layout: Layout) -> Iterator[str]:
    """The CAs' keys are on the operator's computer; the line beside each name is that of its connections."""
    x, end = layout.room
    for place, (one, wide) in enumerate(zip(drawn.authorities, _shares(drawn, end - x), strict=True)):
        yield box(x, tier.top + 5, wide, tier.height - 10, "machine")
        name = authority(drawn, one.name)
        yield text(x + _INNER, tier.top + 20, name, "bold")
        after = x + _INNER + width(name, BODY, bold=True) + 6
        yield path([(after, tier.top + 16.5), (x + wide - _INNER, tier.top + 16.5)], wire_class(place))
        for number, line in enumerate(["signs", *wrapped(_names(one), SMALL, wide - 2 * _INNER)]):
            y = tier.top + 33 + number * leading(SMALL)
            yield text(x + _INNER, y, line, "soft" if number == 0 else "small")
        x += wide + _BETWEEN


def _line(wire: Wire, layout: Layout) -> Iterator[str]:
    edge = layout.left if wire.side == "left" else layout.right
    into = 1 if wire.side == "left" else -1
    class_ = " ".join(filter(None, (wire_class(wire.kind.authority, ssh=wire.kind.first.protocol == "ssh"),
                                    _marked(wire.kind.mark))))  # fmt: skip
    heights = [one.y for one in wire.landings]
    yield path([(wire.x, min(heights)), (wire.x, max(heights))], class_)
    for one in wire.landings:
        yield path([(wire.x, one.y), (edge - 5 * into if one.arrow else edge, one.y)], class_)
        if one.arrow:
            yield element("path", d=f"M{edge:.1f} {one.y:.1f}l{-6 * into} -2.6v5.2z", class_=f"head {class_}")
        else:
            yield element("circle", cx=edge, cy=one.y, r=1.7, class_=f"head {class_}")


def _tag(wire: Wire) -> str:
    class_ = f"tag {wire_class(wire.kind.authority)}"
    circle = element("circle", cx=wire.x, cy=wire.tag, r=6.6, class_=class_)
    return circle + text(wire.x, wire.tag + 2.9, str(wire.kind.number), "number middle")


def _foot(drawn: Map, seen: str, y: float) -> Iterator[str]:
    words = "6443: open to the network. (10257): on 127.0.0.1 only. Arrows point to who is called; "
    words += "each line has the pattern of the CA that it rests upon."
    yield text(EDGE, y + leading(SMALL), words, "soft")
    if not seen:
        return
    x = EDGE
    for mark, sign in MARKS.items():
        yield _sign(mark, x + 4, y + leading(SMALL) * 2 - 3)
        yield text(x + 12, y + leading(SMALL) * 2, sign.words, "soft")
        x += 24 + width(sign.words, SMALL)
    yield text(WIDTH - EDGE, y + leading(SMALL) * 2, f"{machine_name(drawn.cluster)} as seen {seen}", "soft end")
