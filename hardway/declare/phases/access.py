"""Chapter access: what the operator needs to use the cluster, in the workspace and nowhere else.

`~/.kube/config` and `~/.ssh` are the operator's own: nothing is written there.
"""

from collections.abc import Iterator

from hardway.declare.phases.base import Declared, Model, Phase, Proof
from hardway.declare.phases.certs import ADMIN_USER, ADMINS_GROUP
from hardway.declare.phases.kubeconfigs import of_user
from hardway.declare.phases.paths import KUBECTL
from hardway.declare.resources import Local, WorkspaceFile
from hardway.inventory.model import Machine
from hardway.values import Placeholder

WORKSPACE = str(Placeholder("workspace/path"))


def local(model: Model) -> Iterator[Local]:
    cluster = model.cluster
    yield WorkspaceFile(".gitignore", "# Keys and credentials: never to be committed.\n*\n")
    yield WorkspaceFile("kubeconfig", of_user(model, cluster.api_url, ADMIN_USER, "admin", cluster.name))
    yield WorkspaceFile("ssh_config", ssh_config(model))


def ssh_config(model: Model) -> str:
    """For `ssh -F`: every machine under its name, with the host keys that this cluster is known by."""
    head = f"# ssh -F {WORKSPACE}/ssh_config MACHINE\n"
    given = sorted({str(machine.ssh.config) for machine in model.cluster.machines if machine.ssh.config})
    # With -F ssh reads no other file by itself. A lab's machines are nobody's but the lab's.
    given += [] if model.cluster.lab else ["~/.ssh/config"]
    # Last, since what ssh reads first counts; and for all hosts, or it would belong to the last machine's block.
    included = "".join(f'\nMatch all\nInclude "{path}"\n' for path in given)
    hosts = "".join(_host(model, machine) for machine in model.cluster.machines)
    return head + hosts + "".join(_bastion(model, name) for name in _bastions(model)) + included


def _bastions(model: Model) -> list[str]:
    """Jump hosts that are no machines of the cluster, as they are named after -J, without user and port."""
    jumps = ",".join(machine.ssh.jump for machine in model.cluster.machines if machine.ssh.jump)
    names = (hop.rpartition("@")[2].partition(":")[0] for hop in jumps.split(",") if hop)
    return sorted(set(names) - {machine.name for machine in model.cluster.machines} - {"none"})


def _bastion(model: Model, name: str) -> str:
    return f"\nHost {name}\n  UserKnownHostsFile {_known_hosts(model)}\n  StrictHostKeyChecking yes\n"


def _known_hosts(model: Model) -> str:
    """The operator's own count, too, where machines are not a lab's."""
    return f'"{WORKSPACE}/known_hosts"' + ("" if model.cluster.lab else " ~/.ssh/known_hosts")


def _host(model: Model, machine: Machine) -> str:
    ssh = machine.ssh
    key = f"{WORKSPACE}/lab/id_ed25519" if model.cluster.lab else ssh.key
    options = {
        "HostName": _dialled(machine),
        "Port": ssh.port,
        "User": ssh.user,
        "IdentityFile": f'"{key}"' if key else None,
        "IdentitiesOnly": "yes" if model.cluster.lab else None,
        "ProxyJump": ssh.jump,
        "UserKnownHostsFile": _known_hosts(model),
        "StrictHostKeyChecking": "yes",
    }
    lines = (f"  {name} {value}\n" for name, value in options.items() if value)
    return f"\nHost {machine.name}\n{''.join(lines)}"


def _dialled(machine: Machine) -> str | None:
    """Nothing for a machine whose name is the alias by which an ssh_config knows it."""
    ssh = machine.ssh
    if ssh.host == machine.name:
        return None
    return ssh.host or (str(machine.ip) if machine.address else None)


def resources(model: Model) -> Iterator[Declared]:
    return iter(())


def proofs(model: Model) -> Iterator[Proof]:
    yield Proof(
        model.cluster.controllers[0].name,
        "the operator's group administers the cluster, through the endpoint",
        f"{KUBECTL} --server={model.cluster.api_url} auth can-i '*' '*'",
        f"the kubeconfig in the workspace is of the group {ADMINS_GROUP}, which RBAC binds to cluster-admin",
        "equals",
        "yes",
        within=10,
    )


PHASE = Phase(
    "access",
    "Configuring kubectl for remote access",
    "The cluster is used from the operator's machine, with credentials that can be taken back.",
    resources,
    proofs,
    local,
)
