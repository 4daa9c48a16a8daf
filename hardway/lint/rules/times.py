"""Rules about how long certificates last."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from hardway.declare.pki import RENEW_AT_MOST, in_time, renewal_margin
from hardway.lint.rules.common import SETUP, setup_of
from hardway.probe.setup.model import Certificate, Setup
from hardway.rules import Evidence, Finding, Found, Rule
from hardway.values import OPERATOR


def expired(evidence: Evidence) -> Iterator[Found]:
    setup = setup_of(evidence)
    for machine, one in setup.certificates():
        if one.not_after and one.not_after <= setup.now and not _is_our_ca(setup, one):
            yield Found(machine.name, f"{one.where} expired on {one.not_after:%Y-%m-%d %H:%M} UTC")
        elif one.not_before and one.not_before > setup.now:
            yield Found(
                machine.name, f"{one.where} is not valid before {one.not_before:%Y-%m-%d %H:%M} UTC",
                "set the clock of this computer, or issue it again",
            )  # fmt: skip
    for one, left in _ending_cas(setup):
        if left <= timedelta(0):
            yield Found(OPERATOR, f"the CA {one.where} expired on {one.not_after:%Y-%m-%d %H:%M} UTC", renewal(one))


def expiring(evidence: Evidence) -> Iterator[Found]:
    setup = setup_of(evidence)
    cas = _ending_cas(setup)
    with_their_ca = {one.not_after for one, _ in cas}
    for machine, one in setup.certificates():
        if one.not_after is None or _is_our_ca(setup, one) or one.not_after in with_their_ca:
            continue
        left = one.not_after - setup.now
        if timedelta(0) < left <= renewal_margin(one.not_before, one.not_after):
            yield Found(machine.name, f"{one.where} expires in {in_time(left)}, on {one.not_after:%Y-%m-%d}")
    for one, left in cas:
        if left > timedelta(0):
            when = f"in {in_time(left)}, on {one.not_after:%Y-%m-%d}"
            yield Found(OPERATOR, f"the CA {one.where} expires {when}, and with it all that it signed", renewal(one))


def is_pending(one: Finding) -> bool:
    """Whether it is about a CA, which waits for the command that the finding names."""
    return one.rule == "expiring" and one.machine == OPERATOR


def _is_our_ca(setup: Setup, one: Certificate) -> bool:
    """Whether it is a CA of the workspace, which all machines share."""
    return one.is_ca and setup.made == "declared"


def _ending_cas(setup: Setup) -> list[tuple[Certificate, timedelta]]:
    """The workspace's CAs that are due for renewal or have expired, with what is left of their lives."""
    found: list[tuple[Certificate, timedelta]] = []
    for one in setup.authorities:
        if one.not_after is None:
            continue
        left = one.not_after - setup.now
        if left <= renewal_margin(one.not_before, one.not_after):
            found.append((one, left))
    return found


def renewal(ca: Certificate) -> str:
    """The command that issues a CA's certificate again, for its key: no other run does."""
    return f"hardway certs renew {ca.where.removeprefix('pki/').removesuffix('.crt')}"


RULES = (
    Rule(
        "expired", SETUP, expired, "nobody accepts a certificate outside of its dates", "issue it again", layer="trust",
        detects="a certificate that has expired, or is not valid yet",
        symptom="at once: x509: certificate has expired or is not yet valid",
    ),
    Rule(
        "expiring", SETUP, expiring, "nothing warns of it later: components go silent on that day", "issue it again",
        "warning", layer="trust",
        detects=f"a certificate with less than a third of its life left, or {RENEW_AT_MOST.days} days of a longer one",
        symptom="on that day: x509: certificate has expired or is not yet valid",
    ),
)  # fmt: skip
