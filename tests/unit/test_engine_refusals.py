"""What makes a run stop before it acts: everything by which a cluster or its keys could be lost."""

import re
import shutil
from collections.abc import Callable

import pytest
from fake.cluster import ONE, PAIR, FakeCluster
from refusing import kinds, refused

from hardway.artifacts.bundle import Bundle
from hardway.engine.blockers import Blocked
from hardway.engine.pending import Pending, pending
from hardway.state import State, advanced

NewCluster = Callable[[str], FakeCluster]


@pytest.fixture
def pair(built_cluster: NewCluster) -> FakeCluster:
    return built_cluster(PAIR)


def test_a_lost_workspace_is_never_made_anew(pair: FakeCluster) -> None:
    shutil.rmtree(pair.workspace().root)
    error = refused(pair)
    assert kinds(error) == [("lost-workspace", "head"), ("lost-workspace", "hand")]
    assert not (pair.workspace().root / "pki").exists()


def test_an_older_workspace_is_refused_with_both_generations(pair: FakeCluster) -> None:
    state = pair.state()
    head = pair.machines["head"]
    head.write("/var/lib/hardway/state.json", advanced(state, smoke_tested=7).to_json())
    error = refused(pair)
    assert kinds(error) == [("older-workspace", "head")]
    assert f"generation {state.generation}, the machine has {state.generation + 1}" in error.what


def test_a_newer_workspace_is_brought_to_the_machines(pair: FakeCluster) -> None:
    newer = advanced(pair.state(), smoke_tested=7)
    pair.workspace().save_state(newer)
    pair.init()
    assert State.from_json(pair.machines["hand"].read("/var/lib/hardway/state.json"), "hand") == newer


def test_a_machine_of_another_cluster_is_left_alone(pair: FakeCluster) -> None:
    other = State("other", "feedfeedfeedfeed")
    pair.machines["hand"].write("/var/lib/hardway/state.json", other.to_json())
    error = refused(pair)
    assert kinds(error) == [("other-cluster", "hand")]
    assert (error.machine, error.what) == ("hand", "belongs to another cluster, other (feedfeedfeedfeed)")
    assert "reset -l hand" in (error.hint or "")


def test_a_wiped_etcd_member_is_not_initialised_again(pair: FakeCluster) -> None:
    shutil.rmtree(pair.machines["head"].root / "var/lib/etcd")
    error = refused(pair)
    assert (error.machine, error.what[:22]) == ("head", "its etcd data is gone,")
    assert (pair.root / "net/initialised").read_text() == "head\n"


def test_an_etcd_that_nobody_here_knows_is_left_alone(new_cluster: NewCluster) -> None:
    made = new_cluster(ONE)
    (made.machines["solo"].root / "var/lib/etcd/member").mkdir(parents=True)
    error = refused(made)
    assert (error.machine, error.what) == ("solo", "holds an etcd in /var/lib/etcd that hardway did not make")


def test_machines_installed_anew_are_not_taken_for_the_living_cluster(
    pair: FakeCluster, new_cluster: NewCluster
) -> None:
    bare = new_cluster(PAIR)
    bare.machines, pair.machines = pair.machines, bare.machines
    assert "knows a running cluster, but none of these machines has ever seen it" in refused(pair).what


@pytest.mark.parametrize(
    ("old", "new", "waiting"),
    [
        ("cluster: pair\n", "cluster: pair\nkubernetes: 1.35.6\n",
         Pending("downgrade", "kubernetes", "1.36.4", "1.35.6")),
        ("cluster: pair\n", "cluster: pair\nnetwork: {service_cidr: 10.33.0.0/24}\n",
         Pending("fixed", "network.service_cidr", "10.32.0.0/24", "10.33.0.0/24")),
        ("cluster: pair\n", "cluster: pair\nnetwork: {cluster_domain: k8s.local}\n",
         Pending("fixed", "network.cluster_domain", "cluster.local", "k8s.local")),
        ("cluster: pair\n", "cluster: pair\nencryption: {provider: aescbc}\n",
         Pending("encryption", "encryption.provider", "secretbox", "aescbc", "hardway encryption rotate")),
        ("10.240.0.20", "10.240.0.21",
         Pending("address", "hand", "10.240.0.20", "10.240.0.21", "hardway node replace hand")),
        ("hand:", "foot:", Pending("removed", "hand", "worker", "", "hardway node remove hand --gone")),
        ("role: worker,", "role: [controller, worker],", Pending("became-controller", "hand", "worker", "controller")),
        ("role: worker, address: 10.240.0.20", "role: worker, address: 10.240.0.20, pod_cidr: 10.200.9.0/24",
         Pending("pod-cidr", "hand", "10.200.0.0/24", "10.200.9.0/24")),
    ],
)  # fmt: skip
def test_what_an_ordinary_run_must_not_change_is_named(pair: FakeCluster, old: str, new: str, waiting: Pending) -> None:
    pair.rewrite(old, new)
    if "controller, worker" in new:  # three, so that the inventory itself is right
        pair.rewrite("machines:\n", "endpoint: api.example.net\nmachines:\n")
        pair.inventory.write_text(pair.inventory.read_text() + "  more: {role: controller, address: 10.240.0.30}\n")
    error = refused(pair)
    assert pending(pair.cluster, pair.state())[0] == waiting
    assert f"pending:{waiting.kind}" in {one.kind for one in error.blockers}
    assert all(one.asked == [] for one in pair.machines.values())


def test_a_new_worker_is_no_disagreement(pair: FakeCluster) -> None:
    from fake.machine import FakeMachine

    pair.inventory.write_text(PAIR + "  foot: {role: worker, address: 10.240.0.21}\n")
    pair.machines["foot"] = FakeMachine("foot", pair.root / "foot", pair.root / "net")
    changed = {change.machine for change in pair.init().changes}
    assert "foot" in changed
    assert pair.machines["foot"].has("/fake/units/kubelet.service")
    assert pair.init().changes == []


def test_a_worker_installed_anew_is_built_again_by_itself(pair: FakeCluster) -> None:
    from fake.machine import FakeMachine

    pair.machines["hand"] = FakeMachine("hand", pair.root / "anew", pair.root / "net")
    assert {change.machine for change in pair.init(names=["hand"]).changes} == {"hand"}
    assert pair.init().changes == []


def test_a_limit_without_all_controllers_cannot_begin_etcd(new_cluster: NewCluster) -> None:
    made = new_cluster(PAIR)
    with pytest.raises(Blocked, match="head would be left out"):
        made.init(names=["hand"])
    assert made.init(["hosts"], names=["hand"]).changes
    assert made.workspace().load_state() is not None


class TestABundle:
    """What it lacks is found before a journal says that the run has begun: else the machine were bare no more."""

    @pytest.fixture
    def bare(self, new_cluster: NewCluster) -> FakeCluster:
        """Two machines of which one lacks a package, an inventory's own lock, and a bundle with nothing in it."""
        bare = new_cluster(PAIR)
        (bare.machines["hand"].root / "etc/protocols").unlink()
        bare.bundle = Bundle(bare.root / "site.tar.zst", bare.cluster.kubernetes, (), {})
        return bare

    def test_a_package_that_it_lacks_leaves_the_machines_as_they_were(self, bare: FakeCluster) -> None:
        error = refused(bare)
        assert kinds(error) == [("artifact", "hand")]
        assert "has no packages for debian-12" in error.what

    def test_so_does_a_file_that_the_lock_knows_and_nobody_has(self, bare: FakeCluster) -> None:
        shutil.rmtree(bare.store.root)
        error = refused(bare)
        assert [kind for kind, _ in kinds(error)] == ["artifact"]
        assert error.machine in bare.machines
        assert re.search(r"site\.tar\.zst has no \S+ [0-9.]+ for ", error.what)


def test_a_block_that_lost_its_end_stops_a_run_before_it_changes_anything(pair: FakeCluster) -> None:
    hosts = pair.machines["head"].read("/etc/hosts")
    pair.machines["head"].write("/etc/hosts", hosts.replace("# END hardway\n", "10.0.0.9 theirs\n"))
    error = refused(pair)
    assert kinds(error) == [("damaged-block", "head")]
    assert error.what.startswith("/etc/hosts: '# BEGIN hardway' and then '# END hardway' must stand there once each")


def test_a_folder_that_is_a_link_stops_a_run_before_it_changes_anything(pair: FakeCluster) -> None:
    folder = pair.machines["hand"].root / "var/lib/containerd"
    folder.rename(folder.with_name("elsewhere"))
    folder.symlink_to("elsewhere")
    error = refused(pair)
    assert kinds(error) == [("link", "hand")]
    assert error.what.startswith("/var/lib/containerd is a symbolic link")
