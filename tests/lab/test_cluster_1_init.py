"""From seven bare machines to a cluster; then again, and each chapter alone, with nothing to change."""

import base64
import json
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from driving import AGNHOST, Labs, Ran, Site

from hardway.declare.phases import PHASE_NAMES

pytestmark = pytest.mark.lab

ETCDS_OWN = ("/var/lib/etcd", "/etc/etcd/pki/server.key", "/etc/etcd/pki/peer.key")
WORKERS = ("worker-0", "worker-1", "worker-2")


class Eyes:
    """Sees the command line and the environment of every process on this computer, the machines' included."""

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        known: set[str] = set()
        while not self._over.wait(0.1):
            alive = {path.name for path in Path("/proc").glob("[0-9]*")}
            for pid in alive - known:
                for file in ("cmdline", "environ"):
                    try:
                        self.seen.add(Path("/proc", pid, file).read_bytes())
                    except OSError:
                        continue
            known = alive

    def __enter__(self) -> "Eyes":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


@dataclass(frozen=True)
class Build:
    """How the cluster came to be: what was said with -vv, and what processes showed meanwhile."""

    site: Site
    said: Ran
    processes: bytes


@pytest.fixture(scope="module")
def build(labs: Labs, seven_site: Site) -> Build:
    labs.fresh(seven_site)
    # For the tests of reset that come next.
    seven_site.bare = seven_site.traces()
    with Eyes() as eyes:
        said = seven_site.hardway("init", "--yes", "-vv")
    return Build(seven_site, said, b"\0".join(sorted(eyes.seen)))


def test_init_gives_three_ready_workers(build: Build) -> None:
    assert "Done in" in build.said.out
    assert build.site.nodes_ready() == dict.fromkeys(WORKERS, "v1.36.4")


def test_the_kubeconfig_works_from_here_without_hardway(build: Build) -> None:
    argv, env = build.site.own_kubectl()
    done = subprocess.run([*argv, "get", "nodes", "-o", "name"], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [f"node/{name}" for name in WORKERS]
    assert f"export KUBECONFIG={env['KUBECONFIG']}" in build.said.out


def _wanted_mode(path: str, kind: str) -> str:
    if kind == "d":
        return "700" if path in ("/var/lib/etcd", "/var/lib/kubelet") else "755"
    if path.startswith(("/usr/local/bin/", "/opt/cni/bin/")):
        return "755"
    if path.endswith((".crt", ".pub")) or path in ("/etc/containerd/config.toml", "/etc/crictl.yaml"):
        return "644"
    return "600"


def test_files_have_the_modes_and_owners_that_auditors_look_for(build: Build) -> None:
    look = (
        "find /etc/kubernetes /etc/etcd /etc/cni /etc/containerd /etc/crictl.yaml /opt/cni /usr/local/bin "
        "/var/lib/kube-proxy /var/lib/kubelet/config.yaml -printf '%y %m %u:%g %p\\n' 2>/dev/null; "
        'for u in $(sed -n \'s|.*"done","key":"file:\\(/etc/systemd/system/.*\\)"}|\\1|p\' '
        "/var/lib/hardway/journal.jsonl); do stat -c 'f %a %U:%G %n' $u; done; "
        "[ ! -x /usr/local/bin/etcd ] || stat -c 'd %a %U:%G %n' /var/lib/etcd; "
        "[ ! -x /usr/local/bin/kubelet ] || stat -c 'd %a %U:%G %n' /var/lib/kubelet"
    )
    wrong, seen = [], 0
    for machine, text in build.site.everywhere(look).items():
        for line in text.splitlines():
            kind, mode, owner, path = line.split(" ", 3)
            seen += 1
            wanted = "etcd:etcd" if path in ETCDS_OWN else "root:root"
            if kind in "df" and (mode, owner) != (_wanted_mode(path, kind), wanted):
                wrong.append(f"{machine}: {line}")
    assert seen > 100
    assert wrong == []


def test_the_workspace_is_the_operators_alone_and_kept_out_of_git(build: Build) -> None:
    files = [path for path in (build.site.folder / ".hardway").rglob("*") if not path.is_symlink()]
    public = {".crt", ".pub"}
    too_open = [
        str(path)
        for path in files
        if path.stat().st_mode & 0o077 and path.suffix not in public and path.name != ".gitignore"
    ]
    assert too_open == []
    assert (build.site.workspace / ".gitignore").read_text().endswith("*\n")


def test_no_secret_is_in_what_was_said_logged_or_shown_by_a_process(build: Build) -> None:
    needles = dict(_needles(build.site.workspace))
    assert len(needles) > 20
    journals = build.site.everywhere("journalctl --no-pager -o cat")
    logs = "\n".join(path.read_text() for path in (build.site.workspace / "logs").iterdir())
    places = {"init -vv": build.said.out, "logs": logs, **journals}
    told = {where: text.encode() for where, text in places.items()} | {"processes": build.processes}
    assert all(len(text) > 1000 for text in told.values())
    # A newline or a quote within base64 would hide it.
    bare = {where: re.sub(rb"[\s\"'\\]+", b"", text) for where, text in told.items()}
    found = [(name, where) for name, needle in needles.items() for where, text in bare.items() if needle in text]
    assert found == []


def _needles(workspace: Path) -> Iterator[tuple[str, bytes]]:
    """A piece of every private key, and the encryption key as it is written into a configuration."""
    for path in workspace.rglob("*"):
        if path.suffix == ".key" or path.name == "id_ed25519":
            lines = path.read_bytes().split(b"\n")
            body = b"".join(line for line in lines if line and not line.startswith(b"-----"))
            # Where it differs from that of any other key.
            yield path.name, body[-60:-10]
            # As a kubeconfig holds it: base64 of the whole file, of which this is the middle.
            yield f"{path.name} within base64", _inner_base64(path.read_bytes())
    key = (workspace / "secrets" / "encryption-key").read_bytes()
    yield "encryption-key", _base64(key) if len(key) == 32 else key.strip()


def _base64(data: bytes) -> bytes:
    return base64.b64encode(data).rstrip(b"=")


def _inner_base64(pem: bytes) -> bytes:
    encoded = _base64(pem)
    middle = len(encoded) // 2
    return encoded[middle : middle + 50]


def test_a_second_init_says_that_there_is_nothing_to_do_writes_nothing_and_restarts_nothing(build: Build) -> None:
    site = build.site
    processes, writings = site.processes(), site.writings()
    assert len(processes) >= 3 * 5 + 3 * 5 + 1
    assert "Nothing to do: 7 machines as declared" in site.hardway("init").out
    assert site.unchanged("init").finished["ok"]
    assert site.processes() == processes
    assert site.writings() == writings


CHAPTERS = [(name,) for name in PHASE_NAMES] + [("init", "--from", "etcd", "--to", "load-balancer"), ("apply",)]


def test_each_chapter_alone_changes_nothing(build: Build) -> None:
    processes = build.site.processes()
    for words in CHAPTERS:
        build.site.unchanged(*words)
    assert build.site.processes() == processes


def test_a_chapter_for_one_machine_contacts_only_that_one(build: Build) -> None:
    ran = build.site.unchanged("etcd", "-l", "controller-1")
    assert {event["machine"] for event in ran.events if "machine" in event} == {"controller-1"}


def test_preflight_finds_nothing_against_a_cluster_of_its_own(build: Build) -> None:
    assert "7 machines: nothing blocks" in build.site.hardway("preflight").out


@pytest.fixture(scope="module")
def app(build: Build) -> Iterator[str]:
    """A pod of the operator's, in a Deployment."""
    site = build.site
    # hardway passes on all that follows `kubectl`, its `--` too.
    site.kubectl("create", "deployment", "app", f"--image={AGNHOST}", "--", "/agnhost", "netexec")
    site.kubectl("rollout", "status", "deployment/app", "--timeout=60s")
    yield "deployment/app"
    site.kubectl("delete", "deployment", "app")


def test_logs_exec_and_port_forward_work_for_the_operator(build: Build, app: str) -> None:
    site = build.site
    assert "Started HTTP server" in site.kubectl("logs", app)
    assert site.kubectl("exec", app, "--", "/agnhost", "dns-server-list").split()[-1] == "10.32.0.10"
    argv, env = site.own_kubectl()
    with subprocess.Popen(
        [*argv, "port-forward", app, ":8080"], env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as forward:
        try:
            assert forward.stdout
            port = forward.stdout.readline().split(" ")[2].rpartition(":")[2]
            answer = subprocess.run(
                [*argv, "--kubeconfig=/dev/null", f"--server=http://127.0.0.1:{port}", "get", "--raw=/hostname"],
                env=env, capture_output=True, text=True, check=True,
            )  # fmt: skip
        finally:
            forward.terminate()
    assert answer.stdout.startswith("app-")


def test_a_secret_lies_encrypted_in_etcd(build: Build) -> None:
    site = build.site
    canary = f"canary-{time.time_ns()}"
    site.kubectl("create", "secret", "generic", "lab-canary", f"--from-literal=word={canary}")
    stored = site.etcd("controller-2", "get", "/registry/secrets/default/lab-canary", "-w", "fields")
    site.kubectl("delete", "secret", "lab-canary")
    assert "k8s:enc:secretbox:v1:" in stored
    assert canary not in stored


def test_machines_are_reached_by_name(build: Build) -> None:
    site = build.site
    assert site.hardway("ssh", "worker-2", "--", "hostname").out == "worker-2\n"
    assert "etcd" in site.hardway("logs", "controller-0", "etcd", "-n", "5").out
    assert json.loads(site.kubectl("get", "--raw=/version"))["gitVersion"] == "v1.36.4"
