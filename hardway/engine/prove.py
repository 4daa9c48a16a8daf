"""Asks machines the chapters' questions, and says which of them hold."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence

from hardway.declare.phases.base import Proof
from hardway.engine.session import Session
from hardway.errors import ProofFailed
from hardway.events import Proved
from hardway.probe.script import TIMED_OUT, Answer, Answers, Question

QUERY_LIMIT = 20
"""Seconds for one query; one that hangs must not keep the others from being asked."""
PAUSE = 0.5
GRACE = 5.0
"""Seconds that any proof has right after a change, whatever it says of itself."""
EVIDENCE_LENGTH = 240

NO_AUTHORITIES = "export SSL_CERT_FILE=/dev/null"
"""Each `openssl x509` would read all of the system's authorities first, and take five times as long."""


def prove(session: Session, proofs: Sequence[tuple[str, Proof]], *, wait: float = 0) -> list[Proved]:
    """Asks all proofs (each with its chapter), with one script a machine; the results in the order given.

    What does not hold is asked again until it does, for as long as the proof says that it may take
    (`within`, but GRACE at least), and at most `wait` seconds. Every machine of a proof must be in the session.
    """
    started = time.monotonic()
    told: dict[int, Proved] = {}
    pending = list(range(len(proofs)))
    while pending:
        answers = _ask(session, [(number, proofs[number][1]) for number in pending])
        passed = time.monotonic() - started
        several = _on_several_or_none(proofs, answers)
        again = []
        for number in pending:
            phase, proof = proofs[number]
            answer = answers[number]
            holds = _holds(proof, answer) and number not in several
            if not holds and passed < min(wait, max(GRACE, proof.within)):
                again.append(number)
                continue
            seen = several.get(number) or evidence(proof, answer)
            told[number] = Proved(proof.machine, phase, proof.name, holds, seen, proof.why)
            session.events(told[number])
        pending = again
        if pending:
            time.sleep(PAUSE)
    return [told[number] for number in range(len(proofs))]


def require(proved: Iterable[Proved]) -> None:
    """Raises ProofFailed that lists each one that does not hold."""
    failed = [one for one in proved if not one.holds]
    if not failed:
        return
    said = "\n".join(
        f"{one.machine}: {one.what}\n  came back: {one.evidence}"
        + (f"\n  why it matters: {one.why}" if one.why else "")
        for one in failed
    )
    count = "1 proof does" if len(failed) == 1 else f"{len(failed)} proofs do"
    phases = list(dict.fromkeys(one.phase for one in failed))
    raise ProofFailed(
        f"{count} not hold ({', '.join(phases)})",
        machine=failed[0].machine if len({one.machine for one in failed}) == 1 else None,
        said=said,
        hint=f"hardway doctor looks for the cause; once it is gone: {', '.join(f'hardway {one}' for one in phases)}",
    )


def evidence(proof: Proof, answer: Answer) -> str:
    """One line: what was seen, and where it does not hold also what should have been."""
    seen = " ".join(answer.output.split())
    if answer.code is None:
        return "the script ended before this was asked"
    if _holds(proof, answer):
        return _cut(seen) or "yes"
    if answer.code in TIMED_OUT:
        return f"no answer within {QUERY_LIMIT} s"
    said = " ".join(f"{seen} {answer.error}".split())
    status = f"exit status {answer.code}" if answer.code else ""
    wanted = "" if proof.expectation == "succeeds" else f"wanted: {proof.expectation} {proof.expected!r}"
    return "; ".join(filter(None, (_cut(said) or "(nothing)", status, wanted)))


def _on_several_or_none(proofs: Sequence[tuple[str, Proof]], answers: Mapping[int, Answer]) -> dict[int, str]:
    """Proofs that hold on one machine alone (`one_of`) and do not, with what was seen; all of one name hold together.

    Where not all of these machines are asked nothing is known of the others.
    """
    groups: dict[tuple[str, tuple[str, ...]], list[int]] = {}
    for number in answers:
        proof = proofs[number][1]
        if proof.one_of:
            groups.setdefault((proof.name, proof.one_of), []).append(number)
    found: dict[int, str] = {}
    for (_, machines), numbers in groups.items():
        asked = {proofs[number][1].machine for number in numbers}
        having = [proofs[number][1].machine for number in numbers if answers[number].text]
        if asked == set(machines) and len(having) != 1:
            said = f"on {', '.join(having) or 'none'}; wanted: on one of {', '.join(machines)}"
            found |= dict.fromkeys(numbers, said)
    return found


def _ask(session: Session, asked: Sequence[tuple[int, Proof]]) -> dict[int, Answer]:
    by_machine: dict[str, list[Question]] = {}
    for number, proof in asked:
        query = f"{NO_AUTHORITIES}\n{proof.query}"
        by_machine.setdefault(proof.machine, []).append(Question(str(number), query, limit=QUERY_LIMIT))

    def ask(name: str) -> Answers:
        questions = by_machine[name]
        limit = 10.0 + (QUERY_LIMIT + 1) * len(questions)
        return session.ask(name, questions, what=f"ask {len(questions)} proofs", timeout=limit)

    answers = session.each(by_machine, ask)
    return {number: answers[proof.machine][str(number)] for number, proof in asked}


def _holds(proof: Proof, answer: Answer) -> bool:
    return answer.code is not None and proof.holds(answer.code, answer.output)


def _cut(text: str) -> str:
    return text if len(text) <= EVIDENCE_LENGTH else text[: EVIDENCE_LENGTH - 1] + "…"
