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
    assert undo("directory:/etc/systemd/networkd.conf.d", {"data": True}) == "prune /etc/systemd/networkd.conf.d"


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


def test_half_a_journal_leaves_nothing_behind_unsaid(pair: FakeCluster) -> None:
    hand = pair.machines["hand"]
    lines = hand.read(journal.PATH).splitlines(keepends=True)
    hand.write(journal.PATH, "".join(lines[: len(lines) // 2]))
    found = pair.plan()
    assert [one.rule for one in found.findings] == ["journal-damaged"]
    with pytest.raises(NotConverged) as caught:
        reset(pair.session(names=["hand"]), pair.declaration())
    assert "its journal is damaged (its end is missing)" in caught.value.what
    assert "/etc/systemd/system/kubelet.service" in (caught.value.said or "")
    assert "hardway apply --adopt -l hand" in (caught.value.hint or "")


def test_a_lost_journal_leaves_nothing_behind_unsaid(pair: FakeCluster) -> None:
    hand = pair.machines["hand"]
    hand.run(f"rm {journal.PATH}", timeout=5, what="lost")
    with pytest.raises(NotConverged, match="it has no journal, and these are there"):
        reset(pair.session(names=["hand"]), pair.declaration())


def test_a_record_that_is_none_is_told_with_its_line(pair: FakeCluster) -> None:
    hand = pair.machines["hand"]
    record = json.dumps({"op": "intent", "key": "file:/a"})
    hand.write(journal.PATH, hand.read(journal.PATH) + record + "\n")
    [finding] = pair.plan().findings
    assert record in finding.what
