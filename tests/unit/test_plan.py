"""From what is declared and what was seen to what is to be done."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from hardway import journal
from hardway.declare.declaration import declare
from hardway.declare.phases.base import Model, Phase, Placed
from hardway.declare.resources import (
    Absent,
    Binary,
    Context,
    Directory,
    File,
    Observed,
    Present,
    Resource,
    Service,
    Unknown,
)
from hardway.declare.resources.files import Stat
from hardway.declare.resources.service import Running
from hardway.engine.changes import Change, conflicts, differences
from hardway.engine.observe import View, questions, read_answer, to_hash, with_digests
from hardway.facts import parse
from hardway.journal import Journal
from hardway.probe.script import Answer, Answers
from hardway.values import sha256

UNIT, CONFIG, TOOL = "/etc/systemd/system/a.service", "/etc/a/config", "/usr/local/bin/a"
A = Service("a.service", inputs=(UNIT, f"{UNIT}.d", TOOL), reload_inputs=(CONFIG,))
FILES = (File(UNIT, "unit\n"), File(CONFIG, "config\n"), Binary(TOOL, "a", "1"))
CONTEXT = Context("m", accepted={("a", "1"): frozenset(("good",))})
STARTED = 1000.0
RUNNING = Running("active", "enabled", 7, STARTED, STARTED, need_reload=False)


def stat(text: str = "", ctime: float = STARTED - 1, mode: int = 0o644, **more: Any) -> Stat:
    fields = {"owner": "root", "group": "root", "type": "regular file", "digest": sha256(text.encode()), **more}
    return Stat(len(text), str(ctime), str(ctime), 5, mode, **fields)


AS_DECLARED: dict[str, Observed] = {
    f"file:{UNIT}": Present(stat("unit\n")),
    f"file:{CONFIG}": Present(stat("config\n")),
    f"binary:{TOOL}": Present(stat(mode=0o755, digest="good")),
    A.key: Present(RUNNING),
}


def view(
    changed: Mapping[str, Observed] | None = None,
    *,
    drop_ins: dict[str, Stat] | None = None,
    entries: dict[str, dict[str, Any]] | None = None,
) -> View:
    return View(parse(""), Journal(entries or {}), "", {**AS_DECLARED, **(changed or {})}, drop_ins or {})


def placed(*resources: Resource) -> list[Placed]:
    return [Placed("m", "etcd", one) for one in resources]


def told(changes: Sequence[Change]) -> list[tuple[str, str]]:
    return [(one.difference.verb, one.key) for one in changes]


def plan(seen: View) -> list[tuple[str, str]]:
    return told(differences(placed(*FILES, A), seen, CONTEXT))


def test_what_is_as_declared_changes_nothing() -> None:
    assert plan(view()) == []


@pytest.mark.parametrize(
    ("key", "observed", "verb", "then"),
    [
        (f"file:{UNIT}", Absent(), "create", "restart"),
        (f"file:{UNIT}", Present(stat("other\n")), "update", "restart"),
        (f"binary:{TOOL}", Present(stat(mode=0o755, digest="bad")), "update", "restart"),
        (f"file:{CONFIG}", Present(stat("other\n")), "update", "reload"),
    ],
)
def test_a_changed_input_restarts_or_reloads_its_service(key: str, observed: Observed, verb: str, then: str) -> None:
    assert plan(view({key: observed})) == [(verb, key), (then, "service:a.service")]


@pytest.mark.parametrize(
    ("changed", "drop_ins", "verb"),
    [
        ({f"file:{UNIT}": Present(stat("unit\n", ctime=STARTED + 1))}, {}, "restart"),
        ({f"binary:{TOOL}": Present(stat(mode=0o755, digest="good", ctime=STARTED + 1))}, {}, "restart"),
        ({}, {f"{UNIT}.d": stat(type="directory", ctime=STARTED + 1)}, "restart"),
        ({}, {f"{UNIT}.d/edited-in-place.conf": stat(ctime=STARTED + 1)}, "restart"),
        ({f"file:{CONFIG}": Present(stat("config\n", ctime=STARTED + 1))}, {}, "reload"),
        ({A.key: Present(replace(RUNNING, need_reload=True))}, {}, "restart"),
        ({A.key: Present(replace(RUNNING, active="failed"))}, {}, "start"),
        ({A.key: Absent()}, {}, "start"),
        ({A.key: Present(replace(RUNNING, enabled="disabled"))}, {}, "enable"),
    ],
)
def test_a_service_is_judged_by_evidence(changed: dict[str, Observed], drop_ins: dict[str, Stat], verb: str) -> None:
    assert plan(view(changed, drop_ins=drop_ins)) == [(verb, "service:a.service")]


def test_a_restart_comes_before_an_enabling_and_before_a_reload() -> None:
    newer = {
        f"file:{UNIT}": Present(stat("unit\n", ctime=STARTED + 1)),
        f"file:{CONFIG}": Present(stat("config\n", ctime=STARTED + 1)),
        A.key: Present(replace(RUNNING, enabled="disabled")),
    }
    assert plan(view(newer)) == [("restart", "service:a.service")]


def test_a_reload_answers_for_what_is_reloaded_only() -> None:
    reloaded = Present(replace(RUNNING, state_changed=STARTED + 2))
    config = {f"file:{CONFIG}": Present(stat("config\n", ctime=STARTED + 1)), A.key: reloaded}
    unit = {f"file:{UNIT}": Present(stat("unit\n", ctime=STARTED + 1)), A.key: reloaded}
    assert plan(view(config)) == []
    assert plan(view(unit)) == [("restart", "service:a.service")]


def test_what_was_not_seen_is_not_absent() -> None:
    assert plan(view(dict.fromkeys(AS_DECLARED, Unknown("no answer")))) == []


def test_what_is_not_chosen_is_left_and_restarts_nothing() -> None:
    seen = view({f"file:{UNIT}": Present(stat("other\n"))})
    chosen = differences(placed(*FILES, A), seen, CONTEXT, lambda change: change.key != f"file:{UNIT}")
    assert chosen == []


def test_what_is_declared_no_more_goes_services_first_then_newest_first() -> None:
    entries = {key: {"phase": "etcd"} for key in ("file:/etc/etcd/1", "service:kubelet.service", "file:/etc/etcd/2")}
    assert plan(view(entries={**entries, f"file:{UNIT}": {}})) == [
        ("delete", "service:kubelet.service"),
        ("delete", "file:/etc/etcd/2"),
        ("delete", "file:/etc/etcd/1"),
    ]


def test_an_entry_of_a_kind_that_this_version_does_not_know_is_left() -> None:
    assert plan(view(entries={"tunnel:x": {}})) == []


@pytest.mark.parametrize(
    ("observed", "found"),
    [
        (Present(stat("other\n")), [UNIT]),
        (Present(stat("unit\n", type="symbolic link")), [UNIT]),
        (Present(stat("unit\n", mode=0o600)), []),
        (Absent(), []),
    ],
)
def test_a_file_of_somebody_else_is_one_with_another_content(observed: Observed, found: list[str]) -> None:
    seen = view({f"file:{UNIT}": observed})
    changes = differences(placed(*FILES), seen, CONTEXT)
    assert conflicts(changes, seen, CONTEXT) == found
    ours = view({f"file:{UNIT}": observed}, entries={f"file:{UNIT}": {}})
    assert conflicts(changes, ours, CONTEXT) == []


def test_two_chapters_cannot_declare_the_same_thing() -> None:
    def phase(name: str) -> Phase:
        return Phase(name, "", "", lambda model: [("m", File("/a", name))], lambda model: ())

    with pytest.raises(ValueError, match="file:/a on m: declared by one and by two"):
        declare(Model(None, None, {}), [phase("one"), phase("two")])  # type: ignore[arg-type]


def answer(**sections: str) -> Answers:
    return Answers({name: Answer(0, text.encode()) for name, text in sections.items()})


def test_one_script_asks_for_everything_and_every_kind_reads_its_own() -> None:
    asked = list(questions((*FILES, A)))
    assert [one.name for one in asked] == ["facts", "journal", "state", "file", "binary", "service", "inputs"]
    assert f"{UNIT}.d" in asked[-1].shell
    seen = read_answer(
        (*FILES, A),
        answer(
            facts="machine=x86_64",
            journal=journal.written(Journal(), [(UNIT, [5, "1.5", "2.5", 9], "d1")]),
            state='{"a": 1}\n',
            file=f"5\t1.5\t2.5\t9\t644\troot\troot\tregular file\t{UNIT}\n"
            f"7\t1.5\t2.5\t9\t644\troot\troot\tregular file\t{CONFIG}\n",
            binary="",
            service="Id=a.service\nLoadState=not-found\n",
            inputs=f"4096\t1.5\t3.5\t3\t755\troot\troot\tdirectory\t{UNIT}.d\n",
        ),
    )
    assert seen.facts.arch == "amd64"
    assert seen.state_text == '{"a": 1}'
    assert seen.stat(UNIT) == Stat(5, "1.5", "2.5", 9, 0o644, "root", "root", "regular file", "d1")
    assert seen.stat(f"{UNIT}.d") == Stat(4096, "1.5", "3.5", 3, 0o755, "root", "root", "directory")
    assert (seen.observed[f"binary:{TOOL}"], seen.observed[A.key]) == (Absent(), Absent())
    assert to_hash(seen) == [CONFIG]
    assert to_hash(with_digests(seen, {CONFIG: "d2"})) == []


def test_a_deep_look_believes_no_index() -> None:
    said = answer(
        journal=journal.written(Journal(), [(UNIT, [5, "1.5", "2.5", 9], "d1")]),
        file=f"5\t1.5\t2.5\t9\t644\troot\troot\tregular file\t{UNIT}\n",
    )
    assert to_hash(read_answer(FILES, said)) == []
    assert to_hash(read_answer(FILES, said, deep=True)) == [UNIT]


def test_an_answer_that_broke_off_leaves_services_unknown() -> None:
    seen = read_answer((*FILES, A), answer(facts="machine=x86_64"))
    assert seen.observed[A.key] == Unknown("systemd did not answer")


def test_folders_are_not_hashed() -> None:
    folder = Directory("/etc/a")
    seen = read_answer((folder,), answer(directory="1\t1\t1\t1\t755\troot\troot\tdirectory\t/etc/a"))
    assert to_hash(seen) == []
    assert folder.diff(seen.observed[folder.key], CONTEXT) is None
