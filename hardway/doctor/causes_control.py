"""Causes in etcd, the control plane, and units in general."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from hardway.declare.phases.etcd import ETCDCTL, FIRST_START, initial_cluster, peer_url
from hardway.declare.phases.paths import BIN
from hardway.declare.resources.files import FILE_KINDS
from hardway.doctor.remedies import AGAIN, CONTROLLER, HERE, SYMPTOMS, apply, drifts, lines, on, seen, snapshot
from hardway.inventory.model import API_PORT, Cluster, Machine, joined
from hardway.preflight.surroundings import ports
from hardway.probe.symptoms import Symptoms
from hardway.probe.symptoms_probe import units
from hardway.probe.units import UnitState
from hardway.rules import Evidence, Found, Rule
from hardway.values import ROLES, host_port, majority

PHASE = {
    "etcd": "etcd", "kube-apiserver": "control-plane", "kube-controller-manager": "control-plane",
    "kube-scheduler": "control-plane", "kube-apiserver-lb": "load-balancer",
    "kube-apiserver-vip": "load-balancer",
    "containerd": "workers", "kubelet": "workers", "kube-proxy": "workers",
}  # fmt: skip
COMPONENT = {"kube-apiserver-lb": "haproxy"}
"""What `settings` calls a unit, where that is not its name."""
COMPLAINT = re.compile(
    r"(?i)error|invalid|unknown|unsupported|unrecognized|must |cannot|could not|fail|fatal|panic|parse"
)
VIRTUAL = "kube-apiserver-vip"
BINDING = "hardway:kubelet-api-admin"
OF_ADDRESS = frozenset({"endpoint-unreachable", "node-not-ready", "dns-unready"})
"""What follows elsewhere where nobody, or somebody else, answers at the API's address."""
COULD_NOT_RUN = 203
"""systemd's status for a program that the kernel would not execute."""
EVERY = f"{ETCDCTL} --endpoints=https://127.0.0.1:2379"
BAD_FLAG = (
    "unknown flag:", "flag provided but not defined", "unknown shorthand flag", "invalid argument", "strict decoding",
    "failed to load Kubelet config", "couldn't parse", "invalid configuration",
)  # fmt: skip
LOST = (
    "cannot fetch cluster info from peer urls", "is out of range [lastIndex(0)]", "has been permanently removed",
    "has already been bootstrapped", "error validating peerURLs",
)  # fmt: skip


def alarms(evidence: Evidence) -> Iterator[Found]:
    for machine, there in seen(evidence, "controller"):
        raised = [one for one in there.etcd.errors if "alarm:NOSPACE" in one] if there.etcd else []
        if raised:
            yield Found(
                machine.name, "etcd has raised an alarm and refuses every write", "hardway etcd alarm --clear",
                lines(raised),
            )  # fmt: skip
            return


def corrupt(evidence: Evidence) -> Iterator[Found]:
    """The member that differs is rebuilt first: with the alarm gone it would serve what it has."""
    members = list(seen(evidence, "controller"))
    said: list[str] = []
    for _, there in members:
        said += there.etcd.errors if there.etcd else ()
    for identity in dict.fromkeys(re.findall(r"memberID:(\d+) alarm:CORRUPT", "\n".join(said))):
        known = f"{int(identity):x}"
        for machine, _ in members:
            others = [
                (other, found) for other, found in members
                if other is not machine and found.etcd and found.members.get(machine.name) == known
            ]  # fmt: skip
            if others:
                steps = (
                    *_replace_data(evidence.cluster, machine, *others[0]),
                    on(others[0][0], f"{EVERY} alarm disarm"),
                )
                yield Found(
                    machine.name, "etcd found that its member holds other data than the rest, and answers nobody",
                    "\n".join(steps), lines([one for one in said if identity in one][:1]),
                )  # fmt: skip
                break
        else:
            yield Found(
                members[0][0].name, "etcd found that its data is damaged, and answers nobody",
                f"hardway logs {members[0][0].name} etcd", lines(said[:1], "docs/operate/etcd-member.md"),
            )  # fmt: skip


def _replace_data(cluster: Cluster, machine: Machine, other: Machine, found: Symptoms) -> list[str]:
    """Commands that make a member begin with nothing, as a new one of the cluster that the other member sees."""
    identity = found.members.get(machine.name, "")
    peer = peer_url(machine)
    steps = [on(other, f"{EVERY} member remove {identity}")] if identity else []
    if peer not in found.members:
        steps.append(on(other, f"{EVERY} member add {machine.name} --peer-urls={peer}"))
    restart = (
        "systemctl stop etcd.service && rm -rf /var/lib/etcd/member && mkdir -p /run/etcd && "
        f"echo ETCD_INITIAL_CLUSTER={initial_cluster(cluster)} >{FIRST_START} && systemctl start etcd.service"
    )
    return [*steps, on(machine, restart)]


def quorum(evidence: Evidence) -> Iterator[Found]:
    """Members that are not up, while nobody sees a leader; those that run are only waiting for them."""
    count = len(evidence.cluster.controllers)
    members = dict(seen(evidence, "controller"))
    known = {*(machine.name for machine in members), *snapshot(evidence).unreached}
    if not all(one.name in known for one in evidence.cluster.controllers):
        return
    if any(one.etcd and one.etcd.leader != "0" for one in members.values()):
        return
    running = [machine.name for machine, there in members.items() if there.etcd or _unit(there, "etcd").runs]
    what = f"etcd has no quorum: {len(running)} of {count} members run, {majority(count)} are needed"
    for machine, there in members.items():
        unit = _unit(there, "etcd")
        if machine.name not in running:
            # Without waiting: it is up only when enough others are.
            begin = on(machine, "systemctl start etcd --no-block")
            fix = begin if unit.stopped else apply(evidence, machine, "etcd")
            said = there.etcd.errors if there.etcd else ()
            yield Found(machine.name, what, fix,
                        lines(f"etcd.service: {unit.state}", said))  # fmt: skip


def wiped(evidence: Evidence) -> Iterator[Found]:
    lost = [(machine, there) for machine, there in seen(evidence, "controller") if _lost_its_data(there)]
    names = {machine.name for machine, _ in lost}
    others = [(other, found) for other, found in seen(evidence, "controller")
              if other.name not in names and found.etcd and found.etcd.leader != "0"]  # fmt: skip
    if not others:
        return
    other, found = others[0]
    for machine, there in lost:
        unit = _unit(there, "etcd")
        identity = found.members.get(machine.name, "")
        yield Found(
            machine.name, "its etcd member has lost its data, and must not begin again as who it was",
            # All in one command: one of them alone would be refused.
            f"hardway etcd replace {' '.join(one.name for one, _ in lost)}",
            lines(
                f"etcd.service: {unit.state}", unit.said(*LOST),
                "" if there.etcd_data else "/var/lib/etcd/member is not there",
                f"{other.name} knows it as member {identity}" if identity else f"{other.name} does not know it",
            ),
        )  # fmt: skip


def _lost_its_data(there: Symptoms) -> bool:
    unit = _unit(there, "etcd")
    return not unit.runs and (not there.etcd_data or bool(unit.said(*LOST)))


def service_ranges(evidence: Evidence) -> Iterator[Found]:
    for machine, there in seen(evidence, "controller"):
        for component in ("kube-apiserver", "kube-controller-manager"):
            chosen = evidence.cluster.settings_for(component, machine)
            wanted = str(chosen.get("service-cluster-ip-range", joined(evidence.cluster.network.service_cidrs)))
            given = _unit(there, component).flag("service-cluster-ip-range")
            if given is not None and given != wanted:
                yield Found(
                    machine.name, f"{component} has another service range than the cluster",
                    apply(evidence, machine, "control-plane"),
                    lines(f"runs with --service-cluster-ip-range={given}", f"should be {wanted}"),
                )  # fmt: skip


def bad_flags(evidence: Evidence) -> Iterator[Found]:
    for machine, name, unit in _units(evidence):
        said = unit.said(*BAD_FLAG)
        if said and not unit.runs and not unit.stopped and _brought(evidence, machine, name):
            yield Found(
                machine.name, f"{name} stops at once: it does not understand how it is started",
                apply(evidence, machine, PHASE[name]),
                lines(said, f"{name}.service: {unit.state}, started {unit.restarts} times"),
            )  # fmt: skip


@dataclass(frozen=True)
class _Setting:
    """One value of the overlay on a component; `place` is where the inventory has it, `key` the last of its names.

    `whole` is what to take out, so that no empty mapping is left, which would be an overlay, too.
    """

    place: str
    key: str
    value: object
    whole: str


def bad_settings(evidence: Evidence) -> Iterator[Found]:
    """A unit that does not stay up, though all that it reads is as declared: the cause is what is declared."""
    for machine, name, unit in _units(evidence):
        chosen = _settings(evidence.cluster, machine, COMPONENT.get(name, name))
        if not chosen or unit.stopped or _brought(evidence, machine, name):
            continue
        peers = [other for other, found in seen(evidence) if other is not machine and _unit(found, name).runs]
        others = [other for other in peers if _brought(evidence, other, name)]
        told = _differing_lines(evidence, name, others)
        # What the peers that run do not have comes before what they have, too.
        new = [one for one in chosen if any(_has(line, one.key) for line in told)]
        new = new or _of_this_one_only(evidence.cluster, machine, COMPONENT.get(name, name), chosen, peers)
        complaints = [line for line in unit.journal if COMPLAINT.search(line)]
        named = [one for one in new or chosen if any(_names(line, one) for line in complaints)]
        # One that runs may have kept what it had, where a reload was refused, or end again in a moment.
        troubled = unit.restarts or any(one.path == f"{name}.service" for one in drifts(evidence, machine))
        is_well = unit.runs and not troubled
        is_down = not unit.runs or (unit.restarts > AGAIN and told)
        if is_well or not (named or (is_down and (new or (others and not told)))):
            continue
        suspects = named or new or chosen
        places = [one.place for one in suspects]
        what = places[0] if len(places) == 1 else f"one of {', '.join(places)}"
        telling: list[str] = []
        for one in named:
            telling += [line for line in complaints if line not in telling and _names(line, one)]
        fix = [f"edit {evidence.cluster.path}: {_way_back(one, told)}" for one in suspects]
        fix.append(f"hardway apply {PHASE[name]} -l {machine.name}")
        serving = ", ".join(other.name for other in others)
        yield Found(
            machine.name, f"{name} does not start with what the inventory says: {what}", "\n".join(fix),
            lines(
                (telling or complaints)[-3:],
                f"{name}.service: {unit.state}, started {unit.restarts} times; its files are as declared",
                f"{serving} still without it: touch nothing there" if serving else "",
            ),
        )  # fmt: skip


def _brought(evidence: Evidence, machine: Machine, name: str) -> list[str]:
    """What an apply would still bring to a unit there; of images and objects nobody knows where it does not run."""
    return [
        one.path for one in drifts(evidence, machine)
        if one.phase == PHASE[name] and one.key.partition(":")[0] in FILE_KINDS
    ]  # fmt: skip


def _settings(cluster: Cluster, machine: Machine, component: str) -> list[_Setting]:
    """All of a component's on a machine, each in the last layer that has it."""
    layers = [("settings", cluster.settings)]
    for role in ROLES:
        if role in machine.roles:
            layers.append((f"roles.{role}.settings", cluster.role_settings.get(role, {})))
    layers.append((f"machines.{machine.name}.settings", machine.settings))
    found: dict[tuple[str, ...], _Setting] = {}
    for place, layer in layers:
        for path, alone, value in _leaves(layer.get(component, {})):
            head = f"{place}.{component}"
            found[path] = _Setting(".".join((head, *path)), path[-1], value, ".".join((head, *path[:alone])))
    return [*found.values()]


def _leaves(
    settings: Mapping[str, object], above: tuple[str, ...] = (), alone: int = 1
) -> Iterator[tuple[tuple[str, ...], int, object]]:
    """Each setting that is no mapping itself: its path, how much of that leads to nothing else, and its value."""
    for key, value in settings.items():
        path = (*above, str(key))
        until = alone if len(settings) == 1 else len(path)
        if isinstance(value, Mapping):
            yield from _leaves(value, path, until)
        else:
            yield path, until, value


def _differing_lines(evidence: Evidence, name: str, others: Sequence[Machine]) -> list[str]:
    """What an apply would change in the files of this unit on machines where it runs: lines of a diff."""
    found: list[str] = []
    for other in others:
        for one in drifts(evidence, other):
            if name in one.path or COMPONENT.get(name, name) in one.path:
                found += [line for line in one.diff if line.startswith(("-", "+"))]
    return found


def _of_this_one_only(
    cluster: Cluster, machine: Machine, component: str, chosen: Sequence[_Setting], peers: Sequence[Machine]
) -> list[_Setting]:
    """Settings that no machine has on which the component runs."""
    theirs = {one.place for other in peers for one in _settings(cluster, other, component)}
    return [one for one in chosen if one.place not in theirs] if peers else []


def _way_back(setting: _Setting, told: Sequence[str]) -> str:
    """What to do in the inventory, so that it says again what machines run with."""
    before = re.compile(rf"-\s*(?:--)?{re.escape(setting.key)}(?:\s*[:=]\s*|\s+)(\S.*?)\s*\\?")
    for line in told:
        if found := before.fullmatch(line):
            return f"set {setting.place} back to {found[1]}"
    return f"take out {setting.whole}"


def _has(line: str, key: str) -> bool:
    """Whether a line of a diff is about a flag, or an entry of a file."""
    return re.search(rf"(?:^|[^\w.-]|(?:^|\s)--){re.escape(key)}(?![\w-])", line[1:]) is not None


def _names(said: str, setting: _Setting) -> bool:
    """Whether a message names this setting, or its value: but a short one stands in any message."""
    value = str(setting.value)
    return setting.key in said or (len(value) > 3 and setting.value is not None and value in said)


def not_executable(evidence: Evidence) -> Iterator[Found]:
    for machine, name, unit in _units(evidence):
        path = f"{BIN}/{name}"
        damaged = [one for one in drifts(evidence, machine) if one.key == f"binary:{path}"]
        if (unit.status == COULD_NOT_RUN or damaged) and not unit.runs and not unit.stopped:
            yield Found(
                machine.name, f"the program of {name} cannot be run: it is damaged, or for another machine",
                apply(evidence, machine, PHASE[name]),
                lines(
                    f"{name}.service: {unit.state}, last status {unit.status}",
                    [f"{path}: {one.why}" for one in damaged], unit.journal[-2:],
                ),
            )  # fmt: skip


def taken_ports(evidence: Evidence) -> Iterator[Found]:
    for machine, there in seen(evidence):
        for port, owner in ports(machine, evidence.cluster).items():
            name = "kube-apiserver-lb" if owner == "the load balancer" else owner
            unit = _unit(there, name)
            holder = next((one for one in there.listening if one.port == port and one.pid), None)
            if holder is None or unit.runs or holder.pid == unit.pid or holder.unit == f"{name}.service":
                continue
            stop = f"systemctl stop {holder.unit}" if holder.unit else f"kill {holder.pid}"
            yield Found(
                machine.name, f"port {port} of {name} is taken by {holder.unit or holder.process}",
                "\n".join([on(machine, stop), on(machine, f"systemctl restart {name}.service")]),
                lines(f"{host_port(holder.address, port)}: {holder.process}, pid {holder.pid}",
                      unit.said("address already in use")),
            )  # fmt: skip


def stopped(evidence: Evidence) -> Iterator[Found]:
    for machine, name, unit in _units(evidence):
        if unit.load not in ("loaded", ""):
            fix = apply(evidence, machine, PHASE[name])
            fix = "\n".join([on(machine, f"systemctl unmask {name}.service"), fix]) if unit.load == "masked" else fix
            yield Found(machine.name, f"{name} has no unit that could run", fix, lines(f"{name}.service: {unit.load}"))
        elif unit.stopped or (unit.runs and unit.enabled == "disabled"):
            off = "" if unit.enabled == "enabled" else ", and would not start after a reboot"
            what = f"{name} was stopped{off}" if unit.stopped else f"{name} would not start after a reboot"
            yield Found(
                machine.name, what, on(machine, f"systemctl enable --now {name}.service"),
                lines(f"{name}.service: {unit.state}, {unit.enabled}", unit.journal[-1:] if unit.stopped else ()),
            )  # fmt: skip


def backends(evidence: Evidence) -> Iterator[Found]:
    wanted = tuple(f"{one.name} {host_port(one.ip, API_PORT)}" for one in evidence.cluster.controllers)
    for machine, there in seen(evidence, "load-balancer"):
        if there.backends and there.backends != wanted:
            yield Found(
                machine.name, "HAProxy sends the API's callers to where no API server is",
                apply(evidence, machine, "load-balancer"),
                lines([f"server {one}" for one in there.backends if one not in wanted],
                      [f"should be: server {one}" for one in wanted if one not in there.backends]),
            )  # fmt: skip


def address_on_none(evidence: Evidence) -> Iterator[Found]:
    """Of balancers that all answered: one that did not may have it."""
    there = _holders(evidence)
    balancers = evidence.cluster.load_balancers
    if any(there.values()) or not there or not all(one.name in snapshot(evidence).machines for one in balancers):
        return
    first = next(iter(there))
    said = [line for name in there for line in _unit(snapshot(evidence).machines[name], VIRTUAL).journal[-2:]]
    yield Found(
        first, f"no load balancer has the API's address {evidence.cluster.endpoint_host}",
        "\n".join(f"hardway logs {name} {VIRTUAL}" for name in there),
        lines([f"{name} does not have it" for name in there], said),
    )  # fmt: skip


def address_on_several(evidence: Evidence) -> Iterator[Found]:
    """None of them hears the others."""
    holders = [name for name, has in _holders(evidence).items() if has]
    if len(holders) > 1:
        yield Found(
            holders[0], f"{' and '.join(holders)} both have the API's address {evidence.cluster.endpoint_host}",
            "\n".join(f"hardway preflight --ports table -l {name}" for name in holders),
            lines([f"{name} has it" for name in holders], "VRRP (IP protocol 112) does not get from one to the other"),
        )  # fmt: skip


def _holders(evidence: Evidence) -> dict[str, bool]:
    """Of balancers that hold an address between them, whether each has it."""
    return {machine.name: there.holds for machine, there in seen(evidence) if there.holds is not None}


def binding(evidence: Evidence) -> Iterator[Found]:
    objects = snapshot(evidence).objects
    if objects and BINDING not in objects.bindings:
        first = evidence.cluster.controllers[0]
        yield Found(
            first.name, "API servers have no right to ask kubelets: logs and exec are Forbidden",
            apply(evidence, first, "control-plane"), lines(f"there is no ClusterRoleBinding {BINDING}"),
        )  # fmt: skip


def _unit(there: Symptoms, name: str) -> UnitState:
    return there.units.get(name, UnitState())


def _units(evidence: Evidence) -> Iterator[tuple[Machine, str, UnitState]]:
    for machine, there in seen(evidence):
        for name in units(evidence.cluster, machine):
            if name in there.units:
                yield machine, name, there.units[name]


RULES = (
    Rule(
        "etcd-alarm", SYMPTOMS, alarms, "the whole cluster can be read, and nothing in it changed", "",
        layer="etcd", explains=HERE, reaches=CONTROLLER,
    ),
    Rule(
        "etcd-corrupt", SYMPTOMS, corrupt, "two members would give two answers; so none is given", "",
        layer="etcd", explains=HERE, reaches=CONTROLLER,
    ),
    Rule(
        "etcd-wiped", SYMPTOMS, wiped, "a member that forgot its votes could take two sides", "",
        layer="etcd", explains=HERE | {"unit-stopped"}, reaches=CONTROLLER,
    ),
    Rule(
        "etcd-quorum", SYMPTOMS, quorum, "without a majority etcd answers nobody, and no API server works", "",
        layer="etcd", explains=HERE - {"drift", "port-blocked"} | {"unit-stopped"},
        reaches=CONTROLLER | {"unit-stopped", "node-missing"},
    ),
    Rule(
        "port-taken", SYMPTOMS, taken_ports, "two programs cannot listen on one port", "",
        layer="control plane", explains=HERE | {"unit-stopped"}, reaches=CONTROLLER,
    ),
    Rule(
        "bad-setting", SYMPTOMS, bad_settings,
        "a component refuses what it does not understand; to bring it to the others as well would stop them, too", "",
        layer="control plane", explains=HERE | {"bad-flag"}, reaches=CONTROLLER,
    ),
    Rule(
        "bad-flag", SYMPTOMS, bad_flags, "flags come and go with releases; a component refuses those it does not know",
        "", layer="control plane", explains=HERE, reaches=CONTROLLER,
    ),
    Rule(
        "unit-exec", SYMPTOMS, not_executable, "systemd starts it again and again, for nothing", "",
        layer="control plane", explains=HERE, reaches=CONTROLLER,
    ),
    Rule(
        "unit-stopped", SYMPTOMS, stopped, "nobody starts it again but a person", "",
        layer="control plane", explains=HERE - {"port-blocked"}, reaches=CONTROLLER - {"etcd-quorum"},
    ),
    Rule(
        "balancer-backends", SYMPTOMS, backends, "workers and people come by the balancer only", "",
        layer="control plane", explains=HERE, reaches=CONTROLLER,
    ),
    Rule(
        "address-on-none", SYMPTOMS, address_on_none,
        "workers and people come by this address only; a balancer has it while an API server answers through it", "",
        layer="control plane", explains=frozenset(), reaches=OF_ADDRESS,
    ),
    Rule(
        "address-on-several", SYMPTOMS, address_on_several,
        "callers reach now one and now the other, and connections break", "",
        layer="control plane", explains=frozenset(), reaches=OF_ADDRESS,
    ),
    Rule(
        "wrong-service-range", SYMPTOMS, service_ranges,
        "Services get addresses that no certificate holds and no kube-proxy expects", "",
        layer="control plane", explains=HERE, reaches=CONTROLLER,
    ),
    Rule(
        "kubelet-binding", SYMPTOMS, binding, "the kubelet asks RBAC about everyone, the API server too", "",
        layer="control plane", explains=HERE, reaches=frozenset(),
    ),
)  # fmt: skip
