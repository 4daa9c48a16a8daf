"""`hardway apply` and `init` from the command line to the exit status, on played machines; only dialling is played."""

import json
import re
from collections.abc import Callable

import pytest
from fake.cluster import PAIR, FakeCluster
from played_run import Commands

from hardway.state import State

CHAPTERS = ("certs", "kubeconfigs", "encryption")
"""Those whose proofs played machines can answer."""
CONFIG = "/etc/kubernetes/kubelet.conf"


@pytest.fixture
def hardway(
    built_cluster: Callable[[str], FakeCluster], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Commands:
    """Two machines that are as declared."""
    made = built_cluster(PAIR)
    made.init(("access",))  # the copied workspace's own path is in its ssh_config
    for machine in made.machines.values():
        machine.restored()
    return Commands(made, monkeypatch, capsys)


def drift(commands: Commands) -> str:
    """Somebody edits a file on hand; its content as declared."""
    hand = commands.cluster.machines["hand"]
    declared = hand.read(CONFIG)
    hand.write(CONFIG, f"{declared}# mine\n")
    return declared


def state(commands: Commands) -> tuple[dict[str, object], str]:
    """All that a run may change: every machine's files, and State."""
    machines = {name: one.tree() for name, one in commands.cluster.machines.items()}
    return dict(machines), commands.cluster.workspace().root.joinpath("state.json").read_text()


def events(out: str, kind: str) -> list[dict[str, object]]:
    return [one for one in map(json.loads, out.splitlines()) if one["event"] == kind]


def test_with_nothing_to_do_it_proves_and_ends_well(hardway: Commands) -> None:
    before = state(hardway)
    code, out, err = hardway("apply", *CHAPTERS, "-o", "json")
    assert (code, err) == (0, "")
    assert {one["holds"] for one in events(out, "Proved")} == {True}
    [end] = events(out, "RunFinished")
    assert (end["ok"], end["changed"], end["restarted"]) == (True, 0, 0)
    assert state(hardway) == before


def test_agreed_changes_are_made_proved_and_counted(hardway: Commands) -> None:
    declared = drift(hardway)
    code, out, err = hardway("apply", *CHAPTERS, "--yes", "-o", "json")
    assert (code, err) == (0, "")
    assert [(one["machine"], one["what"], one["verb"]) for one in events(out, "Changed")] == [
        ("hand", f"file:{CONFIG}", "update")
    ]
    [end] = events(out, "RunFinished")
    assert (end["ok"], end["changed"]) == (True, 1)
    assert hardway.cluster.machines["hand"].read(CONFIG) == declared
    # Every machine was locked before it was looked at.
    for machine in hardway.cluster.machines.values():
        assert machine.asked[machine.asked.index("lock") + 1] == "observe"


def test_in_a_pipe_changes_are_refused_with_the_command_that_agrees_to_just_these(hardway: Commands) -> None:
    declared = drift(hardway)
    before = state(hardway)
    code, _, err = hardway("apply", *CHAPTERS)
    assert code == 1
    assert "changes to a running cluster, and no terminal to ask on; nothing was changed" in " ".join(err.split())
    assert state(hardway) == before
    [expected] = re.findall(rf"hardway apply -i \S+ {' '.join(CHAPTERS)} --expect ([0-9a-f]{{12}})", err)
    assert hardway("apply", *CHAPTERS, "--expect", expected)[0] == 0
    assert hardway.cluster.machines["hand"].read(CONFIG) == declared


def test_another_plan_than_the_expected_one_changes_nothing(hardway: Commands) -> None:
    drift(hardway)
    before = state(hardway)
    code, out, _ = hardway("apply", *CHAPTERS, "--expect", "0123456789ab", "--yes", "-o", "json")
    assert code == 3
    assert [one["kind"] for one in events(out, "Failed")] == ["PlanChanged"]
    assert state(hardway) == before


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 1), ("", 1)])
def test_at_a_terminal_somebody_is_asked(hardway: Commands, answer: str, code: int) -> None:
    declared = drift(hardway)
    hardway.at_a_terminal(lambda: answer)
    ended, out, _ = hardway("apply", *CHAPTERS)
    assert (ended, out.count("Make these changes to the running cluster? [y/N]")) == (code, 1)
    assert (hardway.cluster.machines["hand"].read(CONFIG) == declared) == (answer == "y")


def test_an_unreachable_machine_ends_the_run_with_the_command_that_goes_on(hardway: Commands) -> None:
    hardway.away.add("hand")
    before = state(hardway)
    code, _, err = hardway("apply", *CHAPTERS, "--yes")
    assert code == 1
    assert re.search(rf"hardway apply -i \S+ {' '.join(CHAPTERS)} --skip-unreachable", err)
    assert state(hardway) == before
    assert "observe" not in hardway.cluster.machines["head"].asked


def test_without_an_unreachable_machine_all_else_is_done_and_the_status_says_so(hardway: Commands) -> None:
    head = hardway.cluster.machines["head"]
    path = "/etc/kubernetes/encryption-config.yaml"
    declared = head.read(path)
    head.write(path, "# mine\n")
    drift(hardway)
    hardway.away.add("hand")
    code, _, err = hardway("apply", *CHAPTERS, "--yes", "--skip-unreachable")
    assert code == 1
    assert "hand could not be reached and was skipped; all else is as declared" in " ".join(err.split())
    assert head.read(path) == declared
    assert hardway.cluster.machines["hand"].read(CONFIG).endswith("# mine\n")


def test_what_the_state_speaks_against_is_refused_before_anybody_is_contacted(hardway: Commands) -> None:
    before = state(hardway)
    hardway.cluster.rewrite("cluster: pair\n", "cluster: pair\nkubernetes: 1.35.6\n")
    code, out, _ = hardway("apply", *CHAPTERS, "--yes", "-o", "json")
    [failed] = events(out, "Failed")
    assert (code, failed["kind"]) == (1, "Blocked")
    assert state(hardway) == before
    assert [one.asked for one in hardway.cluster.machines.values()] == [[], []]


@pytest.mark.parametrize("flags", [("--yes",), ("--yes", "--skip-unreachable")])
def test_what_blocks_the_plan_ends_the_run_before_any_change(hardway: Commands, flags: tuple[str, ...]) -> None:
    drift(hardway)
    hardway.cluster.machines["head"].write("/var/lib/hardway/state.json", State("other", "feedfeedfeedfeed").to_json())
    before = state(hardway)
    code, out, _ = hardway("apply", *CHAPTERS, *flags, "-o", "json")
    [failed] = events(out, "Failed")
    assert (code, failed["kind"]) == (1, "Blocked")
    assert state(hardway) == before


def test_a_workspace_in_use_is_told_with_its_own_status(hardway: Commands) -> None:
    before = state(hardway)
    with hardway.cluster.workspace().lock("somebody else"):
        code, _, err = hardway("apply", *CHAPTERS, "--yes")
    assert (code, "is in use by somebody else" in err) == (4, True)
    assert state(hardway) == before
