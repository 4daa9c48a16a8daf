"""Real etcd: what is taken from a member that is gone, and what a rehearsal finds in a snapshot."""

import base64
import hashlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from etcd_life import real_programs
from real_api import free_port

from hardway.declare.phases.etcd import OWN
from hardway.declare.phases.paths import BIN
from hardway.operations.etcd_defrag import compaction
from hardway.operations.etcd_recover import COPY
from hardway.operations.etcd_restore import DATA, Source, rehearsal
from hardway.operations.etcd_scratch import FOLDER
from hardway.operations.snapshot_objects import stored

PROGRAMS = real_programs()
WRITES = 20

pytestmark = pytest.mark.skipif(PROGRAMS is None, reason="etcd is not built: hardway artifacts get")


class Member:
    """The only member of a cluster, on loopback, with the places of a controller below a folder.

    It writes into its log at once, and into its file only when it stops.
    """

    def __init__(self, root: Path, *more: str) -> None:
        assert PROGRAMS
        (root / "bin").mkdir()
        for name, program in PROGRAMS.items():
            (root / "bin" / name).symlink_to(program)
        self._root = root
        client, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        self._endpoint = f"--endpoints={client}"
        flags = [
            f"--data-dir={root}/etcd", f"--listen-client-urls={client}", f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=default={peer}",
            "--backend-batch-interval=1h", *more,
        ]  # fmt: skip
        self._process = subprocess.Popen(
            [root / "bin/etcd", *flags, "--log-outputs=/dev/null"], env={"PATH": os.environ["PATH"]}
        )
        self.run(f"{BIN}/etcdctl {self._endpoint} --command-timeout=30s --dial-timeout=30s get ready")

    def put(self, key: str, value: str = "value") -> int:
        """The revision of an acknowledged write."""
        said = self.run(f"{BIN}/etcdctl {self._endpoint} put {key} {value} -w json")
        return int(json.loads(said)["header"]["revision"])

    def snapshot(self) -> Source:
        path = self._root / "one.db"
        self.run(f"{BIN}/etcdctl {self._endpoint} snapshot save {path} >/dev/null")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        self.run(f"mkdir -p {FOLDER}; cp {path} {FOLDER}/{digest}.db")
        return Source(path, digest, path.stat().st_size)

    def compact(self, revision: int) -> None:
        self.run(compaction(revision).replace(OWN, f"{BIN}/etcdctl {self._endpoint}"))

    def in_use(self) -> int:
        said = self.run(f"{BIN}/etcdctl {self._endpoint} endpoint status -w json")
        return int(json.loads(said)[0]["Status"]["dbSizeInUse"])

    def end(self, how: signal.Signals) -> None:
        self._process.send_signal(how)
        self._process.wait()

    def close(self) -> None:
        if self._process.poll() is None:
            self.end(signal.SIGKILL)

    def run(self, script: str) -> str:
        for there, here in ((BIN, "bin"), (FOLDER, "restore"), (DATA, "etcd")):
            script = script.replace(there, str(self._root / here))
        done = subprocess.run(["sh", "-euc", script], capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout


@contextmanager
def member(root: Path, *more: str) -> Iterator[Member]:
    with closing(Member(root, *more)) as made:
        yield made


SEALED = "k8s:enc:secretbox:v1:key2:sealed"
OLDER = "k8s:enc:aescbc:v1:key1:older"
WIDGETS = "widgets.example.org"


def test_a_rehearsal_counts_and_shows_whose_it_is_and_an_object_of_each_key(tmp_path: Path) -> None:
    with member(tmp_path) as one:
        for name in ("default", "kube-system"):
            one.put(f"/registry/namespaces/{name}", f"uid-of-{name}")
        one.put("/registry/secrets/default/first", SEALED)
        one.put("/registry/secrets/default/later", SEALED)
        one.put("/registry/secrets/default/older", f'\'{OLDER}\n"Key" : "none"\n\'')
        one.put("/registry/configmaps/default/plain", "text")
        source = one.snapshot()
        one.put("/registry/namespaces/late")
        resources = ("secrets", "configmaps", WIDGETS)
        told: dict[str, list[str]] = {}
        for line in one.run(rehearsal(source, resources)).splitlines():
            name, _, value = line.partition(" ")
            told.setdefault(name, []).append(value)
        assert (told["keys"], told["namespaces"]) == (["6"], ["2"])
        assert base64.b64decode(told["system"][0]) == b"uid-of-kube-system"
        found = stored(told, resources)
        assert [(of.resource, of.name) for of in found] == [
            ("secrets", "default/first"), ("secrets", "default/older"), ("configmaps", "default/plain"),
        ]  # fmt: skip
        assert [of.sealed and of.sealed[:2] for of in found] == [("secretbox", "key2"), ("aescbc", "key1"), None]
        assert [path.name for path in (tmp_path / "restore").iterdir()] == [f"{source.sha256}.db"]


def taken(one: Member) -> tuple[str, int]:
    how, _, status = one.run(COPY).splitlines()
    return how, int(json.loads(status)["revision"])


def in_file(one: Member) -> int:
    status = one.run(f"cp {DATA}/member/snap/db {DATA}/looked; {BIN}/etcdutl snapshot status {DATA}/looked -w json")
    return int(json.loads(status)["revision"])


def test_a_killed_members_log_is_taken_too(tmp_path: Path) -> None:
    with member(tmp_path) as one:
        last = [one.put(f"key{number}") for number in range(WRITES)][-1]
        one.end(signal.SIGKILL)
        assert in_file(one) == 0
        how, revision = taken(one)
        assert how == "whole"
        # Of the very last write a log does not say yet that a majority has it, and etcd drops it.
        assert last - 1 <= revision <= last
        assert in_file(one) == 0


def test_a_member_that_was_stopped_lacks_nothing(tmp_path: Path) -> None:
    with member(tmp_path) as one:
        last = [one.put(f"key{number}") for number in range(WRITES)][-1]
        one.end(signal.SIGTERM)
        assert taken(one) == ("whole", last)
        assert sorted(path.name for path in (tmp_path / "restore").iterdir()) == ["own.db"]


def test_the_file_alone_is_taken_where_the_log_cannot_be_read(tmp_path: Path) -> None:
    with member(tmp_path) as one:
        last = one.put("key")
        one.end(signal.SIGTERM)
        [log] = (tmp_path / "etcd/member/wal").glob("0*.wal")
        log.write_bytes(b"\xff" * 512)
        assert taken(one) == ("file", last)


def test_a_compaction_is_over_once_what_goes_is_deleted(tmp_path: Path) -> None:
    slowly = ("--compaction-batch-limit=1", "--compaction-sleep-interval=100ms", "--backend-batch-interval=10ms")
    with member(tmp_path, *slowly) as one:
        last = [one.put("key", "x" * 100_000) for _ in range(WRITES)][-1]
        full = one.in_use()
        assert full > (WRITES - 1) * 100_000
        one.compact(last)
        assert one.in_use() < full / 4
        # Also where another member was asked first.
        one.compact(last)
