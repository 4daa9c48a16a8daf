"""verify --offline and --by-hand on the command line, and a run that refuses what would not agree."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from test_cli_see import EMPTY
from typer.testing import CliRunner, Result

from hardway.cli import running, verify
from hardway.cli.app import app
from hardway.cli.options import Options
from hardway.cli.site import site
from hardway.declare import pki
from hardway.engine.blockers import Blocked, of_finding
from hardway.errors import DIFFERS, FAILED, HardwayError, UsageError
from hardway.preflight.preflight import refuse
from hardway.preview.page import plan_page
from hardway.preview.plan import Unobserved
from hardway.rules import Finding
from hardway.verify.agreement import Agreement, offline
from hardway.verify.page import verify_page
from hardway.verify.rules_page import rules_page
from hardway.verify.verification import Verification
from hardway.workspace import Workspace

INVENTORY = """\
cluster: pair
machines:
  head: {role: controller, address: 10.240.0.10}
  hand: {role: worker, address: 10.240.0.20}
"""
WRONG = "settings: {kubelet: {clusterDNS: [10.99.0.10], maxPod: 9}}\n"
NOW = datetime.now(UTC)
"""Certificates are judged by the time of day."""
FOUND = Finding("head", "some-rule", "it lacks something", "give it", "error", "it matters", symptom="dns: x509: no")
NONE = Agreement("pair", "declared", ("head", "hand"), ("some-rule",), (), {"head": "etcd", "hand": "kubelet"})


@pytest.fixture
def inventory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "hardway.yaml"
    path.write_text(INVENTORY)
    return path


def hardway(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def test_offline_finds_nothing_in_a_good_inventory_and_makes_nothing(inventory: Path) -> None:
    ran = hardway("verify", "--offline")
    assert ran.exit_code == 0
    assert "2 machines, before any contact" in " ".join(ran.output.split())
    assert list(inventory.parent.iterdir()) == [inventory]


def test_offline_tells_each_finding_and_ends_with_status_3(inventory: Path) -> None:
    inventory.write_text(INVENTORY + WRONG)
    ran = hardway("verify", "--offline")
    assert ran.exit_code == DIFFERS
    assert "error    cluster-dns  hand" in ran.output
    told = json.loads(hardway("verify", "--offline", "-o", "json").output)
    assert [(one["rule"], one["level"], one["machine"]) for one in told["findings"]] == [
        ("cluster-dns", "error", "hand"),
        ("unknown-field", "error", "hand"),
    ]


def test_a_run_refuses_to_begin_and_contacts_nobody(inventory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inventory.write_text(INVENTORY + WRONG)
    monkeypatch.setattr(running, "changing", None)
    ran = hardway("init")
    assert isinstance(ran.exception, HardwayError)
    assert "clusterDNS 10.99.0.10" in str(ran.exception)
    assert isinstance(ran.exception, Blocked)
    assert [one.kind for one in ran.exception.blockers] == ["lint:cluster-dns", "lint:unknown-field"]
    assert list(inventory.parent.iterdir()) == [inventory]


def test_what_a_run_would_issue_again_does_not_stop_it(inventory: Path) -> None:
    here = site(Options(inventory=inventory))
    workspace = Workspace.of(here.cluster, None)
    workspace.create()
    key = pki.new_key("ecdsa-p256")
    ca = pki.issue_ca(pki.CertificateSpec("kubernetes-ca", is_ca=True), key, NOW - timedelta(days=7))
    short = pki.CertificateSpec("system:kube-scheduler", usages=frozenset({"client"}), days=9)
    for name, content in {
        "ca.key": key,
        "ca.crt": ca,
        "kube-scheduler.key": key,
        "kube-scheduler.crt": pki.issue(short, key, ca, key, NOW - timedelta(days=7)),
    }.items():
        workspace.write(f"pki/{name}", content, 0o600)
    assert offline(here.cluster, here.state, here.workspace.values(), renewing=True).findings == ()
    told = json.loads(hardway("verify", "--offline", "-o", "json").output)["findings"]
    assert {(one["rule"], one["machine"]) for one in told} == {("expiring", "head")}


def test_a_folder_is_judged_without_any_machine(inventory: Path, tmp_path: Path) -> None:
    folder = tmp_path / "certificates"
    folder.mkdir()
    key = pki.new_key("ecdsa-p256")
    spec = pki.CertificateSpec("kubernetes", dns_names=("kubernetes",), addresses=("10.240.0.10",))
    (folder / "kubernetes.pem").write_bytes(pki.issue_ca(spec, key, NOW))
    (folder / "kubernetes-key.pem").write_bytes(pki.new_key("ecdsa-p256"))
    ran = hardway("verify", "--by-hand", "--offline", "--folder", str(folder), "-o", "json")
    assert ran.exit_code == DIFFERS
    assert {(one["rule"], one["machine"]) for one in json.loads(ran.output)["findings"]} == {
        ("api-server-names", "operator"),
        ("key-pair", "operator"),
    }


@pytest.mark.parametrize(
    "words", [("--by-hand", "--offline"), ("--by-hand", "--offline", "--folder", "no/such/folder")]
)
def test_by_hand_without_machines_needs_a_folder(inventory: Path, words: tuple[str, ...]) -> None:
    ran = hardway("verify", *words)
    assert isinstance(ran.exception, HardwayError)
    assert ran.exception.exit_code == 2


def test_a_folder_with_nothing_to_judge_is_told_with_what_was_looked_for(inventory: Path, tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    (folder / "notes.yaml").write_text("groceries: [milk]\n")
    ran = hardway("verify", "--by-hand", "--offline", "--folder", str(folder))
    assert isinstance(ran.exception, UsageError)
    assert "no certificate, key or kubeconfig" in ran.exception.what
    assert "*.pem, *.crt" in ran.exception.what
    assert "kubernetes.pem" in str(ran.exception.hint)


def test_the_next_move_repeats_what_was_given(inventory: Path, tmp_path: Path) -> None:
    folder = tmp_path / "some certificates"
    folder.mkdir()
    (folder / "kubernetes-key.pem").write_bytes(pki.new_key("ecdsa-p256"))
    spec = pki.CertificateSpec("kubernetes", dns_names=("kubernetes",))
    (folder / "kubernetes.pem").write_bytes(pki.issue_ca(spec, pki.new_key("ecdsa-p256"), NOW))
    again = hardway("verify", "-i", "hardway.yaml", "--by-hand", "--offline", "--folder", str(folder)).output
    assert again.endswith(f"Fixed?  hardway verify -i hardway.yaml --by-hand --offline --folder '{folder}'\n")
    assert hardway("verify", "-i", "hardway.yaml", "--offline").output.endswith("hardway plan -i hardway.yaml\n")
    assert hardway("verify", "--offline").output.endswith("  hardway plan\n")


@pytest.mark.parametrize(
    ("words", "what", "hint"),
    [
        (("--offline", "nochapter"), "no chapter is named 'nochapter'", "one of: hosts, certs"),
        (("--by-hand", "nochapter"), "no chapter is named 'nochapter'", "one of: hosts, certs"),
        (("--folder", "certificates"), "--folder goes with --by-hand", "verify --by-hand --folder certificates"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_asked(
    inventory: Path, words: tuple[str, ...], what: str, hint: str
) -> None:
    error = hardway("verify", *words).exception
    assert isinstance(error, UsageError)
    assert (error.what, hint in str(error.hint)) == (what, True)


def test_what_is_alike_on_several_machines_is_told_once() -> None:
    found = replace(NONE, findings=(FOUND, replace(FOUND, machine="hand")))
    assert rules_page(found, seconds=1.0) == [
        "error    some-rule  head hand",
        "         it lacks something",
        "  why    it matters",
        "  met in dns: x509: no",
        "  fix    give it",
        "",
        "1 rule across the artifacts of 2 machines, before any contact (1.0 s): 2 errors.",
        "",
        "hardway init refuses to begin while there are errors.",
    ]


def test_a_machine_that_was_not_seen_is_told_with_the_next_move(capsys: pytest.CaptureFixture[str]) -> None:
    gone = replace(NONE, made="by hand", unobserved=(Unobserved("hand", "no answer", "", "is it up?"),))
    assert rules_page(gone, seconds=1.0)[-2:] == ["Next", "  hardway preflight -l hand"]
    with pytest.raises(SystemExit) as ended:
        verify._tell(Options(), gone, 1.0)
    assert ended.value.code == FAILED
    assert "no answer" in capsys.readouterr().out


def test_plan_and_verify_tell_what_would_make_a_run_refuse() -> None:
    warning = replace(FOUND, machine="hand", level="warning")
    found = replace(EMPTY, blockers=(of_finding(FOUND),), findings=(warning,))
    lines = ["blocked  head: it lacks something (some-rule)", "         give it"]
    assert plan_page(found, seconds=1.0)[:2] == lines
    verification = Verification(found, (), 0)
    assert verify_page(verification, seconds=1.0)[:2] == lines
    assert (found.exit_code, verification.exit_code) == (FAILED, FAILED)
    assert replace(EMPTY, findings=(warning,)).exit_code == 0
    assert found.to_json()["blockers"][0]["kind"] == "lint:some-rule"


def test_warnings_do_not_refuse() -> None:
    refuse([replace(FOUND, level="warning")])
