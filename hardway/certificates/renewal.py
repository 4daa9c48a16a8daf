"""Which certificates are issued again, and that processes show them afterwards."""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Mapping, Sequence
from datetime import datetime

from hardway.certificates.check import Certificates, ask, check
from hardway.declare.declaration import Declaration
from hardway.declare.resources import Certificate, OwnCertificate, RequestedCertificate
from hardway.engine.selection import Renewal
from hardway.engine.session import Session
from hardway.errors import NotSettled, UsageError
from hardway.events import Note
from hardway.state import State

SHOWN_LIMIT = 90.0
"""Seconds until a process shows what it reads by itself: an API server that misses the change looks every minute."""
SHOWN_PAUSE = 1.0

CUTS_STREAMS = "pki/apiserver-kubelet-client.crt"
"""Once it takes up another one, an API server closes its connections to kubelets (client-go cert_rotation.go)."""


def renewal(
    declaration: Declaration,
    values: Mapping[str, bytes],
    now: datetime,
    words: Sequence[str],
    *,
    everything: bool = False,
    new_key: bool = False,
) -> Renewal:
    """What `words` name, a pattern such as `etcd/*` among them; of no word all leaves, or those that are due.

    A certificate is issued for its old key, unless there is to be a new one. Raises UsageError, also for what a CA
    elsewhere signs.
    """
    known: dict[str, Certificate] = {}
    for _, local in declaration.local:
        if isinstance(local, Certificate):
            known[local.stem.removeprefix("pki/")] = local
    leaves = [name for name, one in known.items() if one.ca and not isinstance(one, RequestedCertificate)]
    if words:
        names = _named(words, known)
        _refuse_what_others_sign(names, known)
    else:
        names = leaves if everything else [name for name in leaves if known[name].differences(values, now)]
    cas = [name for name in names if name not in leaves]
    if new_key and cas:
        raise UsageError(
            f"{', '.join(cas)}: a CA with a new key is another CA, in which nobody trusts yet",
            hint="for its old key: without --new-key; another CA: hardway certs rotate-ca",
        )
    paths = {known[name].path for name in names}
    paths |= {known[name].key_path for name in names if new_key}
    return Renewal(frozenset(paths))


def _refuse_what_others_sign(names: Sequence[str], known: Mapping[str, Certificate]) -> None:
    for name in names:
        one = known[name]
        if isinstance(one, OwnCertificate):
            raise UsageError(
                f"{name} is a CA of yours: hardway cannot issue it again",
                hint=f"have it renewed with the same key and put the new certificate into {one.file}",
            )
        if isinstance(one, RequestedCertificate):
            raise UsageError(
                f"{name} cannot be signed: the key of its CA is not here",
                hint="hardway certs csr --all requests, and once they are signed: hardway certs import answers",
            )


def _named(words: Sequence[str], known: Mapping[str, Certificate]) -> list[str]:
    names: list[str] = []
    for word in words:
        matching = fnmatch.filter(known, word)
        if not matching:
            raise UsageError(f"no certificate is named {word!r}", hint=f"one of: {', '.join(known)}")
        names += matching
    return names


def await_shown(session: Session, state: State, declaration: Declaration) -> None:
    """Until every process that reads its certificate by itself shows the one on disk.

    Raises NotSettled where one still shows another. One that does not answer at all is not judged here.
    """
    deadline = time.monotonic() + SHOWN_LIMIT
    while True:
        found = _looked(session, state, declaration)
        if not found.differing:
            break
        if time.monotonic() > deadline:
            first = found.differing[0]
            raise NotSettled(
                f"{first.component} still shows another certificate at {first.address} than {first.path}",
                machine=first.machine,
                said="\n".join(f"{one.machine}: {one.component} at {one.address}" for one in found.differing),
                hint=f"restart it: hardway ssh {first.machine} -- systemctl restart {first.component}",
            )
        time.sleep(SHOWN_PAUSE)
    for one in found.silent:
        session.events(Note(f"{one.machine}: {one.component} does not answer at {one.address}", "warning"))


def _looked(session: Session, state: State, declaration: Declaration) -> Certificates:
    values = session.workspace.values()
    return check(session.cluster, state, declaration, values, ask(session, session.cluster), {})
