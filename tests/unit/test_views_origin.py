"""A plan tells what another version of hardway brings along from what somebody changed."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake.cluster import ONE, PAIR, FakeCluster
from test_views_plan import API, built, item, page, plan

import hardway
from hardway import data
from hardway.declare import render
from hardway.declare.phases import PHASE_NAMES
from hardway.preview.origin import Origin
from hardway.preview.plan import Preview

__all__ = ["built"]

NewCluster = Callable[[str], FakeCluster]
Newer = Callable[..., None]
CRICTL = "/etc/crictl.yaml"
TEMPLATES = {"api": "units/kube-apiserver.service", "crictl": "configs/crictl.yaml", "sysctl": "configs/sysctl.conf"}


@pytest.fixture
def newer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Newer]:
    """Makes this hardway 99.0, in whose templates something else stands."""
    templates, folder = tmp_path / "templates", data.folder

    def become(**edits: tuple[str, str]) -> None:
        shutil.copytree(folder("templates"), templates, dirs_exist_ok=True)
        for name, (old, new) in edits.items():
            template = templates / TEMPLATES[name]
            assert old in template.read_text()
            template.write_text(template.read_text().replace(old, new, 1))
        monkeypatch.setattr(data, "folder", lambda name: templates if name == "templates" else folder(name))
        monkeypatch.setattr(hardway, "__version__", "99.0", raising=False)
        forget()

    yield become
    forget()


def forget() -> None:
    """What was rendered from other templates."""
    render._environment.cache_clear()
    render._rendered.cache_clear()


FLAG = {"api": ("--anonymous-auth=false", "--anonymous-auth=true")}
DEBUG = {"crictl": ("timeout: 10", "timeout: 20")}
BEFORE = hardway.__version__


def told(found: Preview) -> dict[str, Origin | None]:
    return {f"{one.machine} {one.key}": one.origin for one in found.items}


def test_what_a_newer_version_declares_otherwise_is_said_to_come_from_it(built: NewCluster, newer: Newer) -> None:
    cluster = built(PAIR)
    newer(**FLAG)
    found = plan(cluster)
    origin = Origin("99.0", BEFORE)
    assert told(found) == {f"head file:{API}": origin, "head service:kube-apiserver.service": origin}
    assert item(found, f"file:{API}").evidence[0] == f"as hardway {BEFORE} wrote it"
    text = " ".join(page(found).split())
    assert text.count(f"from hardway 99.0, which declares this otherwise than {BEFORE} did") == 3
    assert f"2 of these come from hardway 99.0, which declares this otherwise than {BEFORE} did." in text

    cluster.init()
    assert plan(cluster).items == ()
    assert page(plan(cluster)).startswith("Nothing to do")


def test_what_is_new_and_what_is_gone_in_a_newer_version_come_from_it_too(built: NewCluster, newer: Newer) -> None:
    cluster = built(PAIR)
    newer(sysctl=("kernel.panic = 10", "kernel.panic_on_warn = 1"))
    found = told(plan(cluster))
    origin = Origin("99.0", BEFORE)
    assert found["hand sysctl:kernel.panic_on_warn"] == origin
    assert found["hand sysctl:kernel.panic"] == origin


def test_what_somebody_changed_does_not_come_from_a_newer_version(built: NewCluster, newer: Newer) -> None:
    cluster = built(PAIR)
    head = cluster.machines["head"]
    head.write(API, head.read(API).replace("--anonymous-auth=false", "--anonymous-auth=true"))
    newer(**DEBUG)
    assert told(plan(cluster)) == {
        f"head file:{API}": None,
        "head service:kube-apiserver.service": None,
        f"hand file:{CRICTL}": Origin("99.0", BEFORE),
    }


def test_where_the_inventory_differs_as_well_it_is_not_told_which_of_the_two_it_was(
    built: NewCluster, newer: Newer
) -> None:
    cluster = built(PAIR)
    cluster.rewrite("machines:", "settings: {etcd: {snapshot-count: 5000}}\nmachines:")
    newer(**FLAG)
    found = plan(cluster)
    assert set(told(found).values()) == {Origin("99.0", BEFORE, inventory=True)}
    assert {one.name for one in found.items} >= {API, "/etc/systemd/system/etcd.service"}
    text = " ".join(page(found).split())
    assert f"4 of these come from hardway 99.0 or the inventory: both differ from what {BEFORE} applied last." in text


@pytest.mark.parametrize(
    ("old", "new"), [("cluster: pair", "# ours\ncluster: 'pair'"), ("machines:", "hardway: '>=99'\nmachines:")]
)
def test_words_that_say_the_same_and_the_pin_are_no_other_inventory(
    built: NewCluster, newer: Newer, monkeypatch: pytest.MonkeyPatch, old: str, new: str
) -> None:
    cluster = built(PAIR)
    cluster.rewrite(old, new)
    newer(**DEBUG)
    monkeypatch.setattr(hardway, "__version__", "99.0", raising=False)
    assert told(plan(cluster)) == {f"hand file:{CRICTL}": Origin("99.0", BEFORE)}


def test_a_chapter_that_the_newer_version_ran_leaves_the_others_to_come_from_it(
    built: NewCluster, newer: Newer
) -> None:
    cluster = built(PAIR)
    newer(**FLAG, **DEBUG)
    cluster.init(("control-plane",))
    assert told(plan(cluster)) == {f"hand file:{CRICTL}": Origin("99.0", BEFORE)}
    # By now this version has written it.
    head = cluster.machines["head"]
    head.write(API, head.read(API) + "# mine\n")
    assert told(plan(cluster))[f"head file:{API}"] is None


def test_a_machine_is_noted_when_all_of_it_is_as_declared_whatever_run_did_the_last_of_it(
    new_cluster: NewCluster, newer: Newer
) -> None:
    cluster = new_cluster(ONE)
    cluster.init([name for name in PHASE_NAMES if name not in ("routes", "smoke-test")])
    journal = cluster.machines["solo"].root / "var/lib/hardway/journal.jsonl"
    assert '"op":"declared"' not in journal.read_text()
    cluster.init(("routes",))
    newer(**DEBUG)
    assert told(plan(cluster))[f"solo file:{CRICTL}"] == Origin("99.0", BEFORE)


def test_the_same_version_brings_nothing_along(built: NewCluster) -> None:
    cluster = built(PAIR)
    cluster.rewrite("machines:", "settings: {etcd: {snapshot-count: 5000}}\nmachines:")
    assert set(told(plan(cluster)).values()) == {None}


def test_a_journal_of_before_there_was_this_note_says_who_wrote_what(built: NewCluster, newer: Newer) -> None:
    cluster = built(PAIR)
    journal = cluster.machines["hand"].root / "var/lib/hardway/journal.jsonl"
    lines = [line for line in journal.read_text().splitlines() if '"op":"declared"' not in line]
    journal.write_text("\n".join(lines) + "\n")
    newer(**DEBUG)
    found = plan(cluster)
    assert told(found) == {f"hand file:{CRICTL}": None}
    assert item(found, f"file:{CRICTL}").evidence[0] == f"as hardway {BEFORE} wrote it; 99.0 declares it otherwise"
