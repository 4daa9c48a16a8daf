"""What belongs to the operating system and to the kernel: read, compared, and given back."""

from typing import Any

import pytest

from hardway.declare.resources import (
    KINDS,
    Absent,
    Context,
    Difference,
    Hostname,
    Module,
    Observed,
    Package,
    Present,
    Resource,
    Routes,
    SwapOff,
    Sysctl,
    Unknown,
    User,
)

CONTEXT = Context("m")
FORWARD = Sysctl("net.ipv4.ip_forward", "1")
WATCHES = Sysctl("fs.inotify.max_user_watches", "524288", at_least=True)
ROUTE = Routes((("10.200.1.0/24", "10.240.0.21"),))
NAME = Hostname("w0")


def seen(resource: Resource, said: str) -> Observed:
    return type(resource).parse([resource], said)[resource.key]


@pytest.mark.parametrize(
    ("resource", "said", "why"),
    [
        (FORWARD, "/proc/sys/net/ipv4/ip_forward:1\n", None),
        (FORWARD, "/proc/sys/net/ipv4/ip_forward:0\n", "is 0"),
        (FORWARD, "", "is not there"),
        (Sysctl("a.b", "1 2"), "/proc/sys/a/b:1\t2\n", None),
        (WATCHES, "/proc/sys/fs/inotify/max_user_watches:1048576\n", None),
        (WATCHES, "/proc/sys/fs/inotify/max_user_watches:8192\n", "is 8192"),
        (Module("overlay", "/proc/filesystems overlay"), "overlay\n", None),
        (Module("overlay", "/proc/filesystems overlay"), "br_netfilter\n", "is not loaded"),
        (SwapOff(), "", None),
        (SwapOff(), "used /dev/vda2 partition 1 0 -2\nunit dev-vda2.swap\n",
         "used /dev/vda2 partition 1 0 -2; unit dev-vda2.swap"),
        (ROUTE, "10.200.1.0/24 via 10.240.0.21 dev eth0 proto static\n", None),
        (ROUTE, "default via 10.240.0.21 dev eth0\n10.200.0.0/24 dev cni0 scope link\n", "is not there"),
        (ROUTE, "10.200.1.0/24 via 10.240.0.99 dev eth0\n", "10.200.1.0/24 goes via 10.240.0.99"),
        (ROUTE, "10.200.1.0/24 dev cni0 proto kernel\n", "10.200.1.0/24 goes dev cni0 proto kernel"),
        (Package("kmod", "modprobe"), "modprobe\nnft\n", None),
        (Package("kmod", "modprobe"), "nft\n", "is not installed"),
        (NAME, "w0\nw0\n", None),
        (NAME, "debian\nw0\n", "is debian, and w0 after a reboot"),
        (NAME, "w0\n", "is w0, and unset after a reboot"),
        (User("etcd", "/var/lib/etcd"), "etcd:x:998:998::/var/lib/etcd:/usr/sbin/nologin\n", None),
        (User("etcd", "/var/lib/etcd"), "", "is not there"),
    ],
)  # fmt: skip
def test_what_was_said_is_compared_with_what_is_declared(resource: Resource, said: str, why: str | None) -> None:
    difference = resource.diff(seen(resource, said), CONTEXT)
    assert (difference and difference.why) == why


@pytest.mark.parametrize("resource", [FORWARD, ROUTE, NAME, SwapOff(), Package("a", "a"), Module("a", "/a")])
def test_what_was_not_seen_is_left_alone(resource: Resource) -> None:
    assert resource.diff(Unknown("no answer"), CONTEXT) is None


@pytest.mark.parametrize(
    ("resource", "observed", "undone"),
    [
        (FORWARD, Present("0"), "sysctl -q -w net.ipv4.ip_forward=0 || true"),
        (FORWARD, Absent(), ""),
        (NAME, Present(("debian", "debian")), "printf '%s\\n' debian >/etc/hostname; "
         "hostnamectl set-hostname -- debian 2>/dev/null || hostname debian"),
        (User("etcd", "/"), Absent(), "userdel -- etcd 2>/dev/null || true"),
        (User("etcd", "/"), Present(), ""),
        (Package("kmod", "modprobe"), Absent(), ""),
        (SwapOff(), Present(("used x", "unit dev-vda2.swap")),
         "systemctl unmask --quiet -- dev-vda2.swap || true\nswap_back"),
        (SwapOff(), Present(("used x",)), "swap_back"),
        (ROUTE, Absent(), "ip route del 10.200.1.0/24 proto static 2>/dev/null || true"),
    ],
)  # fmt: skip
def test_a_reset_gives_back_what_was_there_before(resource: Resource, observed: Observed, undone: str) -> None:
    assert KINDS[resource.kind].undo(resource.name, resource.entry(observed, CONTEXT)) == undone


@pytest.mark.parametrize(
    ("resource", "first", "now"),
    [
        (FORWARD, Present("0"), Present("1")),
        (NAME, Present(("debian", "debian")), Present(("w0", "w0"))),
        (User("etcd", "/"), Absent(), Present()),
        (SwapOff(), Present(("unit dev-vda2.swap",)), Absent()),
        (Package("kmod", "modprobe"), Absent(), Present()),
    ],
)
def test_a_second_run_still_knows_what_was_there_before_the_first(
    resource: Resource, first: Observed, now: Observed
) -> None:
    entry: dict[str, Any] = resource.entry(first, CONTEXT)
    assert resource.entry(now, Context("m", noted={resource.key: entry})) == entry


TABLE = Routes((("10.200.1.0/24", "10.240.0.21"), ("10.200.2.0/24", "10.240.0.22")))
OTHERS = "default via 10.240.0.1 dev eth0\n10.200.0.0/24 dev cni0 scope link\n10.9.0.0/16 via 10.240.0.1 proto static\n"


def test_of_a_table_the_routes_that_differ_are_named_and_no_other_is_set() -> None:
    observed = seen(TABLE, OTHERS + "10.200.1.0/24 via 10.240.0.21\n10.200.9.0/24 via 10.240.0.29 proto static\n")
    noted = {TABLE.key: {"routes": ["10.200.1.0/24", "10.200.9.0/24", "10.200.8.0/24"]}}
    context = Context("m", noted=noted)
    difference = TABLE.diff(observed, context)
    assert difference == Difference(
        "update",
        "10.200.2.0/24 is not there; 10.200.9.0/24 is no longer declared",
        "10.200.9.0/24 via 10.240.0.29",
        "10.200.2.0/24 via 10.240.0.22",
    )
    assert TABLE.steps(difference, context).splitlines() == [
        "ip route del 10.200.9.0/24 proto static 2>/dev/null || true",
        "ip route replace 10.200.2.0/24 via 10.240.0.22 proto static",
    ]
    assert TABLE.entry(observed, context) == {"routes": ["10.200.1.0/24", "10.200.2.0/24", "10.200.9.0/24"]}


def test_a_table_of_which_nothing_is_there_is_told_in_one_number() -> None:
    difference = TABLE.diff(seen(TABLE, OTHERS), CONTEXT)
    assert difference == Difference("create", "is not there", "", "2 routes")
    assert TABLE.steps(difference, CONTEXT).count("ip route replace") == 2


def test_every_kind_is_found_by_its_name() -> None:
    assert {name: kind.kind for name, kind in KINDS.items()} == {name: name for name in KINDS}
