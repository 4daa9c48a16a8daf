"""A member of etcd that lost its data: replaced by the command, and as docs/operate/etcd-member.md says it by hand."""

import re
from pathlib import Path

import pytest
from driving import REPOSITORY, Site
from load import counting

pytestmark = pytest.mark.lab

PAGE = REPOSITORY / "docs" / "operate" / "etcd-member.md"
LOST, HEALTHY = "controller-2", "controller-1"


def blocks(step: str) -> list[str]:
    """The commands of a section of the page, by the beginning of its title."""
    [section] = [one for one in re.split(r"^### ", PAGE.read_text(), flags=re.MULTILINE) if one.startswith(step)]
    return re.findall(r"^```\n(.*?)^```$", section, flags=re.MULTILINE | re.DOTALL)


def typed(site: Site, machine: str, *commands: str) -> str:
    return site.on(machine, "bash -eu <<'TYPED'\n" + "\n".join(commands) + "\nTYPED", timeout=120)


@pytest.mark.in_turn("members")
def test_a_wiped_member_is_replaced_as_the_page_says(seven: Site) -> None:
    cluster = seven.etcd_cluster_id("controller-0")
    before = seven.processes()
    seven.on(LOST, "systemctl stop etcd.service && rm -rf /var/lib/etcd/member")
    assert "its etcd data is gone" in seven.hardway("init", "--yes", code=1).out
    address = seven.machines[LOST]

    look = blocks("1.")[0].replace("etcdctl endpoint health --cluster", "etcdctl endpoint health --cluster || true")
    [identity] = re.findall(rf"\| +([0-9a-f]+) \| +started \| {LOST} ", typed(seven, HEALTHY, look))
    function, snapshot = look.partition("etcdctl member")[0], blocks("1.")[1]
    change = blocks("2.")[0].replace("a82801a54afb9171", identity).replace(" c2 ", f" {LOST} ")
    said = typed(seven, HEALTHY, function, snapshot, change.replace("10.247.0.12", address))
    [members] = re.findall(r"^ETCD_INITIAL_CLUSTER=.*$", said, flags=re.MULTILINE)

    join = re.sub(r"^ETCD_INITIAL_CLUSTER=.*$", members, blocks("3a.")[0], flags=re.MULTILINE)
    typed(seven, LOST, join)
    seven.init()
    health, listed = blocks("4.")[1].splitlines()
    assert typed(seven, HEALTHY, function, health).count("is healthy") == 3
    assert typed(seven, HEALTHY, function, listed).count("started") == 3
    assert seven.etcd_cluster_id(LOST) == cluster
    after = seven.processes()
    assert {name for name in before if before[name] != after[name]} == {(LOST, "etcd")}
    seven.on(HEALTHY, "rm /root/before.db")
    seven.unchanged("init")


@pytest.mark.in_turn("members")
def test_a_wiped_member_is_replaced_by_the_command_and_nobody_notices(seven: Site, tmp_path: Path) -> None:
    cluster = seven.etcd_cluster_id("controller-0")
    refused = seven.hardway("etcd", "replace", LOST, "--yes", code=1).out
    assert "serves" in refused
    seven.on(LOST, "systemctl stop etcd.service && rm -rf /var/lib/etcd/member")
    assert f"hardway etcd replace {LOST}" in seven.hardway("init", "--yes", code=1).out
    with counting(seven.workspace / "kubeconfig", tmp_path) as load:
        ran = seven.hardway("etcd", "replace", LOST, "--yes")
    print(f"replaced in {ran.seconds:.0f} s: {load}")
    assert (load.failed, load.lost, load.watch_gaps) == (0, [], []), str(load)
    assert seven.etcd_cluster_id(LOST) == cluster
    assert seven.etcd(HEALTHY, "member", "list").count(", started, ") == 3
    assert ", true" not in seven.etcd(HEALTHY, "member", "list")
    seven.unchanged("init")


@pytest.mark.in_turn("members")
def test_a_member_with_other_data_is_taken_away_and_joins_again(seven: Site) -> None:
    seven.hardway("lab", "break", "etcd-corrupt")
    said = seven.hardway("etcd", "alarm", code=1).out
    [name] = re.findall(r"^(\S+) raised CORRUPT", said, flags=re.MULTILINE)
    assert f"hardway etcd replace {name}" in said
    seven.hardway("etcd", "alarm", "--clear", "--yes")
    seven.kubectl("create", "namespace", "after-the-alarm")
    seven.kubectl("delete", "namespace", "after-the-alarm")
    seven.hardway("etcd", "replace", name, "--yes")
    assert seven.etcd(HEALTHY, "member", "list").count(", started, ") == 3
    assert "no alarm" in seven.hardway("etcd", "alarm").out
    seven.unchanged("init")
