"""The played machines' etcdctl answers as the real one does, word for word."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from etcd_life import FIRST, RECORDED, Ran, Said, live, real_life, real_programs
from fake.etcd import ETCDCTL
from fake.machine import FakeMachine, why_not

LIFE: list[Said] = json.loads(RECORDED.read_text())

UNIT = """\
[Service]
ExecStart=/usr/local/bin/etcd \\
  --name={name} \\
  --advertise-client-urls={client} \\
  --initial-advertise-peer-urls={peer} \\
  --client-cert-auth=true
"""


class PlayedMembers:
    def __init__(self, folder: Path) -> None:
        self.urls = {
            f"m{number}": (f"https://10.0.0.{number}:2380", f"https://10.0.0.{number}:2379") for number in range(1, 5)
        }
        self._cluster = folder / "net"
        self._machines: dict[str, FakeMachine] = {}
        for name, (peer, client) in self.urls.items():
            machine = FakeMachine(name, folder / name, self._cluster)
            self._machines[name] = machine
            machine.write("/usr/local/bin/etcd", "")
            machine.write("/usr/local/bin/etcdctl", ETCDCTL)
            machine.write("/etc/systemd/system/etcd.service", UNIT.format(name=name, peer=peer, client=client))
        for name in FIRST:
            self._begin(name, FIRST, "new")

    def etcdctl(self, on: str, *words: str) -> Ran:
        return self._run(on, "sh /usr/local/bin/etcdctl " + " ".join(words), check=False)

    def join(self, name: str) -> None:
        self._begin(name, (*FIRST, name), "existing")

    def start(self, name: str) -> None:
        self._run(name, "systemctl start etcd.service")

    def stop(self, name: str) -> None:
        self._run(name, "systemctl stop etcd.service")

    def raise_alarm(self, identity: str, alarm: str) -> None:
        with (self._cluster / "alarms").open("a") as alarms:
            alarms.write(f"{identity} {alarm}\n")

    def _begin(self, name: str, cluster: tuple[str, ...], state: str) -> None:
        listed = ",".join(f"{one}={self.urls[one][0]}" for one in cluster)
        (self._machines[name].root / "run/etcd").mkdir()
        self._machines[name].write(
            "/run/etcd/first-start.env",
            f"ETCD_INITIAL_CLUSTER_STATE={state}\nETCD_INITIAL_CLUSTER={listed}\nETCD_INITIAL_CLUSTER_TOKEN=t\n",
        )
        self.start(name)

    def _run(self, name: str, script: str, *, check: bool = True) -> Ran:
        ran = self._machines[name].run(script, timeout=20, what=script, check=check)
        return Ran(ran.code, ran.stdout.decode(), ran.stderr.decode())


@pytest.mark.skipif(bool(why_not()), reason=why_not())
def test_the_played_one_answers_as_the_real_one_did(new_room: Callable[[], Path]) -> None:
    for played, real in zip(live(PlayedMembers(new_room()), pause=0), LIFE, strict=True):
        assert played == real


if "HARDWAY_EXAMPLES" in os.environ:
    # In make soak alone: how long elections take depends on how busy this computer is, and so do the answers.

    def test_the_real_one_answers_as_it_did() -> None:
        programs = real_programs()
        assert programs is not None, "needs etcd in the cache: hardway artifacts get"
        for real, recorded in zip(real_life(programs), LIFE, strict=True):
            assert real == recorded
