"""The journal's lines, folded; whatever was cut off."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from hardway import journal
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


def test_what_was_begun_and_not_done_is_open() -> None:
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
def test_written_anew_it_says_the_same(all_lines: list[str], declared: Declared | None) -> None:
    folded = replace(read("\n".join(all_lines)), declared=declared)
    assert read(written(folded, [])) == folded


def test_a_digest_holds_while_nothing_about_the_file_moved() -> None:
    identity = [10, "1.0", "2.0", 77]
    noted = read(written(Journal(), [("/a", identity, "d1")]))
    assert noted.digest("/a", identity) == "d1"
    for moved in ([11, "1.0", "2.0", 77], [10, "1.5", "2.0", 77], [10, "1.0", "2.5", 77], [10, "1.0", "2.0", 78]):
        assert noted.digest("/a", moved) is None
    assert noted.digest("/b", identity) is None


def test_lines_that_are_no_records_are_passed_over() -> None:
    assert read("7\nnull\n[]\n\n{}\nnonsense\n") == Journal()
    assert journal.PATH.startswith(journal.FOLDER)
