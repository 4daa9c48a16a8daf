"""The counting clients against a real API server: they see that all is well, and they see what is not."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from etcd_life import real_programs
from lab.load import SOURCE, counting, program
from real_api import RealApi, real_api

ETCD, KUBERNETES = real_programs("etcd"), real_programs("kubernetes")
HERE = dict(os.environ)
"""Before a test has a home of its own, without Go's caches."""
REQUESTS = {"new", "kept", "http2"}
OBJECTS = "/api/v1/namespaces/default/configmaps?labelSelector=hardway.local/load"

pytestmark = pytest.mark.skipif(
    ETCD is None or KUBERNETES is None, reason="needs binaries in the cache: hardway artifacts get"
)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealApi]:
    assert ETCD is not None and KUBERNETES is not None
    program()
    with real_api({**ETCD, **KUBERNETES}, tmp_path_factory.mktemp("api")) as api:
        yield api


def objects(api: RealApi, most: int) -> list[dict[str, Any]]:
    """What the clients have made, once it is that many."""
    deadline = time.monotonic() + 60
    while True:
        items: list[dict[str, Any]] = json.loads(api.ask(OBJECTS))["items"]
        if len(items) >= most:
            return items
        assert time.monotonic() < deadline, f"{len(items)} objects, and not {most}"
        time.sleep(0.1)


@pytest.mark.parametrize("words", [("vet", "."), ("test", ".")], ids=" ".join)
def test_go_finds_nothing_wrong(words: tuple[str, ...]) -> None:
    done = subprocess.run(["go", *words], cwd=SOURCE, env=HERE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_all_is_well_where_nothing_happens(api: RealApi, tmp_path: Path) -> None:
    with counting(api.kubeconfig, tmp_path, namespace="default") as load:
        objects(api, 6)
    assert set(load.classes) == {*REQUESTS, "watch"}
    assert load.classes["watch"]["requests"] == 1
    assert (load.failed, load.lost, load.watch_gaps) == (0, [], []), str(load)
    assert 0 < load.acknowledged < load.requests
    assert 0 < load.slowest < 10
    assert objects(api, 0) == []


def test_a_killed_api_server_is_seen_by_every_class(api: RealApi, tmp_path: Path) -> None:
    with counting(api.kubeconfig, tmp_path, namespace="default") as load:
        before = len(objects(api, 3))
        api.kill()
        api.start()
        objects(api, before + 6)
    assert {name for name in REQUESTS if load.classes[name]["failed"]} == REQUESTS, str(load)
    assert "connection refused" in str(load)
    # client-go dials again by itself, so this is no failure as long as no event is missed.
    assert load.classes["watch"]["requests"] > 1
    assert load.lost == []


def test_an_acknowledged_write_that_is_not_there_is_lost(api: RealApi, tmp_path: Path) -> None:
    with counting(api.kubeconfig, tmp_path, namespace="default") as load:
        name = objects(api, 6)[0]["metadata"]["name"]
        api.ask(f"/api/v1/namespaces/default/configmaps/{name}", "DELETE")
    assert {write.partition("#")[0] for write in load.lost} == {name}, str(load)


def test_exit_codes_and_a_table(api: RealApi, tmp_path: Path) -> None:
    words: list[str | Path] = [program(), "-duration=2s", "-kubeconfig"]
    well = subprocess.run([*words, api.kubeconfig], capture_output=True, text=True, check=False)
    assert well.returncode == 0, well.stderr
    assert well.stderr.split()[:4] == ["class", "requests", "failed", "p50"]
    other = tmp_path / "kubeconfig"
    other.write_text(api.kubeconfig.read_text().replace("https://127.0.0.1:", "https://127.0.0.2:"))
    unreached = subprocess.run([*words, other], capture_output=True, text=True, check=False)
    assert (unreached.returncode, unreached.stderr.count("connection refused")) == (2, 1)
