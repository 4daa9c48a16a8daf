"""The life of an etcd cluster, as a walk that real members and played ones go through alike.

What etcdctl says on the way is compared without what differs from one run to the next: identifiers and addresses
stand as names, counters and durations as N. `python tests/contract/etcd_life.py` records the real one.
"""

import json
import os
import re
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from hardway.artifacts.build import built, host_arch, plan_build
from hardway.artifacts.catalogue import DEFAULT_KUBERNETES, Arch, releases_for
from hardway.artifacts.store import default_store
from hardway.errors import ArtifactError

RECORDED = Path(__file__).with_name("etcdctl.json")
FIRST = ("m1", "m2", "m3")
TIMEOUT = "--command-timeout=2s"

Said = dict[str, Any]


@dataclass(frozen=True)
class Ran:
    code: int
    stdout: str
    stderr: str


class Members(Protocol):
    """The machines m1 to m4. `m1` to `m3` run; `urls` are each one's peer and client URL."""

    urls: dict[str, tuple[str, str]]

    def etcdctl(self, on: str, *words: str) -> Ran: ...
    def join(self, name: str) -> None:
        """Starts etcd where it has no data yet, into the cluster that is there."""
        ...

    def start(self, name: str) -> None: ...
    def stop(self, name: str) -> None: ...
    def raise_alarm(self, identity: str, alarm: Literal["NOSPACE", "CORRUPT"]) -> None: ...


@dataclass
class Life:
    """Asks, and writes down what is said."""

    members: Members
    said: list[Said] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    """By hexadecimal identifier."""

    def id(self, name: str) -> str:
        """Of a member of today: one that was removed never comes back with the same."""
        listed = self.run("m1", "member", "list", "--consistency=s").stdout
        for line in listed.splitlines():
            identity, _, _, peer, *_ = line.split(", ")
            known = next(one for one, urls in self.members.urls.items() if urls[0] == peer)
            self.names[identity] = known
        return [identity for identity, known in self.names.items() if known == name][-1]

    def run(self, at: str, *words: str) -> Ran:
        """`at`: the endpoints' names."""
        endpoints = ",".join(self.members.urls[name][1] for name in at.split(","))
        return self.members.etcdctl(at.partition(",")[0], TIMEOUT, f"--endpoints={endpoints}", *words)

    def ask(self, when: str, at: str, *words: str) -> None:
        """A word `@m4` stands for that member's identifier, `peer:m4` for its peer URL."""
        given = []
        for word in words:
            if name := word.partition("@")[2]:
                word = self.id(name)
            elif name := word.partition("peer:")[2]:
                word = word.replace(f"peer:{name}", self.members.urls[name][0])
            given.append(word)
        ran = self.run(at, *given)
        if "add" in words:
            self.id("m1")
        said = {"when": when, "at": at, "words": " ".join(words), "code": ran.code}
        self.said.append(said | {"stdout": self._plain(ran.stdout), "stderr": self._plain(ran.stderr)})

    def until(self, at: str, words: str, holds: Callable[[Ran], bool]) -> Ran:
        """Real members need a moment for most things."""
        deadline = time.monotonic() + 30
        while not holds(ran := self.run(at, *words.split())):
            assert time.monotonic() < deadline, f"{words}: {ran}"
            time.sleep(0.1)
        return ran

    def _plain(self, text: str) -> list[str]:
        """What is alike in every run, in an order."""
        for name, (peer, client) in self.members.urls.items():
            text = text.replace(peer, f"{name}-peer").replace(client, f"{name}-client")
        for identity, name in self.names.items():
            text = re.sub(rf'(?<=":){int(identity, 16)}\b', f'"{name}"', text)
            text = re.sub(rf"\b({identity}|{int(identity, 16)})\b", name, text)
        # An identifier of fewer than sixteen digits has spaces before it here, and nowhere else.
        text = re.sub(r"^Member +", "Member ", text)
        text = re.sub(r"(to|from|in) cluster +[0-9a-f]+", r"\1 cluster N", text)
        text = re.sub(r'("(?:cluster_id|revision|raft_?[A-Za-z]*|dbSize[A-Za-z]*)":)\d+', r"\g<1>0", text)
        text = re.sub(r'("storageVersion":)"[^"]*"', r'\1"N"', text)
        text = re.sub(r"[\d.]+(µs|ms|s)\b", "N", text)
        # Whose patience ends first, the server's or etcdctl's, is a matter of how busy this computer is.
        text = re.sub(r"rpc error: code = Unknown desc = etcdserver: request timed out[^\n]*", LATE, text)
        # The client's own log has addresses of its memory.
        lines = [_ordered(line) for line in text.splitlines() if not line.startswith('{"level"')]
        return lines if "ETCD_" in text else sorted(lines)


LATE = "context deadline exceeded"


def _ordered(line: str) -> str:
    """Members and alarms are listed by their identifiers, or as a hash table has them."""
    if line.startswith(("{", "[")):
        found = json.loads(line)
        if isinstance(found, list) and all("endpoint" in one for one in found):
            found.sort(key=lambda one: str(one["endpoint"]))  # as they answered
        for one in found if isinstance(found, list) else [found]:
            one.get("members", []).sort(key=lambda member: member["ID"])
            one.get("Status", {}).get("errors", []).sort()
            one["error"] = _ordered(one["error"]) if "error" in one else None
        return json.dumps(found, separators=(",", ":")).replace(',"error":null', "")
    if line.startswith("ETCD_INITIAL_CLUSTER="):
        head, _, listed = line.partition("=")
        return f'{head}="{",".join(sorted(listed.strip(chr(34)).split(",")))}"'
    head, colon, alarms = line.partition("Active Alarm(s): ")
    return head + colon + " ".join(sorted(alarms.split(" "), reverse=True))


def live(members: Members, pause: float = 1.1) -> list[Said]:
    """Goes through it all. `pause` in seconds: a real identifier has the second of its making in it."""
    life = Life(members)
    ask, everybody = life.ask, ",".join(FIRST)
    life.until(everybody, "endpoint health", lambda ran: ran.code == 0)
    _lead(life, "m1")

    ask("three members", "m1", "member", "list")
    ask("three members", "m1", "member", "list", "--consistency=s")
    ask("three members", "m1", "member", "list", "-w", "json")
    ask("three members", "m1", "endpoint", "health")
    ask("three members", everybody, "endpoint", "health")
    ask("three members", "m1", "endpoint", "health", "-w", "json")
    ask("three members", everybody, "endpoint", "status", "-w", "json")
    ask("three members", "m1", "alarm", "list")

    # Real members take nobody in before they have known each other for five seconds.
    words = f"member add m4 --learner --peer-urls={members.urls['m4'][0]}"
    life.until("m1", words, lambda ran: ran.code == 0)
    life.id("m4")
    ask("m4 is an unstarted learner", "m1", "member", "list")
    ask("m4 is an unstarted learner", "m1", "member", "list", "-w", "json")
    ask("m4 is an unstarted learner", "m1", "member", "promote", "@m4")
    time.sleep(pause)
    ask("m4 is an unstarted learner", "m1", "member", "add", "m4", "--learner", "--peer-urls=peer:m4")
    ask("m4 is an unstarted learner", "m1", "member", "add", "m5", "--learner", "--peer-urls=http://127.0.0.1:9")
    ask("m4 is removed", "m1", "member", "remove", "@m4")
    ask("m4 is removed", "m1", "member", "remove", "@m4")
    ask("m4 is removed", "m1", "member", "promote", "@m4")
    ask("m4 is removed", "m1", "member", "remove", "m4")
    time.sleep(pause)
    ask("m4 is added again", "m1", "member", "add", "m4", "--learner", "--peer-urls=peer:m4", "-w", "json")
    ask("m4 is added again", "m1", "member", "remove", "@m4", "-w", "json")
    time.sleep(pause)
    ask("m4 is added again", "m1", "member", "add", "m4", "--learner", "--peer-urls=peer:m4")

    members.join("m4")
    life.until("m1", "member list", lambda ran: "started, m4" in ran.stdout)
    life.until("m4", "endpoint health", lambda ran: "not supported for learner" in ran.stderr)
    ask("m4 is a started learner", "m1", "member", "list")
    ask("m4 is a started learner", "m1", "member", "list", "-w", "json")
    ask("m4 is a started learner", "m4", "endpoint", "health")
    ask("m4 is a started learner", "m4", "endpoint", "status", "-w", "json")
    ask("m4 is a started learner", "m4", "member", "list")
    ask("m4 is a started learner", "m4", "member", "list", "--consistency=s")
    ask("m4 is a started learner", "m4", "alarm", "list")
    ask("m4 is a started learner", "m1", "move-leader", "@m4")
    time.sleep(pause)
    ask("m4 is promoted", "m1", "member", "promote", "@m4")
    ask("m4 is promoted", "m1", "member", "promote", "@m4")
    ask("m4 is promoted", "m1", "member", "list")
    ask("m4 is promoted", "m4", "endpoint", "health")

    ask("the leader moves", "m2", "move-leader", "@m4")
    ask("the leader moves", everybody, "move-leader", "@m2")
    ask("the leader moves", everybody, "move-leader", "@m2")
    ask("the leader moves", "m2", "move-leader", "1234")
    ask("the leader moves", "m2", "move-leader", "m1")
    ask("the leader moves", everybody, "endpoint", "status", "-w", "json")

    members.raise_alarm(life.id("m2"), "NOSPACE")
    _ask_of_alarms(life, "m2 has no space")
    members.raise_alarm(life.id("m3"), "CORRUPT")
    _ask_of_alarms(life, "m2 has no space, m3 is corrupt")
    ask("alarms are disarmed", "m1", "alarm", "disarm")
    ask("alarms are disarmed", everybody, "endpoint", "health")

    ask("m4 is removed while it runs", "m1", "member", "remove", "@m4")
    life.until("m4", "endpoint health", lambda ran: ran.code == 1)
    ask("m4 is removed while it runs", "m4", "endpoint", "health")

    members.stop("m3")
    ask("m3 is down", "m1", "member", "list")
    ask("m3 is down", everybody, "endpoint", "health")
    ask("m3 is down", everybody, "endpoint", "health", "-w", "json")
    ask("m3 is down", everybody, "endpoint", "status", "-w", "json")
    ask("m3 is down", "m1", "member", "remove", "@m2")
    ask("m3 is down", "m1", "member", "add", "m4", "--learner", "--peer-urls=peer:m4")
    ask("m3 is down", "m2", "move-leader", "@m3")

    members.stop("m2")
    life.until("m1", "endpoint status -w json", lambda ran: '"leader"' not in ran.stdout)
    ask("only m1 is up", "m1", "member", "list")
    ask("only m1 is up", "m1", "member", "list", "--consistency=s")
    ask("only m1 is up", "m1", "endpoint", "health")
    ask("only m1 is up", "m1", "endpoint", "status", "-w", "json")
    ask("only m1 is up", "m2", "endpoint", "status", "-w", "json")
    ask("only m1 is up", "m2", "member", "list", "--consistency=s")
    ask("only m1 is up", "m1", "alarm", "list")
    ask("only m1 is up", "m1", "member", "remove", "@m2")
    ask("only m1 is up", "m1", "member", "add", "m4", "--learner", "--peer-urls=peer:m4")
    ask("only m1 is up", "m1", "move-leader", "@m1")

    members.start("m2")
    members.start("m3")
    life.until(everybody, "endpoint health", lambda ran: ran.code == 0)
    ask("all are up again", "m1", "endpoint", "health")

    members.stop("m3")
    ask("m3 is removed while it is down", "m1", "member", "remove", "@m3")
    ask("m3 is removed while it is down", "m1,m2", "endpoint", "health")
    ask("m3 is removed while it is down", "m1", "member", "list")
    return life.said


def _lead(life: Life, name: str) -> None:
    identity = life.id(name)
    life.run(",".join(FIRST), "move-leader", identity)
    wanted = f'"leader":{int(identity, 16)},'
    life.until("m1", "endpoint status -w json", lambda ran: wanted in ran.stdout)


def _ask_of_alarms(life: Life, when: str) -> None:
    # An alarm reaches members one after the other.
    life.until("m1,m2,m3", "endpoint status -w json", lambda ran: ran.stdout.count(when.split()[-1].upper()) == 3)
    life.ask(when, "m1", "alarm", "list")
    life.ask(when, "m1", "endpoint", "health")
    life.ask(when, "m2", "endpoint", "health")
    life.ask(when, "m1", "endpoint", "health", "-w", "json")
    life.ask(when, "m1,m2,m3", "endpoint", "status", "-w", "json")


class RealMembers:
    """Processes on loopback, with data in a folder."""

    def __init__(self, programs: dict[str, Path], folder: Path) -> None:
        self._programs, self._folder = programs, folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self.urls = {name: (_free_url(), _free_url()) for name in (*FIRST, "m4")}
        for name in FIRST:
            self._run(name, FIRST, "new")

    def etcdctl(self, on: str, *words: str) -> Ran:
        ran = subprocess.run(
            [self._programs["etcdctl"], *words], capture_output=True, text=True, check=False, timeout=60,
            env={"PATH": os.environ["PATH"]},
        )  # fmt: skip
        return Ran(ran.returncode, ran.stdout, ran.stderr)

    def join(self, name: str) -> None:
        self._run(name, (*FIRST, name), "existing")

    def start(self, name: str) -> None:
        self._run(name, (), "existing")

    def stop(self, name: str) -> None:
        process = self._running.pop(name)
        process.kill()
        process.wait()

    def raise_alarm(self, identity: str, alarm: Literal["NOSPACE", "CORRUPT"]) -> None:
        request = {"action": "ACTIVATE", "memberID": str(int(identity, 16)), "alarm": alarm}
        url = f"{self.urls['m1'][1]}/v3/maintenance/alarm"
        with urllib.request.urlopen(url, json.dumps(request).encode(), timeout=10) as answer:
            answer.read()

    def close(self) -> None:
        for name in list(self._running):
            self.stop(name)

    def _run(self, name: str, cluster: Sequence[str], state: str) -> None:
        peer, client = self.urls[name]
        initial = ",".join(f"{one}={self.urls[one][0]}" for one in cluster)
        flags = [
            f"--name={name}", f"--data-dir={self._folder / name}", f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}", f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}", f"--initial-cluster-state={state}",
            *([f"--initial-cluster={initial}"] if initial else []),
        ]  # fmt: skip
        with (self._folder / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen([self._programs["etcd"], *flags], stdout=log, stderr=log)


def _free_url() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


def real_programs(component: str = "etcd") -> dict[str, Path] | None:
    """What hardway builds of a component (etcd and etcdctl), where it is in the cache."""
    arch: Arch = "arm64" if host_arch() == "arm64" else "amd64"
    try:
        found = built(plan_build(releases_for(DEFAULT_KUBERNETES)[component], arch), default_store())
    except ArtifactError:  # without Go
        return None
    return None if found is None else {name: blob.path for name, blob in found.items()}


def real_life(programs: dict[str, Path]) -> list[Said]:
    with tempfile.TemporaryDirectory() as folder, closing(RealMembers(programs, Path(folder))) as members:
        return live(members)


if __name__ == "__main__":
    programs = real_programs()
    assert programs, "run hardway artifacts get first"
    RECORDED.write_text(json.dumps(real_life(programs), indent=1, ensure_ascii=False) + "\n")
