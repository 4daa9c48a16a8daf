"""Services: what systemd says of them, and what follows from the age of their inputs."""

import math
from dataclasses import replace

import pytest

from hardway.declare.resources import Absent, Context, Observed, Present, Service, Unknown
from hardway.declare.resources.service import Running, seconds

UNIT = Service("a.service", inputs=("/u", "/u.d", "/bin/a"), reload_inputs=("/crt",))
CONTEXT = Context("m")
WELL = Running("active", "enabled", 7, 100.0, 120.0, need_reload=False)
SAID = """\
Type=notify
Id=a.service
LoadState=loaded
ActiveState=active
SubState=running
UnitFileState=enabled
NeedDaemonReload=no
MainPID=7
Result=success
NRestarts=2
ExecMainStartTimestamp=Sat 2026-11-21 09:14:20.123456 UTC
StateChangeTimestamp=Sat 2026-11-21 09:14:21.000000 UTC
"""


def test_what_systemd_shows_becomes_values() -> None:
    started = 1795252460.123456
    assert Service.parse([UNIT], SAID) == {
        "service:a.service": Present(
            Running("active", "enabled", 7, started, started + 0.876544, need_reload=False, restarts=2)
        )
    }


def test_several_units_and_those_that_are_not_there() -> None:
    others = [Service("b.service"), Service("c.service")]
    said = SAID + "\nId=b.service\nLoadState=not-found\nActiveState=inactive\n"
    seen = Service.parse([UNIT, *others], said)
    assert isinstance(seen[UNIT.key], Present)
    assert (seen["service:b.service"], seen["service:c.service"]) == (Absent(), Unknown("systemd did not answer"))


@pytest.mark.parametrize("timestamp", ["", "n/a", "0"])
def test_what_never_happened_is_at_the_beginning_of_time(timestamp: str) -> None:
    assert seconds(timestamp) == 0.0


@pytest.mark.parametrize(
    ("observed", "verb"),
    [
        (Present(WELL), None),
        (Unknown("no answer"), None),
        (Absent(), "start"),
        (Present(replace(WELL, active="failed")), "start"),
        (Present(replace(WELL, active="activating")), "start"),
        (Present(replace(WELL, active="reloading")), None),
        (Present(replace(WELL, need_reload=True)), "restart"),
        (Present(replace(WELL, enabled="disabled")), "enable"),
        (Present(replace(WELL, enabled="")), "enable"),
    ],
)
def test_what_the_unit_itself_shows(observed: Observed, verb: str | None) -> None:
    difference = UNIT.diff(observed, CONTEXT)
    assert (difference and difference.verb) == verb


@pytest.mark.parametrize(
    ("ctimes", "verb"),
    [
        ({}, None),
        ({"/u": 99.9, "/bin/a": 100.0, "/crt": 119.0}, None),
        ({"/u": 100.1}, "restart"),
        ({"/u.d": 100.1}, "restart"),
        ({"/bin/a": math.inf}, "restart"),
        ({"/crt": 121.0}, "reload"),
        ({"/crt": math.inf, "/u": 100.1}, "restart"),
        ({"/not/its/own": math.inf}, None),
    ],
)
def test_an_input_younger_than_the_process_makes_it_stale(ctimes: dict[str, float], verb: str | None) -> None:
    stale = UNIT.stale(WELL, ctimes)
    assert (stale and stale.verb) == verb


def test_a_process_without_a_start_is_stale() -> None:
    assert UNIT.stale(replace(WELL, started=0.0), {"/u": 1.0}) is not None


def test_a_reset_stops_a_unit_and_disables_it() -> None:
    assert Service.undo("a.service", {}).startswith("systemctl disable --now --quiet -- a.service")
