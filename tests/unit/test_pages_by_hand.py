"""The chapters' pages as a path from one to the next, with everything that a person types."""

import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from in_process import ran

from hardway.cli.chapters import SUMMARIES
from hardway.declare.resources import Binary, File, Service
from hardway.explain.shell.by_hand import rendered
from hardway.values import placeholders

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tools import docs  # noqa: E402

CHAPTERS = ROOT / "docs" / "chapters"
PAGES = sorted(CHAPTERS.glob("*.md"))
BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TYPED_BY_KUBECTL = {"access"}
"""What a person makes with kubectl, rather than as hardway writes it."""


def page_of(chapter: str) -> str:
    [path] = [one for one in PAGES if one.name.partition("-")[2] == f"{chapter}.md"]
    return path.read_text()


def test_each_page_leads_to_the_next() -> None:
    for page, following in pairwise(PAGES):
        last = page.read_text().splitlines()[-1]
        assert last.startswith("**Next:** [") and f"]({following.name})" in last, page.name


def test_every_chapter_has_what_is_typed_by_hand() -> None:
    marked = {name for path in PAGES for _, name, _ in docs.BY_HAND.findall(path.read_text())}
    assert marked == SUMMARIES.keys() - TYPED_BY_KUBECTL


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_every_block_is_bash(page: Path) -> None:
    for block in BLOCK.findall(page.read_text()):
        checked = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True, check=False)
        assert (checked.returncode, checked.stderr) == (0, ""), block


@pytest.mark.parametrize("chapter", sorted(SUMMARIES.keys() - TYPED_BY_KUBECTL))
def test_every_binary_unit_and_file_of_a_chapter_is_brought_to_its_machines(chapter: str) -> None:
    model, declaration = docs.declared()
    typed = page_of(chapter)
    for one in declaration.of(chapter).placed:
        resource = one.resource
        if isinstance(resource, Binary):
            assert re.search(rf" {re.escape(resource.path.rpartition('/')[2])}[ \n]", typed), resource.path
        if isinstance(resource, Service):
            assert re.search(rf"enable [^']*{re.escape(resource.unit)}", typed), resource.unit
            assert f"systemctl restart --no-block {resource.unit}" in typed, resource.unit
        if isinstance(resource, File):
            name = resource.path.rpartition("/")[2]
            assert name in typed, resource.path
    machines = {machine.name for machine in model.cluster.machines}
    whole = {
        f"{one.machine}{one.resource.path}"
        for one in declaration.placed
        if isinstance(one.resource, File) and not any(placeholders(one.resource.text))
    }
    for name, path in re.findall(r'<"?artifacts/([^/]+)(/[^"\s]+)', typed):
        wanted = {name} if name in machines else {one for one in machines if f"{one}{path}" in whole}
        assert wanted and {f"{one}{path}" for one in wanted} <= whole, (name, path)


def test_no_secret_is_in_a_page() -> None:
    assert [page.name for page in PAGES if "PRIVATE KEY" in page.read_text()] == []


def test_hardway_render_writes_every_file_that_a_page_takes_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = tmp_path / "artifacts"
    code, _, err = ran(monkeypatch, capsys, "render", "-i", str(ROOT / "inventories" / "lab.yaml"), str(tree))
    assert (code, err) == (0, "")
    model, declaration = docs.declared()
    taken = 0
    for (machine, key), path in rendered(declaration).items():
        [resource] = [one.resource for one in declaration.on(machine) if one.resource.key == key]
        assert isinstance(resource, File)
        assert (tmp_path / path).read_text() == resource.text, path
        taken += 1
    assert taken > len(model.cluster.machines)
