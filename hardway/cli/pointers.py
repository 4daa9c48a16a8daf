"""What people type that is no command of hardway's, and where it leads."""

from __future__ import annotations

from dataclasses import dataclass

from hardway.errors import UsageError


@dataclass(frozen=True)
class Pointer:
    """`what` is why there is no such command, or what hardway has in its place; `next` is a command."""

    what: str
    next: str


_RESET = Pointer("hardway calls it reset; the cluster's data goes with it", "hardway reset; of a lab: hardway lab down")
_INIT = Pointer("hardway calls it init: it builds what the inventory says", "hardway plan, then hardway init")
_JOIN = Pointer(
    "machines join by the inventory: write a worker under machines:, with its role and address",
    "hardway plan, then hardway init; no etcd member is added so, see docs/operate/etcd-member.md",
)
_BACKUP = Pointer(
    "hardway keeps a snapshot of etcd and the workspace together, since neither is of use alone",
    "hardway backup DIR, and back: hardway workspace open FILE, then hardway etcd restore FILE",
)
_KUBECTL = Pointer("that is kubectl's", "hardway kubectl WORDS")

POINTERS: dict[str, Pointer] = {
    "update": Pointer("hardway calls it upgrade", "hardway upgrade plan, then hardway upgrade apply"),
    "downgrade": Pointer("hardway calls it upgrade rollback", "hardway upgrade rollback"),
    "restore": _BACKUP,
    "snapshot": _BACKUP,
    "destroy": _RESET,
    "delete": _RESET,
    "remove": _RESET,
    "uninstall": _RESET,
    "down": _RESET,
    "join": _JOIN,
    "add": _JOIN,
    "token": _JOIN,
    "create": _INIT,
    "install": _INIT,
    "deploy": _INIT,
    "bootstrap": _INIT,
    "up": Pointer(
        "hardway calls it init; machines on this computer come first, as a lab", "hardway lab up, then hardway init"
    ),
    "check": Pointer(
        "there are three", "before a run: hardway preflight; after it: hardway verify; if it fails: hardway doctor"
    ),
    "test": Pointer("hardway calls it smoke-test", "hardway smoke-test; without creating anything: hardway verify"),
    "validate": Pointer(
        "hardway validates the inventory with two commands",
        "hardway inventory check; with all that follows from it: hardway verify --offline",
    ),
    "diff": Pointer("hardway calls it plan", "hardway plan"),
    "config": Pointer("hardway's configuration is the inventory", "hardway inventory show"),
    "renew": Pointer(
        "hardway renews certificates with the chapter that makes them", "hardway status, then hardway certs"
    ),
    "shell": Pointer("hardway calls it ssh", "hardway ssh MACHINE"),
    "log": Pointer("hardway calls it logs", "hardway logs MACHINE, or hardway logs kube-apiserver"),
    "get": _KUBECTL,
    "describe": _KUBECTL,
    "exec": _KUBECTL,
    "drain": Pointer("hardway empties nodes with node drain", "hardway node drain NAME"),
    "uncordon": Pointer("hardway has node uncordon", "hardway node uncordon NAME"),
    "cordon": _KUBECTL,
    "kubeadm": Pointer("hardway uses no kubeadm", "hardway kubeadm-map says what corresponds to what"),
}


def point(word: str) -> UsageError | None:
    """The error that leads on; None for a word of which nothing is known."""
    pointer = POINTERS.get(word)
    if pointer is None:
        return None
    return UsageError(f"hardway has no command {word}: {pointer.what}", hint=pointer.next)
