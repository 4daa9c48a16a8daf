"""A plan tells what a run would do, writes nothing, and is known again by its identifier."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from fake.cluster import ONE, PAIR, FakeCluster

from hardway.declare.phases import PHASE_NAMES
from hardway.engine.plan import expect
from hardway.errors import CommandFailed, HardwayError, PlanChanged, Unreachable
from hardway.preview.items import Item
from hardway.preview.page import command, plan_page
from hardway.preview.plan import Preview
from hardway.remote import Result

NewCluster = Callable[[str], FakeCluster]
API = "/etc/systemd/system/kube-apiserver.service"


@pytest.fixture
def built(built_cluster: NewCluster) -> NewCluster:
    """A cluster that stands, as it was built: the copied workspace's own path stands in its ssh_config."""

    def make(inventory: str) -> FakeCluster:
        cluster = built_cluster(inventory)
        cluster.init(("access",))
        return cluster

    return make


def plan(
    cluster: FakeCluster,
    phases: tuple[str, ...] = PHASE_NAMES,
    unreached: dict[str, HardwayError] | None = None,
) -> Preview:
    return cluster.plan(phases, unreached=unreached)


def steps(found: Preview) -> list[tuple[str, str, str]]:
    return [(one.machine, one.verb, one.key) for one in found.items]


def item(found: Preview, key: str, machine: str = "") -> Item:
    return next(one for one in found.items if one.key == key and machine in ("", one.machine))


def page(found: Preview) -> str:
    return "\n".join(plan_page(found, seconds=1.0))


def files(root: Path) -> dict[str, tuple[int, int, int]]:
    """Everything below a folder but the traces of the fake machine itself."""
    return {
        str(path): (stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns)
        for path in sorted(root.rglob("*"))
        if path.is_file() and "fake" not in path.relative_to(root).parts
        for stat in (path.stat(),)
    }


def test_on_bare_machines_a_plan_is_the_whole_build_and_writes_nothing(new_cluster: NewCluster) -> None:
    cluster = new_cluster(PAIR)
    before = files(cluster.root)
    found = plan(cluster)
    assert files(cluster.root) == before
    assert not cluster.workspace().root.exists()
    assert found.touched_phases == tuple(name for name in PHASE_NAMES if name not in ("load-balancer",))
    assert ("operator", "create", "key:pki/ca.key") in steps(found)
    assert item(found, "file:/etc/kubernetes/pki/ca.crt", "head").known_after == ("certs",)
    assert item(found, "file:/run/etcd/first-start.env").known_after == ("etcd",)
    assert item(found, "service:etcd.service").verb == "start"
    assert command(found) == "hardway init"
    assert max(len(line) for line in page(found).splitlines()) <= 80


def test_two_plans_of_the_same_bare_machines_are_one(new_cluster: NewCluster) -> None:
    cluster = new_cluster(PAIR)
    assert plan(cluster).identifier == plan(cluster).identifier


def test_a_run_before_it_acts_sees_the_plan_that_was_shown(new_cluster: NewCluster) -> None:
    cluster = new_cluster(ONE)
    shown = plan(cluster).identifier
    seen: list[str] = []
    cluster.init(review=lambda plan: seen.append(plan.identifier))
    assert seen == [shown]


def test_a_cluster_just_built_has_an_empty_plan_and_nothing_unmanaged(built: NewCluster) -> None:
    found = plan(built(PAIR))
    assert (found.items, found.unmanaged, found.blockers) == ((), {}, ())
    assert page(found).startswith("Nothing to do: 2 machines as declared.")


def test_a_flag_edited_by_hand_is_one_diff_and_one_restart(built: NewCluster) -> None:
    cluster = built(PAIR)
    head = cluster.machines["head"]
    head.write(API, head.read(API).replace("--anonymous-auth=false", "--anonymous-auth=true"))
    found = plan(cluster)
    assert steps(found) == [
        ("head", "update", f"file:{API}"),
        ("head", "restart", "service:kube-apiserver.service"),
    ]
    edited = item(found, f"file:{API}")
    assert edited.evidence[0].startswith("not as hardway wrote it; changed ")
    assert [line for line in edited.diff if line[0] in "+-"] == [
        "--- there",
        "+++ declared",
        "-  --anonymous-auth=true \\",
        "+  --anonymous-auth=false \\",
    ]
    assert item(found, "service:kube-apiserver.service").evidence[0].startswith("pid ")
    assert command(found) == "hardway apply control-plane -l head"


def test_only_the_chapters_asked_for_are_planned(built: NewCluster) -> None:
    cluster = built(PAIR)
    head = cluster.machines["head"]
    head.write(API, head.read(API) + "\n")
    assert plan(cluster, ("etcd",)).items == ()


def test_a_secret_shows_as_its_digest_and_nowhere_else(built: NewCluster) -> None:
    cluster = built(ONE)
    path = "/etc/kubernetes/scheduler.conf"
    solo = cluster.machines["solo"]
    solo.write(path, solo.read(path).replace("6443", "6444"))
    found = plan(cluster)
    assert item(found, f"file:{path}").evidence[1].startswith("secret: sha256:")
    assert item(found, f"file:{path}").diff == ()
    for line in solo.read(path).splitlines():
        if "-data:" in line:
            assert line.split()[-1] not in json.dumps(found.to_json()) + page(found)


def test_a_private_key_where_none_belongs_is_not_shown(built: NewCluster) -> None:
    cluster = built(ONE)
    solo = cluster.machines["solo"]
    solo.write("/etc/kubernetes/audit-policy.yaml", solo.read("/etc/kubernetes/pki/ca-signing.key"))
    found = item(plan(cluster), "file:/etc/kubernetes/audit-policy.yaml")
    assert found.evidence[-1] == "holds a private key, which is not shown"
    assert found.diff == ()


def test_a_certificate_that_lies_there_is_compared_in_words(built: NewCluster) -> None:
    cluster = built(ONE)
    solo = cluster.machines["solo"]
    pki = "/etc/kubernetes/pki"
    solo.write(f"{pki}/kube-apiserver.crt", solo.read(f"{pki}/apiserver-kubelet-client.crt"))
    told = item(plan(cluster), f"file:{pki}/kube-apiserver.crt").evidence
    assert "CN is kube-apiserver-kubelet-client, should be kube-apiserver" in told


def test_a_name_more_in_a_certificate_is_known_after_certs(built: NewCluster) -> None:
    cluster = built(ONE)
    cluster.rewrite("machines:", "certs: {extra_sans: [api.example.net]}\nmachines:")
    found = plan(cluster)
    operator = item(found, "certificate:pki/kube-apiserver.crt")
    assert (operator.machine, operator.verb) == ("operator", "update")
    assert operator.evidence == ("DNS name api.example.net is missing",)
    there = item(found, "file:/etc/kubernetes/pki/kube-apiserver.crt")
    assert (there.verb, there.known_after) == ("update", ("certs",))


def test_a_build_that_nobody_accepted_is_told_by_version_and_digest(built: NewCluster) -> None:
    cluster = built(ONE)
    cluster.machines["solo"].write("/usr/local/bin/crictl", "#!/bin/sh\n")
    found = item(plan(cluster), "binary:/usr/local/bin/crictl")
    assert found.before.startswith("a build that nobody accepted (sha256:")
    assert found.after.startswith("crictl 1.36.0 (sha256:")


def test_what_the_living_cluster_cannot_become_is_pending_and_not_raised(built: NewCluster) -> None:
    cluster = built(ONE)
    cluster.rewrite("machines:", "network: {cluster_domain: other.local}\nmachines:")
    found = plan(cluster)
    assert [one.kind for one in found.blockers] == ["pending:fixed"]
    assert "pending  network.cluster_domain" in page(found)
    assert command(found) == ""
    assert "Do it" not in page(found)


def test_without_a_ledger_what_is_as_declared_is_unowned_and_no_change(built: NewCluster) -> None:
    cluster = built(ONE)
    solo = cluster.machines["solo"]
    (solo.root / "var/lib/hardway/journal.jsonl").unlink()
    found = plan(cluster)
    assert found.items == ()
    assert f"file:{API}" in found.unmanaged["solo"]
    solo.write("/etc/crictl.yaml", "mine\n")
    found = plan(cluster)
    assert found.conflicts == {"solo": ("/etc/crictl.yaml",)}
    assert command(found) == ""
    assert "hardway plan --adopt" in page(found)
    assert command(cluster.plan(adopt=True)) == "hardway apply workers --adopt"


def test_a_lost_workspace_shows_as_a_refusal(built: NewCluster) -> None:
    cluster = built(ONE)
    (cluster.workspace().root / "pki/ca.key").unlink()
    assert [one.kind for one in plan(cluster).blockers] == ["lost-key"]


def test_a_machine_that_does_not_answer_leaves_the_others_to_be_seen(built: NewCluster) -> None:
    cluster = built(PAIR)
    head = cluster.machines["head"]
    head.write(API, head.read(API) + "\n")

    def refuse(script: str, *, timeout: float, what: str, check: bool = True) -> Result:
        raise CommandFailed("its disk does not answer", machine="hand")

    cluster.machines["hand"].run = refuse  # type: ignore[method-assign]
    found = plan(cluster)
    assert [one.machine for one in found.unobserved] == ["hand"]
    assert ("head", "update", f"file:{API}") in steps(found)
    assert "not seen hand: its disk does not answer" in page(found)


def test_a_machine_that_could_not_be_reached_is_told_with_its_next_move(built: NewCluster) -> None:
    cluster = built(PAIR)
    gone = cluster.machines["hand"]
    failures: dict[str, HardwayError] = {"hand": Unreachable("no answer", machine="hand", hint="is it up?")}
    found = cluster.plan(names=["head"], unreached=failures)
    assert [one.machine for one in found.unobserved] == [gone.name]
    assert "hardway preflight -l hand" in page(found)


def test_components_of_which_no_digest_is_accepted_are_named(new_cluster: NewCluster) -> None:
    cluster = new_cluster(ONE)
    (cluster.root / "artifacts.lock").unlink()
    assert "etcd 3.6.14" in plan(cluster).to_get


def test_a_beginning_of_the_identifier_is_enough_but_not_too_little() -> None:
    expect("0123456789AB", "0123456789abcdef")
    for wrong in ("0123", "fedcba98", ""):
        with pytest.raises(PlanChanged) as caught:
            expect(wrong, "0123456789abcdef")
        assert caught.value.exit_code == 3
