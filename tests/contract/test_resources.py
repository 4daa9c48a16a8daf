"""Every kind of resource, on a machine: seen, sent, put in place, seen again, taken away.

Over a fake machine all of them; over a real sshd, as root and through sudo, those that only need a
folder: hardway's own folder is moved there, so nothing of this computer is touched.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from fake.cluster import ARCH, ONE, FakeCluster
from fake.machine import Cut, FakeMachine
from moved import Moved

from hardway import journal
from hardway.artifacts.store import Blob, Store
from hardway.declare.declaration import Declaration
from hardway.declare.phases.base import Placed
from hardway.declare.resources import (
    KINDS,
    Absent,
    ApiObjects,
    Binary,
    Block,
    Check,
    Context,
    Difference,
    Directory,
    File,
    Hostname,
    Image,
    Module,
    NodeTaints,
    OperatorFile,
    Package,
    Present,
    Resource,
    Routes,
    Service,
    SwapOff,
    Sysctl,
    Unknown,
    User,
    stays_up,
)
from hardway.declare.resources.files import Stat
from hardway.engine import upload
from hardway.engine.changes import Change, differences
from hardway.engine.observe import View, observe
from hardway.engine.reset import undo_script
from hardway.engine.resolver import FileKey
from hardway.engine.scripts import PRELUDE, activation_script, begin
from hardway.engine.session import Session
from hardway.errors import CommandFailed
from hardway.journal import FOLDER, Journal
from hardway.remote import ConnectionLost, MachineIO
from hardway.values import Placeholder

pytestmark = pytest.mark.contract
NewCluster = Callable[[str], FakeCluster]


@pytest.fixture(autouse=True)
def _places_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """These resources are none of hardway's; which names may be taken away is tested elsewhere."""
    monkeypatch.setattr("hardway.declare.undo.is_ours", lambda key: True)
    monkeypatch.setattr("hardway.declare.undo.DATA_FOLDERS", ("/srv/data",))


PROGRAM = b"#!/bin/sh\necho tool 1\n"
SERVICE = Service(
    "kube-scheduler.service",
    inputs=("/etc/systemd/system/kube-scheduler.service",),
    ready=Check("it runs", "systemctl is-active kube-scheduler.service", limit=5),
)
OBJECTS = ApiObjects(
    "extra", "kind: ConfigMap\nmetadata:\n  name: extra\n  namespace: default\n", "/etc/kubernetes/admin.conf"
)


@dataclass
class Bench:
    """One machine, and what a run would hold while it brings resources there."""

    session: Session
    root: str
    store: Store
    values: dict[str, bytes] = field(default_factory=lambda: {"secrets/word": b"s3cret"})
    blobs: dict[FileKey, Blob] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return next(iter(self.session.machines))

    @property
    def machine(self) -> MachineIO:
        return self.session.machines[self.name]

    def offer(self, file: str, content: bytes) -> None:
        """Accepts this content as the file's version 1."""
        self.blobs[(file, "1", ARCH)] = self.store.add([content])

    def declared(self, *resources: Resource) -> Declaration:
        return Declaration(tuple(Placed(self.name, "hosts", one) for one in resources), ())

    def look(self, *resources: Resource, staged: dict[tuple[int, int], str] | None = None) -> View:
        return observe(self.session, self.declared(*resources), [self.name], {self.name: staged or {}})[self.name]

    def context(self, view: View) -> Context:
        accepted = {(file, version): frozenset((blob.digest,)) for (file, version, _), blob in self.blobs.items()}
        return Context(self.name, {**self.values, **view.facts.placeholders}, accepted, view.journal.entries)

    def changes(self, view: View, *resources: Resource) -> list[Change]:
        """What is to be done for these; the rest of a cluster that its journal knows is not this bench's business."""
        found = differences(self.declared(*resources).placed, view, self.context(view))
        return [one for one in found if one.resource is not None]

    def send(self, view: View, changes: Sequence[Change]) -> dict[tuple[int, int], str]:
        return upload.upload(self.session, self.name, changes, view, self.context(view), self.blobs, self.store)

    def intend(self, view: View, changes: Sequence[Change], *resources: Resource) -> None:
        script = begin("{}\n", changes, self.declared(*resources).placed, view, self.context(view))
        self.session.run(self.name, script, what="note the intents")

    def apply(self, *resources: Resource) -> View:
        """What the engine does for one chapter; what is seen afterwards."""
        view = self.look(*resources)
        changes = self.changes(view, *resources)
        self.intend(view, changes, *resources)
        sent = self.send(view, changes)
        self.session.run(self.name, activation_script(changes, view, self.context(view)), what="hosts")
        return self.look(*resources, staged=sent)

    def undo(self, view: View, *resources: Resource) -> None:
        entries = {one.key: view.journal.entries[one.key] for one in resources}
        self.session.run(self.name, undo_script(Journal(entries)), what="reset")

    def sh(self, script: str) -> str:
        return self.machine.run(script, timeout=10, what="a test").text


def bench(machine: MachineIO, root: str, made: FakeCluster) -> Bench:
    made.workspace().create()
    session = replace(made.session(), machines={machine.name: machine})
    found = Bench(session, root, made.store)
    found.offer("tool", PROGRAM)
    return found


@pytest.fixture
def fake(built_cluster: NewCluster) -> Bench:
    """A fake machine that is a cluster, so that there is a containerd and an API to ask."""
    made = built_cluster(ONE)
    (made.machines["solo"].root / "srv/hardway").mkdir(parents=True)
    return bench(made.machines["solo"], "/srv/hardway", made)


@pytest.fixture(params=["fake", "ssh", "sudo"])
def any_bench(request: pytest.FixtureRequest, new_cluster: NewCluster, tmp_path: Path) -> Iterator[Bench]:
    if request.param == "fake":
        yield request.getfixturevalue("fake")
        return
    connect = request.getfixturevalue("connect")
    if request.param == "sudo":
        request.getfixturevalue("sshd").sudo("free")
    machine = connect(become="sudo" if request.param == "sudo" else "none")
    place = tmp_path / "machine"
    place.mkdir()
    (place / "theirs").write_text("stays\n")
    yield bench(Moved(machine, str(place / "hardway")), str(place), new_cluster(ONE))


def on_disk(root: str) -> list[Resource]:
    return [
        File(f"{root}/deep/down/config", f"word: {Placeholder('secrets/word', secret=True)}\n", mode=0o600),
        File(f"{root}/it's a; name", "text\n"),
        OperatorFile(f"{root}/theirs of ours/it's", "text\n"),
        Directory(f"{root}/folder", 0o700),
        Binary(f"{root}/bin/tool", "tool", "1"),
        Block(f"{root}/hosts", "10.0.0.1 a\n"),
    ]


@pytest.mark.parametrize("number", range(6))
def test_what_lies_on_disk_comes_and_goes(any_bench: Bench, number: int) -> None:
    resource = on_disk(any_bench.root)[number]
    before = any_bench.look(resource).observed[resource.key]
    assert before == Absent()
    view = any_bench.apply(resource)
    assert any_bench.changes(view, resource) == []
    assert resource.key in view.journal.entries
    assert view.journal.open == set()
    assert any_bench.changes(any_bench.apply(resource), resource) == []
    any_bench.undo(view, resource)
    gone = any_bench.look(resource)
    assert gone.observed[resource.key] == Absent()
    assert resource.key not in gone.journal.entries
    assert any_bench.sh(f"ls {any_bench.root} 2>/dev/null || true") in (
        "hardway\ntheirs",
        "hosts",
        "",
        "hardway\nhosts\ntheirs",
    )


def test_a_file_of_the_operators_that_somebody_wrote_anew_is_left(any_bench: Bench) -> None:
    resource = OperatorFile(f"{any_bench.root}/corp/ca.crt", "ours\n")
    view = any_bench.apply(resource)
    any_bench.sh(f"echo another >{resource.path}")
    any_bench.undo(view, resource)
    assert any_bench.sh(f"cat {resource.path}; rm -r {any_bench.root}/corp") == "another"


def test_content_mode_and_owner_arrive_together(any_bench: Bench) -> None:
    path = f"{any_bench.root}/config"
    config = File(path, f"word: {Placeholder('secrets/word', secret=True)}\n", mode=0o640)
    any_bench.apply(config, Binary(f"{any_bench.root}/bin/tool", "tool", "1"))
    assert any_bench.sh(
        f"cat {path}; stat -c '%a %U:%G' {path} {any_bench.root}/bin/tool; {any_bench.root}/bin/tool"
    ) == ("word: s3cret\n640 root:root\n755 root:root\ntool 1")


def test_who_reads_the_old_file_goes_on_reading_it(any_bench: Bench) -> None:
    path = f"{any_bench.root}/config"
    any_bench.apply(File(path, "old\n"))
    changed = File(path, "new\n")
    view = any_bench.look(changed)
    changes = any_bench.changes(view, changed)
    sent = any_bench.send(view, changes)
    script = activation_script(changes, view, any_bench.context(view))
    any_bench.intend(view, changes, changed)
    assert any_bench.sh(f"exec 3<{path}; {{ {script}\n}} >/dev/null; cat <&3; cat {path}") == "old\nnew"
    seen = any_bench.look(changed, staged=sent)
    assert not seen.hashed  # it is known by its inode, which the rename kept
    assert any_bench.changes(seen, changed) == []


def test_a_block_leaves_the_rest_of_the_file_alone(any_bench: Bench) -> None:
    path = f"{any_bench.root}/hosts"
    any_bench.sh(f"mkdir -p {any_bench.root}; printf 'theirs' >{path}; chmod 0600 {path}")
    first, second = Block(path, "one\n"), Block(path, "two\n")
    any_bench.apply(first)
    view = any_bench.apply(second)
    assert any_bench.sh(f"cat {path}; stat -c %a {path}") == "theirs\n# BEGIN hardway\ntwo\n# END hardway\n600"
    any_bench.undo(view, second)
    assert any_bench.sh(f"cat {path}; rm {path}") == "theirs"


def test_a_block_in_a_file_that_is_a_link_leaves_the_link(any_bench: Bench) -> None:
    path = f"{any_bench.root}/hosts"
    any_bench.sh(f"mkdir -p {any_bench.root}; echo theirs >{path}.theirs; ln -s hosts.theirs {path}")
    block = Block(path, "one\n")
    view = any_bench.apply(block)
    assert any_bench.changes(view, block) == []
    assert any_bench.sh(f"readlink {path}; cat {path}") == "hosts.theirs\ntheirs\n# BEGIN hardway\none\n# END hardway"
    any_bench.undo(view, block)
    assert any_bench.sh(f"readlink {path}; cat {path}; rm {path} {path}.theirs") == "hosts.theirs\ntheirs"


SAFE = f"{PRELUDE}\nset -eu\n"
"""What a script of a run begins with."""


@pytest.mark.parametrize(
    "theirs",
    [
        "# BEGIN hardway\none\n10.0.0.9 theirs",
        "a\n# END hardway\nb",
        "# END hardway\n# BEGIN hardway\n10.0.0.9 theirs",
        "# BEGIN hardway\n# END hardway\n" * 2 + "theirs",
        "# BEGIN hardway\n10.0.0.9 theirs\n# BEGIN hardway\n# END hardway",
    ],
)
def test_a_block_without_an_end_or_a_beginning_is_not_touched(any_bench: Bench, theirs: str) -> None:
    path = f"{any_bench.root}/hosts"
    any_bench.sh(f"mkdir -p {any_bench.root}; cat >{path} <<'E'\n{theirs}\nE")
    seen = any_bench.look(Block(path, "two\n"))
    assert isinstance(seen.observed[f"block:{path}"], Unknown)
    with pytest.raises(CommandFailed) as caught:
        any_bench.sh(SAFE + Block.undo(path, {}))
    assert "once each, or not at all" in (caught.value.said or "")
    assert any_bench.sh(f"cat {path}; rm {path}") == theirs


def test_by_way_of_a_link_nothing_is_changed_or_deleted(any_bench: Bench) -> None:
    root = any_bench.root
    any_bench.sh(
        f"mkdir -p {root}/other/down; chmod 0750 {root}/other {root}/other/down; "
        f": >{root}/other/down/file; ln -s other {root}/ours"
    )
    below, itself = Directory(f"{root}/ours/down", 0o700, data=True), Directory(f"{root}/ours", 0o700, data=True)
    context = any_bench.context(any_bench.look(below))
    scripts = [f": >{root}/staged; put {root}/staged {root}/ours/down/file 0644 root:root"]
    for folder in (below, itself):
        assert any_bench.look(folder).observed[folder.key] == Unknown(f"{root}/ours is a symbolic link")
        scripts.append(folder.steps(Difference("create", ""), context))
        scripts += [Directory.undo(folder.path, entry) for entry in ({"data": True}, {})]
        scripts.append(Directory.undo(folder.path, {"before": ["0700", "root", "root"]}))
    scripts.append(File.undo(f"{root}/ours/down/file", {}))
    for script in scripts:
        with pytest.raises(CommandFailed) as caught:
            any_bench.sh(SAFE + script)
        assert "ours is a symbolic link" in (caught.value.said or "")
    left = any_bench.sh(f"stat -c %a {root}/other {root}/other/down; ls {root}/other/down; readlink {root}/ours")
    any_bench.sh(f"rm -r {root}/other {root}/ours {root}/staged")
    assert left == "750\n750\nfile\nother"


def test_what_a_program_refuses_replaces_nothing(any_bench: Bench) -> None:
    root = any_bench.root
    any_bench.sh(
        f"mkdir -p {root}; printf '#!/bin/sh\\n! grep -H bad \"$2\"\\n' >{root}/checker; chmod 755 {root}/checker"
    )
    good, bad = (File(f"{root}/a", text, tried_by=(f"{root}/checker", "-c")) for text in ("good\n", "bad\n"))
    any_bench.apply(good)
    with pytest.raises(CommandFailed) as caught:
        any_bench.apply(bad)
    assert f"{root}/a:bad" in (caught.value.said or "")
    assert any_bench.sh(f"cat {root}/a; rm -r {root}/a {root}/checker") == "good"


def test_a_full_disk_elsewhere_ends_the_script_and_leaves_the_old_file(fake: Bench) -> None:
    """What is staged lies on another file system than the file that it is to become."""
    said = fake.sh(
        f"""
cat >/srv/functions <<'FUNCTIONS'
{SAFE}
FUNCTIONS
mkdir -p /srv/small
mount -t tmpfs -o size=64k tmpfs /srv/small
echo old >/srv/small/file
head -c 300000 /dev/zero >/srv/staged
sh -c '. /srv/functions; put /srv/staged /srv/small/file 0644 root:root; echo went on' 2>&1 || echo ended
cat /srv/small/file
ls -A /srv/small
"""
    )
    assert "No space left on device" in said
    assert said.endswith("ended\nold\nfile")


def test_a_data_disk_that_is_mounted_in_its_place_serves_and_is_given_back_empty(fake: Bench) -> None:
    folder = Directory("/srv/etcd", 0o700, data=True)
    before = {"data": True, "before": ["0755", "root", "root"]}
    said = fake.sh(
        f"""
cat >/srv/functions <<'FUNCTIONS'
{SAFE}
FUNCTIONS
. /srv/functions
mkdir -p /srv/etcd
mount -t tmpfs -o mode=0755 tmpfs /srv/etcd
mkdir -p /srv/etcd/lost+found
{folder.steps(Difference("update", ""), fake.context(fake.look(folder)))}
stat -c %a /srv/etcd
mkdir -p /srv/etcd/member/wal
: >/srv/etcd/member/wal/0.wal
{Directory.undo(folder.path, before)}
stat -c %a /srv/etcd
ls -A /srv/etcd
grep -c ' /srv/etcd ' /proc/self/mountinfo
"""
    )
    assert said == "700\n755\n1"


def test_a_file_that_is_a_mount_keeps_its_lines_where_no_block_has_room(fake: Bench) -> None:
    """Containers bind /etc/hosts, so it is written in place."""
    said = fake.sh(
        f"""
cat >/srv/functions <<'FUNCTIONS'
{SAFE}
FUNCTIONS
mkdir -p /srv/small
mount -t tmpfs -o size=4k tmpfs /srv/small
echo theirs >/srv/small/hosts
echo theirs >/srv/hosts
mount --bind /srv/small/hosts /srv/hosts
seq 5000 >/srv/staged
sh -c '. /srv/functions; put_block /srv/staged /srv/hosts; echo went on' 2>&1 || echo ended
cat /srv/hosts
echo ours >/srv/staged
sh -c '. /srv/functions; put_block /srv/staged /srv/hosts'
cat /srv/hosts
ls /srv/hosts*
"""
    )
    assert "No space left on device" in said
    assert said.splitlines()[1:] == ["ended", "theirs", "theirs", "ours", "/srv/hosts"]


@pytest.mark.parametrize("zstd", [True, False])
def test_a_stream_in_either_compression_is_checked_where_it_arrives(any_bench: Bench, zstd: bool) -> None:
    wanted = [File(f"{any_bench.root}/a", "a\n"), Binary(f"{any_bench.root}/bin/tool", "tool", "1")]
    view = any_bench.look(*wanted)
    if zstd and not view.facts.zstd:
        pytest.skip("no zstd here")
    view = replace(view, facts=replace(view.facts, zstd=zstd))
    sent = any_bench.send(view, any_bench.changes(view, *wanted))
    assert any_bench.blobs[("tool", "1", ARCH)].digest in sent.values()
    assert len(sent) == 2


def test_a_stream_that_was_changed_on_its_way_is_refused(any_bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = File(f"{any_bench.root}/a", "a\n")
    view = any_bench.look(wanted)
    changes = any_bench.changes(view, wanted)
    monkeypatch.setattr(upload, "sha256", lambda content: "0" * 64)
    with pytest.raises(CommandFailed, match="upload: exit status 1") as caught:
        any_bench.send(view, changes)
    assert "FAILED" in (caught.value.said or "")
    assert any_bench.look(wanted).observed[wanted.key] == Absent()


@pytest.mark.parametrize("rest", [0, 100, 200_000])
def test_a_frame_of_which_only_a_part_arrives_is_refused(
    any_bench: Bench, rest: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    any_bench.offer("tool", os.urandom(300_000))
    wanted = Binary(f"{any_bench.root}/bin/tool", "tool", "1")
    view = any_bench.look(wanted)
    changes = any_bench.changes(view, wanted)
    blob = any_bench.blobs[("tool", "1", ARCH)]
    codec: upload.Codec = "zstd" if view.facts.zstd else "gzip"
    part = tmp_path / "part"
    whole = any_bench.store.frame(blob, name=upload.member(wanted), mode=0o755, codec=codec)
    part.write_bytes(whole.read_bytes()[:rest])
    monkeypatch.setattr(Store, "frame", lambda *_, **__: part)
    with pytest.raises(CommandFailed, match="upload: exit status"):
        any_bench.send(view, changes)
    assert any_bench.look(wanted).observed[wanted.key] == Absent()


def test_a_disk_that_is_full_says_so_and_leaves_things_alone(any_bench: Bench) -> None:
    any_bench.offer("tool", os.urandom(300_000))
    wanted = Binary(f"{any_bench.root}/bin/tool", "tool", "1")
    view = any_bench.look(wanted)
    changes = any_bench.changes(view, wanted)
    if isinstance(any_bench.machine, FakeMachine):
        any_bench.machine.write("/fake/full", "")
    elif any_bench.machine.run(
        f"mkdir -p {FOLDER}; mount -t tmpfs -o size=64k tmpfs {FOLDER}", timeout=5, what="mount", check=False
    ).code:
        pytest.skip("no mounts here")
    try:
        with pytest.raises(CommandFailed) as caught:
            any_bench.send(view, changes)
        assert "No space left on device" in (caught.value.said or "")
    finally:
        any_bench.sh(f"umount {FOLDER} 2>/dev/null || true; rm -f /fake/full")
    assert any_bench.changes(any_bench.apply(wanted), wanted) == []


def test_a_line_that_is_cut_while_sending_is_taken_up_again(any_bench: Bench, request: pytest.FixtureRequest) -> None:
    any_bench.offer("tool", os.urandom(8_000_000))
    wanted = Binary(f"{any_bench.root}/bin/tool", "tool", "1")
    view = any_bench.look(wanted)
    changes = any_bench.changes(view, wanted)
    cut: list[str] = []
    if isinstance(any_bench.machine, FakeMachine):
        any_bench.machine.restored(Cut(0, 6, dead=False))
        any_bench.machine.after = cut.append
    else:

        def drop(event: object) -> None:
            if not cut:
                cut.append("all")
                request.getfixturevalue("sshd").drop_all()

        any_bench.session.events = drop
    sent = any_bench.send(view, changes)
    assert cut
    assert list(sent.values()) == [any_bench.blobs[("tool", "1", ARCH)].digest]
    assert any_bench.changes(any_bench.apply(wanted), wanted) == []


def test_a_machine_that_is_gone_while_it_is_sent_to_holds_nothing_in_place(fake: Bench) -> None:
    wanted = Binary("/srv/hardway/bin/tool", "tool", "1")
    view = fake.look(wanted)
    machine = fake.machine
    assert isinstance(machine, FakeMachine)
    machine.restored(Cut(0, 6))
    with pytest.raises(ConnectionLost):
        fake.send(view, fake.changes(view, wanted))
    machine.restored()
    assert fake.look(wanted).observed[wanted.key] == Absent()


def running(made: FakeMachine, script: str) -> None:
    made.run(script, timeout=10, what="by hand")


PLAYED: list[tuple[Resource, str, bool]] = [
    (Sysctl("net.ipv4.ip_forward", "1"), "sysctl -w net.ipv4.ip_forward=0", True),
    (Sysctl("fs.inotify.max_user_watches", "524288", at_least=True), "sysctl -w fs.inotify.max_user_watches=1", True),
    (Module("br_netfilter", "/proc/sys/net/bridge/bridge-nf-call-iptables"), "rm -r /proc/sys/net/bridge", False),
    (
        SwapOff(),
        "echo '/dev/vda3 partition 9 0 -2' >>/proc/swaps; echo '/dev/vda3 none swap sw 0 0' >>/etc/fstab; "
        ": >/fake/enabled/zramswap.service",
        False,
    ),
    (Hostname("solo"), "hostnamectl set-hostname debian; echo debian >/etc/hostname", True),
    (User("builder", "/var/lib/builder"), "true", True),
    (Package("haproxy", "haproxy-fake", keep_service_off="haproxy.service"), "true", False),
    (Routes((("10.200.7.0/24", "10.240.0.27"),)), "true", True),
    (SERVICE, "systemctl stop kube-scheduler.service", True),
    (Image("registry.example/tool:1", "image/tool", "1"), "true", False),
    (OBJECTS, "true", False),
    (
        NodeTaints((("solo", ("dedicated=db:NoSchedule", "spot=:PreferNoSchedule")),)),
        "mkdir -p /fake/cluster/nodes; echo node.kubernetes.io/not-ready=:NoSchedule >/fake/cluster/nodes/solo",
        True,
    ),
]
"""A resource, what a hand does to the machine before, and whether a reset gives that back."""


@pytest.mark.parametrize(("resource", "by_hand", "given_back"), PLAYED, ids=[one[0].key for one in PLAYED])
def test_what_a_machine_does_comes_and_goes(fake: Bench, resource: Resource, by_hand: str, given_back: bool) -> None:
    machine = fake.machine
    assert isinstance(machine, FakeMachine)
    fake.offer("image/tool", b"registry.example/tool:1\n")
    # An installed package brings its command under its own name.
    running(machine, f"{by_hand}; sed -i 's/^\\[ /word=haproxy-fake; [ /' /fake/bin/apt-get; : >{journal.PATH}")
    before = fake.look(resource).observed[resource.key]
    assert fake.changes(fake.look(resource), resource)
    view = fake.apply(resource)
    assert fake.changes(view, resource) == []
    again = fake.apply(resource)
    assert again.journal.entries == view.journal.entries
    fake.undo(again, resource)
    after = fake.look(resource).observed[resource.key]
    if resource is SERVICE:
        assert isinstance(after, Present)
        assert not after.value.is_active
    elif given_back:
        assert after == before
    else:
        assert fake.changes(fake.look(resource), resource) == [] or isinstance(resource, SwapOff)


def test_every_kind_is_tried() -> None:
    assert {one.kind for one, *_ in PLAYED} | {one.kind for one in on_disk("/x")} == set(KINDS)


def test_a_package_that_was_installed_does_not_start_its_own_service(fake: Bench) -> None:
    machine = fake.machine
    assert isinstance(machine, FakeMachine)
    fake.apply(Package("haproxy", "haproxy", keep_service_off="haproxy.service"))
    assert not machine.has("/fake/units/haproxy.service")
    assert not machine.has("/fake/masked/haproxy.service")


def test_packages_that_were_sent_are_the_only_ones_that_apt_knows(fake: Bench) -> None:
    machine = fake.machine
    assert isinstance(machine, FakeMachine)
    package = Package("thing", "thing")
    view = fake.look(package)
    changes, context = fake.changes(view, package), fake.context(view)
    repository = {name: fake.store.add([name.encode()]) for name in ("Packages", "thing_1_all.deb")}
    upload.upload(fake.session, fake.name, changes, view, context, {}, fake.store, repository)
    fake.session.run(fake.name, activation_script(changes, view, context), what="hosts")
    sent = f"{FOLDER}/stage/packages"
    assert fake.sh(f"cat {sent}/Packages {sent}/thing_1_all.deb") == "Packagesthing_1_all.deb"
    assert machine.read(f"{sent}/sources.list") == f"deb [trusted=yes] file:{sent} ./\n"
    update, install = machine.read("/fake/apt").splitlines()[-2:]
    for command in (update, install):
        assert f"Dir::Etc::sourcelist={sent}/sources.list -o Dir::Etc::sourceparts=/dev/null" in command
        assert f"Dir::State::lists={sent}/lists" in command
    assert update.endswith(" update")
    assert install.endswith(" install -- thing")
    assert isinstance(fake.look(package).observed[package.key], Present)


def test_a_service_that_does_not_settle_shows_its_journal(fake: Bench) -> None:
    machine = fake.machine
    assert isinstance(machine, FakeMachine)
    never = replace(SERVICE, ready=Check("a sign", "echo not yet; false", limit=0))
    running(machine, "systemctl stop kube-scheduler.service; echo 'kube-scheduler.service: no sign' >>/fake/journal")
    with pytest.raises(CommandFailed) as caught:
        fake.apply(never)
    assert "waited 0 s for: a sign; last answer: not yet" in (caught.value.said or "")
    assert "no sign" in (caught.value.said or "")


def quiet_pair(limit: float = 5) -> list[Service]:
    units = ("kube-controller-manager.service", "kube-scheduler.service")
    return [Service(unit, ready=replace(stays_up(unit), limit=limit)) for unit in units]


def test_units_that_say_nothing_are_begun_before_the_first_is_watched(fake: Bench) -> None:
    first, second = quiet_pair()
    for service in (first, second):
        fake.sh(f"systemctl stop {service.unit}")
    view = fake.look(first, second)
    script = activation_script(fake.changes(view, first, second), view, fake.context(view))
    acts = [line.split()[0] for line in script.splitlines() if line.startswith(("begin_unit ", "settle ", "stood "))]
    assert acts == ["begin_unit", "begin_unit", "settle", "stood", "settle"]
    assert fake.changes(fake.apply(first, second), first, second) == []


@pytest.mark.parametrize("number", [0, 1])
def test_each_of_the_units_that_are_watched_together_must_stay_up(fake: Bench, number: int) -> None:
    services = quiet_pair(limit=0)
    for service in services:
        fake.sh(f"systemctl stop {service.unit}")
    ends_again = services[number].unit
    fake.sh(f"mkdir -p /fake/refuses; printf '.\\tno config\\n' >/fake/refuses/{ends_again}")
    with pytest.raises(CommandFailed) as caught:
        fake.apply(*services)
    said = caught.value.said or ""
    assert f"waited 0 s for: {ends_again.removesuffix('.service')} stays up" in said
    assert said.endswith("no config")


def test_a_unit_that_waits_for_its_peers_is_not_waited_for_beyond_its_check(fake: Bench) -> None:
    machine = fake.machine
    assert isinstance(machine, FakeMachine)
    alone = replace(SERVICE, ready=Check("a leader", "echo no leader; false", limit=1))
    running(
        machine, "mkdir -p /fake/hangs; : >/fake/hangs/kube-scheduler.service; systemctl stop kube-scheduler.service"
    )
    with pytest.raises(CommandFailed) as caught:
        fake.apply(alone)
    assert "waited 1 s for systemctl restart kube-scheduler.service; last answer: no leader" in (
        caught.value.said or ""
    )


def test_a_data_folder_that_was_there_is_empty_again_and_as_open_as_before(fake: Bench) -> None:
    folder = Directory("/srv/data", 0o700, data=True)
    fake.sh("install -d -m 0751 /srv/data")
    view = fake.apply(folder)
    fake.sh("echo x >/srv/data/c")
    fake.undo(view, folder)
    assert fake.sh("stat -c %a /srv/data; ls /srv/data") == "751"


def test_a_data_folder_goes_with_all_that_a_component_wrote(fake: Bench) -> None:
    folder = Directory("/srv/data", 0o700, data=True)
    view = fake.apply(folder)
    assert isinstance(view.observed[folder.key].value, Stat)  # type: ignore[union-attr]
    fake.sh("mkdir -p /srv/data/a/b; echo x >/srv/data/a/b/c; ln -s /etc/passwd /srv/data/link")
    fake.undo(view, folder)
    assert fake.look(folder).observed[folder.key] == Absent()
    assert fake.sh("head -c 4 /etc/passwd") == "root"
