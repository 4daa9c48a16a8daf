"""The journal's lines, folded; whatever was cut off."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardway import journal
from hardway.errors import JournalError
from hardway.journal import Declared, Journal, done, gone, intent, read, written

words = st.text("abc:/.", min_size=1, max_size=6)
lines = st.lists(
    st.one_of(
        st.builds(lambda key, was: intent(key, "etcd", {"previous": was}), words, st.text(max_size=5)),
        st.builds(done, words),
        st.builds(gone, words),
    ),
    max_size=12,
)


def test_an_intent_that_was_not_done_is_open() -> None:
    text = "\n".join([intent("file:/a", "etcd", {}), intent("file:/b", "etcd", {}), done("file:/a")])
    assert read(text).open == {"file:/b"}
    assert list(read(text).entries) == ["file:/a", "file:/b"]


def test_what_is_gone_is_forgotten() -> None:
    assert read("\n".join([intent("file:/a", "etcd", {}), gone("file:/a")])) == Journal()


def test_an_entry_says_who_put_it_there_and_for_which_chapter() -> None:
    entry = read(intent("sysctl:a", "hosts", {"previous": "0"})).entries["sysctl:a"]
    assert (entry["phase"], entry["previous"]) == ("hosts", "0")
    assert entry["by"]


@given(lines, st.integers(0, 400))
def test_a_last_line_that_was_cut_off_is_passed_over(all_lines: list[str], length: int) -> None:
    cut = "\n".join(all_lines)[:length]
    whole = cut.splitlines()
    if whole and whole[-1] not in all_lines:
        whole.pop()
    assert read(cut) == read("\n".join(whole))


@given(lines, st.builds(Declared, words, words, st.dictionaries(words, words)) | st.none())
def test_rewritten_the_journal_says_the_same(all_lines: list[str], declared: Declared | None) -> None:
    folded = replace(read("\n".join(all_lines)), declared=declared)
    assert read(written(folded, [])) == folded


def test_a_digest_holds_while_nothing_about_the_file_moved() -> None:
    identity = [10, "1.0", "2.0", 77]
    noted = read(written(Journal(), [("/a", identity, "d1")]))
    assert noted.digest("/a", identity) == "d1"
    for moved in ([11, "1.0", "2.0", 77], [10, "1.5", "2.0", 77], [10, "1.0", "2.5", 77], [10, "1.0", "2.0", 78]):
        assert noted.digest("/a", moved) is None
    assert noted.digest("/b", identity) is None


def test_lines_that_were_cut_off_are_passed_over() -> None:
    assert read('\n{"op":"do\nnonsense\n') == Journal()
    assert journal.PATH.startswith(journal.FOLDER)


FIRST = '{"op":"format","format":2,"by":"0.1"}'


@pytest.mark.parametrize(
    "line",
    ["7", "null", "[]", "{}", '{"op":"intent","key":"file:/a"}', '{"op":"intent","key":"file:/a","entry":7}',
     '{"op":"done"}', '{"op":"index","path":"/a"}', '{"op":"index","path":"/a","identity":7,"digest":""}',
     '{"op":"format","format":1e999,"by":""}', '{"op":"declared","by":"","inventory":"","digests":7}',
     '{"op":"intent","key":"directory:/a","entry":{"before":7}}',
     '{"op":"intent","key":"directory:/a","entry":{"before":["0700","root"]}}',
     '{"op":"intent","key":"routes:pods","entry":{"routes":7}}',
     '{"op":"intent","key":"swap:off","entry":{"units":[7]}}',
     '{"op":"intent","key":"hostname:hostname","entry":{"previous":7}}'],
)  # fmt: skip
def test_a_record_that_is_none_is_passed_over_and_told(line: str) -> None:
    found = read(f"{FIRST}\n{intent('file:/a', 'etcd', {})}\n{line}\n{intent('file:/b', 'etcd', {})}\n")
    assert found.damage == f"line 3 is no record: {line}"
    assert list(found.entries) == ["file:/a", "file:/b"]


def test_a_journal_of_a_newer_format_is_not_guessed_at() -> None:
    with pytest.raises(JournalError) as error:
        read('{"op":"format","format":4,"by":"7.5"}', "worker-0")
    assert error.value.machine == "worker-0"
    why = "written by a newer hardway (7.5): format 4, and this one reads up to format 3"
    assert error.value.what == f"/var/lib/hardway/journal.jsonl was {why}"
    assert error.value.hint == "use hardway 7.5, or a newer one; nothing was changed"


WHOLE = written(read("\n".join([intent(f"file:/etc/kubernetes/{one}", "etcd", {}) for one in "abc"])), [])


def test_a_journal_that_was_written_in_one_piece_is_whole_also_with_what_a_run_appends() -> None:
    assert read(WHOLE).damage == ""
    assert read(f"{WHOLE}{intent('file:/d', 'etcd', {})}\n").damage == ""
    assert read(f'{WHOLE}{{"op":"intent","ke').damage == ""  # cut by a loss of power


@pytest.mark.parametrize("count", range(1, len(WHOLE.splitlines())))
def test_half_a_journal_is_known_to_be_half(count: int) -> None:
    assert read("\n".join(WHOLE.splitlines()[:count])).damage == "its end is missing"


@pytest.mark.parametrize("edit", [("kubernetes/b", "kubernetes/x"), ('"etcd"', '"dns"')])
def test_a_journal_that_somebody_edited_is_told(edit: tuple[str, str]) -> None:
    assert "what stands before it is not what hardway wrote" in read(WHOLE.replace(*edit)).damage


@pytest.mark.parametrize("count", range(1, len(WHOLE.splitlines()) - 1))
def test_a_journal_without_its_beginning_is_known_to_be_none_of_the_first_format(count: int) -> None:
    found = read("\n".join(WHOLE.splitlines()[count:]))
    assert found.damage
    # Also where nothing is left that says what was before it.
    found = read("\n".join(WHOLE.splitlines()[1 : count + 1]))
    assert found.damage == "its beginning is missing"


@pytest.mark.parametrize("text", ["\0" * 4096, "[" * 100_000, "no journal\n"])
def test_what_is_no_journal_at_all_is_told(text: str) -> None:
    assert read(text).damage == "nothing in it is a record"
    assert read("").damage == ""


def test_a_line_that_was_taken_out_is_missed() -> None:
    lines = WHOLE.splitlines(keepends=True)
    assert read("".join([*lines[:2], *lines[3:]])).damage


def test_a_recorded_journal_of_format_1_loses_nothing() -> None:
    text = (Path(__file__).parent / "recorded/ledger-1.jsonl").read_text()
    before = [json.loads(line) for line in text.splitlines()]
    after = [json.loads(line) for line in journal.rewritten(read(text)).splitlines()]
    assert after[0].items() >= {"op": "format", "format": 3}.items()
    assert after.pop()["op"] == "sum"
    routes = [record["key"].removeprefix("route:") for record in before if record["op"] == "intent"
              and record["key"].startswith("route:")]  # fmt: skip
    kept = [record for record in before if not record.get("key", "").startswith("route:")]
    for record in kept:
        if record["op"] == "intent":
            record["entry"]["phase"] = record["entry"].pop("chapter")
    assert [record for record in after[1:] if record.get("key") != "routes:pods"] == kept
    assert read(text).entries.get("routes:pods", {}).get("routes", []) == routes
    assert read(journal.rewritten(read(text))) == read(text)


def test_routes_that_were_noted_one_by_one_are_one_table() -> None:
    lines = [
        intent("route:10.200.1.0/24", "routes", {}),
        intent("route:10.200.2.0/24", "routes", {}),
        done("route:10.200.1.0/24"),
        done("route:10.200.2.0/24"),
    ]
    table = read("\n".join(lines))
    assert list(table.entries) == ["routes:pods"]
    assert table.entries["routes:pods"]["routes"] == ["10.200.1.0/24", "10.200.2.0/24"]
    assert not table.open
    one = read("\n".join([*lines, gone("route:10.200.1.0/24")]))
    assert one.entries["routes:pods"]["routes"] == ["10.200.2.0/24"]
    for last in ("routes:pods", "route:10.200.2.0/24"):
        assert not read("\n".join([*lines, gone("route:10.200.1.0/24"), gone(last)])).entries
