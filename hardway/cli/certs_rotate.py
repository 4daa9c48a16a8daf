"""`certs rotate-sa` and `certs rotate-ca`: what the cluster trusts is exchanged while it runs."""

from __future__ import annotations

import contextlib
from typing import Annotated

import typer

from hardway.cli import options as opt
from hardway.cli.certs_check import span
from hardway.cli.operating import operate
from hardway.cli.options import Options, flags
from hardway.cli.site import inventory, site
from hardway.declare.authority import same_authority
from hardway.declare.generations import CAS
from hardway.declare.pki import PemError
from hardway.errors import UsageError
from hardway.inventory.model import GIVEN_CERTIFICATE, AuthorityName, OwnAuthority
from hardway.operations import rotate_ca, rotate_sa

app = typer.Typer(add_completion=False)


Compromised = Annotated[
    bool, typer.Option("--compromised", help="It is in other hands: wait for nobody; requests fail meanwhile")
]
Wait = Annotated[str, typer.Option("--wait", metavar="SPAN", help="How long to listen for users of the CA before")]
Force = Annotated[bool, typer.Option("--force", help="Go on though somebody uses the CA before: they are refused")]
Pause = Annotated[bool, typer.Option("--pause", help="Stop once both CAs are trusted, to hand the next one out")]


@app.command("rotate-sa")
@flags(*opt.OPERATING)
def service_account(options: Options, compromised: Compromised = False) -> None:
    """Exchange the key of service-account tokens in four stages; shows them and asks.

    API servers are restarted one at a time, kubelets once, no pod. At the end tokens of the old key are refused. With
    `--compromised` they are refused at once, and pods get new ones a minute or two later. If it is interrupted, give
    the same command again.
    """
    operate(options, rotate_sa.operation(compromised=compromised))


@app.command("rotate-ca")
@flags(*opt.OPERATING)
def authorities(
    options: Options,
    names: Annotated[
        list[str], typer.Argument(metavar="kubernetes|etcd|front-proxy|all…", help="Which CAs", show_default=False)
    ],
    wait: Wait = "1m",
    force: Force = False,
    pause: Pause = False,
    compromised: Compromised = False,
) -> None:
    """Exchange CAs in stages: trust both, show certificates of the next, trust the next alone; asks first.

    What reads a CA only once is restarted, one member at a time; pods are not. Clients outside must know the next CA
    before API servers show its certificates: who was given a kubeconfig is known. Before the old CA goes, the audit
    logs say who still shows a certificate of it. If it is interrupted, give the same command again.
    """
    unknown = [name for name in names if name not in (*rotate_ca.ALL, "all")]
    if unknown:
        raise UsageError(f"no CA is named {unknown[0]!r}", hint=f"one of: {', '.join(rotate_ca.ALL)}, all")
    chosen = rotate_ca.ALL if "all" in names else tuple(names)
    if pause and (compromised or "kubernetes" not in chosen):
        raise UsageError(
            "--pause is for the CA kubernetes: clients outside know API servers by it",
            hint="leave out --compromised, which waits for nobody" if compromised else "leave out --pause",
        )
    given = inventory(options).certs.authorities
    for name, own in given.items():
        if name in chosen:
            _require_next(options, name, own)
    farewell = rotate_ca.Farewell(span(wait, "--wait"), force, compromised, pause)
    operate(options, rotate_ca.operation(chosen, farewell, tuple(given)))


def _require_next(options: Options, name: AuthorityName, own: OwnAuthority) -> None:
    """Raises UsageError where the operator's CA is the cluster's already, or cannot sign here."""
    if own.key is None:
        raise UsageError(
            f"the next CA {name} would be your own, and its key is not here (certs.authorities.{name})",
            hint="add key: for the rotation; afterwards it may go again",
        )
    here = site(options)
    [ca] = [one for one in CAS if one.name == name]
    values = here.workspace.values()
    there, wanted = values.get(f"{ca.signer(here.state)}.crt"), values.get(GIVEN_CERTIFICATE.format(name))
    if here.state.operation or there is None or wanted is None:
        return
    with contextlib.suppress(PemError):  # what is wrong with a file is said by the run
        if same_authority(there, wanted):
            raise UsageError(
                f"the CA {name} is your own (certs.authorities.{name} in the inventory), and hardway makes no next one",
                hint=f"put the next one into {own.certificate}, or leave {name} out",
            )
