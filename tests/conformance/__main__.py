"""`python -m tests.conformance [--short] [-i INVENTORY]`: the suite on the cluster of a lab that is up.

It taints and fills nodes, so it refuses a cluster that is no lab's. Status 1: a test failed twice, or did not run.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from hardway.artifacts.lock import Lock
from hardway.artifacts.store import default_store
from hardway.inventory.load import load
from hardway.inventory.model import Cluster
from hardway.workspace import Workspace
from tests.conformance import suite
from tests.conformance.images import Ours, make_layout
from tests.conformance.mirror import serving
from tests.conformance.programs import VERSION, Parts, parts

CTR = "/usr/local/bin/ctr -n k8s.io"
HOSTS = "/etc/containerd/certs.d/registry.k8s.io"
HARDWAY = (sys.executable, "-m", "hardway")


class Lab:
    """The machines of a lab's cluster, reached by hardway's own commands."""

    def __init__(self, inventory: Path) -> None:
        self.inventory = inventory
        self.cluster: Cluster = load(inventory)
        if self.cluster.lab is None:
            raise SystemExit(f"{inventory} describes no lab; the suite taints nodes and fills them, so it needs one")
        if self.cluster.kubernetes != VERSION:
            raise SystemExit(
                f"the suite here is that of Kubernetes {VERSION}, the cluster is {self.cluster.kubernetes}"
            )
        self.workspace = Workspace.of(self.cluster, None).root
        self.gateway = str(next(self.cluster.lab.network.hosts()))
        self.workers = [machine.name for machine in self.cluster.workers]

    @property
    def kubeconfig(self) -> Path:
        return self.workspace / "kubeconfig"

    @property
    def kubectl(self) -> Path:
        return self.workspace / "bin" / "kubectl"

    def on(self, machine: str, script: str, archive: Path | None = None) -> None:
        """Runs a script as root; the archive is its standard input. Raises CalledProcessError."""
        words = [*HARDWAY, "ssh", "-i", str(self.inventory), machine, "--", "sh", "-c", f"'{script}'"]
        if archive is None:
            subprocess.run(words, check=True, stdin=subprocess.DEVNULL)
            return
        with archive.open("rb") as source:
            subprocess.run(words, check=True, stdin=source)

    def each_worker(self, script: str, archive: Path | None = None) -> None:
        with ThreadPoolExecutor(len(self.workers)) as pool:
            list(pool.map(lambda name: self.on(name, script, archive), self.workers))


def main() -> int:
    options = _options()
    lab = Lab(options.inventory.resolve())
    chosen = suite.SHORT if options.short else suite.PARTS
    if options.focus:
        chosen = (suite.Part("focus", options.focus, "", 4),)
    made = parts(tell)
    layout = make_layout(made, _ours(lab))
    options.reports.mkdir(parents=True, exist_ok=True)
    expected = suite.wanted(chosen)
    with serving(layout, lab.gateway) as port, _images(lab, made, layout, port):
        tell(f"{len(expected)} tests; their logs and reports are in {options.reports}")
        started = time.monotonic()
        score = suite.run(made, chosen, lab.kubeconfig, lab.kubectl, options.reports.resolve())
        taken = {"in all": time.monotonic() - started}
    print("\n".join(suite.page(score, expected, taken)))
    return 1 if score.failed or score.missing(expected) else 0


def tell(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("-i", "--inventory", type=Path, default=Path("inventories/lab.yaml"))
    parser.add_argument("--short", action="store_true", help="the quickest of network, nodes and API")
    parser.add_argument("--focus", help="a regular expression of names, in place of all")
    parser.add_argument("--reports", type=Path, default=Path("build/conformance"))
    return parser.parse_args()


def _ours(lab: Lab) -> Ours:
    """What the cluster itself was made of. Raises SystemExit where the cache lost it."""
    store, found = default_store(), {}
    for entry in Lock(lab.inventory.with_name("artifacts.lock")).entries():
        blob = store.blob(entry.digest)
        if blob is not None and entry.arch == "amd64":
            found[entry.name] = blob.path
    missing = {"etcd", "image/agnhost", "image/pause"} - set(found)
    if missing:
        raise SystemExit(f"the cache has no {', '.join(sorted(missing))}: hardway artifacts get -i {lab.inventory}")
    return Ours(found["etcd"], found["image/agnhost"], found["image/pause"])


@contextmanager
def _images(lab: Lab, made: Parts, layout: Path, port: int) -> Iterator[None]:
    """The images on each worker, and a mirror for pods that pull; afterwards the workers are as they were."""
    archive = layout.with_suffix(".tar")
    if not archive.exists():
        new = archive.with_suffix(".new")
        subprocess.run(["tar", "-C", str(layout), "-cf", str(new), "."], check=True)
        new.rename(archive)
    tell(f"{archive.stat().st_size >> 20} MiB of images to {', '.join(lab.workers)}")
    lab.each_worker(f"{CTR} images import --label io.cri-containerd.pinned=pinned - >/dev/null", archive)
    # containerd reads this folder at each pull, without a restart.
    mirror = f'[host."http://{lab.gateway}:{port}"]\\n  capabilities = ["pull", "resolve"]\\n'
    lab.each_worker(f'mkdir -p {HOSTS} && printf "{_quoted(mirror)}" >{HOSTS}/hosts.toml')
    try:
        yield
    finally:
        lab.each_worker(f"rm -rf {HOSTS}")
        tell("hardway verify says what the tests left behind; hardway init makes the images again as declared")


def _quoted(text: str) -> str:
    return text.replace('"', '\\"')


if __name__ == "__main__":
    sys.exit(main())
