"""Two load balancers and the address that they hold between them: one that fails costs three seconds at most."""

import base64
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from driving import NETWORK, Labs, Site, other_restarts, until
from load import Load, counting
from rolls import settings

pytestmark = pytest.mark.lab

ADDRESS = f"{NETWORK}.40"
PAIR = f"""\
cluster: hwtest-pair
endpoint: {ADDRESS}
lab: {{network: {NETWORK}.0/24}}
machines:
  lb-0: {{role: load-balancer, address: {NETWORK}.30}}
  lb-1: {{role: load-balancer, address: {NETWORK}.31}}
  controller-0: {{role: controller, address: {NETWORK}.10}}
  worker-0: {{role: worker, address: {NETWORK}.20}}
"""
BALANCERS = ("lb-0", "lb-1")
LIMIT = 3.0
"""Seconds without an API, for who dials at the address."""


class Dialling:
    """Dials again and again, with the name checked: how long was there no answer?"""

    def __init__(self, site: Site) -> None:
        config = yaml.safe_load((site.workspace / "kubeconfig").read_text())
        authority = base64.b64decode(config["clusters"][0]["cluster"]["certificate-authority-data"]).decode()
        self._tls = ssl.create_default_context(cadata=authority)
        self._over = threading.Event()
        self._answered: list[float] = []

    def _dial(self) -> None:
        while not self._over.wait(0.05):
            try:
                with (
                    socket.create_connection((ADDRESS, 6443), timeout=0.5) as plain,
                    self._tls.wrap_socket(plain, server_hostname=ADDRESS),
                ):
                    self._answered.append(time.monotonic())
            except OSError:
                continue

    @contextmanager
    def __call__(self) -> Iterator[None]:
        thread = threading.Thread(target=self._dial)
        thread.start()
        try:
            until(lambda: self._answered, 30, "the address answers")
            yield
            last = time.monotonic()
            until(lambda: self._answered[-1] > last, 30, "the address answers again")
        finally:
            self._over.set()
            thread.join()

    @property
    def gap(self) -> float:
        """Seconds: the longest time between two answers."""
        pairs = zip(self._answered, self._answered[1:], strict=False)
        return max(after - before for before, after in pairs)


def holders(site: Site) -> list[str]:
    """The balancers that have the address, of those that answer."""
    look = f"ip -o -4 addr show to {ADDRESS}/32"
    return [name for name in BALANCERS if site.on(name, look, code=None)]


def other(holder: str) -> str:
    return next(name for name in BALANCERS if name != holder)


def moved(site: Site, folder: Path, before: str, script: str) -> Load:
    """Something ends the holder: the other one has the address within the limit. What clients met with meanwhile."""
    dialling = Dialling(site)
    folder.mkdir()
    with counting(site.workspace / "kubeconfig", folder) as load, dialling():
        if script:
            site.on(before, script)
        else:
            site.hardway("lab", "power-off", before)
        until(lambda: holders(site) == [other(before)], 10, f"{other(before)} has the address")
    print(f"{script or 'power off'}: {dialling.gap:.2f} s without an answer; {load}")
    assert dialling.gap < LIMIT
    # The client counts its writes before it chooses their objects: after a pause it may choose in another order.
    gaps = [one for one in load.watch_gaps if not one.endswith("disorder")]
    assert (load.lost, gaps) == ([], []), str(load)
    return load


@pytest.mark.in_turn("two")
def test_one_of_two_balancers_fails_and_the_other_has_the_address(labs: Labs, tmp_path: Path) -> None:
    site = labs.fresh(labs.make("hwtest-pair", PAIR))
    untouched = site.traces()
    site.init()
    assert set(site.nodes_ready()) == {"worker-0"}
    [holder] = holders(site)
    site.unchanged("init")

    # One after the other, the holder last; both take it up without letting go of anybody.
    before, folder = site.processes(), tmp_path / "roll"
    folder.mkdir()
    with (
        counting(site.workspace / "kubeconfig", folder) as load,
        settings(site, "{haproxy: {defaults: {retries: 9}}}", back=False),
    ):
        ran = site.hardway("apply", "--yes", "-o", "json")
    print(f"roll: {load}")
    assert [machine for machine, what, _ in ran.changes if what == "service:kube-apiserver-lb.service"] == [
        other(holder), holder,
    ]  # fmt: skip
    assert (load.failed, load.lost, load.watch_gaps) == (0, [], []), str(load)
    assert holders(site) == [holder]
    assert other_restarts(before, site.processes()) == []
    site.init()

    moved(site, tmp_path / "haproxy", holder, "systemctl stop kube-apiserver-lb")
    site.on(holder, "systemctl start kube-apiserver-lb")
    # It does well again, and does not take the address back.
    until(lambda: "succeeded" in site.on(holder, "journalctl -n 3 -u kube-apiserver-vip"), 20, f"{holder} is well")
    holder = other(holder)
    assert holders(site) == [holder]

    moved(site, tmp_path / "power", holder, "")
    refused = site.hardway("doctor", code=3).out
    assert holder in refused
    site.hardway("lab", "power-on", holder)
    until(lambda: site.on(holder, "systemctl is-active kube-apiserver-vip", code=None) == "active\n", 60, "it is back")
    until(lambda: holders(site) == [other(holder)], 20, "one has the address")
    site.unchanged("init")

    site.hardway("reset", "--yes")
    assert holders(site) == []
    after = site.traces()
    assert {
        name: {what: after[name][what] - seen for what, seen in found.items()} for name, found in untouched.items()
    } == {name: {what: set() for what in found} for name, found in untouched.items()}
