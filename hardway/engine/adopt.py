"""Clusters that hardway did not make, or whose journals were lost: known by what runs, never by guess.

A machine is of this workspace where the certificate of the cluster's CA is on it. A cluster lives there where
every controller of the inventory is a member of one etcd that answers, and that etcd has no other members.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import hardway
from hardway.declare.declaration import Declaration
from hardway.declare.phases.base import Placed
from hardway.declare.phases.etcd import peer_url
from hardway.declare.phases.paths import BIN, ENCRYPTION_CONFIG, PKI
from hardway.declare.resources import Absent, Context, Directory, Present, User
from hardway.engine.observe import View
from hardway.engine.session import Session
from hardway.inventory.model import listed
from hardway.probe import control, units
from hardway.probe.script import Answers, Question, understood
from hardway.state import ENCRYPTED_RESOURCES, ENCRYPTION_PROVIDER, State, advanced, nodes_of
from hardway.values import sha256

CA = "pki/ca.crt"
HINT = "hardway plan shows what is there; hardway apply --adopt takes it over"

UNITS = ("etcd", "kube-apiserver", "kube-controller-manager")
QUESTIONS = (
    control.AGREED_MEMBERS,
    units.args(UNITS),
    Question("version", f"{BIN}/kube-apiserver --version", limit=10),
    # Below them are keys, which have names, too: only hardway's own form is read, a name a line.
    Question(
        "resources",
        f"sed -n '/^ *- resources:/,/^ *providers:/s/^ *- \\([a-z0-9.-]*\\)$/\\1/p' {ENCRYPTION_CONFIG}",
        limit=5,
    ),
    Question(
        "providers",
        f"sed -n 's/^ *- \\(secretbox\\|aescbc\\|aesgcm\\|identity\\):.*/\\1/p' {ENCRYPTION_CONFIG}",
        limit=5,
    ),
)
"""Who made this cluster, and how?"""


@dataclass(frozen=True)
class Found:
    """What one controller said: started members' peer URLs by name, and flags by unit and name."""

    members: Mapping[str, str] = field(default_factory=dict)
    flags: Mapping[tuple[str, str], str] = field(default_factory=dict)
    version: str = ""
    provider: str = ""
    resources: tuple[str, ...] = ()


def is_of(session: Session, view: View) -> bool:
    """Whether what is on a machine was signed by this workspace's CA."""
    own = session.workspace.values().get(CA)
    stat = view.stat(f"{PKI}/ca.crt")
    return own is not None and stat is not None and stat.digest == sha256(own)


def inferred(session: Session, state: State, views: Mapping[str, View]) -> State:
    """The State of the cluster that lives on these machines, where State knows of none; else the one given.

    What a cluster is born with is taken from what its processes were started with, so that an inventory that
    says otherwise is found out. Asks the controllers only where they hold an etcd of this workspace's CA.
    """
    controllers = session.cluster.controllers
    if state.etcd != "absent" or any(one.name not in views for one in controllers):
        return state
    if not all(views[one.name].facts.etcd_data and is_of(session, views[one.name]) for one in controllers):
        return state
    answers = session.each([one.name for one in controllers], lambda name: ask(session, name))
    wanted = {one.name: peer_url(one) for one in controllers}
    if any(answer.members != wanted for answer in answers.values()):
        return state
    first = answers[controllers[0].name]
    ids = {name: view.facts.machine_id for name, view in views.items()}
    return advanced(
        state,
        etcd="initialized",
        kubernetes=first.version,
        fixed=fixed(first),
        nodes=nodes_of(session.cluster, state, ids),
    )


def adopted(
    declaration: Declaration,
    views: Mapping[str, View],
    contexts: Mapping[str, Context],
    chosen: Callable[[Placed], bool],
) -> dict[str, View]:
    """The machines whose journals take up what is there as declared, by name, as if hardway had put it there.

    To be asked once nothing differs any more.
    """
    taken: dict[str, View] = {}
    for name, view in views.items():
        entries = dict(view.journal.entries)
        for one in declaration.on(name):
            seen = view.observed.get(one.resource.key)
            if chosen(one) and one.resource.key not in entries and isinstance(seen, Present):
                # A folder or a user of a cluster made by hand goes with it; what a package or a sysctl was, stays.
                before = Absent() if isinstance(one.resource, Directory | User) else seen
                entry = one.resource.entry(before, contexts[name])
                entries[one.resource.key] = {"phase": one.phase, "by": hardway.__version__, **entry}
        if len(entries) > len(view.journal.entries):
            taken[name] = replace(view, journal=replace(view.journal, entries=entries))
    return taken


def ask(session: Session, name: str) -> Found:
    """What a controller says of the cluster that it is part of; nothing where nothing runs."""
    said = session.ask(name, QUESTIONS, what="ask who made this cluster, and how")
    with understood(name, "who made this cluster"):
        return read(said)


def read(answers: Answers) -> Found:
    """The answers to QUESTIONS."""
    members = {one.name: one.peer for one in control.members(answers) if one.started}
    flags: dict[tuple[str, str], str] = {}
    for unit, words in units.parse_args(answers).items():
        for word in words:
            name, _, value = word.removeprefix("--").partition("=")
            flags[unit, name] = value
    version = answers["version"].text.removeprefix("Kubernetes v")
    providers = answers["providers"].lines
    # The API server writes with the first provider.
    resources = tuple(answers["resources"].lines)
    return Found(members, flags, version, providers[0] if providers else "", resources)


ISSUER = "https://kubernetes.default.svc."
"""What goes before the domain, unless somebody chose an issuer of their own."""


def fixed(found: Found) -> dict[str, str]:
    """As `state.fixed_values` has it; what does not run yet has nothing fixed."""
    services = found.flags.get(("kube-apiserver", "service-cluster-ip-range"), "")
    pods = found.flags.get(("kube-controller-manager", "cluster-cidr"), "")
    issuer = found.flags.get(("kube-apiserver", "service-account-issuer"), "")
    values = {
        "network.service_cidr": listed(services.split(",")),
        "network.pod_cidr": listed(pods.split(",")),
        "network.cluster_domain": issuer.removeprefix(ISSUER) if issuer.startswith(ISSUER) else "",
        ENCRYPTION_PROVIDER: found.provider,
        ENCRYPTED_RESOURCES: ", ".join(found.resources),
    }
    return {name: value for name, value in values.items() if value}
