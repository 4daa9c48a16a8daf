"""A look in plain lines: they go to a terminal, a log, or the mail of cron."""

from __future__ import annotations

from datetime import datetime, timedelta

from hardway.console.words import counted
from hardway.watch.watch import Watched


def watch_page(found: Watched) -> list[str]:
    """The state in one line, then a line for each finding."""
    verdict = "well" if found.well else counted(len(found.findings), "finding")
    lines = [f"{found.at:%Y-%m-%d %H:%M:%S} UTC  {found.cluster}: {verdict}; {_figures(found)}"]
    for one in found.findings:
        lines.append(f"  {one.kind:<11} {one.subject}: {one.what}  next: {one.next}")
    return lines


def _figures(found: Watched) -> str:
    words = [
        f"{found.reached} of {counted(found.machines, 'machine')}",
        f"etcd {found.serving} of {found.members}",
        f"{found.ready} of {counted(found.nodes, 'node')} Ready",
    ]
    if found.certificate_ends:
        words.append(f"the first certificate ends in {_days(found.certificate_ends - found.at)}")
    if found.backup_taken:
        words.append(f"backup of {_moment(found.backup_taken)}")
    return ", ".join(words)


def _days(left: timedelta) -> str:
    return counted(left.days, "day")


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}"
