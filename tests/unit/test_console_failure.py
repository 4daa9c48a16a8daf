"""Errors and tables as they are read."""

import io
from types import MappingProxyType

from hardway.console import error
from hardway.console.tables import table
from hardway.errors import CommandFailed, HardwayError, InventoryError, Unreachable
from hardway.remote.fan_out import MachineErrors


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def told(failure: HardwayError, stream: io.StringIO | None = None) -> str:
    stream = stream or io.StringIO()
    error(failure, stream, 80 if stream.isatty() else None)
    return stream.getvalue()


def test_an_error_says_where_what_was_tried_what_came_back_and_the_next_move():
    failure = CommandFailed(
        "etcd.service did not become ready",
        machine="controller-1",
        tried="systemctl restart etcd.service",
        said="etcd: member has already been bootstrapped\n  in /var/lib/etcd",
        hint="mend the cause, then run the same command again: it goes on from here (one chapter: hardway etcd)",
    )
    assert told(failure) == (
        "error  controller-1: etcd.service did not become ready\n"
        "tried  systemctl restart etcd.service\n"
        "said   etcd: member has already been bootstrapped\n"
        "         in /var/lib/etcd\n"
        "next   mend the cause, then run the same command again: it goes on from here (one chapter: hardway etcd)\n"
    )


def test_paths_and_commands_are_never_broken():
    path = "/" + "very-long-folder/" * 8 + "file"
    assert path in told(HardwayError("no", hint=f"look at {path} first"))


def test_each_mistake_of_an_inventory_is_one_line():
    first = "hardway.yaml:9:17: network.service_cidr: " + "wrong in many words " * 6
    assert told(InventoryError([first])) == f"{first}\n"
    assert told(InventoryError([first, "hardway.yaml:10:1: b"])).splitlines() == [
        first,
        "hardway.yaml:10:1: b",
        "2 mistakes in the inventory; nothing was done",
    ]


def test_machines_that_failed_alike_share_a_block():
    failures: dict[str, HardwayError] = {
        f"worker-{number}": Unreachable("no answer on port 22", machine=f"worker-{number}", hint="hardway lab up")
        for number in range(3)
    }
    failures["lb-0"] = Unreachable("no route", machine="lb-0")
    assert told(MachineErrors(failures)) == (
        "error  worker-0..2: no answer on port 22\nnext   hardway lab up\n\nerror  lb-0: no route\n"
    )


def test_colours_only_on_a_terminal_that_wants_them(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    failure = HardwayError("no \x1b[2Jway")
    assert told(failure) == "error  no \\x1b[2Jway\n"
    assert told(failure, Terminal()) == "\x1b[1;31merror  \x1b[0m\x1b[1mno \\x1b[2Jway\x1b[0m\n"
    monkeypatch.setenv("NO_COLOR", "1")
    assert told(failure, Terminal()) == "error  no \\x1b[2Jway\n"


HEAD = ("MACHINE", "SIZE", "SAID")


def test_columns_are_aligned_and_numbers_stand_to_the_right():
    assert table(HEAD, [("lb-0", "5 MB", "well"), ("controller-0", "163 MB", "")], 80) == (
        "MACHINE         SIZE  SAID\nlb-0            5 MB  well\ncontroller-0  163 MB"
    )


def test_the_last_column_goes_on_below_itself():
    assert table(HEAD, [("lb-0", "-", "one two three four five six")], 30) == (
        "MACHINE  SIZE  SAID\nlb-0        -  one two three\n               four five six"
    )


def test_a_table_without_rows_is_its_head():
    assert table(HEAD, [], 80) == "MACHINE  SIZE  SAID"


def test_a_table_stays_within_its_width():
    rows = [("m" * 60, "12 MB", "word " * 40), ("n", "1 B", "x" * 90)]
    for width in (40, 80, 120):
        lines = table(HEAD, rows, width).splitlines()
        assert max(map(len, lines)) <= width
        assert "…" in lines[1]


def test_of_a_row_that_is_too_long_the_name_is_cut_last():
    rows = [(f"controller-{n}", "load-balancer controller", "12 min 26 s", "words " * 9) for n in range(3)]
    lines = table(("MACHINE", "ROLE", "UP", "SAID"), rows, 50).splitlines()
    assert [line.split()[0] for line in lines if "controller-" in line] == [f"controller-{n}" for n in range(3)]
    assert max(map(len, lines)) <= 50


def test_an_error_that_holds_others_may_be_any_mapping():
    failure = HardwayError("two failed")
    failure.errors = MappingProxyType({"a": HardwayError("x", machine="a")})  # type: ignore[attr-defined]
    assert told(failure) == "error  a: x\n"
