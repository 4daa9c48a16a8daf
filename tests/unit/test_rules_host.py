"""What the preflight script prints is read into values; and the script itself runs in any POSIX sh."""

import socket
import subprocess
from ipaddress import IPv4Address, IPv4Network

from hardway.probe import host
from hardway.probe.host import CloudInit, Filter
from hardway.probe.network import Listener, Route
from hardway.probe.script import answers, script
from hardway.probe.units import UnitState

NONCE = "NONCE"

ANSWER = """
NONCE addresses
1: lo    inet 127.0.0.1/8 scope host lo\\       valid_lft forever preferred_lft forever
2: eth0    inet 192.0.2.20/24 brd 192.0.2.255 scope global eth0\\       valid_lft forever preferred_lft forever

NONCE links
1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN\\    link/loopback
2: eth0@if5: <BROADCAST,UP> mtu 1420 qdisc noqueue state UP\\    link/ether

NONCE routes
default via 192.0.2.1 dev eth0 proto static
192.0.2.0/24 dev eth0 proto kernel scope link src 192.0.2.20
blackhole 10.99.0.0/16
203.0.113.9 via 192.0.2.1 dev eth0

NONCE ports
LISTEN 0      128                *:22               *:*    users:(("sshd",pid=60,fd=4))
LISTEN 0      4096       127.0.0.1:2381       0.0.0.0:*    users:(("etcd",pid=353,fd=9))
LISTEN 0      128             [::]:6443          [::]:*
LISTEN 0      4096   127.0.0.53%lo:53         0.0.0.0:*    users:(("systemd-resolve",pid=50,fd=17))

NONCE units
Id=kubelet.service
LoadState=loaded
ActiveState=activating

Id=etcd.service
LoadState=not-found
ActiveState=inactive

Id=docker.service
LoadState=loaded
ActiveState=inactive

NONCE traces
/etc/kubernetes/admin.conf

NONCE firewall
table ip filter {
	chain INPUT {
		type filter hook input priority filter; policy accept;
	}
	chain FORWARD {
		type filter hook forward priority filter; policy drop;
	}
}
-P INPUT DROP
-P OUTPUT DROP

NONCE manager
ufw

NONCE reached
192.0.2.10 6443 open
192.0.2.10 2379 silent

NONCE cgroups
cpuset cpu io memory pids

NONCE features
br_netfilter

NONCE resolver
# made by hand
nameserver 192.0.2.1
nameserver
search example.net

NONCE cloud-init
on
/etc/cloud/cloud.cfg:preserve_hostname: false
/etc/cloud/cloud.cfg.d/50-site.cfg:manage_etc_hosts: "localhost"
/var/lib/cloud/instance/cloud-config.txt:manage_etc_hosts: True

NONCE left-alone
unmanaged-devices=interface-name:cni*

NONCE nm-cloud-setup
disabled
enabled

NONCE mounts
/usr/local/bin rw,relatime
/var/lib rw,nosuid,noexec

NONCE disks
on Available
/var 4
/var/lib/etcd 8388608

NONCE downloads-by
apt-helper
certificates

NONCE names
c0.example.net 192.0.2.10
w0.example.net
"""


def test_an_answer_is_read() -> None:
    assert host.parse(answers(ANSWER.encode(), NONCE)) == host.Host(
        addresses=frozenset({IPv4Address("127.0.0.1"), IPv4Address("192.0.2.20")}),
        mtus={IPv4Address("127.0.0.1"): 65536, IPv4Address("192.0.2.20"): 1420},
        routes=(
            Route(IPv4Network("0.0.0.0/0"), "default via 192.0.2.1 dev eth0 proto static", "192.0.2.1"),
            Route(IPv4Network("192.0.2.0/24"), "192.0.2.0/24 dev eth0 proto kernel scope link src 192.0.2.20"),
            Route(IPv4Network("10.99.0.0/16"), "blackhole 10.99.0.0/16"),
            Route(IPv4Network("203.0.113.9/32"), "203.0.113.9 via 192.0.2.1 dev eth0", "192.0.2.1"),
        ),
        listening=(
            Listener(22, "*", "sshd", 60),
            Listener(2381, "127.0.0.1", "etcd", 353),
            Listener(6443, "[::]"),
            Listener(53, "127.0.0.53%lo", "systemd-resolve", 50),
        ),
        units={
            "kubelet": UnitState("loaded", "activating"),
            "docker": UnitState("loaded", "inactive"),
        },
        traces=("/etc/kubernetes/admin.conf",),
        filters=(Filter("input", "ip filter INPUT", False), Filter("forward", "ip filter FORWARD", True)),
        ruleset=ANSWER.partition("NONCE firewall\n")[2].partition("\nNONCE")[0].rstrip("\n"),
        manager="ufw",
        reached={("192.0.2.10", 6443): "open", ("192.0.2.10", 2379): "silent"},
        cgroups=frozenset({"cpuset", "cpu", "io", "memory", "pids"}),
        missing_features=("br_netfilter",),
        nameservers=("192.0.2.1",),
        names={"c0.example.net": "192.0.2.10", "w0.example.net": ""},
        cloud_init=CloudInit("true", "/var/lib/cloud/instance/cloud-config.txt", "false"),
        left_alone="unmanaged-devices=interface-name:cni*",
        nm_cloud_setup=True,
        mounts={"/usr/local/bin": frozenset({"rw", "relatime"}), "/var/lib": frozenset({"rw", "nosuid", "noexec"})},
        disks={"/var/lib/etcd": 8388608},
        downloads_by=frozenset({"apt-helper", "certificates"}),
    )


def test_an_empty_answer_is_a_machine_of_which_nothing_is_known() -> None:
    assert host.parse(answers(b"", NONCE)) == host.Host()


def test_the_script_runs_as_the_root_shell_runs_it_and_finds_what_is_missing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_server(("127.0.0.1", 0)) as other:
        opened, closed = server.getsockname(), other.getsockname()
        other.close()
        names = ["localhost", "no-such-host.invalid"]
        asked = script(host.questions({"there": "true", "missing_one": "false"}, names, [opened, closed]), NONCE)
        done = subprocess.run(["sh", "-eu", "-c", asked], capture_output=True, text=True, check=True)
    seen = host.parse(answers(done.stdout.encode(), NONCE))
    assert seen.reached == {opened: "open", closed: "refused"}
    assert (seen.missing_features, seen.names["localhost"]) == (("missing_one",), "127.0.0.1")
    assert seen.names["no-such-host.invalid"] == ""
    assert {folder for folder, options in seen.mounts.items() if "rw" in options} == set(host.FOLDERS)
    assert done.stderr == ""


CHAINS = """
NONCE firewall
table inet filter {
	chain input {
		type filter hook input priority filter; policy accept;
		reject
	}
	chain output {
		type filter hook output priority filter; policy drop;
	}
}
table ip6 filter {
	chain INPUT {
		type filter hook input priority filter; policy drop;
	}
}
table ip nat {
	chain INPUT {
		type nat hook input priority 100; policy accept;
	}
}
"""


def test_only_chains_that_ipv4_packets_pass_count() -> None:
    assert host.parse(answers(CHAINS.encode(), NONCE)).filters == (Filter("input", "inet filter input", False),)


def test_without_nft_iptables_says_what_it_drops() -> None:
    assert host.parse(answers(b"\nNONCE firewall\n-P INPUT ACCEPT\n-P FORWARD DROP\n", NONCE)).filters == (
        Filter("input", "", False),
        Filter("forward", "", True),
    )
