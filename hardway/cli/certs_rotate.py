"""`certs rotate-sa` and `certs rotate-ca`: what the cluster trusts is exchanged while it runs."""

from __future__ import annotations

from typing import Annotated

import typer

from hardway.cli import options as opt
from hardway.cli.certs_check import span
from hardway.cli.operating import operate
from hardway.cli.options import Options, flags
from hardway.cli.site import inventory
from hardway.errors import UsageError
from hardway.operations import rotate_ca, rotate_sa

app = typer.Typer(add_completion=False)


Compromised = Annotated[
    bool, typer.Option("--compromised", help="It is in other hands: wait for nobody; requests fail meanwhile")
]
Wait = Annotated[str, typer.Option("--wait", metavar="SPAN", help="How long to listen for users of the CA before")]
Force = Annotated[bool, typer.Option("--force", help="Go on though somebody uses the CA before: they are refused")]


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
    compromised: Compromised = False,
) -> None:
    """Exchange CAs in stages: trust both, show certificates of the next, trust the next alone; asks first.

    What reads a CA only once is restarted, one member at a time; pods are not. Before the old CA goes, the audit logs
    say who still shows a certificate of it. If it is interrupted, give the same command again.
    """
    unknown = [name for name in names if name not in (*rotate_ca.ALL, "all")]
    if unknown:
        raise UsageError(f"no CA is named {unknown[0]!r}", hint=f"one of: {', '.join(rotate_ca.ALL)}, all")
    chosen = rotate_ca.ALL if "all" in names else tuple(names)
    for name in inventory(options).certs.authorities:
        if name in chosen:
            raise UsageError(
                f"the CA {name} is your own (certs.authorities.{name} in the inventory), and hardway makes no next one",
                hint=f"leave {name} out",
            )
    farewell = rotate_ca.Farewell(span(wait, "--wait"), force, compromised)
    operate(options, rotate_ca.operation(chosen, farewell))
