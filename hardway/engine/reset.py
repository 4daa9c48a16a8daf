"""Takes away what the journals say hardway put there: newest first, and nothing else.

It needs no workspace: a machine's own journal says it all. What is declared is looked for, too, so that nothing is left
in silence where a journal is damaged or lost. SSH and what others own stay untouched.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from hardway.declare.declaration import Declaration
from hardway.declare.resources import KINDS, Binary, Block, Context, Directory, File, Resource
from hardway.declare.resources.base import quote
from hardway.declare.resources.files import FILE_KINDS
from hardway.declare.undo import is_ours, undo
from hardway.engine.adopt import adopted
from hardway.engine.observe import observe
from hardway.engine.scripts import PRELUDE, started
from hardway.engine.session import Session, timed
from hardway.errors import NotConverged
from hardway.events import Changed, MachineProgress, Note
from hardway.journal import CAT, FOLDER, PATH, STATE_PATH, Journal, gone, read

RESET_LIMIT = 600.0
KUBECTL_CACHE = "/run/hardway-kubectl"


def reset(session: Session, declaration: Declaration | None = None, *, adopt: bool = False) -> int:
    """Resets the session's machines, all at once. Returns how many entries were undone.

    `declaration` says what else to look for: what is there and in no journal is left alone and told, and taken away,
    too, with `adopt`. Raises NotConverged before anything is changed anywhere where a journal is damaged or lost and
    something of that is there; and where something is left. Raises CommandFailed where a step failed; what was undone
    until then is noted, so the same command goes on from there.
    """
    with timed("reset", session.events):
        journals = session.each(session.machines, lambda name: _understood(session, name, declaration, adopt))
        return sum(session.each(journals, lambda name: _reset_one(session, name, journals[name])).values())


def _understood(session: Session, name: str, declaration: Declaration | None, adopt: bool) -> Journal:
    """What is to be undone on a machine; nothing is changed there yet."""
    session.events(MachineProgress(name, "reset", "running"))
    journal = read(session.run(name, CAT, what="read the journal").text, name)
    unknown = sorted({key.partition(":")[0] for key in journal.entries} - KINDS.keys())
    if unknown and not journal.damage:
        raise NotConverged(
            f"the journal names what this hardway does not know: {', '.join(unknown)}",
            machine=name,
            hint="use the newer hardway that wrote it; nothing was changed",
        )
    strange = [key for key in journal.entries if key.partition(":")[0] in unknown or not is_ours(key)]
    journal = replace(journal, entries={key: one for key, one in journal.entries.items() if key not in strange})
    if strange:
        _warn(session, f"{name}: {PATH} names what hardway puts nowhere, left alone: {', '.join(strange)}")
    if declaration is not None and adopt:
        view = replace(observe(session, declaration, [name])[name], journal=journal)
        context = Context(name, noted=journal.entries)
        taken = adopted(declaration, {name: view}, {name: context}, lambda placed: True)
        journal = taken.get(name, view).journal
    elif declaration is not None:
        _tell_unnamed(session, name, journal, declaration)
    _refuse_what_is_not_ours(session, name, journal)
    return journal


def _refuse_what_is_not_ours(session: Session, name: str, journal: Journal) -> None:
    """Raises NotConverged where the undoing would stop half-way, at a file or folder that no longer is hardway's."""
    checks: list[str] = []
    for key in journal.entries:
        kind, _, path = key.partition(":")
        if kind == "block":
            checks.append(f"marked {quote(path)}")
        elif kind in (*FILE_KINDS, "directory"):
            checks.append(f"own {quote(path if kind == 'directory' else path.rpartition('/')[0])}")
    script = "\n".join([PRELUDE, "exec 2>&1", *(f"{check} || true" for check in dict.fromkeys(checks))])
    found = session.run(name, script, what="look for what is not hardway's").text.splitlines()
    if found:
        raise NotConverged(
            "this is not as hardway put it there, and what is hardway's in it cannot be told; nothing was changed",
            machine=name,
            said="\n".join(dict.fromkeys(found)),
            hint="remove the links, and hardway's own lines from the files, by hand; then run hardway reset again",
        )


def _tell_unnamed(session: Session, name: str, journal: Journal, declaration: Declaration) -> None:
    """Raises NotConverged where a journal that cannot be relied on does not name all that is there of hardway's."""
    unnamed = [one.resource for one in declaration.on(name) if one.resource.key not in journal.entries]
    look = f"{_which_are_there(unnamed)}\nif [ -e {STATE_PATH} ]; then echo {STATE_PATH}; fi"
    there = session.run(name, look, what="look for what no journal names").text.splitlines()
    was_here = STATE_PATH in there
    paths = [path for path in there if path != STATE_PATH]
    if not paths:
        return
    lost = was_here and not journal.entries
    if not (journal.damage or lost):
        _warn(session, f"{name}: left alone, as it is not in the journal: {', '.join(paths)}")
        return
    doubt = f"is damaged ({journal.damage})" if journal.damage else "is lost"
    raise NotConverged(
        f"{PATH} {doubt}, and does not name these, which the inventory declares; nothing was changed",
        machine=name,
        said="\n".join(paths),
        hint="to delete them with all the rest: hardway reset --adopt; to keep the cluster: hardway apply --adopt "
        "writes the journal again",
    )


def _warn(session: Session, text: str) -> None:
    session.events(Note(text, "warning"))


def _reset_one(session: Session, name: str, journal: Journal) -> int:
    if journal.entries:
        session.run(name, undo_script(journal), what="reset", timeout=RESET_LIMIT)
    _refuse_remains(session, name, journal)
    session.run(name, f"rm -rf {FOLDER} {KUBECTL_CACHE}", what="delete the journal")
    for key in reversed(list(journal.entries)):
        session.events(Changed(name, str(journal.entries[key].get("phase", "")), key, "delete"))
    session.events(MachineProgress(name, "reset", "done" if journal.entries else "unchanged"))
    return len(journal.entries)


def _refuse_remains(session: Session, name: str, journal: Journal) -> None:
    named = [key.partition(":") for key in journal.entries]
    paths = [path for kind, _, path in named if kind in ("file", "binary")]
    left = session.run(name, _ls(paths), what="look for remains")
    if left.text:
        raise NotConverged(
            "something that hardway put there is still there",
            machine=name,
            said=left.text,
            hint="it was created again meanwhile: delete it by hand, then run hardway reset again",
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


def _which_are_there(resources: Iterable[Resource]) -> str:
    """sh that prints the paths of those that are there: files, blocks, and folders of data."""
    paths, blocks = [], []
    for one in resources:
        if isinstance(one, Block):
            blocks.append(one.path)
        elif isinstance(one, File | Binary) or (isinstance(one, Directory) and one.data):
            paths.append(one.path)
    begin, _ = Block.marks()
    return f"{_ls(paths)}\ngrep -slx -e {quote(begin)} -- /dev/null {quote(*blocks)} || true"


def _ls(paths: Sequence[str]) -> str:
    return f"ls -d -- {quote(*paths)} 2>/dev/null || true" if paths else "true"
