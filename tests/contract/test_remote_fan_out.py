"""Work on many machines at once."""

import _thread
import threading
from dataclasses import dataclass

import pytest

from hardway.errors import LOCKED, CommandFailed, Locked, Unreachable
from hardway.remote import MachineErrors, fan_out


@dataclass(frozen=True)
class Named:
    name: str


NAMES = [f"worker-{number}" for number in range(7)]


def test_results_come_in_the_order_given() -> None:
    assert list(fan_out([Named(name) for name in NAMES], lambda m: m.name.upper(), 3).items()) == [
        (name, name.upper()) for name in NAMES
    ]
    assert fan_out(NAMES, len, 3) == dict.fromkeys(NAMES, 8)
    assert fan_out([], len, 3) == {}


def test_no_more_than_the_bound_work_at_once() -> None:
    running, most, guard = 0, 0, threading.Lock()
    full = threading.Barrier(3, timeout=5)

    def work(name: str) -> None:
        nonlocal running, most
        with guard:
            running += 1
            most = max(most, running)
        if name in NAMES[:3]:
            full.wait()
        with guard:
            running -= 1

    fan_out(NAMES, work, 3)
    assert most == 3


def test_one_failure_is_raised_as_it_is_after_all_were_tried() -> None:
    done: list[str] = []

    def work(name: str) -> None:
        if name == "worker-1":
            raise CommandFailed("no", machine=name)
        done.append(name)

    with pytest.raises(CommandFailed, match="worker-1: no"):
        fan_out(NAMES, work, 2)
    assert sorted(done) == [name for name in NAMES if name != "worker-1"]


def test_several_failures_are_all_told() -> None:
    def work(name: str) -> None:
        if name == "worker-1":
            raise CommandFailed("no", machine=name)
        if name == "worker-5":
            raise Unreachable("no answer", machine=name)

    with pytest.raises(MachineErrors) as caught:
        fan_out(NAMES, work, 7)
    assert str(caught.value) == "worker-1: no\nworker-5: no answer"
    assert (list(caught.value.errors), caught.value.exit_code) == (["worker-1", "worker-5"], 1)


def test_machines_that_are_all_locked_give_the_status_for_locked() -> None:
    def work(name: str) -> None:
        raise Locked("by ann", machine=name)

    with pytest.raises(MachineErrors) as caught:
        fan_out(NAMES, work, 7)
    assert caught.value.exit_code == LOCKED


def test_a_fault_of_ours_is_not_dressed_up() -> None:
    with pytest.raises(ZeroDivisionError):
        fan_out(NAMES, lambda name: 1 // 0, 2)


def test_an_interrupt_waits_for_nobody() -> None:
    never = threading.Event()

    def work(name: str) -> None:
        if name == "worker-0":
            _thread.interrupt_main()
        never.wait(30)

    with pytest.raises(KeyboardInterrupt):
        fan_out(NAMES, work, 2)
    never.set()
