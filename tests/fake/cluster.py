"""A whole cluster of fake machines, with an operator's workspace, a cache and an inventory: all in one folder."""

import platform
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fake.commands import BINARIES
from fake.machine import FakeMachine
from hardway.artifacts.bundle import Bundle
from hardway.artifacts.catalogue import IMAGES, Arch
from hardway.artifacts.get import names_of, needs_for
from hardway.artifacts.lock import Entry, Lock
from hardway.artifacts.store import Store
from hardway.declare.declaration import Declaration
from hardway.declare.phases import PHASE_NAMES
from hardway.engine.changes import Change
from hardway.engine.converge import Outcome, converge
from hardway.engine.guards import first_state
from hardway.engine.plan import Plan, declared, observe_and_plan
from hardway.engine.resolver import Resolver
from hardway.engine.selection import Renewal, Selection
from hardway.engine.session import Session
from hardway.errors import HardwayError, Unreachable
from hardway.events import Event, Sink, discard
from hardway.inventory.allot import allot_pod_cidrs
from hardway.inventory.load import load
from hardway.inventory.model import Cluster
from hardway.operations.etcd_bootstrap import BOOTSTRAP
from hardway.preview.plan import Preview, preview
from hardway.state import State, as_built
from hardway.workspace import Workspace

ARCH: Arch = "arm64" if platform.machine() == "aarch64" else "amd64"

ONE = """\
cluster: one
machines:
  solo: {role: [controller, worker], address: 10.240.0.10}
"""
PAIR = """\
cluster: pair
machines:
  head: {role: controller, address: 10.240.0.10}
  hand: {role: worker, address: 10.240.0.20}
"""


def room() -> Path:
    """A new folder, in memory where there is some: nothing in it outlives the test."""
    memory = Path("/dev/shm")
    return Path(tempfile.mkdtemp(prefix="hardway-test-", dir=memory if memory.is_dir() else None))


def stocked(store: Store, lock: Lock, kubernetes: str, arch: Arch = ARCH) -> None:
    """Accepts a tiny program for each component, another one for each architecture."""
    entries = []
    for need in needs_for(kubernetes, arch, names_of(kubernetes)):
        text = BINARIES.get(need.name, f"#!/bin/sh\n# {need.name} {need.version}\n")
        if need.is_image:
            text = f"{IMAGES[need.name].ref}\n"
        elif arch != ARCH:
            text += f"# {arch}\n"
        blob = store.add([text.encode()])
        entries.append(Entry(need.name, need.version, arch, blob.digest, "build"))
    lock.add(*entries)


@dataclass
class FakeCluster:
    """The machines of an inventory. Each `init` is a run of its own: a new session, State read anew."""

    root: Path
    inventory: Path
    machines: dict[str, FakeMachine] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    bundle: Bundle | None = None
    off: set[str] = field(default_factory=set)
    """Machines that cannot be dialled."""
    joining: str = ""
    """A controller that is being added."""

    @classmethod
    def new(cls, root: Path, inventory: str) -> "FakeCluster":
        path = root / "hardway.yaml"
        path.write_text(inventory)
        made = cls(root, path)
        made.raise_machines()
        stocked(made.store, made.lock, made.cluster.kubernetes)
        return made

    def raise_machines(self) -> None:
        """Those that the inventory lists and that are not there yet."""
        listed = load(self.inventory).machines
        for one in listed:
            if one.name not in self.machines:
                self.machines[one.name] = FakeMachine(one.name, self.root / one.name, self.root / "net")
        (self.root / "net" / "addresses").write_text("".join(f"{one.address} {one.name}\n" for one in listed))

    def copied(self, root: Path) -> "FakeCluster":
        """The same cluster elsewhere. Its services start anew: the copies of their files are younger than they were."""
        subprocess.run(["cp", "-a", f"{self.root}/.", root], check=True)
        made = FakeCluster(root, root / self.inventory.name)
        for name in self.machines:
            made.machines[name] = FakeMachine(name, root / name, root / "net")
            made.machines[name].run("systemctl refresh", timeout=10, what="wake up")
            made.machines[name].restored()
        return made

    @property
    def cluster(self) -> Cluster:
        read = load(self.inventory)
        state = self.workspace(read).load_state()
        allotted = allot_pod_cidrs(read, state.pinned_pod_cidrs() if state else {})
        return as_built(allotted, state, self.joining) if state else allotted

    @property
    def store(self) -> Store:
        return Store(self.root / "cache")

    @property
    def lock(self) -> Lock:
        return Lock(self.root / "artifacts.lock")

    def workspace(self, cluster: Cluster | None = None) -> Workspace:
        return Workspace.of(cluster or self.cluster, None)

    def state(self) -> State:
        found = self.workspace().load_state()
        assert found is not None
        return found

    def resolver(self) -> Resolver:
        return Resolver(self.cluster.kubernetes, self.store, self.lock, source="build", bundle=self.bundle)

    def session(self, events: Sink = discard, names: Sequence[str] = ()) -> Session:
        cluster = self.cluster
        chosen = {
            name: one for name, one in self.machines.items() if name in cluster.by_name and (not names or name in names)
        }
        return Session(cluster, self.workspace(), chosen, events, forks=3, dial=self.dial)

    def dial(self, name: str) -> FakeMachine:
        """A connection to a machine that is none of a run's own."""
        if name in self.off:
            raise Unreachable("no answer", machine=name)
        return self.machines[name]

    def init(
        self,
        phases: Sequence[str] = PHASE_NAMES,
        *,
        names: Sequence[str] = (),
        adopt: bool = False,
        events: Sink = discard,
        review: Callable[[Plan], None] = lambda plan: None,
        skipped: Mapping[str, HardwayError] | None = None,
        renewal: Renewal | None = None,
    ) -> Outcome:
        """What `hardway init` does between connecting and proving."""
        self.workspace().create()
        session = self.session(events, names)
        state = session.workspace.load_state() or first_state(session.cluster)
        selection = Selection(tuple(phases), frozenset(session.machines), BOOTSTRAP, adopt, renewal=renewal)
        return converge(session, state, selection, self.resolver(), self.store, review=review, skipped=skipped)

    def plan(
        self,
        phases: Sequence[str] = PHASE_NAMES,
        *,
        names: Sequence[str] = (),
        adopt: bool = False,
        unreached: Mapping[str, HardwayError] | None = None,
    ) -> Preview:
        """What `hardway plan` prints, of all machines; `names` are those that answer."""
        session = self.session(names=names)
        state = session.workspace.load_state() or first_state(session.cluster)
        selection = Selection(tuple(phases), frozenset(self.machines), BOOTSTRAP, adopt)
        found = observe_and_plan(session, state, selection, self.resolver(), unreached or {})
        return preview(session, found, list(self.machines), self.lock.entries())

    def member(self, name: str) -> str:
        """The identifier of an etcd member, as etcdctl takes it."""
        for line in (self.root / "net" / "members").read_text().splitlines():
            identity, member, *_ = line.split()
            if member == name:
                return identity
        raise AssertionError(name)

    def lead(self, name: str) -> None:
        """This member leads etcd from now on."""
        (self.root / "net" / "leader").write_text(f"{self.member(name)}\n")

    def declaration(self) -> Declaration:
        """All that is declared for these machines now."""
        return declared(self.cluster, self.state())[1]

    def rewrite(self, old: str, new: str) -> None:
        """Edits the inventory."""
        text = self.inventory.read_text()
        assert old in text
        self.inventory.write_text(text.replace(old, new))


def keys(changes: Sequence[Change]) -> list[tuple[str, str, str]]:
    """Machine, verb and key of changes."""
    return [(one.machine, one.difference.verb, one.key) for one in changes]
