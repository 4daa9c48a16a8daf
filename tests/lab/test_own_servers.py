"""Servers as people have them: behind a bastion, with a user of their own, a second network and a slow line."""

import json
import os
import subprocess
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest
from driving import Labs, Site

from hardway.lab import marker
from hardway.lab.model import Lab, LabMachine, interface_name

pytestmark = pytest.mark.lab

LAB = """\
cluster: hwtest-own
lab: {network: 10.245.4.0/24}
machines:
  edge: {role: load-balancer, address: 10.245.4.30}
  controller-0: {role: controller, address: 10.245.4.10}
  worker-0: {role: worker, address: 10.245.4.20, image: debian-13}
"""
"""The machines, for the lab alone. To whom they belong they are what OWN says."""

OWN = """\
cluster: own
endpoint: 10.245.4.30:6443
ssh: {user: ops, config: ssh_config, jump: bastion}
machines:
  controller-0: {role: controller, address: 10.245.4.10}
  worker-0: {role: worker, address: 10.245.4.20, ssh: {host: 10.245.5.20, port: 2222}}
"""
SSH_CONFIG = "Host bastion\n  HostName 10.245.4.30\n  User ops\n"

# The balancer is the owner's; this computer reaches nothing of the cluster's but the bastion's SSH.
EDGE = """\
systemd-run --quiet --unit=balancer --socket-property=ListenStream=6443 \
  /lib/systemd/systemd-socket-proxyd 10.245.4.10:6443
ip address add 10.245.5.30/24 dev host0
"""
UNREACHED = """\
nft -f - <<'RULES'
table inet owner {
  chain input {
    type filter hook input priority filter;
    ip saddr 10.245.4.1 tcp dport { 22, 2222, 6443 } drop
  }
}
RULES
"""
WORKER = """\
ip address add 10.245.5.20/24 dev host0
echo Port 2222 >/etc/ssh/sshd_config.d/port.conf
"""


@pytest.fixture
def own(labs: Labs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """The owner's inventory, whose keys are an agent's and whose host keys an authority has signed."""
    lab = labs.fresh(labs.make("hwtest-own", LAB))
    site = Site.of(tmp_path / "own", "own", OWN)
    (site.folder / "ssh_config").write_text(SSH_CONFIG)
    authority = tmp_path / "authority"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", authority], check=True)
    site.workspace.mkdir(parents=True)
    (site.workspace / "known_hosts").write_text(f"@cert-authority * {authority.with_suffix('.pub').read_text()}")
    for name, names in {
        "edge": "10.245.4.30,bastion", "controller-0": "10.245.4.10", "worker-0": "10.245.5.20",
    }.items():  # fmt: skip
        _certify(lab, name, names, authority, tmp_path)
    lab.on("edge", EDGE)
    lab.on("worker-0", WORKER)
    lab.everywhere("systemctl restart ssh", ["controller-0", "edge"])
    lab.on("worker-0", f"systemctl restart ssh; {UNREACHED}")
    lab.on("controller-0", UNREACHED)
    agent = subprocess.run(["ssh-agent", "-s"], capture_output=True, text=True, check=True).stdout
    found = dict(word.split("=", 1) for word in agent.replace(";", "\n").split() if "=" in word)
    monkeypatch.setenv("SSH_AUTH_SOCK", found["SSH_AUTH_SOCK"])
    try:
        subprocess.run(["ssh-add", "-q", lab.workspace / "lab" / "id_ed25519"], check=True)
        yield site
    finally:
        os.kill(int(found["SSH_AGENT_PID"]), 15)


def _certify(lab: Site, machine: str, names: str, authority: Path, folder: Path) -> None:
    """The host key signed for these names, and sshd told of it."""
    key = folder / f"{machine}.pub"
    key.write_text(lab.on(machine, "cat /etc/ssh/ssh_host_ed25519_key.pub"))
    argv = ["ssh-keygen", "-q", "-s", authority, "-I", machine, "-h", "-n", names, key]
    subprocess.run(argv, check=True, capture_output=True)
    certificate = (folder / f"{machine}-cert.pub").read_text()
    lab.on(
        machine,
        f"echo '{certificate}' >/etc/ssh/host-cert.pub\n"
        "echo HostCertificate /etc/ssh/host-cert.pub >/etc/ssh/sshd_config.d/certificate.conf",
    )


def inside(machine: str, *words: str) -> subprocess.CompletedProcess[str]:
    """A program on a machine, without SSH."""
    pid = (marker.running("hwtest-own") or {})[machine]
    argv = ["nsenter", f"--target={pid}", "--mount", "--net", "--pid", *words]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


@pytest.mark.in_turn("firewalls")
def test_a_cluster_behind_a_bastion_is_made_and_used(own: Site) -> None:
    refused = subprocess.run(
        ["ssh", "-F", "none", "-oBatchMode=yes", "-oConnectTimeout=2", "ops@10.245.4.10", "true"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "timed out" in refused.stderr, "this computer was to reach the bastion only"

    # 20 MB/s to the worker, and the line breaks once while files are sent.
    lab = Lab("hwtest-own", IPv4Network("10.245.4.0/24"), (), own.workspace)
    line = interface_name(lab, LabMachine("worker-0", IPv4Address("10.245.4.20")))
    shaping = ("root", "tbf", "rate", "160mbit", "burst", "64kb", "latency", "200ms")
    subprocess.run(["tc", "qdisc", "add", "dev", line, *shaping], check=True)
    with own.start("init", "--yes", "-o", "json", stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as running:
        assert running.stdout is not None
        cut, lines = False, []
        for line in running.stdout:
            lines.append(line)
            event = json.loads(line) if line.startswith('{"event": "Transferred"') else {}
            if not cut and event.get("machine") == "worker-0" and 0 < event["sent"] < event["total"] // 2:
                cut = inside("worker-0", "pkill", "-KILL", "-f", "sshd.*: ops").returncode == 0
    assert running.returncode == 0, "".join(lines[-20:])
    assert cut
    assert any("connecting again" in line for line in lines)

    assert set(own.nodes_ready()) == {"worker-0"}
    assert own.hardway("ssh", "worker-0", "--", "id", "-un").out.strip() == "ops"
    own.unchanged("init")
