"""What people type that is no command of hardway's, and where it leads."""

from __future__ import annotations

from dataclasses import dataclass

from hardway.errors import UsageError


@dataclass(frozen=True)
class Pointer:
    """`what` is why there is no such command, or what hardway has in its place; `next` is a command."""

    what: str
    next: str


_BUILD = Pointer("hardway calls it init: it builds what the inventory says", "hardway plan, then hardway init")
_CHANGE = Pointer("change the inventory; hardway finds out what follows", "hardway plan, then hardway apply")
_ADD = Pointer(
    "machines join by the inventory: write one under machines:, with its role and address",
    "hardway plan, then hardway init; a controller: hardway node add NAME",
)
_REMOVE = Pointer(
    "one machine leaves a cluster that runs on; reset ends the whole cluster, and its data goes with it",
    "hardway node remove NAME; of the whole cluster: hardway reset; of a lab: hardway lab down",
)
_RESET = Pointer(
    "hardway calls it reset; the cluster's data goes with it",
    "hardway reset; of a lab: hardway lab down; one machine of a cluster that runs on: hardway node remove NAME",
)
_SAVE = Pointer(
    "hardway keeps a snapshot of etcd and the workspace together, since neither is of use alone",
    "hardway backup DIR; etcd alone: hardway etcd snapshot FILE; the workspace: hardway workspace seal FILE",
)
_RESTORE = Pointer(
    "hardway goes back to a snapshot of etcd; try it first, since all that was written after it is lost",
    "hardway etcd restore FILE --rehearse, then hardway etcd restore FILE; where one member is left: "
    "hardway etcd recover; of the workspace: hardway workspace open FILE",
)
_DRAIN = Pointer("hardway empties nodes with node drain", "hardway node drain NAME; back: hardway node uncordon NAME")
_REBOOT = Pointer(
    "hardway restarts machines one at a time, drained",
    "hardway node reboot NAME; all of them: hardway node reboot --rolling",
)
_UPGRADE = Pointer("hardway calls it upgrade", "hardway upgrade plan, then hardway upgrade apply")
_BACK = Pointer(
    "an upgrade of Kubernetes is taken back until it is finished; anything else by the inventory of before",
    "hardway upgrade rollback; with the old inventory: hardway plan, then hardway apply",
)
_REPLACE = Pointer(
    "a worker comes on another machine under the same name; an etcd member that lost its data joins again",
    "hardway node replace NAME; an etcd member: hardway etcd replace MACHINE",
)
_RENEW = Pointer("hardway renews certificates below certs", "hardway certs check, then hardway certs renew")
_ROTATE = Pointer(
    "three things are exchanged for new ones, each by a command of its own",
    "hardway certs rotate-ca all, hardway certs rotate-sa, hardway encryption rotate; "
    "certificates of the same CAs: hardway certs renew",
)
_ALARM = Pointer("hardway has it below etcd", "hardway etcd alarm; to make room: hardway etcd alarm --clear")
_DEFRAG = Pointer("hardway has it below etcd", "hardway etcd defrag")
_MEMBER = Pointer(
    "hardway has it below etcd", "hardway etcd status; one that lost its data: hardway etcd replace MACHINE"
)
_USER = Pointer("the operator's kubeconfig is made by access", "hardway access; others': hardway access user add NAME")
_WHY = Pointer("hardway calls it doctor", "hardway doctor")
_HEALTH = Pointer("there are two", "how is it: hardway status; does every proof hold: hardway verify")
_SHOW = Pointer("hardway's configuration is the inventory", "hardway inventory show")
_LOGS = Pointer("hardway calls it logs", "hardway logs MACHINE, or hardway logs kube-apiserver")
_SSH = Pointer("hardway calls it ssh", "hardway ssh MACHINE")
_UNITS = Pointer(
    "a run restarts what is not as declared, one at a time; anything else is systemd's",
    "hardway plan; hardway ssh MACHINE",
)
_LABEL = Pointer(
    "a Node's labels and taints are the inventory's, in machines.NAME.labels and .taints",
    "hardway plan, then hardway apply",
)
_KUBECTL = Pointer("that is kubectl's", "hardway kubectl WORDS")

POINTERS: dict[str, Pointer] = {
    "update": _UPGRADE,
    "upgrade-k8s": _UPGRADE,
    "finish": Pointer("an upgrade is finished by upgrade apply", "hardway upgrade apply --finish"),
    "downgrade": _BACK,
    "rollback": _BACK,
    "undo": _BACK,
    "snapshot": _SAVE,
    "save": _SAVE,
    "export": _SAVE,
    "restore": _RESTORE,
    "recover": _RESTORE,
    "seal": Pointer("hardway has it below workspace", "hardway workspace seal FILE"),
    "destroy": _RESET,
    "uninstall": _RESET,
    "teardown": _RESET,
    "clean": _RESET,
    "purge": _RESET,
    "wipe": _RESET,
    "down": _RESET,
    "delete": _REMOVE,
    "remove": _REMOVE,
    "leave": _REMOVE,
    "replace": _REPLACE,
    "join": _ADD,
    "add": _ADD,
    "token": _ADD,
    "scale": _ADD,
    "create": _BUILD,
    "install": _BUILD,
    "deploy": _BUILD,
    "bootstrap": _BUILD,
    "build": _BUILD,
    "apply-config": _CHANGE,
    "edit": _CHANGE,
    "patch": _CHANGE,
    "reconfigure": _CHANGE,
    "rolling-update": _CHANGE,
    "up": Pointer(
        "hardway calls it init; machines on this computer come first, as a lab", "hardway lab up, then hardway init"
    ),
    "check": Pointer(
        "there are three", "before a run: hardway preflight; after it: hardway verify; if it fails: hardway doctor"
    ),
    "test": Pointer("hardway calls it smoke-test", "hardway smoke-test; without creating anything: hardway verify"),
    "conformance": Pointer(
        "Kubernetes' own suite is run by make conformance in a clone", "of hardway's own proofs: hardway smoke-test"
    ),
    "validate": Pointer(
        "hardway validates the inventory with two commands",
        "hardway inventory check; with all that follows from it: hardway verify --offline",
    ),
    "health": _HEALTH,
    "dashboard": _HEALTH,
    "debug": _WHY,
    "diagnose": _WHY,
    "fix": _WHY,
    "repair": _WHY,
    "support": _WHY,
    "diff": Pointer("hardway calls it plan", "hardway plan"),
    "config": _SHOW,
    "images": Pointer("hardway calls them artifacts, binaries too", "hardway artifacts"),
    "renew": _RENEW,
    "cert": _RENEW,
    "certificates": _RENEW,
    "rotate": _ROTATE,
    "rotate-ca": _ROTATE,
    "rotate-keys": _ROTATE,
    "encrypt": _ROTATE,
    "alarm": _ALARM,
    "defrag": _DEFRAG,
    "member": _MEMBER,
    "members": _MEMBER,
    "kubeconfig": _USER,
    "user": _USER,
    "shell": _SSH,
    "log": _LOGS,
    "dmesg": _LOGS,
    "get": _KUBECTL,
    "describe": _KUBECTL,
    "exec": _KUBECTL,
    "top": _KUBECTL,
    "label": _LABEL,
    "taint": _LABEL,
    "drain": _DRAIN,
    "cordon": _DRAIN,
    "evict": _DRAIN,
    "uncordon": Pointer("hardway has node uncordon", "hardway node uncordon NAME"),
    "reboot": _REBOOT,
    "restart": _REBOOT,
    "shutdown": Pointer(
        "hardway switches no machine off; empty it first",
        "hardway node drain NAME; of a lab: hardway lab power-off NAME",
    ),
    "service": _UNITS,
    "start": _UNITS,
    "stop": _UNITS,
    "nodes": Pointer("hardway shows them in status", "hardway status; to empty one: hardway node drain NAME"),
    "machines": Pointer("machines are in the inventory", "hardway inventory show; how they are: hardway status"),
    "kubeadm": Pointer("hardway uses no kubeadm", "hardway kubeadm-map"),
    "tutorial": Pointer("hardway calls it walk", "hardway walk; what one would type: hardway explain --all -o shell"),
}


def point(word: str) -> UsageError | None:
    """The error that leads on; None for a word of which nothing is known."""
    pointer = POINTERS.get(word)
    if pointer is None:
        return None
    return UsageError(f"hardway has no command {word}: {pointer.what}", hint=pointer.next)
