"""Every artifact of the seven machines is as it was kept: a change to a template shows in the same commit."""

import golden
import pytest

RENDERED, KEPT = golden.lab(), golden.kept()


def test_the_same_files_are_rendered_as_were_kept() -> None:
    assert sorted(RENDERED) == sorted(KEPT), "if that is meant: python tests/phases/golden.py"


@pytest.mark.parametrize("name", sorted(RENDERED.keys() & KEPT.keys()))
def test_an_artifact_is_as_it_was_kept(name: str) -> None:
    assert RENDERED[name] == KEPT[name], "if that is meant: python tests/phases/golden.py"
