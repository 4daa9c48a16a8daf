"""Machines that stand in for one another, and what it takes to restart one of them unnoticed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Aside:
    """What other machines do for a member that is about to be restarted: sh, safe to repeat, run as root on each.

    `after` is owed once `before` has run; should nobody be left to run it, what `before` did ends by itself.
    """

    machines: tuple[str, ...]
    before: str
    after: str


STANDINGS = ("serves", "learner", "leaderless", "expired", "down", "unknown")
"""Of a member of a group. `expired`: the CA that it trusts has, so it lets nobody in before it is restarted. `down` is
certain: no process of it serves anybody; all that is not certain is `unknown`."""


@dataclass(frozen=True)
class Group:
    """Machines that stand in for one another, and how one of them is restarted while the others serve. Texts are sh.

    At least `keep` members must serve while another one is away. `standing`, asked on any member, prints a line
    `MACHINE STANDING` for each; without it a member serves while its unit is active. `leads` has status 0 on a member
    that is to come last. `hand_over` has another one lead instead: $1 is what `successor` prints, and other machines
    hold still meanwhile (`still`). `drained` is done by others around the whole restart. `after` follows on the member
    itself.
    """

    name: str
    keep: int = 0
    standing: str = ""
    leads: str = ""
    successor: str = ""
    hand_over: str = ""
    after: str = ""
    still: Aside | None = None
    drained: Aside | None = None
