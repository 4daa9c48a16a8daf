"""May hardway start? What would go wrong later is said before anything is changed."""

from __future__ import annotations

import shlex
import textwrap
import time
from collections.abc import Collection, Iterator, Mapping, Sequence

from hardway.declare.network import flows
from hardway.declare.phases.hosts import MODULES
from hardway.declare.resources import Directory, Module, Present, Unknown
from hardway.declare.resources.files import LINK
from hardway.engine.adopt import HINT, is_of
from hardway.engine.observe import View
from hardway.engine.session import Session
from hardway.errors import HardwayError
from hardway.events import Note
from hardway.inventory.model import Cluster
from hardway.journal import FOLDER
from hardway.preflight import firewalls, machines, surroundings, system
from hardway.probe import host as host_room
from hardway.probe import network
from hardway.probe.host import Host
from hardway.probe.network import Reached
from hardway.probe.script import understood
from hardway.rules import Evidence, Finding, examine

RULES = (*machines.RULES, *surroundings.RULES, *system.RULES, *firewalls.RULES)

NFTABLES = "nft list tables >/dev/null 2>&1 || ! command -v nft >/dev/null"
"""Built in, nf_tables leaves no trace: where nft is not installed yet, nobody can tell."""


def preflight(
    session: Session, views: Mapping[str, View], cluster: Cluster, *, adopting: bool = False
) -> list[Finding]:
    """Everything that stands in the way, errors first. `views` are fresh: clocks are compared by them.

    Machines on which hardway has already put something are judged by their facts alone: what else
    was looked for was looked for then, and costs a second round. So are those with certificates of this
    workspace's CA and no journal; what runs there is taken over only where that was asked for (`adopting`).
    """
    clock = time.time()
    unknown = [name for name, view in views.items() if not view.journal.entries]
    ours = {name for name in unknown if is_of(session, views[name])}
    bare = [name for name in unknown if name not in ours]
    dials = _dials(cluster, set(session.machines)) if bare else {}
    hosts = session.each(bare, lambda name: look(session, name, cluster, dials.get(name, [])))
    reached = {name: host.reached for name, host in hosts.items()} | _dialled(session, cluster, set(views), set(bare))
    facts = {name: view.facts for name, view in views.items()}
    findings = examine(RULES, Evidence(cluster, facts, hosts, clock=clock, reached=reached))
    for name, view in views.items():
        findings = [*_links(name, view), *findings]
    if adopting:
        return findings
    lost = [_lost(one.name) for one in cluster.machines if one.name in ours and _runs(views[one.name])]
    return [*lost, *findings]


def _runs(view: View) -> bool:
    return any(isinstance(seen, Present) and key.startswith("service:") for key, seen in view.observed.items())


def _links(name: str, view: View) -> Iterator[Finding]:
    """Folders of hardway's that are links. A data disk that is mounted there is welcome."""
    found: set[str] = set()
    for key, seen in view.observed.items():
        if key.startswith(f"{Directory.kind}:") and isinstance(seen, Unknown):
            found.add(seen.why.removesuffix(f" is a {LINK}"))
    for path in sorted(found):
        word = shlex.quote(path)
        yield Finding(
            name,
            "link",
            f"{path} is a {LINK}, and hardway goes through none: owner and mode of what it points to would change",
            f'disk=$(readlink -f {word}) && rm {word} && mkdir {word} && mount --bind "$disk" {word} && '
            f'echo "$disk {path} none bind 0 0" >>/etc/fstab',
            "error",
            "data on another disk is mounted where it belongs, not linked",
        )


def _lost(name: str) -> Finding:
    return Finding(
        name,
        "journal",
        f"has no journal ({FOLDER}), but components with certificates of this workspace's CA: it was lost, or a person "
        "set them up",
        HINT,
        "error",
        "without a journal hardway does not know what it may change or take away",
    )


def _dials(cluster: Cluster, to: Collection[str]) -> dict[str, list[tuple[str, int]]]:
    """What each machine dials on these others; only machines that dial any."""
    found: dict[str, list[tuple[str, int]]] = {}
    if cluster.hosts.firewall == "check":
        asked = {str(machine.ip) for machine in cluster.machines if machine.name in to}
        for name, wanted in flows.dials(cluster).items():
            if dials := [(address, port) for address, port in wanted if address in asked]:
                found[name] = dials
    balancers = [machine.name for machine in cluster.load_balancers]
    if cluster.virtual_address and to and set(balancers) <= set(to):
        # Before any of them holds it nobody should answer there.
        for name in balancers:
            found[name] = [*found.get(name, ()), (str(cluster.virtual_address), cluster.endpoint_port)]
    return found


def _dialled(
    session: Session, cluster: Cluster, seen: set[str], bare: set[str]
) -> dict[str, Mapping[tuple[str, int], Reached]]:
    """Which ports of bare machines the others reach: a new worker's firewall is in their way, too."""
    dials = {name: wanted for name, wanted in _dials(cluster, bare).items() if name in seen - bare}

    def dial(name: str) -> Mapping[tuple[str, int], Reached]:
        said = session.ask(name, [network.dial(dials[name])], what="dial new machines")
        with understood(name, "dial"):
            return network.reached(said)

    return session.each(dials, dial)


def look(session: Session, name: str, cluster: Cluster, dials: Sequence[tuple[str, int]]) -> Host:
    """One script that changes nothing."""
    features = {name: f"{Module(name, sign).test} 2>/dev/null" for name, sign in MODULES.items()}
    if cluster.network.proxy_mode == "nftables":
        features["nf_tables"] = NFTABLES
    names = [cluster.fqdn(one) for one in cluster.machines] if cluster.hosts.resolve == "dns" else []
    said = session.ask(name, host_room.questions(features, names, dials, cluster.network.family), what="preflight")
    with understood(name, "preflight"):
        return host_room.parse(said)


def warn(session: Session, findings: Sequence[Finding]) -> None:
    """Shows what only warns."""
    for finding in findings:
        if finding.level == "warning":
            fix = "hardway preflight prints the commands" if "\n" in finding.fix else finding.fix
            session.events(Note(f"{finding.machine}: {finding.what}; {fix}", "warning"))


def refuse(
    findings: Sequence[Finding],
    what: str = "preflight found what must be fixed first",
    hint: str = "hardway preflight, once it is",
) -> None:
    """Raises HardwayError with every error that was found, each with its fix."""
    errors = [finding for finding in findings if finding.level == "error"]
    if errors:
        said = "\n".join(f"{one.machine}: {one.what}\n{textwrap.indent(one.fix, '  ')}" for one in errors)
        raise HardwayError(what, said=said, hint=hint)
