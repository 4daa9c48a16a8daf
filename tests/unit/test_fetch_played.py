"""`artifacts: {fetch: machines}` on played machines: a whole run, cut anywhere; nothing of a component is uploaded."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fake.cluster import ARCH, PAIR, FakeCluster
from fake.commands import BINARIES
from fake.machine import Cut, why_not
from fake.publisher import archive

from hardway.artifacts.catalogue import IMAGES, releases_for
from hardway.artifacts.lock import Entry
from hardway.artifacts.release import PublishedFile, Release, Wanted
from hardway.engine.resolver import Resolver
from hardway.errors import ArtifactError
from hardway.preview.page import plan_page
from hardway.remote import ConnectionLost
from hardway.values import sha256

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())

CURL = """\
#!/bin/sh
while [ "$1" != -- ]; do
  case $1 in -o) file=$2 ;; esac
  shift
done
if [ -e /fake/full ]; then head -c 200000 /dev/zero >"$file" || exit 23; fi
cp "/fake/cluster/web/${2#https://}" "$file"
"""
FETCHED = "/var/lib/hardway/fetched"


class Downloading(FakeCluster):
    def resolver(self) -> Resolver:
        return Resolver(self.cluster.kubernetes, self.store, self.lock, source="download", fetch="machines")


def publish(made: FakeCluster) -> None:
    """Has every release's files where the played curl finds them, and of binaries nothing in lock and cache."""
    images = [entry for entry in made.lock.entries() if entry.name in IMAGES]
    for entry in made.lock.entries():
        if entry not in images and (blob := made.store.blob(entry.digest)):
            blob.path.unlink()
    made.lock.path.unlink()
    made.lock.add(*images)
    for release in releases_for(made.cluster.kubernetes).values():
        for file in release.files:
            wanted = Wanted(file, release.version, ARCH)
            content = published(wanted, release)
            path = made.root / "net" / "web" / wanted.url.removeprefix("https://")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            made.lock.add(
                Entry(wanted.file_name, wanted.version, ARCH, sha256(content), "download, publisher's digest")
            )
    for machine in made.machines.values():
        machine.write("/fake/bin/curl", CURL)
        (machine.root / "fake/bin/curl").chmod(0o755)


def published(wanted: Wanted, release: Release) -> bytes:
    programs: dict[str, bytes] = {}
    for name, path in wanted.members.items():
        program = BINARIES.get(name, f"#!/bin/sh\n# {name} {release.version}\n").encode()
        if path is None:
            return program
        programs[path] = program
    return archive(programs)


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCluster]:
    # What is pinned is what publishers publish, and not what is played here.
    monkeypatch.setattr(PublishedFile, "pin", lambda self, arch: None)
    made = Downloading.new(tmp_path, PAIR)
    publish(made)
    yield made


def downloaded(made: FakeCluster, name: str) -> list[str]:
    return [what for what in made.machines[name].asked if what.startswith("download ")]


def test_each_machine_downloads_what_is_its_own_and_keeps_nothing(pair: FakeCluster) -> None:
    plan = pair.plan()
    assert plan.delivery is not None
    assert (plan.delivery.by, plan.delivery.hosts) == ("machines", ("dl.k8s.io", "github.com"))
    page = " ".join(" ".join(plan_page(plan, seconds=1.0)).split())
    assert "Each machine downloads its binaries by itself: from dl.k8s.io and github.com." in page
    pair.init()
    assert any("etcd" in what for what in downloaded(pair, "head"))
    assert any("containerd" in what for what in downloaded(pair, "hand"))
    assert not any("etcd" in what for what in downloaded(pair, "hand"))
    assert not any(machine.has(FETCHED) for machine in pair.machines.values())
    assert pair.machines["head"].read("/usr/local/bin/etcd").startswith("#!/bin/sh\n# etcd ")
    before = len(downloaded(pair, "head"))
    assert pair.init().changes == []
    assert (pair.plan().delivery, len(downloaded(pair, "head"))) == (None, before)


@pytest.mark.parametrize(("call", "command"), [(2, 15), (3, 40), (5, 30), (8, 20), (12, 60)])
def test_a_run_that_is_cut_is_continued(pair: FakeCluster, call: int, command: int) -> None:
    hand = pair.machines["hand"]
    hand.cut = Cut(call, command)
    with pytest.raises(ConnectionLost):
        pair.init()
    hand.restored()
    pair.init()
    assert pair.plan().items == ()
    assert not hand.has(FETCHED)


def test_a_full_disk_is_said_before_anything_changes(pair: FakeCluster) -> None:
    hand = pair.machines["hand"]
    hand.write("/fake/full", "")
    with pytest.raises(ArtifactError) as caught:
        pair.init()
    assert caught.value.what.endswith("does not fit on the disk; nothing there was changed")
    assert caught.value.hint == f"hardway ssh hand -- df -h {FETCHED}; free some space there"
    assert not hand.has("/usr/local/bin/kubelet")
