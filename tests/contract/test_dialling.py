"""Preflight dials from machine to machine: what a real firewall, a closed port and a missing route look like there."""

import subprocess

import pytest

from hardway.probe import network
from hardway.probe.script import answers, script

pytestmark = pytest.mark.contract

# A network of its own, whose only machine is its own loopback.
SETUP = """
ip link set lo up
nft -f - <<'RULES'
table inet company {
  chain input {
    type filter hook input priority filter; policy accept;
    tcp dport 7001 drop
    tcp dport 7002 reject
    tcp dport 7003 reject with icmpx admin-prohibited
  }
}
RULES
python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 7005)); print(flush=True); s.accept()' | {
read -r listens
"""
PORTS = {7001: "silent", 7002: "rejected", 7003: "rejected", 7004: "refused", 7005: "open"}


def test_each_obstacle_is_told_from_the_others() -> None:
    dials = [*(("127.0.0.1", port) for port in PORTS), ("192.0.2.1", 6443)]
    asked = f"{SETUP}\n{script([network.dial(dials)], 'NONCE')}\n}}"
    done = subprocess.run(
        ["unshare", "--net", "sh", "-euc", asked], capture_output=True, text=True, timeout=30, check=True
    )
    assert network.reached(answers(done.stdout.encode(), "NONCE")) == {
        **{("127.0.0.1", port): said for port, said in PORTS.items()},
        ("192.0.2.1", 6443): "unrouted",
    }
