"""Takes away what the journals say hardway put there: newest first, and nothing else.

It needs no workspace: a machine's own journal says it all, and where that is damaged, what is declared is looked for.
SSH and what others own stay untouched.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from hardway.declare.declaration import Declaration
from hardway.declare.resources import KINDS
from hardway.declare.resources.base import quote
from hardway.declare.undo import is_ours, undo
from hardway.engine.scripts import PRELUDE, started
from hardway.engine.session import Session, timed
from hardway.errors import NotConverged
from hardway.events import Changed, MachineProgress, Note
from hardway.journal import CAT, FOLDER, PATH, Journal, gone, read

RESET_LIMIT = 600.0
KUBECTL_CACHE = "/run/hardway-kubectl"


def reset(session: Session, declaration: Declaration | None = None) -> int:
    """Resets the session's machines, all at once. Returns how many entries were undone.

    `declaration` says what else to look for where a journal is damaged, or not there: that is never taken away, since
    nobody noted that it is hardway's. Raises CommandFailed where a step failed; what was undone until then is noted, so
    the same command goes on from there. Raises NotConverged where something is left.
    """
    with timed("reset", session.events):
        return sum(session.each(session.machines, lambda name: _reset_one(session, name, declaration)).values())


def _reset_one(session: Session, name: str, declaration: Declaration | None) -> int:
    session.events(MachineProgress(name, "reset", "running"))
    journal = read(session.run(name, CAT, what="read the journal").text, name)
    unknown = sorted({key.partition(":")[0] for key in journal.entries} - KINDS.keys())
    if unknown:
        raise NotConverged(
            f"the journal names what this hardway does not know: {', '.join(unknown)}",
            machine=name,
            hint="use the newer hardway that wrote it; nothing was changed here",
        )
    strange = [key for key in journal.entries if not is_ours(key)]
    journal = replace(journal, entries={key: one for key, one in journal.entries.items() if key not in strange})
    if strange:
        session.events(
            Note(f"{name}: {PATH} names what hardway puts nowhere, left alone: {', '.join(strange)}", "warning")
        )
    if journal.entries:
        session.run(name, undo_script(journal), what="reset", timeout=RESET_LIMIT)
    _refuse_remains(session, name, journal, declaration)
    session.run(name, f"rm -rf {FOLDER} {KUBECTL_CACHE}", what="delete the journal")
    for key in reversed(list(journal.entries)):
        session.events(Changed(name, str(journal.entries[key].get("phase", "")), key, "delete"))
    session.events(MachineProgress(name, "reset", "done" if journal.entries else "unchanged"))
    return len(journal.entries)


def _refuse_remains(session: Session, name: str, journal: Journal, declaration: Declaration | None) -> None:
    """Raises NotConverged where something is still there that the journal names, or that it may have named."""
    left = session.run(name, _remains(_paths(journal.entries)), what="look for remains", check=False)
    if left.text:
        raise NotConverged(
            "something that hardway put there is still there",
            machine=name,
            said=left.text,
            hint="it was created again meanwhile: delete it by hand, then run hardway reset again",
        )
    if declaration is None or (journal.entries and not journal.damage):
        return
    declared = _paths([one.resource.key for one in declaration.on(name)])
    left = session.run(name, _remains(declared), what="look for what is declared", check=False)
    if left.text:
        why = f"its journal is damaged ({journal.damage})" if journal.damage else "it has no journal"
        raise NotConverged(
            f"{why}, and these are there, which hardway would put there; what the journal named is gone",
            machine=name,
            said=left.text,
            hint=f"if they are hardway's: hardway apply --adopt -l {name}, then reset again; else delete them by hand",
        )


def undo_script(journal: Journal) -> str:
    """What runs stops first, newest first; then the rest, newest first. Each is noted when it is gone."""
    newest: list[tuple[str, Mapping[str, object]]] = list(reversed(list(journal.entries.items())))
    ordered = [one for one in newest if one[0].startswith("service:")]
    ordered += [one for one in newest if not one[0].startswith("service:")]
    lines = [PRELUDE, "set -eu", started(journal)]
    for key, entry in ordered:
        lines += [f"at {quote(key)}", undo(key, entry)]
        lines.append(f"printf '%s\\n' {quote(gone(key))} >>$JOURNAL")
    lines.append("systemctl daemon-reload; systemctl reset-failed || true")
    return "\n".join(line for line in lines if line) + "\n"


def _paths(keys: Iterable[str]) -> list[str]:
    named = [key.partition(":") for key in keys]
    return [name for kind, _, name in named if kind in ("file", "binary")]


def _remains(paths: Sequence[str]) -> str:
    return f"ls -d -- {quote(*paths)} 2>/dev/null || true" if paths else "true"
