"""Rules about how long certificates last."""

from __future__ import annotations

from collections.abc import Iterator

from hardway.declare.resources.local import RENEW_WITHIN
from hardway.lint.rules.common import SETUP, setup_of
from hardway.rules import Evidence, Found, Rule


def expired(evidence: Evidence) -> Iterator[Found]:
    setup = setup_of(evidence)
    for machine, one in setup.certificates():
        if one.not_after and one.not_after <= setup.now:
            yield Found(machine.name, f"{one.where} expired on {one.not_after:%Y-%m-%d %H:%M} UTC")
        elif one.not_before and one.not_before > setup.now:
            yield Found(
                machine.name, f"{one.where} is not valid before {one.not_before:%Y-%m-%d %H:%M} UTC",
                "set the clock of this computer, or issue it again",
            )  # fmt: skip


def expiring(evidence: Evidence) -> Iterator[Found]:
    setup = setup_of(evidence)
    for machine, one in setup.certificates():
        if one.not_after and setup.now < one.not_after <= setup.now + RENEW_WITHIN:
            left = (one.not_after - setup.now).days
            yield Found(machine.name, f"{one.where} expires in {left} days, on {one.not_after:%Y-%m-%d}")


RULES = (
    Rule(
        "expired", SETUP, expired, "nobody accepts a certificate outside of its dates", "issue it again", layer="trust",
        detects="a certificate that has expired, or is not valid yet",
        symptom="at once: x509: certificate has expired or is not yet valid",
    ),
    Rule(
        "expiring", SETUP, expiring, "nothing warns of it later: components go silent on that day", "issue it again",
        "warning", layer="trust", detects=f"a certificate with less than {RENEW_WITHIN.days} days left",
        symptom="on that day: x509: certificate has expired or is not yet valid",
    ),
)  # fmt: skip
