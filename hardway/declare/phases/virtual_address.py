"""The address that several load balancers hold between them: keepalived on each of them. Part of chapter load-balancer.

It runs under a unit and a configuration of our own, as HAProxy does.
"""

from collections.abc import Iterator

from hardway.declare.generations import KUBERNETES
from hardway.declare.phases.base import Declared, Model, Proof, fact_placeholder
from hardway.declare.phases.certs import TRUST, server_trust_path, verify_by
from hardway.declare.phases.paths import KEEPALIVED_CONF, unit_inputs, unit_path
from hardway.declare.render import render
from hardway.declare.resources import File, Group, Service, stays_up
from hardway.facts import INTERFACE
from hardway.inventory.model import Cluster, Machine
from hardway.values import host_port

UNIT = "kube-apiserver-vip"
KEEPALIVED = "/usr/sbin/keepalived"
HIGHEST = 200
"""The priority of the first balancer. 255 is the address's owner, whom nobody may follow."""


def holds(cluster: Cluster) -> str:
    """sh with status 0 on the machine that has the virtual address."""
    return f"ip -o -4 addr show to {cluster.virtual_address}/32 | grep -q ."


def group(cluster: Cluster, name: str) -> Group | None:
    """What is restarted on one balancer after another, the one with the address last; None for a single one."""
    if len(cluster.load_balancers) < 2:
        return None
    return Group(name, keep=1, leads=holds(cluster) if cluster.virtual_address else "")


def resources(model: Model, machine: Machine) -> Iterator[Declared]:
    """Of one load balancer; nothing where there is no address to hold."""
    if model.cluster.virtual_address is None:
        return
    # No `tried_by`: 2.2.7, which is Debian 12's, ends its own --config-test by SIGTERM once there is a script_user.
    yield machine.name, File(KEEPALIVED_CONF, keepalived_conf(model, machine), mode=0o600)
    yield machine.name, File(unit_path(UNIT), render(f"units/{UNIT}.service", keepalived=KEEPALIVED), mode=0o600)
    yield (
        machine.name,
        Service(
            f"{UNIT}.service",
            inputs=unit_inputs(UNIT),
            # It keeps the address while it reads these.
            reload_inputs=(KEEPALIVED_CONF,),
            group=group(model.cluster, "keepalived"),
            ready=stays_up(f"{UNIT}.service"),
        ),
    )


def keepalived_conf(model: Model, machine: Machine) -> str:
    balancers, virtual = model.cluster.load_balancers, model.cluster.virtual_address
    assert virtual is not None
    peers = [f"    {one.ip} min_ttl 255 max_ttl 255" for one in balancers if one is not machine]
    return render(
        "configs/keepalived.conf",
        machine=machine.name,
        address=machine.ip,
        interface=fact_placeholder(f"{INTERFACE}{str(machine.ip).replace('.', '-')}"),
        peers="\n".join(peers),
        virtual=virtual,
        # 0 is no identifier.
        router=int(virtual) % 256 or 255,
        priority=HIGHEST - balancers.index(machine),
        port=model.cluster.endpoint_port,
        trust=verify_by(model, KUBERNETES, server_trust_path(model)),
    )


def proofs(model: Model) -> Iterator[Proof]:
    cluster = model.cluster
    if cluster.virtual_address is None:
        return
    trust = verify_by(model, KUBERNETES, TRUST)
    names = tuple(machine.name for machine in cluster.load_balancers)
    for machine in cluster.load_balancers:
        yield Proof(
            machine.name,
            f"{cluster.virtual_address} is on one balancer",
            f"if {holds(cluster)}; then echo it is here; fi",
            "on none nobody reaches the API; on two callers reach now one and now the other",
            within=10,
            one_of=names,
        )
        yield Proof(
            machine.name,
            f"{cluster.virtual_address} answers with the cluster's certificate",
            f"openssl s_client -connect {host_port(cluster.virtual_address, cluster.endpoint_port)} {trust} "
            f"-verify_return_error -verify_ip {cluster.virtual_address} -brief </dev/null 2>&1",
            "one of the balancers has the address, and the others find it there",
            within=10,
        )
