"""`certs rotate-sa`: a next key for service-account tokens, and no pod notices.

A token is refused as soon as one API server does not know its key, so all of them know the next key before one signs
with it, and the one before goes when nobody has a token of it any more.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from hardway.declare.generations import token_key
from hardway.declare.phases.base import Model, Proof
from hardway.declare.phases.paths import KUBECTL, PKI
from hardway.declare.pki import public_key_digest
from hardway.declare.resources.base import quote
from hardway.engine import prove
from hardway.engine.session import Session
from hardway.errors import WorkspaceError
from hardway.events import Note
from hardway.operations.stage import Operation, Stage, unchanged
from hardway.state import Generations, State

NAME = "certs rotate-sa"
RENEWAL_LIMIT = 300.0
"""Seconds until kubelets that were restarted have written new tokens: they look at each volume about once a minute."""
REREAD = 70.0
"""Seconds until a program has read its token again: client-go does each minute (transport/token_source.go)."""


COMPROMISED = "--compromised"
PRICE = (
    "it waits for nobody: pods get 401 from the API until they have read a new token, two or three minutes, and a "
    "token that was given to somebody outside is refused"
)


def operation(*, compromised: bool = False) -> Operation:
    """`compromised`: in one stage, which does not wait until everybody has a token of the next key."""
    if compromised:
        why = "API servers know the next key alone, one after another; tokens before it are refused at once"
        return Operation(
            NAME, (COMPROMISED,), (Stage("replace", _replaced, _all_known, _renew_and_put_away, why=why),), PRICE
        )
    return Operation(
        NAME,
        (),
        (
            Stage(
                "trust",
                _keys(Generations.with_next),
                _all_known,
                why="every API server accepts tokens of the next key, too",
            ),
            Stage(
                "sign",
                _keys(Generations.signing_newest),
                _signed,
                why="API servers and controller managers sign with the next key",
            ),
            Stage("renew", unchanged, act=_renew_and_wait, why="every pod gets a new token; no pod is restarted"),
            Stage(
                "retire",
                _keys(Generations.newest_alone),
                _all_known,
                _put_away,
                why="no API server accepts the key before",
            ),
        ),
    )


def _replaced(state: State) -> State:
    # A stage that was cut is begun again, and finds the operation in State: its key is the next one already.
    if state.operation:
        return state
    change = _keys(lambda keys: keys.with_next().signing_newest().newest_alone())
    return change(state)


def _renew_and_put_away(session: Session, model: Model) -> None:
    _renew(session, model)
    _put_away(session, model)


def _renew_and_wait(session: Session, model: Model) -> None:
    _renew(session, model)
    session.events(Note(f"waiting {REREAD:.0f} s: programs read their token again once a minute"))
    time.sleep(REREAD)


def _keys(change: Callable[[Generations], Generations]) -> Callable[[State], State]:
    return lambda state: replace(state, service_account_keys=change(state.service_account_keys))


def _put_away(session: Session, model: Model) -> None:
    for number in range(1, model.state.service_account_keys.signing):
        for ending in ("key", "pub"):
            session.workspace.retire(f"pki/{token_key(number)}.{ending}")


# The identifier of a key: SHA-256 of its DER, as pkg/serviceaccount/jwt.go has it.
_KIDS = """\
kids() {
  for pub; do
    openssl pkey -pubin -in "$pub" -outform DER | openssl dgst -sha256 -binary | base64 | tr '+/' '-_' | tr -d '='
  done | sort
}
"""

_KID_OF = """\
kid_of() { # the key that signed the token on standard input
  cut -d. -f1 | tr -- '-_' '+/' | base64 -d 2>/dev/null | sed -n 's/.*"kid":"\\([^"]*\\)".*/\\1/p'
}
"""


def _all_known(model: Model) -> Iterator[Proof]:
    """Each API server publishes just the keys whose tokens it accepts."""
    files = quote(*(f"{PKI}/{token_key(number)}.pub" for number in model.state.service_account_keys.trusted))
    for machine in model.cluster.controllers:
        yield Proof(
            machine.name,
            "the API server accepts tokens of just the declared keys",
            f'{_KIDS}[ "$({KUBECTL} get --raw=/openid/v1/jwks | grep -o \'"kid":"[^"]*"\' | cut -d\'"\' -f4 | sort)" '
            f'= "$(kids {files})" ]',
            "a token of a key that one API server does not know is refused there, and nowhere else",
            within=30,
        )


def _signed(model: Model) -> Iterator[Proof]:
    public = quote(f"{PKI}/{token_key(model.state.service_account_keys.signing)}.pub")
    for machine in model.cluster.controllers:
        yield Proof(
            machine.name,
            "the API server signs with the newest key",
            f'{_KIDS}{_KID_OF}[ "$({KUBECTL} create token default -n kube-system --duration=10m | kid_of)" '
            f'= "$(kids {public})" ]',
            "the key before cannot go while tokens of it are made",
            within=30,
        )


def _renew(session: Session, model: Model) -> None:
    """Has tokens made again where one of an earlier key is, and waits until programs have read them.

    A kubelet keeps tokens in memory until 80 % of their life is over; one that starts has none, and asks for all.
    Long-lived tokens in Secrets are signed again by the controller manager once they are empty.
    """
    keys = model.state.service_account_keys
    values = session.workspace.values()
    kid = key_identifier(values, keys.signing)
    before = [number for number in range(1, keys.signing) if f"pki/{token_key(number)}.pub" in values]
    retiring = [key_identifier(values, number) for number in before]
    workers = [machine.name for machine in model.cluster.workers]
    session.events(Note("restarting kubelets whose pods have tokens of the key before; pods run on"))
    session.each(workers, lambda name: session.run(name, _restart_kubelet(retiring), what="renew the tokens of pods"))
    controller = model.cluster.controllers[0].name
    session.run(controller, sign_secrets(kid), what="renew the tokens in Secrets", timeout=300)
    prove.require(
        prove.prove(session, [("renew", proof) for proof in _tokens(model, kid, retiring)], wait=RENEWAL_LIMIT)
    )


def key_identifier(values: Mapping[str, bytes], number: int) -> str:
    """The `kid` of tokens that a generation of the key signs. Raises WorkspaceError where the workspace lacks it."""
    path = f"pki/{token_key(number)}.pub"
    public = values.get(path)
    if public is None:
        raise WorkspaceError(f"{path} is not in the workspace", hint="hardway certs")
    digest = bytes.fromhex(public_key_digest(public))
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


# Any file of a projected volume may be a token; a token's first letters are those of `{"` in base64.
_OLD_TOKENS = f"""\
{_KID_OF}\
old_tokens() {{ # files below pods' projected volumes that hold a token of one of these keys
  find -L /var/lib/kubelet/pods/*/volumes/kubernetes.io~projected -type f -size -64k -not -path '*/..*' 2>/dev/null |
    while read -r file; do
      [ "$(head -c 3 "$file")" = eyJ ] || continue
      kid=$(kid_of <"$file")
      [ -z "$kid" ] || case " $* " in *" $kid "*) echo "$file" ;; esac
    done
}}
"""

_OLD_SECRETS = f"""\
{_KID_OF}\
old_secrets() {{ # NAMESPACE NAME of Secrets whose token is of another key than $1
  listed=$({KUBECTL} get secrets -A --field-selector=type=kubernetes.io/service-account-token \\
    -o jsonpath='{{range .items[*]}}{{.metadata.namespace}} {{.metadata.name}} {{.data.token}}{{"\\n"}}{{end}}') ||
    exit 1
  [ -z "$listed" ] || echo "$listed" |
    while read -r namespace name token; do
      [ "$(printf %s "$token" | base64 -d | kid_of)" = "$1" ] || echo "$namespace $name"
    done
}}
"""


def _restart_kubelet(retiring: Sequence[str]) -> str:
    return f"""\
{_OLD_TOKENS}[ -n "$(old_tokens {quote(*retiring)} | head -n 1)" ] || exit 0
systemctl restart kubelet.service
"""


def sign_secrets(kid: str) -> str:
    """A script that has the token of each Secret signed again that is of another key, and prints a line for each."""
    return f"""\
{_OLD_SECRETS}old_secrets {quote(kid)} | while read -r namespace name; do
  {KUBECTL} patch secret "$name" -n "$namespace" --type=merge -p '{{"data":{{"token":null}}}}'
done
"""


def _tokens(model: Model, kid: str, retiring: Sequence[str]) -> Iterator[Proof]:
    for machine in model.cluster.workers:
        yield Proof(
            machine.name,
            "no pod has a token of the key before",
            f'{_OLD_TOKENS}old=$(old_tokens {quote(*retiring)}); echo "$old"; [ -z "$old" ]',
            "a pod whose token's key is retired gets 401",
            within=RENEWAL_LIMIT,
        )
    yield Proof(
        model.cluster.controllers[0].name,
        "every token in a Secret is of the newest key",
        f'{_OLD_SECRETS}old=$(old_secrets {quote(kid)}); echo "$old"; [ -z "$old" ]',
        "who was given such a token gets 401 once its key is retired",
        within=60,
    )
