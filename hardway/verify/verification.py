"""Is it as declared, and does it hold? A plan and the answers to every proof."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hardway.engine.plan import Plan
from hardway.engine.prove import prove
from hardway.engine.session import Session
from hardway.errors import DIFFERS, FAILED, OK
from hardway.events import Proved
from hardway.preview.plan import Preview


@dataclass(frozen=True)
class Verification:
    """`unasked` counts the proofs of machines that were not seen."""

    plan: Preview
    proofs: tuple[Proved, ...]
    unasked: int

    @property
    def failed(self) -> tuple[Proved, ...]:
        return tuple(one for one in self.proofs if not one.holds)

    @property
    def exit_code(self) -> int:
        """1 where something could not be asked, or speaks against a run; 3 where all was seen and it differs.

        What hardway did not put there, and is as declared, is as declared.
        """
        plan = self.plan
        if plan.refusals or plan.unobserved:
            return FAILED
        if plan.items or self.failed:
            return DIFFERS
        return FAILED if plan.unknown else OK

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "plan": self.plan.to_json()}


def verified(session: Session, found: Plan, plan: Preview) -> Verification:
    """Asks all proofs of the survey's chapters, on every machine that was seen. Raises MachineError."""
    proofs = [one for one in found.declaration.proofs if one[0] in found.phases]
    asked = [one for one in proofs if one[1].machine in found.views]
    return Verification(plan, tuple(prove(session, asked)), _elsewhere(plan.machines, proofs, asked))


def _elsewhere(machines: Sequence[str], proofs: Sequence[Any], asked: Sequence[Any]) -> int:
    return sum(proof.machine in machines for _, proof in proofs) - len(asked)
