"""The commands as `hardway --help` lists them: light, since it must answer at once.

A test holds every summary against the command's own help.
"""

from __future__ import annotations

from dataclasses import dataclass

from hardway.cli.chapters import SUMMARIES, numbered

SEE, DO, CHECK, PHASES, REACH, START = "See", "Do", "Check", "Chapters, in the tutorial's order", "Reach", "Start"


@dataclass(frozen=True)
class Command:
    """`module` is its file in `hardway/cli/`; `panel` the heading it stands below in the help."""

    module: str
    panel: str
    summary: str


COMMANDS: dict[str, Command] = {
    "plan": Command(
        "plan",
        SEE,
        "What would init or apply do? Looks at every machine, writes nothing anywhere. Status 3: it differs.",
    ),
    "render": Command("render", SEE, "Every artifact of every machine as a tree DIR/MACHINE/path. Asks no machine."),
    "map": Command(
        "map",
        SEE,
        "Machines, ports, and who trusts whom through which CA and certificate, as a picture. Asks no machine.",
    ),
    "explain": Command(
        "explain",
        SEE,
        "Why is it there, who reads it, what breaks without it? A chapter, thing, value or error. Asks no machine.",
    ),
    "kubeadm-map": Command(
        "kubeadm_map",
        SEE,
        "For people who know kubeadm: which command, phase and file of it corresponds to which of ours.",
    ),
    "init": Command(
        "init",
        DO,
        "Build the cluster: preflight, every chapter, smoke test. A second run changes nothing.",
    ),
    "apply": Command("apply", DO, "Some chapters, or all of them, without preflight and smoke test."),
    "walk": Command(
        "walk",
        DO,
        "Learn it chapter by chapter: why, what would change, apply it or type it, the proof. Keeps your place.",
    ),
    "upgrade": Command(
        "upgrade",
        DO,
        "To another Kubernetes, API servers first and worker by worker; and back, until it is finished.",
    ),
    "reset": Command(
        "reset",
        DO,
        "Take away what hardway put on the machines, and nothing else. The cluster's data goes with it.",
    ),
    "backup": Command(
        "backup",
        DO,
        "etcd's snapshot and the sealed workspace, encrypted, into DIR: both, or neither. Each night: backup install.",
    ),
    "node": Command(
        "node",
        DO,
        "A machine of a running cluster: empty it, restart it, exchange it, take it out, add a controller.",
    ),
    **{name: Command("chapter", PHASES, numbered(name)) for name in SUMMARIES},
    "verify": Command(
        "verify",
        CHECK,
        "Is it as declared, and does it hold? Asks every proof, changes nothing. Status 3: it differs.",
    ),
    "status": Command(
        "status",
        CHECK,
        "How is it? Machines, etcd, API servers, nodes, certificates and drift on one screen.",
    ),
    "doctor": Command(
        "doctor",
        CHECK,
        "Why does it not work? Cause, evidence, fix; looks and changes nothing. Status 3: something is wrong.",
    ),
    "watch": Command(
        "watch",
        CHECK,
        "Is it still well? Drift, certificates, etcd, nodes, backups; a hook on change. On a timer: watch install.",
    ),
    "preflight": Command(
        "preflight", CHECK, "May I start? Looks at every machine, changes nothing, and says everything at once."
    ),
    "kubectl": Command(
        "kubectl", REACH, "kubectl with the operator's kubeconfig; through SSH where port 6443 cannot be reached."
    ),
    "ssh": Command("ssh", REACH, "A shell on a machine, or one command there; of a role its first machine."),
    "logs": Command(
        "logs",
        REACH,
        "The journal of a component on a machine, or on all that run it; -o json: as journalctl has it.",
    ),
    "schema": Command(
        "schema", START, "The JSON Schema of what -o json prints: `events` of any run, else the document of a command."
    ),
    "artifacts": Command("artifacts", START, "The cluster's binaries and images"),
    "inventory": Command("inventory", START, "The one file that says what is wanted"),
    "workspace": Command("workspace_seal", START, "The keys and the State: sealed into one file, and opened from it"),
    "lab": Command("lab", START, "Seven machines on this computer, to try everything on"),
}
