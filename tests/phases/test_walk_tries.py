"""Every command that `walk` proposes to try, at its own station: what it needs is there by then."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from phase_models import model
from proposed import missing
from shapes import every_shape

from hardway.cli import reach
from hardway.cli.site import Site
from hardway.declare.declaration import Declaration, declare
from hardway.declare.phases import PHASE_NAMES
from hardway.explain import Book
from hardway.explain.prose import gains
from hardway.explain.shell import of_chapter, script
from hardway.state import State
from hardway.walk import STATIONS
from hardway.workspace import Workspace


def test_what_a_walk_proposes_to_try_can_be_typed_at_its_station(tmp_path: Path) -> None:
    tried = set()
    for cluster in every_shape(tmp_path):
        wanted = model(cluster)
        book = Book(wanted, declare(wanted))
        for gain in gains(wanted):
            behind = STATIONS[1 : STATIONS.index(gain.phase) + 1]
            for command in gain.commands:
                assert list(missing(book, behind, command)) == [], f"{cluster.name}: {gain.phase}: {command}"
                tried.add(gain.phase)
    assert tried == set(STATIONS)


@pytest.mark.parametrize("phase", PHASE_NAMES)
def test_each_chapters_script_knows_the_way_where_nothing_was_typed_before(tmp_path: Path, phase: str) -> None:
    [cluster] = [replace(one, lab=None) for one in every_shape(tmp_path) if one.name == "lab"][:1]
    wanted = model(cluster)
    declaration: Declaration = declare(wanted)
    text = script(wanted, declaration, of_chapter(declaration, phase), workspace=tmp_path / "workspace")
    head = text[: text.index(f"\n# {phase}: ")]
    way = head[head.index("# How ssh finds the machines") :].splitlines()[1]
    assert way.startswith("cat >ssh_config" if phase == PHASE_NAMES[0] else "[ -e ssh_config ] || cat >ssh_config")
    # Up to here a script asks no machine, but the first one for their keys.
    lines = head[: head.index("# First contact")] if "# First contact" in head else head
    subprocess.run(["bash", "-n"], input=lines, text=True, check=True)
    assert "Host controller-0\n" in head


def test_the_way_is_written_as_the_access_chapter_declares_it(tmp_path: Path) -> None:
    for cluster in every_shape(tmp_path):
        wanted = model(cluster)
        workspace = Workspace(tmp_path / cluster.name)
        reach.ssh_config(Site(cluster, workspace, State(cluster.name, "id"), cluster.machines))
        local = {one.path: one for _, one in declare(wanted).local}
        values = {"workspace/path": str(workspace.root).encode()}
        assert local["ssh_config"].make(values, None) == (workspace.root / "ssh_config").read_bytes()  # type: ignore[arg-type]
