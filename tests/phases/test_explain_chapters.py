"""explain: what is declared is explained, and what is explained is declared, whatever the inventory says."""

from collections.abc import Iterator
from fnmatch import fnmatchcase

import pytest
from phase_models import MODEL, model
from shapes import every_shape

from hardway import data
from hardway.cli.chapters import SUMMARIES
from hardway.console.visible import visible
from hardway.declare.declaration import Declaration, declare
from hardway.declare.phases import PHASE_NAMES
from hardway.declare.phases.base import Model
from hardway.explain.chapter import chapter_page, contents
from hardway.explain.markdown import chapter_markdown
from hardway.explain.page import chapter_lines, contents_lines
from hardway.explain.prose import chapter_prose
from hardway.explain.things import covers, things

WIDTH = 80
Shape = tuple[Model, Declaration]


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> list[Shape]:
    models = [model(one) for one in every_shape(tmp_path_factory.mktemp("shapes"))]
    return [(one, declare(one)) for one in models]


def pages(shapes: list[Shape]) -> Iterator[tuple[str, list[str], list[str]]]:
    for one, declaration in shapes:
        for name in PHASE_NAMES:
            page = chapter_page(one, declaration, name)
            yield f"{one.cluster.name} {name}", chapter_lines(page, WIDTH), chapter_lines(page, WIDTH, verbose=True)


def uncovered(model: Model, declaration: Declaration, phase: str) -> Iterator[tuple[str, int]]:
    """Each declared key and by how many entries it is covered, where that is not one."""
    keys = [one.resource.key for one in declaration.placed if one.phase == phase]
    keys += [one.key for name, one in declaration.local if name == phase]
    entries = chapter_prose(model, phase).things
    for key in dict.fromkeys(keys):
        count = sum(covers(entry, key) for entry in entries)
        if count != 1:
            yield key, count


def test_every_chapter_has_its_page() -> None:
    written = {path.stem for path in (data.folder("templates") / "prose" / "chapters").glob("*.yaml")}
    assert written == set(SUMMARIES)


def test_everything_that_is_declared_is_explained_once(shapes: list[Shape]) -> None:
    missed = {
        (one.cluster.name, name): list(uncovered(one, declaration, name))
        for one, declaration in shapes
        for name in PHASE_NAMES
    }
    assert {where: keys for where, keys in missed.items() if keys} == {}


@pytest.mark.parametrize("name", PHASE_NAMES)
def test_everything_that_is_explained_is_declared_somewhere(shapes: list[Shape], name: str) -> None:
    explained = {(entry.name, pattern) for entry in chapter_prose(MODEL, name).things for pattern in entry.covers}
    keys = {one.resource.key for _, declaration in shapes for one in declaration.placed if one.phase == name}
    keys |= {one.key for _, declaration in shapes for phase, one in declaration.local if phase == name}
    idle = {
        (entry, pattern)
        for entry, pattern in explained
        if not any(fnmatchcase(key, pattern) or fnmatchcase(key.partition(":")[2], pattern) for key in keys)
    }
    assert idle == set()


def test_names_of_things_are_distinct_within_a_chapter() -> None:
    for name in PHASE_NAMES:
        names = [entry.name for entry in chapter_prose(MODEL, name).things]
        assert len(names) == len(set(names)), name


def test_pitfalls_name_things_and_chapters_that_there_are() -> None:
    for name in PHASE_NAMES:
        prose = chapter_prose(MODEL, name)
        assert {one.of for one in prose.wrong} <= {entry.name for entry in prose.things}, name
        assert {one.shows for one in prose.wrong} <= set(PHASE_NAMES), name


def test_a_chapter_is_one_screen_and_more_on_request(shapes: list[Shape]) -> None:
    for where, short, long in pages(shapes):
        assert len(short) <= 32, where
        assert len(long) >= len(short) - 1, where


def test_no_line_is_wider_than_the_page(shapes: list[Shape]) -> None:
    for where, short, long in pages(shapes):
        wide = [line for line in (*short, *long) if len(line) > WIDTH]
        assert wide == [], where


def test_a_page_counts_what_there_is() -> None:
    page = chapter_page(MODEL, declare(MODEL), "certs")
    assert dict(page.counts) == {"CAs": 3, "certificates": 20, "keys": 24}
    assert (page.number, page.of) == (2, 12)


def test_a_pitfall_says_where_the_inventory_states_the_value() -> None:
    page = chapter_page(MODEL, declare(MODEL), "certs")
    place = MODEL.cluster.places["network.service_cidr"]
    assert f"lab.yaml:{place}" in page.wrong[0].text
    assert "10.32.0.1" in page.wrong[0].text


def test_what_a_cluster_has_nothing_of_is_left_out(shapes: list[Shape]) -> None:
    small, declaration = next(one for one in shapes if one[0].cluster.name == "lab-small")
    page = chapter_page(small, declaration, "load-balancer")
    assert (page.rows, page.wrong) == ((), ())
    assert "10.242.0.10" in page.why


def test_markdown_tells_all_that_the_long_page_tells() -> None:
    page = chapter_page(MODEL, declare(MODEL), "workers")
    text = "\n".join(chapter_markdown(page))
    assert all(f"`{row.name}`" in text and row.what in text for row in page.rows)
    assert all(one.text in text for one in page.wrong)
    assert all(one.command in text for one in page.more)


def test_the_contents_name_every_chapter_and_how_to_ask_on() -> None:
    lines = contents_lines(contents(MODEL), WIDTH)
    assert all(any(line.startswith(f"{name} ") for line in lines) for name in PHASE_NAMES)
    assert [line for line in lines if len(line) > WIDTH or visible(line) != line] == []


def test_a_thing_knows_where_it_lies() -> None:
    found = {one.entry.name: one for one in things(MODEL, declare(MODEL), "certs")}
    assert found["haproxy-health"].machines == ("lb-0",)
    assert found["haproxy-health"].paths == ("/etc/kubernetes/pki/haproxy-health.pem",)
    assert found["break-glass"].machines == ()
