"""Keys that a run would make though there was one: anything that belongs to it shows that, here or on a machine."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hardway.declare.declaration import Declaration, declare
from hardway.declare.phases.base import Model
from hardway.declare.pki import PemError, read
from hardway.declare.resources import Certificate, File, Key, Local, OwnKey, Present, PublicKey, RandomKey, Resource
from hardway.engine.blockers import Blocker
from hardway.engine.observe import View
from hardway.state import State
from hardway.values import placeholders


def lost_keys(
    missing: Collection[Local],
    model: Model,
    declaration: Declaration,
    values: Mapping[str, bytes],
    views: Mapping[str, View],
    root: Path,
) -> Iterator[Blocker]:
    """Keys that are to be made, though what belongs to them is there, or that cannot be read: lost, and not missing.

    What belongs to a key is its certificate, its public half, or anything that it signed or that holds it: in the
    workspace (`values`), or on a machine whose State knows of the key. A leaf of which the workspace has neither key
    nor certificate is issued again, whatever machines have.
    """
    lost: dict[str, Blocker] = {}
    remains = _remains(missing, declaration, values)
    for path, key in remains.items():
        found = [one for one in key.belongings if one in values]
        why = "is damaged" if path in values else f"is lost, but {found[0]} belongs to it and is there" if found else ""
        if why:
            again = [path, *found] if key.replaceable or model.state.etcd == "absent" else []
            kind = "damaged-key" if path in values else "lost-key"
            lost[path] = _lost_key(root, path, why, kind=kind, again=again)
    sought = {path: key for path, key in remains.items() if path not in lost and not key.replaceable}
    for path, (machine, what) in _on_machines(sought, model, declaration, views).items():
        lost[path] = _lost_key(root, path, f"is lost, but {what}", machine)
    yield from lost.values()


@dataclass(frozen=True)
class _Remains:
    """What there is of a key while there is one: `belongings` are workspace paths. `replaceable`: a CA can issue
    another pair, and nothing else depends on this one.
    """

    belongings: tuple[str, ...]
    replaceable: bool = False


def _remains(
    missing: Collection[Local], declaration: Declaration, values: Mapping[str, bytes]
) -> dict[str, _Remains]:  # fmt: skip
    """By path of each missing key."""
    certificates = [one for _, one in declaration.local if isinstance(one, Certificate)]
    public = [one for _, one in declaration.local if isinstance(one, PublicKey)]
    found: dict[str, _Remains] = {}
    for key in missing:
        if not isinstance(key, Key | RandomKey) or (isinstance(key, OwnKey) and key.given in values):
            continue
        own = [one for one in certificates if one.key_path == key.path]
        halves = tuple(one.path for one in public if one.of == key.path)
        signed: list[str] = []
        for ca in own:
            signed += [one.path for one in certificates if one.ca == ca.stem and not _is_of_another(ca, one, values)]
        leaf = any(one.ca is not None for one in own)
        found[key.path] = _Remains((*(one.path for one in own), *halves, *signed), replaceable=leaf)
    return found


def _is_of_another(ca: Certificate, leaf: Certificate, values: Mapping[str, bytes]) -> bool:
    """Whether another CA signed the certificate there is: until it is issued again, that of the generation before."""
    try:
        return leaf.path in values and read(values[leaf.path]).issuer != f"CN={ca.spec.common_name}"
    except PemError:
        return True


def _on_machines(
    sought: Mapping[str, _Remains], model: Model, declaration: Declaration, views: Mapping[str, View]
) -> dict[str, tuple[str, str]]:
    """By path of a key, a machine that had it, and what shows that, in words."""
    found: dict[str, tuple[str, str]] = {}
    known: dict[str, frozenset[str]] = {}
    for name, view in views.items() if sought else ():
        theirs = State(model.cluster.name, "")
        if view.state_text:
            theirs = State.from_json(view.state_text, name)
        if view.state_text not in known:
            local = declare(replace(model, state=theirs)).local
            known[view.state_text] = frozenset(one.path for _, one in local)
        for path, key in sought.items():
            # A key of a next generation, in whose place the machine still has that of the one before.
            if path not in known[view.state_text] or path in found:
                continue
            if theirs.etcd != "absent" and any(one in theirs.fingerprints for one in key.belongings):
                found[path] = (name, "the State on this machine remembers its certificate")
                continue
            for placed in declaration.on(name):
                if _was_made_from({path, *key.belongings}, placed.resource, view, model.state):
                    found[path] = (name, f"{placed.resource.name} on this machine was made from it")
                    break
    return found


def _was_made_from(paths: Collection[str], resource: Resource, view: View, state: State) -> bool:
    if not isinstance(resource, File) or not isinstance(view.observed.get(resource.key), Present):
        return False
    if state.etcd == "absent" and resource.key not in view.journal.entries:
        return False
    return any(placeholder.name in paths for placeholder in placeholders(resource.text))


def _lost_key(
    root: Path, path: str, why: str, machine: str = "", *, kind: str = "lost-key", again: Sequence[str] = ()
) -> Blocker:
    """`again`: what to remove to have it made again, where that breaks nothing."""
    hint = f"restore {path} from a backup of the workspace; a new key would break the cluster"
    if again:
        rm = shlex.join(["rm", "-f", *(str(root / one) for one in again)])
        hint = f"restore {path} from a backup of the workspace, or have it made again:\n    {rm}"
    return Blocker(kind, f"{root / path} {why}", machine, said="nothing was changed", hint=hint)
