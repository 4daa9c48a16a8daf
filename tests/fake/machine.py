"""A machine in a folder: scripts run with the real sh and coreutils, as root of a private root.

Each script gets namespaces of its own (mounts, processes, network, name), so nothing in it can touch
this computer, whatever it does; the host's programs are there read-only, and those that would
command a kernel or systemd are played (`fake.commands`). Needs root or unprivileged user namespaces.
"""

import functools
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fake.commands import COMMANDS
from hardway.remote import ConnectionLost, Result
from hardway.remote.machine import blocks
from hardway.remote.model import LOCK_PATH, checked

PATH = "/fake/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SHARED = ("bin", "sbin", "lib", "lib64", "libexec")
_FOLDERS = (
    "etc/systemd/system", "etc/sysctl.d", "etc/modules-load.d", "run/systemd/system", "var/lib/hardway", "var/log",
    "tmp", "opt", "root", "dev", "proc", "sys", "usr/local/bin", "fake/bin", "fake/units", "fake/loaded",
    "fake/enabled", "fake/read", "fake/broken", "fake/refuses", "fake/failing", "fake/masked", "fake/cluster",
    "fake/sysctls", "var/tmp",
)  # fmt: skip
_SYSCTLS = {
    "net/ipv4/ip_forward": "0",
    "vm/overcommit_memory": "0",
    "vm/panic_on_oom": "0",
    "kernel/panic": "0",
    "kernel/panic_on_oops": "1",
    "kernel/panic_on_warn": "0",
    "kernel/keys/root_maxkeys": "200",
    "kernel/keys/root_maxbytes": "20000",
    "fs/inotify/max_user_watches": "8192",
    "fs/inotify/max_user_instances": "128",
}

ENTER = f"""
set -eu
root=$1 shell=$3
rm -f "$root/fake/slept"
{{
  for name in {" ".join(_SHARED)}; do
    [ ! -d "$root/usr/$name" ] || echo "/usr/$name $root/usr/$name none bind,ro"
  done
  echo "/dev $root/dev none rbind
    proc $root/proc proc defaults
    $root/fake/sysctls $root/proc/sys none bind
    $root/fake/swaps $root/proc/swaps none bind
    $2 $root/fake/cluster none bind"
}} >"$root/fake/mounts"
# All at once: a mount for each would take longer than most scripts.
mount --all --fstab "$root/fake/mounts"
# A disk too small for what is sent there.
[ ! -e "$root/fake/full" ] || mount -t tmpfs -o size=64k tmpfs "$root/var/lib/hardway"
# Without an end of line, which read takes for an error.
read -r name <"$root/fake/hostname" || :
hostname "$name"
# Not with exec: a namespace's first process cannot be killed from inside it.
chroot "$root" env -i PATH={PATH} LC_ALL=C $shell -eu -c 'umask 022; cd /; . /fake/script'
exit $?
"""


@dataclass
class Cut:
    """The `call`-th thing asked of a machine is killed before its `command`-th command, and the line with it.

    Past the script's own end, it is the answer that gets lost. With `dead` the machine cannot be reached again.
    """

    call: int
    command: int
    dead: bool = True


@dataclass
class FakeMachine:
    """`MachineIO` over a folder. `cluster` is a folder that all machines of a cluster share: their network."""

    name: str
    root: Path
    cluster: Path
    cut: Cut | None = None
    asked: list[str] = field(default_factory=list)
    """What was asked, in order: the `what` of each call."""
    after: Callable[[str], object] = lambda what: None
    """Told each `what` when it has run."""

    def __post_init__(self) -> None:
        if not self.root.exists():
            _furnish(self.root, self.name)
        (self.cluster / "objects").mkdir(parents=True, exist_ok=True)

    def run(self, script: str, *, timeout: float, what: str, check: bool = True) -> Result:
        return self._ask(script, what, timeout, check, b"")

    def stream(
        self,
        chunks: Iterable[bytes] | Sequence[Path],
        command: str,
        *,
        what: str,
        timeout: float = 300.0,
        on_progress: Callable[[int], None] | None = None,
        check: bool = True,
    ) -> Result:
        content = b"".join(blocks(chunks))
        if on_progress:
            on_progress(len(content))
        return self._ask(command, what, timeout, check, content)

    def lock(self, holder: str, path: str = LOCK_PATH) -> None:
        self.asked.append("lock")

    def restored(self, cut: Cut | None = None) -> None:
        """As it is found by the next run, which may be cut as well."""
        self.cut, self.asked = cut, []

    def reconnect(self) -> None:
        if self.cut and self.cut.dead and self.cut.call < len(self.asked):
            raise ConnectionLost("no route to it", machine=self.name)

    def close(self) -> None:
        pass

    def _ask(self, script: str, what: str, timeout: float, check: bool, stdin: bytes) -> Result:
        cut = self.cut if self.cut and self.cut.call == len(self.asked) else None
        self.asked.append(what)
        shell = "sh"
        if cut:
            # The same script, killed by bash before the n-th command that it would run.
            shell = "bash --posix"
            script = f"CUT={cut.command}\nset -T\ntrap '((--CUT)) || kill -9 $$' DEBUG\n{script}"
        (self.root / "fake/script").write_text(script)
        begun = time.monotonic()
        ran = subprocess.run(
            [*_unshare(), "sh", "-c", ENTER, "enter", self.root, self.cluster, shell],
            input=stdin, capture_output=True, timeout=timeout, check=False,
        )  # fmt: skip
        self.after(what)
        if cut:
            raise ConnectionLost(f"cut during: {what}", machine=self.name)
        result = Result(ran.returncode, ran.stdout, ran.stderr, time.monotonic() - begun)
        return checked(self.name, what, result) if check else result

    def read(self, path: str) -> str:
        return (self.root / path.lstrip("/")).read_text()

    def write(self, path: str, text: str) -> None:
        (self.root / path.lstrip("/")).write_text(text)

    def has(self, path: str) -> bool:
        return os.path.lexists(self.root / path.lstrip("/"))

    def runs_with(self, unit: str) -> dict[str, str]:
        """Digest by path of what a service's process read when it started."""
        lines = self.read(f"/fake/read/{unit}").splitlines()
        return {path: digest for digest, path in (line.split(maxsplit=1) for line in lines)}

    def tree(self) -> dict[str, tuple[int, bytes]]:
        """Mode and content of every file that is the machine's own; the places that always move left out."""
        own = [self.root / name for name in ("etc", "opt", "usr/local", "var", "run")]
        files = [path for folder in own for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
        return {str(path.relative_to(self.root)): (path.stat().st_mode, path.read_bytes()) for path in files}


@functools.cache
def _unshare() -> tuple[str, ...]:
    flags = ["--mount", "--uts", "--ipc", "--net", "--pid", "--fork", "--kill-child"]
    return ("unshare", *flags, *([] if os.geteuid() == 0 else ["--map-root-user", "--map-auto"]))


@functools.cache
def why_not() -> str:
    """Why this computer has no room for fake machines; empty when it has."""
    if not shutil.which("bash"):
        return "needs bash"
    tried = 'mount -t proc proc /proc; file=$(mktemp); trap "rm $file" EXIT; chown 900:900 "$file"'
    ran = subprocess.run([*_unshare(), "sh", "-euc", tried], capture_output=True, check=False)
    return "" if ran.returncode == 0 else f"needs namespaces: {ran.stderr.decode().strip()}"


def _furnish(root: Path, name: str) -> None:
    for folder in _FOLDERS:
        (root / folder).mkdir(parents=True, exist_ok=True)
    for shared in _SHARED:
        if (Path("/usr") / shared).is_dir():
            (root / "usr" / shared).mkdir(exist_ok=True)
            if shared != "libexec":
                (root / shared).symlink_to(f"usr/{shared}")
    for command, text in COMMANDS.items():
        program = root / "fake/bin" / command
        program.write_text(text)
        program.chmod(0o755)
    texts = {
        "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
        "etc/group": "root:x:0:\n",
        "etc/os-release": 'ID=debian\nVERSION_ID="12"\n',
        "etc/hosts": "127.0.0.1 localhost\n",
        "etc/fstab": "/dev/vda1 / ext4 defaults 0 1\n/dev/vda2 none swap sw 0 0\n",
        "etc/hostname": "debian\n",
        "etc/protocols": "tcp 6 TCP\n",
        "etc/machine-id": f"{name.encode().hex():0>32.32}\n",
        "fake/name": name,
        "fake/hostname": "debian",
        "fake/swaps": "Filename Type Size Used Priority\n/dev/vda2 partition 1048572 0 -2\n",
        "fake/swap-units": "",
        "fake/routes": "default via 10.240.0.1 dev eth0\n",
        "fake/journal": "",
        "fake/script": "",
        **{f"fake/sysctls/{path}": f"{value}\n" for path, value in _SYSCTLS.items()},
    }
    for path, text in texts.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    if Path("/etc/alternatives").is_dir():  # behind which /usr/bin/awk stands
        (root / "etc/alternatives").symlink_to("/fake/alternatives")
        (root / "fake/alternatives").mkdir()
        (root / "fake/alternatives/awk").symlink_to(os.path.realpath("/usr/bin/awk"))
    with socket.socket(socket.AF_UNIX) as listener:
        # By a short name: a socket's path may have 108 bytes only.
        opened = os.open(root / "fake", os.O_RDONLY)
        listener.bind(f"/proc/self/fd/{opened}/socket")
        os.close(opened)
