"""Error messages that `explain` knows are looked for in the programs that print them, where they are in the cache."""

import mmap
from collections.abc import Iterator
from pathlib import Path

import pytest

from hardway import data, yaml_text
from hardway.artifacts.store import default_store

LARGE = 900_000
"""Bytes; whatever is smaller is none of the components' programs."""


@pytest.fixture(scope="module")
def programs() -> Iterator[list[mmap.mmap]]:
    found: list[mmap.mmap] = []
    for path in sorted(Path(default_store().root).rglob("*")):
        if path.is_file() and path.stat().st_size > LARGE:
            with path.open("rb") as file:
                found.append(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    if not any(one.find(b"k8s.io/kubernetes/cmd/kube-apiserver") >= 0 for one in found):
        pytest.skip("no programs of the components in the cache")
    yield found
    for one in found:
        one.close()


def test_each_text_is_one_that_a_program_holds(programs: list[mmap.mmap]) -> None:
    texts = {text for one in yaml_text.document(data.read("templates/prose/errors.yaml")) for text in one["prints"]}
    held = {text for text in texts if any(one.find(text.encode()) >= 0 for one in programs)}
    assert texts - held == set()
