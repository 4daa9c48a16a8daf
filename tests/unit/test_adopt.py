"""A cluster that hardway did not make, or whose journals were lost: known again, and taken over when told."""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
from fake.cluster import PAIR, FakeCluster

from hardway.declare.phases import PHASE_NAMES
from hardway.engine import adopt
from hardway.engine.blockers import Blocked
from hardway.engine.observe import observe
from hardway.engine.session import Session
from hardway.errors import HardwayError
from hardway.preflight.preflight import preflight
from hardway.preview.page import plan_page
from hardway.preview.plan import Preview
from hardway.probe.script import Answer, Answers


def otherwise(ours: str, theirs: str) -> dict[str, str]:
    """SAID with something else in it."""
    return {name: text.replace(ours, theirs) for name, text in SAID.items()}


def read(texts: Mapping[str, str]) -> adopt.Found:
    return adopt.read(Answers({name: Answer(0, text.encode()) for name, text in texts.items()}))


NewCluster = Callable[[str], FakeCluster]
ETCD = "/etc/systemd/system/etcd.service"

SAID = {
    "members": "8e9e05c52164694d, started, head, https://10.240.0.10:2380, https://10.240.0.10:2379, false\n",
    "args": "@etcd\n/usr/local/bin/etcd\n--name=head\n"
    "@kube-apiserver\nkube-apiserver\n--service-cluster-ip-range=10.32.0.0/24\n"
    "--service-account-issuer=https://kubernetes.default.svc.cluster.local\n"
    "@kube-controller-manager\nkube-controller-manager\n--cluster-cidr=10.200.0.0/16\n",
    "version": "Kubernetes v1.36.4\n",
    "providers": "secretbox\nidentity\n",
}
"""What the controller of PAIR answers to the question who made its cluster."""


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Callable[[Mapping[str, str]], None]:
    """Puts words into the controllers' mouths; without it they say SAID."""

    def says(texts: Mapping[str, str]) -> None:
        def ask(session: Session, name: str) -> adopt.Found:
            return read(texts)

        monkeypatch.setattr(adopt, "ask", ask)

    says(SAID)
    return says


@pytest.fixture
def typed(built_cluster: NewCluster, answer: Callable[[Mapping[str, str]], None]) -> FakeCluster:
    """Two machines as a person leaves them: no journal, no State."""
    made = built_cluster(PAIR)
    made.init(("access",))  # the copied workspace's own path stands in its ssh_config
    for one in made.machines.values():
        shutil.rmtree(one.root / "var/lib/hardway")
    (made.workspace().root / "state.json").unlink()
    return made


def plan(made: FakeCluster, phases: tuple[str, ...] = PHASE_NAMES) -> Preview:
    return made.plan(phases)


def test_what_the_processes_say_is_read() -> None:
    found = read(SAID)
    assert found.members == {"head": "https://10.240.0.10:2380"}
    assert found.flags["etcd", "name"] == "head"
    assert (found.version, found.provider) == ("1.36.4", "secretbox")
    assert read({}).members == {}


def test_the_first_provider_is_the_one_that_writes() -> None:
    assert read({"providers": "aescbc\nidentity\n"}).provider == "aescbc"


def test_an_issuer_of_ones_own_says_nothing_about_the_domain() -> None:
    born = {
        issuer: adopt.fixed(read({"args": f"@kube-apiserver\nkube-apiserver\n--service-account-issuer={issuer}\n"}))
        for issuer in ("https://kubernetes.default.svc.corp.example", "https://oidc.example.net")
    }
    assert list(born.values()) == [{"network.cluster_domain": "corp.example"}, {}]


def test_a_typed_cluster_is_as_declared_and_unmanaged(typed: FakeCluster) -> None:
    before = {name: one.tree() for name, one in typed.machines.items()}
    found = plan(typed)
    assert (found.items, [one.kind for one in found.blockers]) == ((), ["unmanaged-cluster"])
    assert f"file:{ETCD}" in found.unmanaged["head"]
    assert set(found.unmanaged) == {"head", "hand"}
    assert "hardway apply --adopt" in "\n".join(plan_page(found, seconds=1))
    assert {name: one.tree() for name, one in typed.machines.items()} == before
    assert typed.workspace().load_state() is None


def test_a_run_leaves_a_typed_cluster_alone_and_names_the_next_move(typed: FakeCluster) -> None:
    before = {name: one.tree() for name, one in typed.machines.items()}
    with pytest.raises(HardwayError) as caught:
        typed.init()
    assert "a cluster runs on head, hand that hardway did not make" in caught.value.what
    assert "hardway apply --adopt" in (caught.value.hint or "")
    assert {name: one.tree() for name, one in typed.machines.items()} == before
    assert typed.workspace().load_state() is None


def test_adopting_notes_everything_and_restarts_nothing(typed: FakeCluster) -> None:
    outcome = typed.init(adopt=True)
    assert outcome.changes == []
    assert outcome.adopted > 50
    state = typed.state()
    assert (state.etcd, state.etcd_token, state.kubernetes) == ("initialized", "", "1.36.4")
    assert state.fixed["network.pod_cidr"] == "10.200.0.0/16"
    assert state.nodes["hand"].pod_cidr == "10.200.0.0/24"
    assert plan(typed).unmanaged == {}
    journal = typed.machines["head"].read("/var/lib/hardway/journal.jsonl")
    keys = [json.loads(line).get("key") for line in journal.splitlines()]
    assert f"file:{ETCD}" in keys and "user:etcd" in keys
    again = typed.init(adopt=True)
    assert (again.changes, again.adopted) == ([], 0)
    # It is taken away with the rest, as if it had been ours from the first day.
    assert (typed.root / "net/initialised").read_text() == "head\n"


def test_a_file_that_differs_is_overwritten_by_adopting_alone(typed: FakeCluster) -> None:
    typed.machines["hand"].write("/etc/crictl.yaml", "mine\n")
    assert plan(typed).conflicts == {"hand": ("/etc/crictl.yaml",)}
    with pytest.raises(HardwayError):
        typed.init()
    assert typed.machines["hand"].read("/etc/crictl.yaml") == "mine\n"
    assert [change.key for change in typed.init(adopt=True).changes] == ["file:/etc/crictl.yaml"]


@pytest.mark.parametrize(
    "said",
    [
        {},
        otherwise("started, head", "started, other"),
        otherwise("started, head", "unstarted, "),
        {
            **SAID,
            "members": f"{SAID['members']}1, started, second, https://10.0.0.11:2380, https://10.0.0.11:2379, false\n",
        },
    ],
    ids=["silent", "another name", "unstarted", "one more"],
)
def test_an_etcd_that_is_not_the_inventory_s_is_never_taken_for_it(
    typed: FakeCluster, answer: Callable[[Mapping[str, str]], None], said: Mapping[str, str]
) -> None:
    answer(said)
    assert ["holds an etcd" in one.what for one in plan(typed).refusals] == [True]
    with pytest.raises(HardwayError, match="that hardway did not make"):
        typed.init(adopt=True)


def test_a_cluster_of_another_ca_is_not_asked(typed: FakeCluster, answer: Callable[[Mapping[str, str]], None]) -> None:
    ca = typed.workspace().root / "pki/ca.crt"
    ca.write_bytes(ca.read_bytes() + b"\n")
    assert "holds an etcd" in plan(typed).refusals[0].what


@pytest.mark.parametrize(
    ("ours", "theirs", "kind"),
    [
        ("10.32.0.0/24", "10.96.0.0/12", "pending:fixed"),
        ("Kubernetes v1.36.4", "Kubernetes v1.35.6", "pending:upgrade"),
        ("secretbox", "aescbc", "pending:encryption"),
    ],
)
def test_what_a_cluster_was_born_with_is_found_out_and_not_overwritten(
    typed: FakeCluster, answer: Callable[[Mapping[str, str]], None], ours: str, theirs: str, kind: str
) -> None:
    answer(otherwise(ours, theirs))
    assert [one.kind for one in plan(typed).refusals] == [kind]
    with pytest.raises(Blocked) as caught:
        typed.init(adopt=True)
    assert [one.kind for one in caught.value.blockers] == [kind]


def test_an_etcd_typed_into_a_cluster_that_hardway_began_is_not_begun_again(
    new_cluster: NewCluster, answer: Callable[[Mapping[str, str]], None]
) -> None:
    made = new_cluster(PAIR)
    made.init(("hosts", "certs", "kubeconfigs", "encryption"))
    made.init(("hosts", "certs", "kubeconfigs", "encryption", "etcd"))
    state = made.state()
    session = made.session()
    session.workspace.save_state(replace(state, etcd="absent", etcd_token="", generation=state.generation + 1))
    assert [one.key for one in plan(made, ("etcd",)).items] == []
    made.init(("etcd",))
    assert (made.state().etcd, made.state().etcd_token) == ("initialized", "")


def test_lost_journals_are_told_from_another_cluster(built_cluster: NewCluster) -> None:
    made = built_cluster(PAIR)
    made.init(("access",))
    for one in made.machines.values():
        shutil.rmtree(one.root / "var/lib/hardway")
    with pytest.raises(HardwayError) as caught:
        made.init()
    assert "whose journals were lost" in caught.value.what
    outcome = made.init(adopt=True)
    assert outcome.changes == [] and outcome.adopted > 50
    assert made.init().changes == []


def test_preflight_knows_its_own_machines_without_their_journals(built_cluster: NewCluster) -> None:
    made = built_cluster(PAIR)
    made.init(("access",))
    shutil.rmtree(made.machines["hand"].root / "var/lib/hardway")
    session = made.session()
    outcome = made.init(("access",))
    views = observe(session, outcome.declaration, session.machines)
    lost = [one for one in preflight(session, views, session.cluster) if one.rule == "journal"]
    assert [(one.machine, one.level) for one in lost] == [("hand", "error")]
    assert "hardway apply --adopt" in lost[0].fix
    adopting = preflight(session, views, session.cluster, adopting=True)
    assert [one for one in adopting if one.rule in ("journal", "other-cluster", "ports")] == []
