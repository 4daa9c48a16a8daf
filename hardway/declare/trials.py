"""How components try what they are to be started with, without serving anybody (Kubernetes 1.35, 1.36, etcd 3.6).

None of them has a way of its own but for containerd, kube-proxy and kube-scheduler. The others are started so that they
go no further than their configuration: they read all files that they read at a start, and reach nobody.
"""

from hardway.declare.phases.paths import BIN
from hardway.declare.render import command
from hardway.declare.resources import Trial

_NOBODY = "https://127.0.0.1:1"
"""A connection to port 1 is refused."""


def api_server(unit: str) -> Trial:
    """Flags, files, authentication, admission, encryption; then it waits for an etcd (`Run` in its app/server.go).

    It listens at a port that nobody dials, and begins to serve only once etcd has answered.
    """
    kept = [word for word in command(unit) if not word.startswith(("--etcd-servers=", "--etcd-servers-overrides="))]
    added = (f"--etcd-servers={_NOBODY}", "--bind-address=127.0.0.1", "--secure-port=2")
    return Trial((*kept, *added), reaches="connection refused")


def controller_manager(unit: str) -> Trial:
    """Flags and kubeconfig; then it asks for its lease, of nobody, and acts only as its holder."""
    added = (f"--master={_NOBODY}", "--secure-port=0", "--leader-elect=true")
    return Trial((*command(unit), *added), reaches="connection refused")


def scheduler(unit: str) -> Trial:
    """It writes down the configuration that it understood, profiles and plugins included, and ends."""
    return Trial((*command(unit), f"--master={_NOBODY}", "--secure-port=0", "--write-config-to=/dev/null"))


def etcd(unit: str) -> Trial:
    """Flags and the peers' TLS; then it ends, since no data folder can be made below /proc (embed.StartEtcd)."""
    added = (
        "--data-dir=/proc/hardway-trial",
        "--wal-dir=",
        "--listen-peer-urls=https://127.0.0.1:2",
        "--initial-advertise-peer-urls=https://127.0.0.1:2",
        "--listen-client-urls=https://127.0.0.1:3",
        "--advertise-client-urls=https://127.0.0.1:3",
        "--listen-metrics-urls=",
    )
    return Trial((*command(unit), *added), ends="cannot access data directory: mkdir /proc/hardway-trial")


def kubelet(unit: str) -> Trial:
    """Flags and configuration; then it ends, since it is told to watch a lock file and is given none (`run`)."""
    added = ("--lock-file=", "--exit-on-lock-contention=true")
    return Trial((*command(unit), *added), ends="cannot exit on lock file contention: no lock file specified")


def proxy(unit: str) -> Trial:
    """It writes down the configuration that it understood, and ends."""
    return Trial((*command(unit), "--write-config-to=/dev/null"))


def containerd(config: str) -> Trial:
    """It prints the configuration that it understood, and ends."""
    return Trial((f"{BIN}/containerd", "--config", config, "config", "dump"))
