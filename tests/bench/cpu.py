"""`python -m tests.bench cpu [RUNS]`: what the processor does, as ratios, which a busy computer does not change.

Each row sets what hardway does beside the least that the same work takes: an import of the libraries alone, a stream
decoded into one file and hashed, the ssh client. Needs zstd, sshd and root.
"""

import io
import os
import resource
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import zstandard

from hardway.artifacts import frames
from hardway.engine.scripts import stage_command
from hardway.journal import FOLDER
from hardway.remote import Fleet, Target
from hardway.values import sha256
from tests.bench import growth

RUNS = 5
MEGABYTES = 300
NAME = "bin/payload"
LIBRARIES = "import cryptography.x509, fabric, jinja2, pydantic, typer, yaml, zstandard"


def seconds(who: int, do: Callable[[], object]) -> float:
    before = resource.getrusage(who)
    do()
    after = resource.getrusage(who)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def of(*command: str, stdin: Path | None = None) -> Callable[[], object]:
    """A process that reads this file, without its output."""

    def run() -> None:
        with (stdin or Path(os.devnull)).open("rb") as given:
            subprocess.run(command, stdin=given, stdout=subprocess.DEVNULL, check=True)

    return run


def payload(folder: Path) -> Path:
    """A stream as machines get it, of a file that compresses as programs do: to a third."""
    content = b"".join(os.urandom(1 << 18) + bytes(3 << 18) for _ in range(MEGABYTES))
    end = io.BytesIO()
    with tarfile.open(fileobj=end, mode="w") as archive:
        info = tarfile.TarInfo("SUMS")
        sums = f"{sha256(content)} *{NAME}\n".encode()
        info.size = len(sums)
        archive.addfile(info, io.BytesIO(sums))
    path = folder / "stream"
    with path.open("wb") as file:
        file.writelines(frames.compress(frames.member(NAME, 0o755, len(content), [content]), "zstd"))
        file.write(zstandard.compress(end.getvalue()))
    return path


def row(what: str, pairs: Sequence[tuple[float, float]]) -> None:
    ours, least = (statistics.median(side) for side in zip(*pairs, strict=True))
    print(f"{what:<48}{ours:>8.2f}{least:>8.2f}{ours / least:>8.2f}", flush=True)


def sent(folder: Path, stream: Path, runs: int) -> list[tuple[float, float]]:
    """hardway's own connection beside the ssh client's."""
    known = folder / "known_hosts"
    words = f"-p {growth.PORT} -i {folder / 'id'} -o StrictHostKeyChecking=no -o UserKnownHostsFile={known}".split()
    plain = of("ssh", *words, "-c", "aes128-gcm@openssh.com", "root@127.0.0.1", "cat >/dev/null", stdin=stream)
    plain()
    with Fleet(accept_new_host_keys=True, ask_secret=lambda _: "") as fleet:
        key = folder / "id"
        machine = fleet.connect(
            Target("one", "127.0.0.1", user="root", port=growth.PORT, key=key, known_hosts=known, become="none")
        )

        def ours() -> object:
            return machine.stream([stream], "cat >/dev/null", what="bench")

        return [(seconds(resource.RUSAGE_SELF, ours), seconds(resource.RUSAGE_CHILDREN, plain)) for _ in range(runs)]


def pairs(runs: int, ours: Callable[[], object], least: Callable[[], object]) -> list[tuple[float, float]]:
    children = resource.RUSAGE_CHILDREN
    return [(seconds(children, ours), seconds(children, least)) for _ in range(runs)]


def report(runs: int) -> None:
    print(f"{'CPU seconds':<48}{'ours':>8}{'least':>8}{'ratio':>8}")
    hardway, libraries = (*growth.HARDWAY,), (sys.executable, "-c", LIBRARIES)
    row(
        "--help beside an import of typer",
        pairs(runs, of(*hardway, "--help"), of(sys.executable, "-c", "import typer")),
    )
    row("plan --help beside the libraries alone", pairs(runs, of(*hardway, "plan", "--help"), of(*libraries)))
    with tempfile.TemporaryDirectory(prefix="hardway-cpu-") as name:
        folder = Path(name)
        stream = payload(folder)
        unpack = stage_command("zstd", openssl=True).replace(FOLDER, str(folder / "machine"))
        least = of("sh", "-c", f"cd {folder}; zstd -dcq >plain; openssl dgst -sha256 plain", stdin=stream)
        row("an upload unpacked beside decoding and hashing", pairs(runs, of("sh", "-c", unpack, stdin=stream), least))
        with growth.server(folder):
            row("an upload sent beside the ssh client", sent(folder, stream, runs))


def main(words: Sequence[str]) -> None:
    growth.in_a_namespace(["cpu", *words])
    report(int(words[0]) if words else RUNS)
