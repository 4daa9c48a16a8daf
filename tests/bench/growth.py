"""`python -m tests.bench growth [COUNT…]`: what `plan` and `render` take for many machines. Needs root and sshd.

All machines are one sshd, in a network namespace of its own, that listens on all of 127.0.0.0/8: each is bare, as this
computer sees itself. Nothing outside that namespace is reached.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

COUNTS = (100, 300, 1000)
PORT = 2222
INSIDE = "HARDWAY_BENCH_INSIDE"
SSHD = shutil.which("sshd", path="/usr/sbin:/usr/bin")
HARDWAY = (sys.executable, "-m", "hardway")
PLAN_SECONDS, RENDER_SECONDS, MOST_MB, PAGE_LINES = 60, 15, 500, 150


@dataclass(frozen=True)
class Took:
    """Seconds on the clock, seconds of the processor by hardway alone, its largest size in MB, and lines printed."""

    wall: float
    cpu: float
    size: float
    lines: int


def inventory(folder: Path, count: int) -> Path:
    """One balancer, three controllers, and workers; all of them dialled below 127.1.0.0/16."""
    names = ["lb-0", *(f"controller-{number}" for number in range(3))]
    names += [f"worker-{number}" for number in range(count - len(names))]
    machines: dict[str, object] = {}
    for number, name in enumerate(names):
        rest = f"{number // 250}.{1 + number % 250}"
        role = name.rpartition("-")[0].replace("lb", "load-balancer")
        machines[name] = {"role": role, "address": f"172.16.{rest}", "ssh": {"host": f"127.1.{rest}"}}
    path = folder / "hardway.yaml"
    ssh = {"user": "root", "port": PORT, "key": str(folder / "id")}
    text = {"cluster": "growth", "network": {"pod_cidr": "10.192.0.0/12"}, "ssh": ssh, "machines": machines}
    path.write_text(json.dumps(text))  # which is YAML, too
    return path


@contextmanager
def server(folder: Path) -> Iterator[None]:
    """One sshd for all addresses of the namespace."""
    for name in ("host_key", "id"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    shutil.copy(folder / "id.pub", folder / "authorized_keys")
    Path("/run/sshd").mkdir(exist_ok=True)
    config = folder / "sshd_config"
    config.write_text(
        f"ListenAddress 0.0.0.0\nPort {PORT}\nHostKey {folder}/host_key\nStrictModes no\nUsePAM no\nPidFile none\n"
        f"AuthorizedKeysFile {folder}/authorized_keys\nPasswordAuthentication no\nMaxStartups 1000\nLogLevel ERROR\n"
    )
    with subprocess.Popen([str(SSHD), "-D", "-e", "-f", config]) as process:
        time.sleep(0.5)
        assert process.poll() is None, "sshd does not run"
        try:
            yield
        finally:
            process.terminate()


def took(words: Sequence[str], folder: Path) -> Took:
    began = time.monotonic()
    env = {**os.environ, "HOME": str(folder), "COLUMNS": "80"}
    env.pop("SSH_AUTH_SOCK", None)
    with (folder / "said").open("wb") as said, subprocess.Popen([*HARDWAY, *words], stdout=said, env=env) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    lines = len((folder / "said").read_bytes().splitlines())
    return Took(time.monotonic() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, lines)


def measured(counts: Sequence[int]) -> Iterator[tuple[int, Took, Took]]:
    with tempfile.TemporaryDirectory(prefix="hardway-growth-") as name, server(Path(name)):
        for count in counts:
            shutil.rmtree(Path(name) / ".hardway", ignore_errors=True)
            given = ["-i", str(inventory(Path(name), count))]
            plan = took(["plan", "--accept-new-host-keys", *given], Path(name))
            tree = Path(name) / f"tree-{count}"
            render = took(["render", str(tree), *given], Path(name))
            shutil.rmtree(tree, ignore_errors=True)
            yield count, plan, render


def report(counts: Sequence[int]) -> None:
    print(f"{'machines':>8}{'':>4}{'seconds':>9}{'CPU':>8}{'CPU each':>10}{'MB':>7}{'lines':>8}")
    first: dict[str, tuple[int, Took]] = {}
    last: dict[str, tuple[int, Took]] = {}
    for count, *both in measured(counts):
        for name, one in zip(("plan", "render"), both, strict=True):
            first.setdefault(name, (count, one))
            last[name] = (count, one)
            each = f"{one.cpu / count * 1000:.1f} ms"
            print(
                f"{count:>8} {name:<7}{one.wall:>5.1f}{one.cpu:>8.1f}{each:>10}{one.size:>7.0f}{one.lines:>8}",
                flush=True,
            )
    for name, (few, start) in first.items():
        many, end = last[name]
        print(f"{name}: {end.cpu / start.cpu:.1f} x the CPU for {many / few:.1f} x the machines")
    wanted = f"plan in {PLAN_SECONDS} s, {MOST_MB} MB and {PAGE_LINES} lines; render in {RENDER_SECONDS} s"
    print(f"wanted of 1000 on two idle cores: {wanted}")


def in_a_namespace(words: Sequence[str]) -> None:
    """Goes on where there is no network but a loopback of its own: there these words of `tests.bench` are run again."""
    if SSHD is None or os.geteuid() != 0:
        sys.exit("this needs root and an sshd")
    if INSIDE not in os.environ:
        argv = ["unshare", "--net", sys.executable, "-m", "tests.bench", *words]
        sys.exit(subprocess.run(argv, env={**os.environ, INSIDE: "yes"}, check=False).returncode)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def main(words: Sequence[str]) -> None:
    in_a_namespace(["growth", *words])
    # A connection is a file each.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    report([int(word) for word in words] or COUNTS)
