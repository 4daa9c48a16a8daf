"""The commands about sealed workspaces, as somebody types them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from fake.cluster import PAIR, FakeCluster
from played_run import Commands

from hardway.workspace import OPENING

pyrage = pytest.importorskip("pyrage")


@pytest.fixture
def hardway(
    built_cluster: Callable[[str], FakeCluster], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Commands:
    return Commands(built_cluster(PAIR), monkeypatch, capsys)


def sealed(hardway: Commands, folder: Path) -> tuple[str, str]:
    """The file, and the one that opens it."""
    key = pyrage.x25519.Identity.generate()
    identity = folder / "identity"
    identity.write_text(str(key))
    file = str(folder / "kube.age")
    assert hardway("workspace", "seal", file, "--recipient", str(key.to_public()))[0] == 0
    return file, str(identity)


def test_a_script_is_told_which_of_the_two_is_newer(hardway: Commands, tmp_path: Path) -> None:
    file, _ = sealed(hardway, tmp_path)
    code, out, _ = hardway("workspace", "status", file, "-o", "json")
    told = json.loads(out)
    assert (code, told["cluster"], told["comparison"], told["half_opened"]) == (0, "pair", "same", False)
    hardway.cluster.workspace().write("secrets/more", b"x" * 32, 0o600)
    code, out, _ = hardway("workspace", "status", file, "-o", "json")
    assert (code, json.loads(out)["comparison"]) == (3, "workspace-newer")


@pytest.mark.parametrize("command", [("plan",), ("init", "--yes"), ("etcd", "snapshot", "one.db"), ("status",)])
def test_no_other_command_takes_a_workspace_that_is_half_opened(
    hardway: Commands, tmp_path: Path, command: tuple[str, ...]
) -> None:
    file, identity = sealed(hardway, tmp_path)
    before = hardway("plan")
    workspace = hardway.cluster.workspace()
    digest = json.loads(Path(f"{file}.json").read_text())["digest"]
    workspace.write(OPENING, json.dumps(digest).encode(), 0o600)
    code, _, err = hardway(*command)
    assert (code, "is half opened" in err, "hardway workspace open FILE" in err) == (1, True, True)
    code, out, _ = hardway("workspace", "status", file, "-o", "json")
    assert (code, json.loads(out)["half_opened"]) == (3, True)
    assert hardway("workspace", "open", file, "--identity", identity)[0] == 0
    assert hardway("plan")[0] == before[0] != 1
