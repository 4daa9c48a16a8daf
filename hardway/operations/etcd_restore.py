"""`etcd restore`: the cluster goes back to a snapshot. All API servers and members stop, and start with what was in it.

Whether the file is whole, this cluster's, and readable with a key at hand is known before anything stops; a rehearsal
finds that out in a folder of its own, and leaves nothing. Cut anywhere, the same command goes on: each member keeps a
mark of the restore that it has done, and its data of before under another name.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hardway.artifacts.store import Store
from hardway.console.words import size
from hardway.declare.generations import FRONT_PROXY, KUBERNETES
from hardway.declare.phases import etcd
from hardway.declare.phases.base import Model, Proof
from hardway.declare.phases.paths import BIN, KUBECTL
from hardway.declare.resources.base import quote
from hardway.engine import prove
from hardway.engine.commit import commit
from hardway.engine.converge import Outcome, converge
from hardway.engine.resolver import Resolver
from hardway.engine.selection import Selection
from hardway.engine.session import Session, timed
from hardway.errors import HardwayError, UsageError
from hardway.events import Note
from hardway.operations import drain, rotate_ca, rotate_encryption, rotate_sa
from hardway.operations.age import Decrypt, decrypt_file, is_encrypted
from hardway.operations.etcd_scratch import FOLDER, SCRATCH
from hardway.operations.etcd_snapshot import check
from hardway.operations.snapshot_objects import LOOK, SECRETS, looking, readable, resources_of, stored
from hardway.probe import control
from hardway.state import OperationState, State, advanced
from hardway.workspace import Workspace

DATA = "/var/lib/etcd"
WAYS = ("etcd restore", "etcd recover")
"""Each goes on where the other one does not: all data is in a snapshot, or with a member."""
AGAIN = {
    (rotate_encryption.NAME, "write"): "read",
    (rotate_encryption.NAME, "rewrite"): "read",
    (rotate_encryption.NAME, "retire"): "read",
    (rotate_sa.NAME, "retire"): "renew",
    (rotate_ca.NAME, "clients"): "trust",
    (rotate_ca.NAME, "sign"): "trust",
    (rotate_ca.NAME, "users"): "trust",
}
"""The stage of an operation from which it goes on after the one at which it was: what is in etcd may be older."""
STAGE = "restore"
API_SERVER = "kube-apiserver.service"
CONTROLLERS = "kube-controller-manager.service kube-scheduler.service"
SEND_LIMIT = 1800.0
START_LIMIT = 180.0
BUMP = 1_000_000_000
"""By which revisions grow, so that for a watch none ever goes back (etcdutl/snapshot/v3_snapshot.go)."""
ROOM = 3
"""How many times the snapshot's size must be free: it, what is made of it, and what grows meanwhile."""


@dataclass(frozen=True)
class Source:
    """A snapshot that was checked. `taken` and `encryption_resources` are empty where no FILE.json is beside it.

    `encryption_resources` are those of which something may be encrypted in it.

    `path` is the snapshot itself, `name` the file that was given: another one where that is encrypted. `is_copy`: it is
    a member's own file, which ends with no digest.
    """

    path: Path
    sha256: str
    size: int
    is_copy: bool = False
    taken: str = ""
    encryption_resources: tuple[str, ...] = ()
    file: str = ""

    @property
    def name(self) -> str:
        return self.file or str(self.path)


@dataclass(frozen=True)
class Rehearsed:
    """What was found in a snapshot. `secret` names the Secret that was decrypted, empty where there is none."""

    file: str
    keys: int
    namespaces: int
    secret: str
    encryption_key: str
    seconds: float


@contextlib.contextmanager
def inspected(path: Path, state: State, workspace: Workspace, key: Callable[[], Decrypt]) -> Iterator[Source]:
    """`inspect`, also of an encrypted file: what is in it is in the workspace for as long as the block lasts.

    `key` is called for such a file alone. Raises what `inspect` raises, and WorkspaceError for a wrong key.
    """
    if not path.is_file() or not is_encrypted(path):
        yield inspect(path, state)
        return
    decrypt = key()
    with workspace.opened() as (plain, target):
        decrypt_file(path, decrypt, target)
        target.flush()
        yield inspect(path, state, plain)


def inspect(path: Path, state: State, plain: Path | None = None) -> Source:
    """Reads a snapshot and its note. Raises UsageError, HardwayError for one that is damaged, or another cluster's.

    `plain` is what was in it, where it is encrypted.
    """
    if not path.is_file():
        raise UsageError(f"there is no file {path}", hint="hardway etcd snapshot FILE makes one")
    content = plain or path
    check(content, path)
    with content.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    source = Source(content, digest, content.stat().st_size, file=str(path))
    note = path.with_name(f"{path.name}.json")
    if not note.exists():
        return source
    try:
        told = json.loads(note.read_text(encoding="utf-8"))
        resources = tuple(told.get("encryption_resources", ()))
        cluster, identity, taken, noted = (str(told[name]) for name in ("cluster", "cluster_id", "taken", "sha256"))
    except (ValueError, KeyError, TypeError) as error:
        raise HardwayError(
            f"{note} is not as hardway writes it: {error}",
            hint="restore it from where the snapshot was kept, or delete it: then the snapshot says itself whose it is",
        ) from error
    if identity != state.cluster_id:
        raise HardwayError(
            f"{path} is of another cluster: {cluster} ({identity}); this one is {state.cluster} ({state.cluster_id})",
            said="nothing was changed",
            hint="give the inventory and the workspace of that cluster",
        )
    if noted != digest:
        raise HardwayError(
            f"{path} is not the file of {note.name}: its SHA-256 is {digest[:16]}…, not {noted[:16]}…",
            said="nothing was changed",
            hint="use the pair of files as it was taken",
        )
    return replace(source, taken=taken, encryption_resources=resources)


def rehearse(session: Session, model: Model, source: Source) -> Rehearsed:
    """Restores into a folder of its own on one controller, counts, and decrypts one object of each resource and key.

    All of it goes again.
    Raises HardwayError for one that holds no Kubernetes, or another cluster's; WorkspaceError for a key that is lost.
    """
    try:
        found, _ = _opened(session, model, source)
        return found
    finally:
        _forget(session, [session.cluster.controllers[0].name])


def _opened(session: Session, model: Model, source: Source) -> tuple[Rehearsed, State]:
    """What was found in it, and the State in which API servers read that."""
    home = session.cluster.controllers[0].name
    resources = resources_of(model, source.encryption_resources)
    with timed("rehearse", session.events):
        _send(session, [home], source, room=True)
        script = rehearsal(source, resources)
        result = session.run(home, script, what="rehearse the restore", timeout=SEND_LIMIT)
    told: dict[str, list[str]] = {}
    for line in result.text.splitlines():
        name, _, value = line.partition(" ")
        told.setdefault(name, []).append(value)
    _require_ours(session, source, base64.b64decode(told["system"][0]))
    objects = stored(told, resources)
    state = readable(model, session.workspace.values(), objects)
    secret, key = "", ""
    for one in objects:
        if one.resource == SECRETS and one.sealed:
            secret, key = one.name, one.sealed[1]
            break
    file = Path(source.name).name
    return Rehearsed(file, int(told["keys"][0]), int(told["namespaces"][0]), secret, key, result.seconds), state


def _require_ours(session: Session, source: Source, system: bytes) -> None:
    """Compares the namespace kube-system in the snapshot, which no two clusters have alike, with the one that is there.

    Where no API server answers, a note beside the snapshot, or its Secrets, have to say it.
    """
    if not system:
        raise HardwayError(f"{source.name} holds no Kubernetes: there is no namespace kube-system in it")
    home = session.cluster.controllers[0].name
    script = f"{KUBECTL} get namespace kube-system -o 'jsonpath={{.metadata.uid}}'"
    asked = session.run(home, script, what="ask which cluster this is", check=False)
    if asked.code == 0 and asked.text.strip().encode() not in system:
        raise HardwayError(
            f"{source.name} is of another cluster: its namespace kube-system is another one",
            said="nothing was changed",
            hint="give the inventory and the workspace of that cluster",
        )
    if asked.code != 0 and not source.taken:
        told = f"no note is beside {source.name}, and no API server answers: whose it is, only its Secrets can say"
        session.events(Note(told, "warning"))


def _forget(session: Session, names: Sequence[str]) -> None:
    _each(session, names, f"rm -rf {FOLDER}", "remove the snapshot there")


def superseded(state: State, command: str) -> State:
    """The State in which `command`, a way back, may begin: what was under way cannot get on without an etcd.

    Another way back that was begun is given up; any other operation goes on afterwards, from the first of its stages
    whose outcome was in etcd.
    """
    before = state.operation
    if before is None or before.command == command:
        return state
    again = AGAIN.get((before.name, before.stage), before.stage)
    interrupted = state.interrupted if before.name in WAYS else replace(before, stage=again)
    return replace(state, operation=None, interrupted=interrupted)


def begin(session: Session, state: State, underway: OperationState) -> State:
    """Until it is over, nothing else is done to this cluster: its members may differ."""
    state = advanced(state, operation=replace(underway, stage=STAGE))
    session.workspace.save_state(state)
    return state


def restore(
    session: Session,
    state: State,
    source: Source,
    underway: OperationState,
    selection: Selection,
    resolver: Resolver,
    store: Store,
    *,
    gone: Collection[str] = (),
) -> Outcome:
    """Goes back to the snapshot. The session holds the locks of all machines; Nodes of those that are `gone` go, too.

    Raises HardwayError before anything stops where the snapshot cannot be used, and ProofFailed where something does
    not come up again: then the same command goes on.
    """
    controllers = [machine.name for machine in session.cluster.controllers]
    # One that was cut was rehearsed, and its members may have used the room by now.
    resuming = underway.stage != ""
    if not resuming:
        state = _rehearsed(session, Model(session.cluster, state, resolver.versions), source)
    with timed("send", session.events):
        _send(session, controllers, source, room=not resuming)
    state = begin(session, state, underway)
    if len(state.encryption_keys) > 1 or state.encryption_changing:
        session.events(Note(f"API servers get {', '.join(state.encryption_keys)}: the snapshot may need each of them"))
        state = converge(session, state, replace(selection, phases=("encryption",)), resolver, store).state
    with timed("stop", session.events):
        stop(session)
    with timed("restore", session.events):
        for name, script in _swaps(session, source, token_of(state)):
            session.run(name, script, what="restore etcd's data", timeout=SEND_LIMIT)
    return go_on(session, state, selection, resolver, store, gone)


def go_on(
    session: Session,
    state: State,
    selection: Selection,
    resolver: Resolver,
    store: Store,
    gone: Collection[str] = (),
) -> Outcome:
    """Starts what was restored on all members, and ends the operation that `begin` began."""
    controllers = [machine.name for machine in session.cluster.controllers]
    with timed("start", session.events):
        _each(session, controllers, "systemctl start --no-block etcd.service", "start etcd")
        _require(session, [*_serving(session), *_same(session)])
        _each(session, controllers, "systemctl start --no-block kube-apiserver.service", "start the API server")
        _require(session, list(_ready(session)))
        _each(session, controllers, f"systemctl start {CONTROLLERS}", "start the controllers")
        # What a kubelet runs and the API does not know of any more would run on; it asks for all pods when it starts.
        workers = [machine.name for machine in session.cluster.workers if machine.name in session.machines]
        _each(session, workers, "systemctl restart kubelet.service kube-proxy.service", "restart kubelets")
    _without_retired(session, Model(session.cluster, state, resolver.versions))
    for name in gone:
        drain.delete_node(session, name)
    _tell_strangers(session)
    outcome = converge(session, advanced(state, etcd_token=token_of(state)), selection, resolver, store)
    _forget(session, controllers)
    outcome.state = advanced(outcome.state, operation=outcome.state.interrupted, interrupted=None)
    commit(session, outcome.state, outcome.views, set())
    return outcome


def is_everywhere(session: Session, state: State) -> bool:
    """Whether each member has the data of the restore that is under way."""
    look = f"ls {DATA}/.restored-{token_of(state)}-*"
    names = [machine.name for machine in session.cluster.controllers]
    found = session.each(names, lambda name: session.run(name, look, what="look for restored data", check=False).code)
    return not any(found.values())


def token_of(state: State) -> str:
    """By which members belong together from now on, and to none of before; the same until it is over."""
    assert state.operation is not None
    return f"{state.cluster}-{re.sub('[^0-9]', '', state.operation.since)}"


def stop(session: Session, *, unserved: bool = False) -> None:
    """All of the control plane, in the order in which nobody loses what it asks.

    `unserved`: etcd does not serve, and an API server would wait for it until systemd kills it (TimeoutStopSec).
    """
    controllers = [machine.name for machine in session.cluster.controllers]
    for units in (CONTROLLERS, API_SERVER, "etcd.service"):
        script = f"systemctl stop {units}"
        if unserved and units == API_SERVER:
            script = f"systemctl stop --no-block {units}; systemctl kill --signal=KILL {units} || true; {script}"
        _each(session, controllers, script, f"stop {units}")


def kept(session: Session) -> list[str]:
    """Folders with etcd's data of before a restore, machine by machine, as MACHINE:FOLDER."""
    names = [machine.name for machine in session.cluster.controllers]
    look = f"ls -d {DATA}/before-restore-* 2>/dev/null || true"
    found = session.each(names, lambda name: session.run(name, look, what="look for data kept aside").text.split())
    paths = []
    for name, folders in found.items():
        paths += [f"{name}:{folder}" for folder in folders]
    return paths


def _rehearsed(session: Session, model: Model, source: Source) -> State:
    """The State in which API servers read it. The file stays where it was sent to, unless it cannot be used."""
    try:
        found, state = _opened(session, model, source)
    except HardwayError:
        _forget(session, [session.cluster.controllers[0].name])
        raise
    proved = f"{found.secret} decrypted with {found.encryption_key}" if found.secret else "no Secret in it"
    session.events(Note(f"rehearsed: {found.keys} keys, {found.namespaces} namespaces, {proved}"))
    return state


def _send(session: Session, names: Sequence[str], source: Source, *, room: bool) -> None:
    """The file to each of these machines, unless it is there whole; `room`: refuses a disk that is too small."""
    path = f"{FOLDER}/{source.sha256}.db"
    needed = source.size * ROOM
    look = f"""\
mkdir -p {FOLDER}; chmod 0700 {FOLDER}
[ ! -e {path} ] || {{ echo "{source.sha256}  {path}" | sha256sum -c --status && echo there; }} || rm -f {path}
free=$(df -k --output=avail {DATA} | tail -n 1)
[ "$free" -gt {needed // 1024 if room else 0} ] || {{
  echo "{DATA} has $free KiB free, and {size(needed)} are needed" >&2; exit 1; }}
"""

    def send(name: str) -> None:
        if "there" in session.run(name, look, what="look for room").text.split():
            return
        machine = session.machines[name]
        machine.stream([source.path], f"cat >{path}.part", what="send the snapshot", timeout=SEND_LIMIT)
        script = f"echo '{source.sha256}  {path}.part' | sha256sum -c --status && mv {path}.part {path}"
        session.run(name, script, what="check the snapshot", timeout=SEND_LIMIT)

    session.each(names, send)


def _restoring(source: Source) -> str:
    """The beginning of the command that makes data of the file."""
    checked = " --skip-hash-check" if source.is_copy else ""
    return f"{BIN}/etcdutl snapshot restore {FOLDER}/{source.sha256}.db{checked}"


def rehearsal(source: Source, resources: Sequence[str]) -> str:
    """The script that opens the snapshot, and prints a line for each thing that it finds."""
    return f"""\
{SCRATCH}{LOOK}\
{_restoring(source)} --data-dir data >restored 2>&1 || {{ tail -n 5 restored >&2; exit 1; }}
serve || exit 1
count() {{ ask get "$1" --prefix --count-only --write-out=fields | sed -n 's/^"Count" : //p'; }}
echo "keys $(count '')"
echo "namespaces $(count /registry/namespaces/)"
echo "system $(value /registry/namespaces/kube-system)"
{looking(resources)}"""


def _swaps(session: Session, source: Source, token: str) -> Iterator[tuple[str, str]]:
    """For each member: the snapshot's data in place of its own, which is kept. Done once a restore."""
    members = etcd.initial_cluster(session.cluster)
    for machine in session.cluster.controllers:
        peer = etcd.peer_url(machine)
        done = f"{DATA}/.restored-{token}-{source.sha256[:16]}"
        yield (
            machine.name,
            f"""\
[ ! -e {done} ] || exit 0
rm -rf {DATA}/restoring
{_restoring(source)} --data-dir {DATA}/restoring --name {quote(machine.name)} \\
  --initial-cluster {quote(members)} --initial-cluster-token {quote(token)} --initial-advertise-peer-urls {peer} \\
  --bump-revision {BUMP} --mark-compacted >{FOLDER}/log 2>&1 || {{ tail -n 5 {FOLDER}/log >&2; exit 1; }}
chown -R etcd:etcd {DATA}/restoring
[ ! -e {DATA}/member ] || mv {DATA}/member {DATA}/before-restore-$(date -u +%Y%m%dT%H%M%SZ)
mv {DATA}/restoring/member {DATA}/member
rm -rf {DATA}/restoring {DATA}/.restored-*
touch {done}
sync
""",
        )


def _each(session: Session, names: Sequence[str], script: str, what: str) -> None:
    session.each(names, lambda name: session.run(name, script, what=what, timeout=START_LIMIT))


def _require(session: Session, proofs: Sequence[Proof]) -> None:
    prove.require(prove.prove(session, [("etcd restore", one) for one in proofs], wait=START_LIMIT))


def _serving(session: Session) -> Iterator[Proof]:
    for machine in session.cluster.controllers:
        yield Proof(
            machine.name,
            "this member serves what was restored",
            etcd.READY,
            "API servers need a majority",
            within=START_LIMIT,
        )


def _same(session: Session) -> Iterator[Proof]:
    controllers = session.cluster.controllers
    urls = ",".join(etcd.client_url(one) for one in controllers)
    yield Proof(
        controllers[0].name,
        "all members hold the same data",
        f"{etcd.ETCDCTL} --endpoints={urls} endpoint hashkv -w json | grep -o '\"hash\":[0-9]*' | sort -u | wc -l",
        "members that differ would serve two clusters",
        "equals",
        "1",
        within=60,
    )


def _ready(session: Session) -> Iterator[Proof]:
    for machine in session.cluster.controllers:
        yield Proof(
            machine.name,
            "the API server is ready",
            f"{KUBECTL} get --raw=/readyz",
            "controllers and kubelets dial it",
            "equals",
            "ok",
            within=START_LIMIT,
        )


def _without_retired(session: Session, model: Model) -> None:
    """What is in etcd may be of a key or a CA that went out of use since: nobody accepts it, or nobody should."""
    home = session.cluster.controllers[0].name
    newest = model.state.service_account_keys.signing
    if newest > 1:
        kid = rotate_sa.key_identifier(session.workspace.values(), newest)
        script = rotate_sa.sign_secrets(kid)
        signed = session.run(home, script, what="renew the tokens in Secrets", timeout=START_LIMIT)
        if signed.text.strip():
            told = f"tokens in Secrets were of a key of before, and are signed again: {signed.text.count('patched')}"
            session.events(Note(f"{told}; who was given one needs the new one", "warning"))
    if any(model.state.authority(ca.name).signing > 1 for ca in (KUBERNETES, FRONT_PROXY)):
        rotate_ca.prune(session, model)


def _tell_strangers(session: Session) -> None:
    """Nodes that the snapshot knows and the cluster does not have: nobody else deletes them."""
    home = session.cluster.controllers[0].name
    nodes = control.nodes(session.ask(home, (control.NODES,), what="ask for nodes")) or {}
    known = {machine.name for machine in session.cluster.workers}
    for name in nodes:
        if name not in known:
            session.events(
                Note(f"Node {name} is of the snapshot, and no machine: hardway kubectl delete node {name}", "warning")
            )
