"""The loop of `walk`: explain, plan, choose, verify, next. What it does it asks of the commands that there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from hardway.console.talk import Talk
from hardway.console.words import typed
from hardway.errors import HardwayError, UsageError
from hardway.events import Walked
from hardway.explain.prose import Gain
from hardway.inventory.model import Cluster
from hardway.preview.page import counts, plan_page
from hardway.preview.plan import Preview
from hardway.rules import Finding
from hardway.verify.page import verify_page
from hardway.verify.verification import Verification
from hardway.walk import PREFLIGHT, Hint, Place, page

How = Literal["applied", "typed", "skipped", "toured"]

CHOICE = "[a]pply it, I'll [t]ype it, [s]kip, (e)xplain something more, (q)uit"
TYPING = "[d]one, (h)int, (s)hell, (f)iles, (b)ack, (e)xplain something, (q)uit"
TOUR = "[n]ext, (e)xplain something more, (q)uit"
WAY = "[a]gain, [s]kip it, (e)xplain something, (q)uit"
BREAK = "[b]reak something at random, (e)xplain something, (q)uit"
FIND = "[c]heck whether it is fixed, (d)octor, (e)xplain something, (q)uit"


class Left(Exception):
    """Somebody leaves, or there is nobody who answers."""


@dataclass(frozen=True)
class Grade:
    """What hand work is worth: nothing to hint at means that it is done. `seconds` is how long looking took."""

    verification: Verification
    hints: tuple[Hint, ...]
    seconds: float


class Commands(Protocol):
    """What a walk asks for; each raises HardwayError as the command of that name does."""

    @property
    def cluster(self) -> Cluster: ...
    @property
    def workspace(self) -> str: ...
    @property
    def given(self) -> str:
        """The flags that proposed commands repeat."""

    def keep(self, place: Place) -> None: ...
    def explain(self, what: str) -> list[str]: ...
    def preflight(self) -> Sequence[Finding]: ...
    def plan(self, phase: str) -> tuple[Preview, float]: ...
    def apply(self, phase: str, *, adopt: bool, expect: str | None) -> None: ...
    def grade(self, phase: str) -> Grade: ...
    def shell(self, phase: str) -> list[str]: ...
    def files(self, phase: str) -> list[str]: ...
    def gains(self, station: str) -> Sequence[Gain]: ...
    def break_something(self) -> None: ...
    def doctor(self) -> tuple[bool, list[str]]:
        """Whether something is wrong, and the page."""


class Walk:
    """One walk; `asking` False applies everything. `adopt` takes over, unasked, what is in the way."""

    def __init__(
        self, do: Commands, talk: Talk, place: Place, *, width: int, asking: bool = True, adopt: bool = False
    ) -> None:
        self._do, self._talk = do, talk
        self._width, self._asking, self._adopt = width, asking, adopt
        self.place = place

    def go(self) -> bool:
        """To the end, or until somebody leaves: then False, and the place is kept."""
        try:
            self._tell(self.place.next, "opening", page.opening(self._do.cluster, self.place, self._width))
            while station := self.place.next:
                how = self._preflight() if station == PREFLIGHT else self._phase(station)
                self._behind(station, how)
            self._end()
        except Left:
            self._tell(self.place.next, "left", page.left(self.place, self._command("hardway walk"), self._width))
            return False
        return True

    def _behind(self, station: str, how: How) -> None:
        self.place = self.place.after(station, how)
        self._do.keep(self.place)
        self._talk.walked(Walked(station, how))
        if how != "skipped":
            self._tell(station, "possible", page.gain_lines(self._do.gains(station), self._do.given, self._width))

    def _preflight(self) -> How:
        while True:
            findings = self._do.preflight()
            self._tell(PREFLIGHT, "preflight", page.preflight_lines(findings, self._do.cluster, self._width))
            if not any(one.level == "error" for one in findings):
                return "toured"
            if not self._asking:
                raise HardwayError("preflight found what must be fixed first", hint=self._command("hardway preflight"))
            if self._ask(PREFLIGHT, WAY, "again", "skip") == "skip":
                return "skipped"

    def _phase(self, name: str) -> How:
        self._tell(name, "explain", self._do.explain(name))
        while True:
            plan, seconds = self._do.plan(name)
            if not _to_do(plan):
                self._tell(name, "verify", self._verified(self._do.grade(name)))
                if self._asking:
                    self._ask(name, TOUR, "next", default="next")
                return "toured"
            changes = plan_page(plan, seconds=seconds, width=self._width, following=False)
            self._tell(name, "plan", [*changes, "", counts(plan)])
            answer = self._ask(name, CHOICE, "apply", "type", "skip") if self._asking else "apply"
            if answer == "skip":
                return "skipped"
            if answer == "type" and self._typed(name):
                return "typed"
            if answer == "apply" and self._applied(name, plan):
                return "applied"

    def _applied(self, name: str, plan: Preview) -> bool:
        """Whether it is as declared now. What went wrong is told, and one may choose again."""
        try:
            self._do.apply(name, adopt=self._may_adopt(name, plan), expect=plan.identifier)
            grade = self._do.grade(name)
        except HardwayError as error:
            if not self._asking:
                raise
            self._fail(name, error)
            return False
        # The run before it ended with lines of its own.
        self._tell(name, "verify", ["", *self._verified(grade)])
        return True

    def _may_adopt(self, name: str, plan: Preview) -> bool:
        """Whether what somebody else put there may be taken over.

        Where nothing of this chapter is somebody else's it may: a run refuses to go on upon chapters that were typed
        unless it is told so.
        """
        theirs = sum(len(paths) for paths in (*plan.conflicts.values(), *plan.unmanaged.values()))
        if self._adopt or not theirs:
            return self._adopt or "typed" in self.place.done.values()
        question = f"{theirs} of these hardway did not put there. Take them over, as declared? [y]es, [n]o"
        return self._asking and self._ask(name, question, "yes", "no") == "yes"

    def _typed(self, name: str) -> bool:
        """Waits for hand work until it is as declared; False where somebody would rather choose again."""
        self._tell(name, "typing", page.typing_lines(name, self._do.workspace, self._width))
        last: tuple[str, int] = ("", 0)
        while True:
            answer = self._ask(name, TYPING, "done", "hint", "shell", "files", "back")
            if answer == "back":
                return False
            try:
                if answer == "shell":
                    self._tell(name, "shell", self._do.shell(name))
                elif answer == "files":
                    self._tell(name, "files", self._do.files(name))
                else:
                    grade = self._do.grade(name)
                    if not grade.hints:
                        self._tell(name, "verify", self._verified(grade))
                        self._own(name, grade.verification.plan)
                        return True
                    last = self._hint(name, grade, last, deeper=answer == "hint")
            except HardwayError as error:
                self._fail(name, error)

    def _hint(self, name: str, grade: Grade, last: tuple[str, int], *, deeper: bool) -> tuple[str, int]:
        """Says one thing about the first of what is left; a level more of it only to who asks for a hint again."""
        hint = grade.hints[0]
        about, level = last
        level = min(level + deeper, page.LEVELS) if about == hint.about else 1
        everybody = grade.verification.plan.machines
        self._tell(name, "hint", page.hint_lines(hint, level, len(grade.hints) - 1, everybody, self._width))
        return hint.about, level

    def _own(self, name: str, plan: Preview) -> None:
        """What was typed becomes hardway's only if that is wanted."""
        count = sum(len(keys) for keys in plan.unmanaged.values())
        if not count:
            return
        self._tell(name, "unmanaged", page.unmanaged_lines(name, count, self._width))
        question = "Take them over? [y]es, [n]o: they stay yours"
        if self._adopt or self._ask(name, question, "yes", "no", default="no") == "yes":
            self._do.apply(name, adopt=True, expect=None)

    def _end(self) -> None:
        lab = self._do.cluster.lab is not None
        self._tell("", "end", page.ending(self.place, lab, self._do.given, self._width))
        while lab and self._asking:
            self._ask("", BREAK, "break")
            try:
                self._do.break_something()
            except HardwayError as error:
                self._fail("", error)
                continue
            self._tell("", "broken", ["Something is broken. Use the cluster, look around; doctor names the cause."])
            self._find()

    def _find(self) -> None:
        """Until nothing is wrong any more."""
        while True:
            answer = self._ask("", FIND, "check", "doctor")
            try:
                wrong, lines = self._do.doctor()
            except HardwayError as error:
                self._fail("", error)
                continue
            if not wrong:
                self._tell("", "fixed", ["Found and fixed: nothing is wrong any more."])
                return
            self._tell("", "doctor", lines if answer == "doctor" else ["Not yet: something is still wrong."])

    def _ask(self, phase: str, question: str, *answers: str, default: str = "") -> str:
        """One of the answers. An explanation that is asked for is printed first. Raises Left when the user quits."""
        offered = (*answers, *(("explain", "quit") if "(q)uit" in question else ("quit",)))
        while True:
            said = self._talk.ask(phase, question, offered)
            if said is None:
                raise Left
            word, _, rest = said.partition(" ")
            found = next((one for one in offered if word and one.startswith(word.lower())), "")
            if not word and default:
                return default
            if found == "quit":
                raise Left
            if found == "explain":
                self._explain(phase, rest.strip() or phase)
            elif found:
                return found
            else:
                self._tell(phase, "answers", [f"One of: {', '.join(offered)}"])

    def _explain(self, phase: str, what: str) -> None:
        try:
            self._tell(phase, "explain", self._do.explain(what))
        except UsageError as error:
            self._fail(phase, error)

    def _verified(self, grade: Grade) -> list[str]:
        return verify_page(grade.verification, seconds=grade.seconds, width=self._width, given=self._do.given)

    def _command(self, command: str) -> str:
        return typed(command, self._do.given)

    def _fail(self, phase: str, error: HardwayError) -> None:
        self._tell(phase, "error", page.failure_lines(error, self._width))

    def _tell(self, phase: str, part: str, lines: list[str]) -> None:
        self._talk.tell(phase, part, lines)


def _to_do(plan: Preview) -> bool:
    return bool(plan.items or plan.unobserved or plan.unknown or plan.refusals)
