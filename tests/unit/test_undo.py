"""What is taken away from a machine is what hardway can have put there, by commands of its own."""

import json
from collections.abc import Callable

import pytest
from fake.cluster import PAIR, FakeCluster, keys

from hardway import journal
from hardway.declare.undo import is_ours, undo
from hardway.engine.reset import reset
from hardway.errors import NotConverged
from hardway.events import Event, Note

FOREIGN = (
    "directory:/home", "directory:/", "directory:/etc", "directory:/var/lib", "directory:/etc/kubernetes/../../home",
    "directory:/etc/kubernetes//x", "file:/etc/passwd", "file:/etc/systemd/system/ssh.service", "binary:/usr/bin/sudo",
    "file:/usr/local/bin/../../bin/sh", "service:ssh.service", "user:root", "block:/etc/passwd", "routes:default",
    "sysctl:kernel.core_pattern", "sysctl:kernel.modprobe", "file:/usr/local/bin/backup", "binary:/usr/local/bin/helm",
    "file:/etc/sysctl.d/99-sysctl.conf", "file:/etc/systemd/networkd.conf.d/50-theirs.conf",
)  # fmt: skip


@pytest.fixture
def pair(built_cluster: Callable[[str], FakeCluster]) -> FakeCluster:
    made = built_cluster(PAIR)
    made.init()
    return made


def append(made: FakeCluster, name: str, *keys: str, **entry: object) -> None:
    machine = made.machines[name]
    text = machine.read(journal.PATH)
    for key in keys:
        text += journal.intent(key, "hosts", entry) + "\n"
    machine.write(journal.PATH, text)


def test_all_that_is_declared_is_ours(pair: FakeCluster) -> None:
    for machine in pair.machines.values():
        entries = journal.read(machine.read(journal.PATH)).entries
        assert len(entries) > 20
        assert [key for key in entries if not is_ours(key)] == []


@pytest.mark.parametrize("key", FOREIGN)
def test_what_hardway_puts_nowhere_is_not_taken_away(key: str) -> None:
    assert not is_ours(key)
    assert undo(key, {"data": True, "made": True, "after_stop": "reboot"}) == ""


def test_a_command_in_a_journal_is_not_run() -> None:
    assert "reboot" not in undo("service:kubelet.service", {"after_stop": "reboot"})
    assert "crictl rmp" in undo("service:kubelet.service", {})
    assert undo("routes:pods", {"routes": ["default", "0.0.0.0/0", "10.200.1.0/24"]}).count("ip route del") == 1


def test_a_value_in_a_journal_is_none_that_does_harm() -> None:
    assert undo("sysctl:vm.overcommit_memory", {"previous": "0"}) == "sysctl -q -w vm.overcommit_memory=0 || true"
    assert undo("sysctl:vm.overcommit_memory", {"previous": "|/tmp/theirs"}) == ""
    assert undo("hostname:hostname", {"previous": "a\nb"}) == ""
    assert undo("swap:off", {"units": ["dev-sda2.swap", "theirs.service"]}).startswith(
        "systemctl unmask --quiet -- dev-sda2.swap || true\n"
    )
    # Others have files in it, too.
    assert undo("directory:/etc/systemd/networkd.conf.d", {"data": True}).startswith("own")


def test_an_ordinary_run_leaves_alone_what_somebody_wrote_into_a_journal(pair: FakeCluster) -> None:
    hand = pair.machines["hand"]
    hand.run("mkdir -p /home/ann; echo hers >/home/ann/file", timeout=5, what="ann")
    append(pair, "hand", "directory:/home/ann", data=True)
    append(pair, "hand", "service:kubelet.service", after_stop="rm -rf /home/ann")
    [finding] = pair.plan().findings
    assert finding.rule == "journal-stranger"
    assert "directory:/home/ann" in finding.what
    assert keys(pair.init().changes) == []
    assert hand.read("/home/ann/file") == "hers\n"
    assert "directory:/home/ann" not in journal.read(hand.read(journal.PATH)).entries
    append(pair, "hand", "directory:/home/ann", data=True)
    events: list[Event] = []
    reset(pair.session(events.append))
    assert hand.read("/home/ann/file") == "hers\n"
    assert any("directory:/home/ann" in event.text for event in events if isinstance(event, Note))


def test_a_damaged_journal_keeps_nobody_from_looking_and_the_next_run_writes_it_again(pair: FakeCluster) -> None:
    hand = pair.machines["hand"]
    text = hand.read(journal.PATH)
    before = journal.read(text).entries
    lines = text.splitlines(keepends=True)
    hand.write(journal.PATH, "".join(lines[: len(lines) // 2]) + '{"op":"intent","key":"file:/a"}\n')
    plan = pair.plan()
    assert [one.rule for one in plan.findings] == ["journal-damaged"]
    assert plan.items == ()
    pair.init()
    after = journal.read(hand.read(journal.PATH))
    assert after.damage == ""
    assert {key for key in before if key.startswith(("file:", "binary:", "service:"))} <= after.entries.keys()
    assert list(pair.plan().findings) == []


def halve(made: FakeCluster, name: str) -> None:
    machine = made.machines[name]
    lines = machine.read(journal.PATH).splitlines(keepends=True)
    machine.write(journal.PATH, "".join(lines[: len(lines) // 2]))


def lose(made: FakeCluster, name: str) -> None:
    made.machines[name].run(f"rm {journal.PATH}", timeout=5, what="lost")


@pytest.mark.parametrize("damage", [halve, lose])
def test_a_journal_that_does_not_say_all_keeps_reset_from_changing_anything(
    pair: FakeCluster, damage: Callable[[FakeCluster, str], None]
) -> None:
    before = {name: machine.tree() for name, machine in pair.machines.items()}
    damage(pair, "hand")
    with pytest.raises(NotConverged) as caught:
        reset(pair.session(), pair.declaration())
    assert caught.value.machine == "hand"
    assert "nothing was changed" in caught.value.what
    left = (caught.value.said or "").splitlines()
    assert {"/etc/systemd/system/kubelet.service", "/usr/local/bin/kubelet", "/var/lib/kubelet"} <= set(left)
    after = {name: machine.tree() for name, machine in pair.machines.items()}
    for tree in (before, after):
        tree["hand"].pop(journal.PATH.removeprefix("/"), None)
    assert after == before


@pytest.mark.parametrize("damage", [halve, lose])
def test_what_a_journal_does_not_say_is_taken_away_where_that_is_asked_for(
    pair: FakeCluster, damage: Callable[[FakeCluster, str], None]
) -> None:
    machine = pair.machines["hand"]
    paths = [one.resource.name for one in pair.declaration().on("hand") if one.resource.name.startswith("/")]
    damage(pair, "hand")
    if damage is halve:
        append(pair, "hand", "nonsense:x")
    reset(pair.session(), pair.declaration(), adopt=True)
    left = machine.run(f"ls -d {' '.join(paths)} 2>/dev/null || true", timeout=5, what="left").text.splitlines()
    assert left == ["/etc/hosts"]
    assert "hardway" not in machine.read("/etc/hosts")


def test_a_journal_that_reset_does_not_rely_on_is_written_again_by_apply_adopt(pair: FakeCluster) -> None:
    halve(pair, "hand")
    append(pair, "hand", "nonsense:x")
    pair.init(adopt=True)
    assert reset(pair.session(), pair.declaration()) > 0


def test_what_a_whole_journal_does_not_name_is_left_and_told(pair: FakeCluster) -> None:
    """Such as a file of a person's, or one that a journal named in lines that are lost."""
    hand = pair.machines["hand"]
    lines = [line for line in hand.read(journal.PATH).splitlines() if '"file:/etc/crictl.yaml"' not in line]
    hand.write(journal.PATH, journal.rewritten(journal.read("\n".join(lines))))
    events: list[Event] = []
    reset(pair.session(events.append), pair.declaration())
    notes = [event.text for event in events if isinstance(event, Note)]
    assert notes == ["hand: left alone, as it is not in the journal: /etc/crictl.yaml"]
    assert hand.read("/etc/crictl.yaml")


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("sed -i '/^# END hardway$/d' /etc/hosts; echo 10.0.0.9 theirs >>/etc/hosts", "/etc/hosts: '# BEGIN hardway'"),
        ("mv /etc/kubernetes /srv/x; ln -s /srv/x /etc/kubernetes", "/etc/kubernetes is a symbolic link"),
        ("mv /opt/cni /srv/x; ln -s /srv/x /opt/cni", "/opt/cni is a symbolic link"),
        ("mv /var/lib/kubelet /srv/x; ln -s /srv/x /var/lib/kubelet", "/var/lib/kubelet is a symbolic link"),
    ],
)
def test_a_reset_that_would_stop_half_way_does_not_begin(pair: FakeCluster, script: str, said: str) -> None:
    hand = pair.machines["hand"]
    hand.run(f"mkdir -p /srv\n{script}", timeout=5, what="theirs")
    before = {name: machine.tree() for name, machine in pair.machines.items()}
    with pytest.raises(NotConverged, match="nothing was changed") as caught:
        reset(pair.session(), pair.declaration())
    assert (caught.value.said or "").startswith(said)
    assert "\n" not in (caught.value.said or "")
    assert {name: machine.tree() for name, machine in pair.machines.items()} == before


def test_a_record_that_is_none_is_told_with_its_line(pair: FakeCluster) -> None:
    hand = pair.machines["hand"]
    record = json.dumps({"op": "intent", "key": "file:/a"})
    hand.write(journal.PATH, hand.read(journal.PATH) + record + "\n")
    [finding] = pair.plan().findings
    assert record in finding.what
