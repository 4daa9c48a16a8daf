"""A run that is refused before it changes anything."""

import pytest
from fake.cluster import FakeCluster

from hardway.engine.blockers import Blocked


def kinds(error: Blocked) -> list[tuple[str, str]]:
    """Kind and machine of each blocker."""
    return [(one.kind, one.machine) for one in error.blockers]


def refused(made: FakeCluster, *phases: str) -> Blocked:
    """The error of a run; no machine was asked for more than to be looked at, and nothing in the workspace changed."""
    before = {name: one.tree() for name, one in made.machines.items()}
    workspace = files(made)
    with pytest.raises(Blocked) as caught:
        made.init(phases) if phases else made.init()
    assert {name: one.tree() for name, one in made.machines.items()} == before
    assert files(made) == workspace
    return caught.value


def files(made: FakeCluster) -> dict[str, tuple[bytes, int]]:
    """Content and time of everything in the workspace."""
    root = made.workspace().root
    paths = [path for path in root.rglob("*") if path.is_file()]
    return {str(path.relative_to(root)): (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}
