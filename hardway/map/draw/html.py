"""The map as one HTML page: the picture, and below it every machine, connection and certificate as tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from hardway.map import Map
from hardway.map.draw.kinds import authority, machine_name
from hardway.map.draw.layout import port_words
from hardway.map.draw.svg import map_svg

_STYLE = """
:root { color-scheme: light dark; font: 15px/1.45 Helvetica, Arial, 'Liberation Sans', sans-serif; }
body { max-width: 62rem; margin: 1.5rem auto; padding: 0 1rem; background: #ffffff; color: #1b1b1b; }
svg { width: 100%; height: auto; }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
table { border-collapse: collapse; width: 100%; font-size: .82rem; }
th, td { text-align: left; vertical-align: top; padding: .25rem .6rem .25rem 0; border-bottom: 1px solid #d9d9d4; }
@media (prefers-color-scheme: dark) {
  body { background: #16181b; color: #ececea; } th, td { border-color: #3a3e44; }
}
@media print {
  @page { size: A4; margin: 10mm; }
  body { margin: 0; padding: 0; max-width: none; background: #ffffff; color: #1b1b1b; }
  svg { max-height: 277mm; } h2 { break-after: avoid; } tr { break-inside: avoid; } section { break-before: page; }
  table { font-size: 8pt; } th, td { border-color: #d9d9d4; }
}
"""


def map_html(drawn: Map, *, seen: str = "") -> str:
    """A page that needs nothing else; `seen` says when the machines were asked."""
    title = escape(f"Map of the cluster {drawn.cluster}")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8"/>\n'
        '<meta name="viewport" content="width=device-width"/>\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"{map_svg(drawn, seen=seen)}<section>\n"
        f"<h2>What listens where</h2>\n{_listening(drawn)}"
        f"<h2>Every connection</h2>\n{_connections(drawn)}"
        f"<h2>Every certificate</h2>\n{_certificates(drawn)}</section>\n</body>\n</html>\n"
    )


def _listening(drawn: Map) -> str:
    asked = any(machine.mark for machine in drawn.machines)
    rows: list[tuple[str, ...]] = []
    for machine in drawn.machines:
        for component in machine.components if machine.address else ():
            ports = port_words(machine, component.name) or component.socket
            uses = "; ".join(f"{port.number} {port.protocol}: {port.use}" for port in component.ports)
            mark = (component.mark,) if asked else ()
            rows.append((machine.name, machine.address, component.name, ports, uses, *mark))
    head = ("machine", "address", "component", "ports; (on 127.0.0.1 only)", "for", *(("verify",) if asked else ()))
    return _table(head, rows)


def _connections(drawn: Map) -> str:
    rows = [
        (
            str(one.number), f"{machine_name(one.caller.machine)} {one.caller.component}",
            f"{one.server.machine} {one.server.component}", str(one.port or "any"), one.why, _name(one.shows),
            authority(drawn, one.checked_by), _name(one.answers_with), authority(drawn, one.trusted_by),
        )
        for one in drawn.connections
    ]  # fmt: skip
    head = ("", "caller", "server", "port", "what for", "shows", "checked by", "server shows", "checked by")
    return _table(head, rows)


def _certificates(drawn: Map) -> str:
    rows: list[tuple[str, ...]] = []
    for one in drawn.authorities:
        for leaf in one.signs:
            subject = ", ".join((leaf.common_name, *leaf.organizations))
            on = " ".join(map(machine_name, leaf.on))
            rows.append((
                _name(leaf.name), authority(drawn, one.name), subject, ", ".join(leaf.usages), " ".join(leaf.names),
                str(leaf.days), on,
            ))  # fmt: skip
    return _table(("certificate", "CA", "CN, O", "usage", "names", "days", "on"), rows)


def _name(path: str) -> str:
    return path.removeprefix("pki/")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    body = "".join(f"<tr>{_cells('td', row)}</tr>\n" for row in rows)
    return f"<table>\n<thead><tr>{_cells('th', head)}</tr></thead>\n<tbody>\n{body}</tbody>\n</table>\n"


def _cells(tag: str, row: Sequence[str]) -> str:
    return "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in row)
