"""What people install: which version it says it is, and that nothing is missing in it, however it was built."""

import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).parents[2]
LOCAL = ("artifacts.lock", ".hardway/", ".vagrant/", "__pycache__")


def run(folder: Path, *words: str) -> str:
    ran = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def build(source: Path, into: Path, what: str) -> Path:
    run(source, sys.executable, "-m", "build", "--no-isolation", f"--{what}", "--outdir", str(into))
    [made] = into.glob("hardway-*")
    return made


def contents(wheel: Path) -> dict[str, bytes]:
    """All that is installed. RECORD has digests of its own file names, which hold the version."""
    with zipfile.ZipFile(wheel) as opened:
        return {name: opened.read(name) for name in opened.namelist() if ".dist-info/" not in name}


def listed(folder: str, *, new: bool = True) -> list[str]:
    """The project's files below a folder, those that are to be committed next as well."""
    git = ("git", "-c", f"safe.directory={REPOSITORY}", "ls-files", "--cached")
    others = ("--others", "--exclude-standard") if new else ()
    return run(REPOSITORY, *git, *others, "--", f"{folder}/").splitlines()


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    archive = build(REPOSITORY, tmp_path_factory.mktemp("sdist"), "sdist")
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(archive) as opened:
        opened.extractall(folder, filter="data")
    [top] = folder.iterdir()
    return top


def test_a_wheel_made_from_the_sdist_is_the_one_made_from_the_clone(sdist: Path, tmp_path: Path) -> None:
    here, there = (tmp_path / name for name in ("here", "there"))
    wheels = build(REPOSITORY, here, "wheel"), build(sdist, there, "wheel")
    assert wheels[0].name == wheels[1].name
    assert contents(wheels[0]) == contents(wheels[1])


def test_the_wheel_has_every_module_and_all_data(tmp_path: Path) -> None:
    names = set(contents(build(REPOSITORY, tmp_path, "wheel")))
    wanted = set(listed("hardway"))
    # An inventory of somebody's own may lie beside the examples.
    examples = listed("inventories", new=False)
    wanted |= {f"hardway/_data/{name}" for name in (*listed("templates"), *listed("components"), *examples)}
    assert names == wanted


def test_the_sdist_has_what_tests_it_and_nothing_of_this_computer(sdist: Path) -> None:
    names = {str(path.relative_to(sdist)) for path in sdist.rglob("*") if path.is_file()}
    wanted = {"LICENSE", "SECURITY.md", "Makefile", "tools/prepare", "requirements-dev.lock", "tests/conftest.py"}
    assert wanted - names == set()
    assert [name for name in names if any(part in name for part in LOCAL)] == []


@pytest.fixture
def git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """A repository of its own, with this project's packaging in its first commit."""
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "somebody")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "somebody@example.net")
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in ("pyproject.toml", ".gitattributes", ".git_archival.txt"):
        shutil.copy(REPOSITORY / name, tree)

    def call(*words: str) -> str:
        return run(tree, "git", *words)

    call("init", "--quiet")
    call("add", ".")
    call("commit", "--quiet", "-m", "first")
    return call


def version(tree: Path) -> str:
    return run(tree, sys.executable, "-m", "hatchling", "version").strip()


def archived(git: Callable[..., str], into: Path) -> Path:
    """What a hosting site gives as an archive of the last commit."""
    into.mkdir()
    git("archive", "--output", str(into / "archive.tar"), "HEAD")
    with tarfile.open(into / "archive.tar") as opened:
        opened.extractall(into, filter="data")
    return into


def test_a_tag_is_the_version_and_a_commit_after_it_comes_after_it(git: Callable[..., str], tmp_path: Path) -> None:
    git("tag", "v0.1.0")
    assert version(tmp_path / "tree") == "0.1.0"
    assert version(archived(git, tmp_path / "released")) == "0.1.0"
    git("commit", "--quiet", "--allow-empty", "-m", "second")
    after = f"0.1.0.post1.dev1+g{git('rev-parse', '--short=9', 'HEAD').strip()}"
    assert version(tmp_path / "tree") == after
    assert version(archived(git, tmp_path / "after")).startswith("0.1.0.post1.dev1+g")


def test_where_no_tag_is_known_it_builds_all_the_same(git: Callable[..., str], tmp_path: Path) -> None:
    assert version(tmp_path / "tree").startswith("0.post1.dev1+unknown.g")
    git("commit", "--quiet", "--allow-empty", "-m", "second")
    git("tag", "v0.1.0")
    git("commit", "--quiet", "--allow-empty", "-m", "third")
    run(tmp_path, "git", "clone", "--quiet", "--depth=1", f"file://{tmp_path}/tree", "shallow")
    assert version(tmp_path / "shallow").startswith("0.post1.dev1+unknown.g")
    shutil.rmtree(tmp_path / "tree" / ".git")
    assert version(tmp_path / "tree") == "0+unknown"


def test_the_lock_file_has_what_is_asked_for_in_the_versions_that_are_asked_for() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    asked = [*project["build-system"]["requires"], *project["project"]["dependencies"], *extras["docs"], *extras["dev"]]
    wanted = [one for one in map(Requirement, asked) if one.name != "hardway"]
    lines = (REPOSITORY / "requirements-dev.lock").read_text().splitlines()
    pins = [line.partition(";")[0].removesuffix("\\").strip().split("==") for line in lines if "==" in line]
    locked = {canonicalize_name(name): version for name, version in pins}
    assert [str(one) for one in wanted if locked.get(canonicalize_name(one.name)) is None] == []
    assert [str(one) for one in wanted if not one.specifier.contains(locked[canonicalize_name(one.name)])] == []


def test_the_lock_file_has_a_digest_for_everything_and_names_no_host() -> None:
    text = (REPOSITORY / "requirements-dev.lock").read_text()
    assert "://" not in text
    pinned = [line for line in text.splitlines() if not line.startswith(("#", " "))]
    assert [line for line in pinned if not line.endswith("\\")] == []
