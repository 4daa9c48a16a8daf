"""`certs rotate-ca`: a next generation of CAs, while everything runs.

First everybody trusts both, then everything shows certificates of the next one, then nobody trusts the one before.
Each stage is a roll of its own; after each of them anybody can talk to anybody.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from hardway.console.words import counted
from hardway.declare.generations import CA, CAS, ETCD, KUBERNETES
from hardway.declare.phases.base import Model, Proof
from hardway.declare.phases.certs import is_own, server_trust_path
from hardway.declare.phases.paths import KUBECTL, KUBELET_CONF, PKI
from hardway.engine.session import Session
from hardway.errors import HardwayError
from hardway.events import Note
from hardway.inventory.model import AuthorityName
from hardway.operations import users
from hardway.operations.old_certificates import still_shown
from hardway.operations.stage import Operation, Stage, nothing_to_prove, unchanged
from hardway.probe.served import HAPROXY, ports
from hardway.state import Generations, State

NAME = "certs rotate-ca"
ALL = tuple(ca.name for ca in CAS)
SPREAD_LIMIT = 240.0
"""Seconds until a changed trust is in every pod: kubelets look at their volumes about once a minute."""


@dataclass(frozen=True)
class Farewell:
    """How the CA before goes. It is listened for `listen` who still shows a certificate of it, and nobody may; nor may
    somebody have a kubeconfig that does not know the next one. With `force` they are named, and it goes all the same.

    `compromised`: it waits for nobody, neither pods nor users. `pause`: it stops before API servers show the next CA's
    certificates, for those of whom hardway does not know.
    """

    listen: timedelta = timedelta(minutes=1)
    force: bool = False
    compromised: bool = False
    pause: bool = False


def operation(
    names: Collection[str], farewell: Farewell = Farewell(), given: Collection[AuthorityName] = ()
) -> Operation:
    """Of the CAs of these names (`kubernetes`, `etcd`, `front-proxy`) at once: each unit restarts once for all.

    The next one is the operator's where its name is in `given`.
    """
    chosen = [ca for ca in CAS if ca.name in names]
    # Of a cluster whose State has not noted it yet.
    before = {ca.path: True for ca in CAS if ca.name in given and ca not in chosen}

    def each(change: Callable[[Generations], Generations]) -> Callable[[State], State]:
        def edit(state: State) -> State:
            after, own = (
                dict(state.authorities),
                dict(before if state.own_authorities is None else state.own_authorities),
            )
            for ca in chosen:
                changed = after[ca.name] = change(state.authority(ca.name))
                newest = max(changed.trusted)
                if ca.name in given:
                    own[ca.generation(newest)] = True
                for number in range(1, min(changed.trusted)):
                    own.pop(ca.generation(number), None)
            return replace(state, authorities=after, own_authorities=own)

        return edit

    def retire(session: Session, model: Model) -> None:
        _put_away(session, model, chosen)
        if chosen != [ETCD]:
            prune(session, model)

    def sign(session: Session, model: Model) -> None:
        if KUBERNETES in chosen:
            _forget_renewed(session, model)

    def leave(session: Session, model: Model) -> None:
        _look_for_users(session, model, farewell)

    def hand_out(session: Session, model: Model) -> None:
        _look_for_kubeconfigs(session, model, farewell)

    waits = KUBERNETES in chosen and not farewell.compromised
    spread = _spread if waits else nothing_to_prove
    trust = Stage("trust", each(Generations.with_next), spread, why="everything trusts both CAs")
    why = "who was given a kubeconfig has one that knows both CAs"
    clients = Stage("clients", unchanged, act=hand_out, why=why)
    why = "everything shows certificates of the next CA"
    signed = Stage("sign", each(Generations.signing_newest), _served, sign, why=why)
    unused = Stage("users", unchanged, act=leave, why="nobody shows a certificate of the CA before")
    why = "nothing trusts the CA before"
    gone = Stage("retire", each(Generations.newest_alone), _gone(chosen), retire, why=why)
    stages = (trust, clients, signed, unused, gone) if waits else (trust, signed, gone)
    arguments = tuple(ca.name for ca in chosen)
    if farewell.compromised:
        return Operation(NAME, (*arguments, COMPROMISED), stages, PRICE)
    return Operation(NAME, arguments, stages, OUTSIDE if waits else "")


OUTSIDE = (
    "the cluster serves through all of them; a client outside which knows API servers by a file with the CA before "
    "(kubeconfig, CI) refuses them from `sign` on, unless it was given the next one"
)
COMPROMISED = "--compromised"
PRICE = (
    "it waits for nobody: pods lose the API until the next CA is in their volumes (a minute or two), programs that "
    "read it once until they are restarted, and a certificate of the CA before is refused, also your users'"
)


def _look_for_kubeconfigs(session: Session, model: Model, farewell: Farewell) -> None:
    """A client that does not know the next CA ends the connection itself, so no log of the cluster ever shows it."""
    newest = max(model.state.authority(KUBERNETES.name).trusted)
    ca = session.workspace.values()[f"{KUBERNETES.generation(newest)}.crt"]
    names = ", ".join(users.without(users.users(session.workspace), ca, datetime.now(UTC)))
    refuse = "refuse API servers from the next stage on, and no log shows it"
    if farewell.pause:
        raise HardwayError(
            "stopped, as --pause says: everybody outside has to know the next CA now",
            said=f"both CAs are trusted, and everything serves{f'; without the next one: {names}' if names else ''}",
            hint="hand out new kubeconfigs (hardway access user add NAME), and the certificate-authority-data of the "
            "workspace's kubeconfig; then the same command without --pause",
        )
    if names and not farewell.force:
        raise HardwayError(
            f"{names}: their kubeconfigs do not know the next CA",
            said=f"they would {refuse}\nboth CAs are trusted, and everything serves",
            hint="hand out new ones (hardway access user add NAME), and to what else has the CA before in a file (CI) "
            "the certificate-authority-data of the workspace's kubeconfig; then the same command again; with --force "
            "it goes on at once",
        )
    told = f"kubeconfigs and CA files from before this rotation {refuse}: the workspace's kubeconfig has both CAs"
    session.events(Note(f"{told}; without them: {names}" if names else told, "warning"))


def _look_for_users(session: Session, model: Model, farewell: Farewell) -> None:
    if farewell.force and not farewell.listen:
        return
    session.events(
        Note(f"listening for {farewell.listen.total_seconds():.0f} s: who shows a certificate of the CA before?")
    )
    shown = still_shown(session, model, farewell.listen)
    names = "\n".join(one.words for one in shown)
    if shown and not farewell.force:
        raise HardwayError(
            f"the CA before is still in use: {counted(len(shown), 'certificate')} of it shown",
            said=f"{names}\nboth CAs are trusted, and everything serves",
            hint="give them new ones (hardway access user add; your own is in the workspace's kubeconfig by now), then "
            "the same command again; with --force they are refused from now on",
        )
    if shown:
        session.events(Note(f"refused from now on: {names.replace(chr(10), '; ')}"))


def _put_away(session: Session, model: Model, chosen: Collection[CA]) -> None:
    for ca in chosen:
        if not is_own(model, ca):
            session.workspace.retire(f"{ca.path}-bundle.crt")
        for number in range(1, model.state.authority(ca.name).signing):
            for path in (f"{ca.generation(number)}.key", f"{ca.generation(number)}.crt"):
                session.workspace.retire(path)
            for path in (ca.above(number), ca.served(number)):
                session.workspace.retire(path)


def _spread(model: Model) -> Iterator[Proof]:
    """All that is handed to pods has the declared trust: ConfigMaps, Secrets, and the volumes of running pods."""
    first, trust = model.cluster.controllers[0].name, server_trust_path(model)
    active = f"{KUBECTL} get namespaces --field-selector=status.phase=Active -o name"
    configmaps = f"{KUBECTL} get configmaps -A --field-selector=metadata.name=kube-root-ca.crt"
    yield Proof(
        first,
        "kube-root-ca.crt of every namespace is what is trusted",
        f"spaces=$({active}) || exit 1\n"
        f'number=$({configmaps} -o name | wc -l); [ "$number" -ge "$(echo "$spaces" | wc -l)" ] || exit 1\n'
        f'wanted=$(while [ "$number" -gt 0 ]; do cat {trust}; number=$((number - 1)); done | sha256sum)\n'
        f'[ "$({configmaps} -o jsonpath=\'{{range .items[*]}}{{.data.ca\\.crt}}{{end}}\' | sha256sum)" = "$wanted" ]',
        "pods know the API server by it",
        within=SPREAD_LIMIT,
    )
    yield Proof(
        first,
        "ca.crt of every service-account Secret is what is trusted",
        f"listed=$({KUBECTL} get secrets -A --field-selector=type=kubernetes.io/service-account-token "
        "-o jsonpath='{range .items[*]}{.metadata.namespace} {.metadata.name} {.data.ca\\.crt}{\"\\n\"}{end}') "
        '|| exit 1\n[ -z "$listed" ] || echo "$listed" |\n'
        "  while read -r namespace name text; do\n"
        f'    [ "$text" = "$(base64 -w0 <{trust})" ] || echo "$namespace/$name"; done',
        "who was given such a token was given the CA with it",
        "equals",
        "",
        within=SPREAD_LIMIT,
    )
    for machine in model.cluster.workers:
        yield Proof(
            machine.name,
            "ca.crt in every pod is what is trusted",
            # What pods get, the kubelet has in its kubeconfig.
            f"trust=$(mktemp); trap 'rm -f \"$trust\"' EXIT\n"
            f"sed -n 's/^ *certificate-authority-data: //p' {KUBELET_CONF} | base64 -d >\"$trust\"\n"
            "find -L /var/lib/kubelet/pods/*/volumes/kubernetes.io~projected -name ca.crt -type f -not -path '*/..*' "
            "2>/dev/null | while read -r file; do\n"
            # One of somebody else's has no certificate in common with what is trusted.
            '  cmp -s "$file" "$trust" || ! grep -v -e ^- "$file" | grep -qxFf - "$trust" || echo "$file"\n'
            "done",
            "a pod that does not know the next CA loses the API when its certificates are shown",
            "equals",
            "",
            within=SPREAD_LIMIT,
        )


def _served(model: Model) -> Iterator[Proof]:
    """What is shown on the wire is what is on the disk, and of the CA that signs."""
    fingerprint = "openssl x509 -noout -fingerprint -sha256"
    for machine in model.cluster.machines:
        for port in ports(model.cluster, machine):
            # What a load balancer passes on is no file there.
            passed_on = port.component == "kube-apiserver" and not machine.is_controller
            if port.path and port.component != HAPROXY and not passed_on:
                yield Proof(
                    machine.name,
                    f"{port.address} shows {port.path}",
                    f'shown=$({port.question.shell} | {fingerprint}); echo "$shown"\n'
                    f'[ "$shown" = "$({fingerprint} -in {port.path})" ]',
                    "who trusts the next CA alone does not believe a certificate of the one before",
                    within=75,
                )


# The pair's own CA is not in it. Of several that are trusted, the last one signs.
_FORGET_RENEWED = f"""\
pair=/var/lib/kubelet/pki/kubelet-client-current.pem
[ -e "$pair" ] || {{ systemctl start kubelet.service; exit 0; }}
newest=$(mktemp)
trap 'rm -f "$newest"' EXIT
tac {PKI}/ca.crt | sed '/BEGIN CERTIFICATE/q' | tac >"$newest"
openssl verify -partial_chain -CAfile "$newest" "$pair" >/dev/null 2>&1 && exit 0
systemctl stop kubelet.service
rm -f "$pair"
systemctl start kubelet.service
"""


def _forget_renewed(session: Session, model: Model) -> None:
    """A kubelet whose certificate the cluster renewed prefers that one to its kubeconfig's for as long as it is there.

    (client-go, util/certificate/certificate_store.go: Current.)
    """
    what = "have the kubelet show a certificate of the next CA"
    names = [machine.name for machine in model.cluster.workers]
    session.each(names, lambda name: session.run(name, _FORGET_RENEWED, what=what))


_PEM_AS_JSON = "awk '{printf \"%s\\\\n\", $0}'"


def prune(session: Session, model: Model) -> None:
    """API servers only add to what they tell aggregated ones: nothing leaves it until it has expired.

    (pkg/controlplane/controller/clusterauthenticationtrust: combineCertLists.)
    """
    script = (
        f"clients=$({_PEM_AS_JSON} {PKI}/ca.crt); proxies=$({_PEM_AS_JSON} {PKI}/front-proxy-ca.crt)\n"
        f"{KUBECTL} patch configmap extension-apiserver-authentication -n kube-system --type=merge -p "
        '"{\\"data\\":{\\"client-ca-file\\":\\"$clients\\",\\"requestheader-client-ca-file\\":\\"$proxies\\"}}"\n'
    )
    controller = model.cluster.controllers[0].name
    session.run(controller, script, what="tell aggregated API servers whom to trust no more")


def _gone(chosen: Sequence[CA]) -> Callable[[Model], Iterator[Proof]]:
    def proofs(model: Model) -> Iterator[Proof]:
        if KUBERNETES in chosen:
            yield from _spread(model)
        if chosen != [ETCD]:
            yield _told(model)

    return proofs


def _told(model: Model) -> Proof:
    told = f"{KUBECTL} get configmap extension-apiserver-authentication -n kube-system -o jsonpath="
    proxies = "'{.data.requestheader-client-ca-file}'"
    return Proof(
        model.cluster.controllers[0].name,
        "aggregated API servers are told just what is trusted",
        f'[ "$({told}\'{{.data.client-ca-file}}\')" = "$(cat {PKI}/ca.crt)" ] &&\n'
        f'  [ "$({told}{proxies})" = "$(cat {PKI}/front-proxy-ca.crt)" ]',
        "they would go on to believe certificates of the CA before",
        within=90,
    )
