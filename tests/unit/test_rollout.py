"""A group keeps serving while its members are restarted: order, what is asked before each, and who must stay."""

from collections.abc import Callable

import pytest
from fake.cluster import FakeCluster
from fake.machine import FakeMachine

from hardway.engine import rollout
from hardway.engine.blockers import Blocked
from hardway.engine.rolls import RolledGroup
from hardway.engine.session import Session
from hardway.errors import CommandFailed, Locked, NotSettled
from hardway.events import Event, Note

NewCluster = Callable[[str], FakeCluster]

THREE = """\
cluster: three
machines:
  lb: {role: load-balancer, address: 10.240.0.5}
  c0: {role: controller, address: 10.240.0.10}
  c1: {role: controller, address: 10.240.0.11}
  c2: {role: controller, address: 10.240.0.12}
  w0: {role: worker, address: 10.240.0.20}
"""
ETCD_FLAG = "settings: {etcd: {snapshot-count: 20000}}\n"
SCHEDULER_FLAG = "settings: {kube-scheduler: {leader-elect-renew-deadline: 90s}}\n"
API_FLAG = "settings: {kube-apiserver: {event-ttl: 2h}}\n"


@pytest.fixture
def three(built_cluster: NewCluster) -> FakeCluster:
    return built_cluster(THREE)


def note_down(made: FakeCluster, *wanted: str) -> list[str]:
    """What is asked of machines from now on, in order, where it is among `wanted`."""
    asked: list[str] = []

    def listen(name: str, what: str) -> None:
        if what in wanted:
            asked.append(f"{name} {what}")

    for name, machine in made.machines.items():
        machine.after = lambda what, name=name: listen(name, what)  # type: ignore[misc]
    return asked


def sh(machine: FakeMachine, script: str) -> None:
    machine.run(script, timeout=10, what="by hand")


def change(made: FakeCluster, settings: str) -> None:
    made.inventory.write_text(THREE + settings)


def share(made: FakeCluster, name: str, text: str = "") -> None:
    (made.root / "net" / name).write_text(text)


def learns(made: FakeCluster, name: str, learner: str) -> None:
    path = made.root / "net" / "members"
    lines = [
        f"{line.rpartition(' ')[0]} {learner}" if f" {name} " in line else line
        for line in path.read_text().splitlines()
    ]
    path.write_text("\n".join(lines) + "\n")


def notes(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Note)]


def test_who_serves_is_asked_before_each_member(three: FakeCluster) -> None:
    change(three, ETCD_FLAG)
    asked = note_down(three, "etcd", "who serves of etcd")
    three.init()
    taken = [one for one in asked if one.endswith(" etcd") and "who" not in one]
    assert sorted(taken) == ["c0 etcd", "c1 etcd", "c2 etcd"]
    for one in taken:
        before = asked[asked.index(one) - 1]
        assert before.endswith("who serves of etcd"), asked


def test_one_that_is_down_goes_first_and_the_others_one_by_one_though_a_third_is_not_chosen(three: FakeCluster) -> None:
    sh(three.machines["c1"], "systemctl stop etcd.service")
    change(three, ETCD_FLAG)
    asked = note_down(three, "etcd")
    three.init(["etcd"], names=["c0", "c1"])
    assert asked == ["c1 etcd", "c0 etcd"]


def test_a_member_is_not_taken_while_one_that_was_not_chosen_is_away(three: FakeCluster) -> None:
    sh(three.machines["c2"], "systemctl stop etcd.service")
    change(three, ETCD_FLAG)
    asked = note_down(three, "etcd")
    with pytest.raises(NotSettled) as caught:
        three.init(["etcd"], names=["c0", "c1"])
    assert caught.value.machine in ("c0", "c1")
    assert caught.value.said == "c2: down"
    assert "1 of its other members serve, and 2 must" in caught.value.what
    assert asked == []
    sh(three.machines["c2"], "systemctl start etcd.service")
    three.init(["etcd"], names=["c0", "c1"])
    assert sorted(asked) == ["c0 etcd", "c1 etcd"]


def test_a_member_that_cannot_be_dialled_is_seen_through_the_others(three: FakeCluster) -> None:
    three.off.add("c2")
    change(three, ETCD_FLAG)
    asked = note_down(three, "etcd")
    three.init(["etcd"], names=["c0", "c1"])
    assert sorted(asked) == ["c0 etcd", "c1 etcd"]


def test_a_member_that_refuses_connections_is_down_though_nobody_can_look_there(three: FakeCluster) -> None:
    sh(three.machines["c2"], "systemctl stop etcd.service")
    three.off.add("c2")
    change(three, ETCD_FLAG)
    with pytest.raises(NotSettled) as caught:
        three.init(["etcd"], names=["c0", "c1"])
    assert caught.value.said == "c2: down"


def test_a_machine_that_answers_nobody_is_not_waited_for(three: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    three.off.add("c2")
    change(three, ETCD_FLAG)
    ask, rounds = rollout._asked, list[str]()

    def none_hears_of_it(session: Session, roll: RolledGroup) -> dict[str, str]:
        rounds.append(roll.name)
        return {**ask(session, roll), "c2": "unknown"}

    monkeypatch.setattr(rollout, "_asked", none_hears_of_it)
    with pytest.raises(NotSettled) as caught:
        three.init(["etcd"], names=["c0", "c1"])
    assert caught.value.said == "c2: unknown"
    # Once for who may serve, once for who else does.
    assert rounds == ["etcd", "etcd"]


def test_an_alarm_takes_no_member_down(three: FakeCluster) -> None:
    """`endpoint health` calls every member unhealthy then, though all of them serve what they may."""
    share(three, "alarms", f"{three.member('c1')} NOSPACE\n")
    change(three, "settings: {etcd: {quota-backend-bytes: 8589934592}}\n")
    asked = note_down(three, "etcd")
    three.init(["etcd"])
    assert sorted(asked) == ["c0 etcd", "c1 etcd", "c2 etcd"]


def test_a_learner_comes_back_though_it_answers_no_linearizable_read(three: FakeCluster) -> None:
    learns(three, "c2", "true")
    change(three, ETCD_FLAG)
    asked = note_down(three, "etcd")
    with pytest.raises(NotSettled, match="1 of its other members serve"):
        three.init(["etcd"])
    # With a learner for its third member, etcd has two that vote, and neither may go.
    assert asked == ["c2 etcd"]
    learns(three, "c2", "false")
    three.init(["etcd"])
    assert sorted(asked[1:]) == ["c0 etcd", "c1 etcd"]


def test_the_leader_comes_last_and_hands_over(three: FakeCluster) -> None:
    three.lead("c1")
    change(three, ETCD_FLAG)
    asked = note_down(three, "etcd", "hold still", "hand over etcd", "go on")
    events: list[Event] = []
    three.init(["etcd"], events=events.append)
    assert [one for one in asked if one.endswith(" etcd")] == ["c0 etcd", "c2 etcd", "c1 hand over etcd", "c1 etcd"]
    held = [one for one in asked if one.endswith("hold still")]
    assert sorted(held) == ["c0 hold still", "c1 hold still", "c2 hold still"]
    assert asked.index("c1 hand over etcd") > max(asked.index(one) for one in held)
    assert len([one for one in asked if one.endswith("go on")]) == 3
    [note] = [one for one in notes(events) if one.startswith("c1: Leadership transferred")]
    assert note.endswith((three.member("c0"), three.member("c2")))


def test_what_holds_a_lease_comes_last_and_others_lead(three: FakeCluster) -> None:
    share(three, "lease-kube-scheduler", "c0")
    sh(three.machines["c0"], "hostname c0")
    change(three, API_FLAG)
    asked = note_down(three, "control-plane", "hand over kube-apiserver", "after kube-apiserver")
    three.init(["control-plane"])
    taken = [one for one in asked if one.endswith("control-plane")]
    assert taken == ["c1 control-plane", "c2 control-plane", "c0 control-plane"]
    assert asked[-3:] == ["c0 hand over kube-apiserver", "c0 control-plane", "c0 after kube-apiserver"]
    for unit in ("kube-controller-manager", "kube-scheduler"):
        assert three.machines["c0"].has(f"/fake/units/{unit}.service")


def test_the_balancer_is_told_before_and_after_each_server(three: FakeCluster) -> None:
    change(three, API_FLAG)
    asked = note_down(three, "control-plane", "take c1 out", "put c1 back")
    three.init(["control-plane"], names=["c1"])
    assert asked == ["lb take c1 out", "c1 control-plane", "lb put c1 back"]


def test_a_balancer_that_is_away_stops_nothing(three: FakeCluster) -> None:
    three.off.add("lb")
    change(three, API_FLAG)
    asked = note_down(three, "control-plane")
    three.init(["control-plane"], names=["c1"])
    assert asked == ["c1 control-plane"]


def test_a_member_that_fails_says_who_was_left_alone(three: FakeCluster) -> None:
    three.machines["c1"].write("/fake/broken/etcd.service", "")
    change(three, ETCD_FLAG)
    with pytest.raises(CommandFailed) as caught:
        three.init(["etcd"], names=["c1"])
    assert (caught.value.said or "").endswith("c0, c2: not touched")


def test_a_group_is_locked_beyond_the_chosen_machines(three: FakeCluster) -> None:
    """Two runs on different members would each take one away."""

    def locked(who: str, path: str = "") -> None:
        raise Locked("locked by ann@elsewhere", machine="c2", hint="wait for it to finish")

    three.machines["c2"].lock = locked  # type: ignore[method-assign]
    change(three, ETCD_FLAG)
    asked = note_down(three, "etcd", "record the intents")
    with pytest.raises(Locked) as caught:
        three.init(["etcd"], names=["c0"])
    assert "this run would restart etcd on c0" in caught.value.what
    assert "nothing was changed" in caught.value.what
    assert asked == []


def test_the_last_api_server_known_to_serve_is_not_taken(three: FakeCluster) -> None:
    for name in ("c0", "c2"):
        sh(three.machines[name], "systemctl stop kube-apiserver.service")
    change(three, API_FLAG)
    with pytest.raises(NotSettled, match="0 of its other members serve, and 1 must"):
        three.init(["control-plane"], names=["c1"])


def test_api_servers_that_are_down_are_started_before_the_one_that_serves_is_taken(three: FakeCluster) -> None:
    for name in ("c0", "c2"):
        sh(three.machines[name], "systemctl stop kube-apiserver.service")
    change(three, API_FLAG)
    asked = note_down(three, "control-plane")
    three.init(["control-plane"])
    assert sorted(asked[:2]) == ["c0 control-plane", "c2 control-plane"]
    assert asked[2:] == ["c1 control-plane"]


def test_a_member_is_not_taken_while_a_peer_is_down_with_the_same_change(three: FakeCluster) -> None:
    """Also where enough others would serve, and the run is limited to members that are well."""
    change(three, API_FLAG)
    three.machines["c0"].write("/fake/refuses/kube-apiserver.service", "event-ttl=2h\tError: invalid argument\n")
    with pytest.raises(CommandFailed):
        three.init(["control-plane"], names=["c0"])
    asked = note_down(three, "control-plane", "record the intents")
    with pytest.raises(Blocked, match="down on c0, which has what this run would bring to c1\n") as error:
        three.init(["control-plane"], names=["c1"])
    assert error.value.said == "c0: kube-apiserver.service is activating\nError: invalid argument\nnothing was changed"
    assert (error.value.hint or "").endswith("then bring c0 back first, with hardway apply control-plane -l c0")
    assert asked == []
    # The way back: without the setting the one that is down may be repaired, and then nothing differs.
    change(three, "")
    three.init(["control-plane"], names=["c0"])
    assert asked == ["c0 record the intents", "c0 control-plane"]
    assert three.init(["control-plane"]).changes == []


def test_a_peer_that_ends_again_and_again_though_systemd_calls_it_active_keeps_others_from_being_taken(
    three: FakeCluster,
) -> None:
    change(three, SCHEDULER_FLAG)
    three.machines["c0"].write("/fake/refuses/kube-scheduler.service", "leader-elect-renew-deadline\tinvalid: 90s\n")
    with pytest.raises(CommandFailed):
        three.init(["control-plane"], names=["c0"])
    asked = note_down(three, "control-plane")
    with pytest.raises(Blocked, match="kube-scheduler is down on c0, which has what this run would bring to c1, c2"):
        three.init(["control-plane"])
    assert asked == []


def test_a_peer_that_fails_once_the_plan_is_made_keeps_the_next_member_from_being_taken(three: FakeCluster) -> None:
    change(three, API_FLAG)
    three.init(["control-plane"], names=["c0"])
    asked = note_down(three, "control-plane")
    watched = three.machines["c1"].after

    def fail(what: str) -> None:
        watched(what)
        if what == "record the intents":
            sh(three.machines["c0"], "systemctl stop kube-apiserver.service")

    three.machines["c1"].after = fail
    with pytest.raises(NotSettled, match="it is down on c0, which has what this run would bring"):
        three.init(["control-plane"], names=["c1"])
    assert asked == []
