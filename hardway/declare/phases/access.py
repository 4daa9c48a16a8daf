"""Chapter access: what the operator needs to use the cluster, in the workspace and nowhere else.

`~/.kube/config` and `~/.ssh` are the operator's own: nothing is written there.
"""

from collections.abc import Iterator
from ipaddress import ip_address

from hardway.declare.phases.base import Declared, Model, Phase, Proof
from hardway.declare.phases.certs import ADMIN_USER, ADMINS_GROUP
from hardway.declare.phases.kubeconfigs import of_user
from hardway.declare.phases.paths import KUBECTL
from hardway.declare.resources import Local, WorkspaceFile
from hardway.inventory.model import Cluster, Machine
from hardway.values import Placeholder

SSH_CONFIG = "ssh_config"
WORKSPACE = str(Placeholder("workspace/path"))


def local(model: Model) -> Iterator[Local]:
    cluster = model.cluster
    yield WorkspaceFile(".gitignore", "# Keys and credentials: never to be committed.\n*\n")
    yield WorkspaceFile("kubeconfig", of_user(model, cluster.api_url, ADMIN_USER, "admin", cluster.name))
    yield WorkspaceFile(SSH_CONFIG, ssh_config(model))


def ssh_config(model: Model) -> str:
    """For `ssh -F`: every machine under its name, with the host keys that this cluster is known by.

    It leads where hardway goes: what the operator's files say of a machine's address counts, not what they say of the
    name that it has in the inventory. For that they are read once ssh has put the address in the name's place.
    """
    cluster = model.cluster
    head = f"# ssh -F {WORKSPACE}/ssh_config MACHINE\n"
    hosts = "".join(_host(model, machine) for machine in cluster.machines)
    bastions = "".join(_bastion(model, name) for name in _bastions(model))
    # Last, since what ssh reads first counts.
    given = sorted({str(machine.ssh.config) for machine in cluster.machines if machine.ssh.config})
    included = "".join(_included(cluster, path, _without(cluster, path)) for path in given)
    # With -F ssh reads no other file by itself. A lab's machines are nobody's but the lab's.
    own = [] if cluster.lab else ["~/.ssh/config", "/etc/ssh/ssh_config"]
    return head + hosts + bastions + included + "".join(_included(cluster, path, []) for path in own)


def _without(cluster: Cluster, path: str) -> list[str]:
    """What machines are called that another ssh_config file, or none, was given for."""
    others = [machine for machine in cluster.machines if str(machine.ssh.config) != path]
    names: set[str] = set()
    for machine in others:
        names |= {machine.name, ssh_name(machine)}
    return sorted(names)


def _included(cluster: Cluster, path: str, without: list[str]) -> str:
    """A file of the operator's; it is not for machines called as in `without`."""
    addressed = [machine.name for machine in cluster.machines if _dialled(machine) and machine.name not in without]
    others = ",".join(f"!{name}" for name in sorted({*addressed, *without}))
    text = f'\nMatch originalhost "{others},*"\nInclude "{path}"\n' if others else f'\nMatch all\nInclude "{path}"\n'
    if addressed:
        text += f'\nMatch final originalhost "{",".join(addressed)}"\nInclude "{path}"\n'
    return text


def ssh_name(machine: Machine) -> str:
    """What is typed for a machine behind `ssh -F`: an alias of ssh_config leads nowhere but under its own name."""
    try:
        ip_address(machine.ssh.host or "")
    except ValueError:
        return machine.ssh.host or machine.name
    return machine.name


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
    lines = {name: f"  {name} {value}\n" for name, value in options.items() if value}
    text = f"\nHost {machine.name}\n{''.join(lines.values())}"
    if ssh_name(machine) == machine.name:
        return text
    del lines["HostName"]
    return f"{text}\nHost {ssh_name(machine)}\n{''.join(lines.values())}"


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
        model.api_servers[0].name,
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
