"""Takes away what the journals say hardway put there: newest first, and nothing else.

It needs no workspace: a machine's own journal says it all. SSH and what others own stay untouched.
"""

from __future__ import annotations

from collections.abc import Mapping

from hardway.declare.resources import KINDS
from hardway.declare.resources.base import quote
from hardway.engine.scripts import PRELUDE, started
from hardway.engine.session import Session, timed
from hardway.errors import NotConverged
from hardway.events import Changed, MachineProgress
from hardway.journal import CAT, FOLDER, Journal, gone, read

RESET_LIMIT = 600.0
KUBECTL_CACHE = "/run/hardway-kubectl"


def reset(session: Session) -> int:
    """Resets the session's machines, all at once. Returns how many entries were undone.

    Raises CommandFailed where a step failed; what was undone until then is noted, so the same
    command goes on from there.
    """
    with timed("reset", session.events):
        return sum(session.each(session.machines, lambda name: _reset_one(session, name)).values())


def _reset_one(session: Session, name: str) -> int:
    session.events(MachineProgress(name, "reset", "running"))
    journal = read(session.run(name, CAT, what="read the journal").text, name)
    unknown = sorted({key.partition(":")[0] for key in journal.entries} - KINDS.keys())
    if unknown:
        raise NotConverged(
            f"the journal names what this hardway does not know: {', '.join(unknown)}",
            machine=name,
            hint="use the newer hardway that wrote it; nothing was changed here",
        )
    if journal.entries:
        session.run(name, undo_script(journal), what="reset", timeout=RESET_LIMIT)
    left = session.run(name, _remains(journal), what="look for remains", check=False)
    if left.text:
        raise NotConverged(
            "something that hardway put there is still there",
            machine=name,
            said=left.text,
            hint="it was created again meanwhile: delete it by hand, then run hardway reset again",
        )
    session.run(name, f"rm -rf {FOLDER} {KUBECTL_CACHE}", what="delete the journal")
    for key in reversed(list(journal.entries)):
        session.events(Changed(name, str(journal.entries[key].get("phase", "")), key, "delete"))
    session.events(MachineProgress(name, "reset", "done" if journal.entries else "unchanged"))
    return len(journal.entries)


def undo_script(journal: Journal) -> str:
    """What runs stops first, newest first; then the rest, newest first. Each is noted when it is gone."""
    newest: list[tuple[str, Mapping[str, object]]] = list(reversed(list(journal.entries.items())))
    ordered = [one for one in newest if one[0].startswith("service:")]
    ordered += [one for one in newest if not one[0].startswith("service:")]
    lines = [PRELUDE, "set -eu", started(journal)]
    for key, entry in ordered:
        kind, _, name = key.partition(":")
        lines += [f"at {quote(key)}", KINDS[kind].undo(name, entry)]
        lines.append(f"printf '%s\\n' {quote(gone(key))} >>$JOURNAL")
    lines.append("systemctl daemon-reload; systemctl reset-failed || true")
    return "\n".join(line for line in lines if line) + "\n"


def _remains(journal: Journal) -> str:
    paths: list[str] = []
    for key in journal.entries:
        kind, _, name = key.partition(":")
        if kind in ("file", "binary"):
            paths.append(name)
    return f"ls -d -- {quote(*paths)} 2>/dev/null || true" if paths else "true"
