"""A walk to its end: once by applying, once by typing what explain prints, as a person who reads and answers."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from driving import Labs, Site, renamed

from hardway.declare.phases import PHASE_NAMES

pytestmark = pytest.mark.lab


class Walker:
    """`hardway walk -o json` with somebody who answers; every event it told is kept."""

    def __init__(self, site: Site, *words: str) -> None:
        self.process = site.start("walk", "-o", "json", *words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.events: list[dict[str, Any]] = []

    def questions(self) -> Iterator[dict[str, Any]]:
        """Each question when it is asked; the walk waits for `answer` meanwhile."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.events.append(json.loads(line))
            if self.events[-1]["event"] == "Asked":
                yield self.events[-1]

    def answer(self, word: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()

    def told(self, part: str) -> list[str]:
        return ["\n".join(one["lines"]) for one in self.events if one.get("part") == part]

    @property
    def walked(self) -> dict[str, str]:
        return {one["phase"]: one["how"] for one in self.events if one["event"] == "Walked"}


def one_machine(labs: Labs, cluster: str) -> Site:
    """One machine that is everything, as it was booted."""
    return labs.fresh(labs.make(cluster, renamed("single.yaml", cluster)))


@pytest.mark.in_turn("walks")
def test_a_walk_by_applying_builds_the_cluster_and_a_second_one_tours_it(labs: Labs) -> None:
    bare = one_machine(labs, "hwtest-walk")
    first = bare.hardway("walk", "--yes", "-o", "json")
    walked = {one["phase"]: one["how"] for one in first.events if one["event"] == "Walked"}
    # With one controller there is nothing to balance.
    tours = {"preflight": "toured", "load-balancer": "toured"}
    assert walked == {**dict.fromkeys(PHASE_NAMES, "applied"), **tours}
    assert bare.nodes_ready().keys() == {"one"}
    assert first.events[-1]["part"] == "end"

    before = bare.writings()
    tour = bare.hardway("walk", "--restart", "--yes", "-o", "json")
    assert {one["how"] for one in tour.events if one["event"] == "Walked"} == {"toured"}
    after = bare.writings()
    assert {name: after[name] for name in bare.machines} == {name: before[name] for name in bare.machines}


@pytest.mark.in_turn("walks")
def test_a_walk_by_typing_builds_a_cluster_that_is_as_declared_and_stays_the_persons_own(labs: Labs) -> None:
    bare = one_machine(labs, "hwtest-hands")
    bare.hardway("artifacts", "get", "--yes")
    walker = Walker(bare)
    typed: list[str] = []
    for question in walker.questions():
        phase, answers = question["phase"], question["answers"]
        if "type" in answers:
            walker.answer("type")
        elif "done" in answers and phase not in typed:
            walker.answer("files")
            typed.append(phase)
            next(walker.questions())
            script = bare.folder / f"{phase}.sh"
            script.write_text(bare.hardway("explain", phase, "-o", "shell").out)
            done = subprocess.run(["bash", str(script)], capture_output=True, text=True, timeout=120, check=False)
            assert done.returncode == 0, f"{phase}\n{done.stderr}"
            walker.answer("done")
        elif "yes" in answers:
            walker.answer("no")
        else:
            assert "next" in answers or "break" in answers, walker.told("hint")
            walker.answer("next" if "next" in answers else "quit")
    assert walker.process.wait() == 0
    assert walker.walked == {
        "preflight": "toured",
        **dict.fromkeys(PHASE_NAMES, "typed"),
        "load-balancer": "toured",
    }
    assert walker.told("error") == []
    assert bare.on("one", "ls /var/lib/hardway/journal.jsonl", code=None) == ""
    # All is as declared, and nobody took it over: that is all that speaks against a run.
    plan = json.loads(bare.hardway("plan", "-o", "json", code=1).out)
    assert (plan["items"], [one["kind"] for one in plan["blockers"]]) == ([], ["unmanaged-cluster"])
    assert bare.nodes_ready().keys() == {"one"}
