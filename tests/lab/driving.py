"""A cluster in a lab of its own, driven as a user would: the public commands, each in a process of its own."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
INVENTORIES = REPOSITORY / "inventories"
HARDWAY = (sys.executable, "-m", "hardway")

SEVEN = "hwtest-7"
SEVEN_NETWORK = "10.245.0"
NETWORK = "10.245.4"
"""Of every other lab that these tests raise, one after the other; the shipped inventories have others."""
NETWORK6 = "fd00:245:4::/64"
"""The same of IPv6, where a lab has no IPv4."""
CLUSTERS = (
    "hwtest-3", "hwtest-1", "hwtest-min", "hwtest-break", "hwtest-typed", "hwtest-json", "hwtest-walk",
    "hwtest-hands", "hwtest-own", "hwtest-small", "hwtest-gap", "hwtest-grow",
    "hwtest-hand", "hwtest-hand7", "hwtest-pair", "hwtest-dual", "hwtest-ipv6", "hwtest-company",
)  # fmt: skip
"""A folder of that name holds the inventory; so whoever has other machines has another name."""
AGNHOST = "registry.k8s.io/e2e-test-images/agnhost:2.63.0"

UNITS = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-apiserver-lb",
    "kube-apiserver-vip",
    "containerd",
    "kubelet",
    "kube-proxy",
    "pod-routes",
    "pod-masquerade",
)
_PROCESSES = (
    "systemctl show -p Id,MainPID,ExecMainStartTimestampMonotonic,NRestarts "
    + " ".join(f"{unit}.service" for unit in UNITS)
    + "; true"
)
_WRITINGS = (
    "find /var/lib/hardway /etc /usr/local/bin /opt/cni -type f -printf '%p %i %T@ %C@\\n' 2>/dev/null | sort; true"
)

_TRACES = {
    # What programs of the distribution keep about themselves comes and goes.
    "files": "find / /var/lib/containerd /var/lib/kubelet /var/lib/etcd -xdev "
    # The last three are the lab's own mounts: what is in them counts.
    "\\( -path /var/log -o -path /var/cache -o -path /var/lib/systemd -o -path /tmp -o -path /var/tmp "
    "-o -path /var/lib/apt -o -path /root/.cache \\) -prune -o ! -path /var/lib/containerd "
    "! -path /var/lib/kubelet ! -path /var/lib/etcd -printf '%p %y %m %u:%g %l\\n'",
    "settings of the machine": "find /etc -xdev -type f ! -name '*-' ! -name .pwd.lock -exec sha256sum {} +",
    "units": "systemctl list-unit-files --no-legend --plain | awk '{print $1, $2}' | "
    "grep -v '^session-.*[.]scope'; systemctl list-units --all --failed --no-legend --plain",
    "mounts": "findmnt -rno TARGET,FSTYPE | grep -v ^/run/user/",
    "interfaces": "ip -o link | awk '{print $2}' | cut -d@ -f1; ip -o address show scope global | awk '{print $2, $4}'",
    "routes": "ip route; ip -6 route show proto static",
    "rules": "nft list tables; ip rule",
    "processes": "ps -eo comm= | grep -E '^(etcd|kube|containerd|haproxy|keepalived|coredns|pause|agnhost)'",
    "sysctls": "sysctl -a 2>/dev/null | grep -E '(forward|rp_filter|bridge-nf|panic|overcommit|inotify.max|max_map)'",
    "cgroups": "find /sys/fs/cgroup -name 'kubepods*'",
}
"""What a machine is, by sh that prints lines; times, sizes and process ids are left out."""


@dataclass(frozen=True)
class Ran:
    """A command that ended: its exit code, and all that it said."""

    argv: Sequence[str]
    code: int
    out: str
    seconds: float

    @property
    def events(self) -> list[dict[str, Any]]:
        """What `-o json` printed."""
        return [json.loads(line) for line in self.out.splitlines() if line.startswith('{"event"')]

    @property
    def told(self) -> str:
        """What matters of it to whoever reads a failure."""
        return "\n".join(
            line
            for line in self.out.splitlines()
            if not line.startswith('{"event"')
            or ('"Changed"' in line or '"warning"' in line or '"holds": false' in line or '"StepFinished"' in line)
        )

    @property
    def finished(self) -> dict[str, Any]:
        """The run's last event; fails the test, with all that was said, where there is none."""
        found = [event for event in self.events if event["event"] == "RunFinished"]
        assert found, self.told
        return found[-1]

    @property
    def changes(self) -> list[tuple[str, str, str]]:
        """What it changed: machine, resource, verb."""
        return [(one["machine"], one["what"], one["verb"]) for one in self.events if one["event"] == "Changed"]


@dataclass
class Site:
    """One inventory in a folder of its own. `program` is the command `hardway`."""

    folder: Path
    cluster: str
    program: tuple[str, ...] = HARDWAY
    bare: dict[str, dict[str, set[str]]] = field(default_factory=dict)
    """What was seen on each machine before hardway was ever there; empty where nobody looked since they booted."""
    settled: str = ""
    """The inventory's text where `init` found nothing to do, and nothing was done since; otherwise empty."""

    @classmethod
    def of(cls, folder: Path, cluster: str, text: str, program: tuple[str, ...] = HARDWAY) -> "Site":
        folder.mkdir(parents=True, exist_ok=True)
        site = cls(folder, cluster, program)
        site.inventory.write_text(text)
        return site

    @property
    def inventory(self) -> Path:
        return self.folder / "hardway.yaml"

    @property
    def workspace(self) -> Path:
        return self.folder / ".hardway" / self.cluster

    @property
    def machines(self) -> dict[str, str]:
        """Address by name, as the workspace's known_hosts has them."""
        lines = (self.workspace / "known_hosts").read_text().splitlines()
        pairs = (line.split(" ")[0].split(",") for line in lines)
        return {name: address for address, name in pairs}

    def argv(self, *words: str) -> list[str]:
        return [*self.program, *words]

    def start(self, *words: str, **options: Any) -> subprocess.Popen[str]:
        """A command under way, in the inventory's folder; whoever starts it ends it."""
        self.settled = ""
        options = {"stdin": subprocess.DEVNULL, **options}
        return subprocess.Popen(self.argv(*words), cwd=self.folder, text=True, env=_environment(), **options)

    def hardway(self, *words: str, code: int | None = 0, timeout: float = 300) -> Ran:
        """A command to its end. `code` is the exit code that is expected of it, None any."""
        self.settled = ""
        began = time.monotonic()
        done = subprocess.run(
            self.argv(*words),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            env=_environment(),
            check=False,
        )
        ran = Ran(words, done.returncode, done.stdout, time.monotonic() - began)
        assert code is None or ran.code == code, f"hardway {' '.join(words)}: status {ran.code}\n{ran.told}"
        return ran

    def init(self, *words: str) -> Ran:
        return self.hardway("init", "--yes", "-o", "json", *words)

    def unchanged(self, *words: str) -> Ran:
        """Runs a command that must find nothing to do."""
        ran = self.hardway(*words, "-o", "json")
        assert ran.changes == [], words
        assert (ran.finished["changed"], ran.finished["restarted"]) == (0, 0), words
        if words == ("init",):
            self.settled = self.inventory.read_text()
        return ran

    def kubectl(self, *words: str, code: int | None = 0) -> str:
        return self.hardway("kubectl", *words, code=code).out

    def own_kubectl(self) -> tuple[list[str], dict[str, str]]:
        """What `init` says to type next: kubectl with the kubeconfig, without hardway."""
        self.settled = ""
        program = shutil.which("kubectl") or str(self.workspace / "bin" / "kubectl")
        return [program], {
            **_environment(),
            "KUBECONFIG": str(self.workspace / "kubeconfig"),
        }

    def on(self, machine: str, script: str, *, code: int | None = 0, timeout: float = 60) -> str:
        """What a script says on a machine, over a connection that hardway has no part in."""
        self.settled = ""
        key, known = self.workspace / "lab" / "id_ed25519", self.workspace / "known_hosts"
        argv = ["ssh", "-F", "none", "-i", str(key), f"-oUserKnownHostsFile={known}", "-oBatchMode=yes"]
        argv += ["-oConnectTimeout=5", f"root@{self.machines[machine]}", script]
        done = subprocess.run(
            argv, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=timeout, check=False
        )
        assert code is None or done.returncode == code, f"{machine}: {script}\n{done.stdout}{done.stderr}"
        return done.stdout

    def everywhere(self, script: str, machines: Iterable[str] | None = None) -> dict[str, str]:
        names = list(machines or self.machines)
        with ThreadPoolExecutor(len(names)) as pool:
            return dict(zip(names, pool.map(lambda name: self.on(name, script), names), strict=True))

    def processes(self) -> dict[tuple[str, str], tuple[str, ...]]:
        """Process, start and restarts of every unit of hardway's that runs, by machine and unit."""
        found = {}
        for machine, text in self.everywhere(_PROCESSES).items():
            for paragraph in text.strip().split("\n\n"):
                said = dict(line.partition("=")[::2] for line in paragraph.splitlines())
                if said["ExecMainStartTimestampMonotonic"] != "0":
                    unit = said.pop("Id").removesuffix(".service")
                    found[machine, unit] = tuple(f"{name}={said[name]}" for name in sorted(said))
        return found

    def writings(self) -> dict[str, str]:
        """Every file that hardway might write, with inode and times: on the machines and in the workspace."""
        here = [
            f"{path} {path.stat().st_ino} {path.stat().st_mtime_ns} {path.stat().st_ctime_ns}"
            for path in sorted(self.workspace.rglob("*"))
            # Of a writer's run, its lock and its log.
            if path.is_file() and path.name != "lock" and path.parent.name != "logs"
        ]
        return {**self.everywhere(_WRITINGS), "operator": "\n".join(here)}

    def traces(self) -> dict[str, dict[str, set[str]]]:
        """All that could tell that somebody was there, by machine."""
        mark = "=== "
        script = "\n".join(f"echo '{mark}{what}'\n{look}" for what, look in _TRACES.items()) + "\ntrue"
        found = {}
        for machine, text in self.everywhere(script).items():
            parts = (part.partition("\n") for part in text.split(mark)[1:])
            found[machine] = {what: set(lines.splitlines()) for what, _, lines in parts}
        return found

    def authorities(self) -> dict[str, str]:
        """Digests of the CA certificates, in the workspace and on the machines."""
        files = self.everywhere("find /etc/kubernetes -name '*ca.crt' -exec sha256sum {} + 2>/dev/null | sort; true")
        argv = ["sha256sum", *sorted(str(path) for path in self.workspace.glob("pki/**/*ca.crt"))]
        here = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
        return {**files, "operator": here}

    def etcd(self, machine: str, *words: str) -> str:
        pki = "/etc/etcd/pki"
        flags = f"--cacert={pki}/ca.crt --cert={pki}/healthcheck-client.crt --key={pki}/healthcheck-client.key"
        return self.on(machine, f"/usr/local/bin/etcdctl {flags} {' '.join(words)}")

    def etcd_cluster_id(self, machine: str) -> int:
        return int(json.loads(self.etcd(machine, "member", "list", "-w", "json"))["header"]["cluster_id"])

    def nodes_ready(self) -> dict[str, str]:
        """Version of each node that is Ready."""
        nodes = json.loads(self.kubectl("get", "nodes", "-o", "json"))["items"]
        return {
            node["metadata"]["name"]: node["status"]["nodeInfo"]["kubeletVersion"]
            for node in nodes
            if {"Ready": "True"}.items() <= {one["type"]: one["status"] for one in node["status"]["conditions"]}.items()
        }

    def up(self) -> Ran:
        return self.hardway("lab", "up")

    def down(self) -> Ran:
        """Takes the lab down, also one that an earlier run of these tests left behind."""
        return self.hardway("lab", "down", timeout=120)


class Labs:
    """The lab that is up, of those that these tests raise.

    The seven machines have a network of their own, and the other labs share one: beside a process that uses the one
    another may use the other, and a lock keeps a second process from either.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._up: Site | None = None
        self._taken: set[str] = set()
        self._locks = ExitStack()

    def make(self, cluster: str, text: str, program: tuple[str, ...] = HARDWAY) -> Site:
        given = yaml.safe_load(text)["lab"]["network"]
        network = given[0] if isinstance(given, list) else given
        own = {f"{network_of(cluster)}.0/24"} | ({NETWORK6} if network_of(cluster) == NETWORK else set())
        assert network in own, f"{cluster} has the network of other tests' labs, {network}"
        return Site.of(self._folder / cluster, cluster, text, program)

    def _take(self, network: str) -> None:
        """Nobody else's labs have this network from now on; those that a killed run left there are taken down."""
        if network in self._taken:
            return
        lock = os.open(Path(tempfile.gettempdir(), f"{SEVEN}-{network}.lock"), os.O_CREAT | os.O_RDWR)
        self._locks.callback(os.close, lock)
        fcntl.flock(lock, fcntl.LOCK_EX)
        self._taken.add(network)
        for cluster in (SEVEN, *CLUSTERS):
            if network_of(cluster) == network and Path("/var/lib/hardway-lab", cluster).exists():
                self.make(cluster, renamed("single.yaml", cluster)).down()

    def close(self) -> None:
        self.clear()
        self._locks.close()

    def only(self, site: Site) -> Site:
        """Boots this lab's machines, fresh unless they are up; any other lab goes first."""
        if self._up != site:
            self.clear()
            self._take(network_of(site.cluster))
            self._up = site
            site.up()
        return site

    def fresh(self, site: Site) -> Site:
        self.clear()
        return self.only(site)

    def clear(self) -> None:
        if self._up is not None:
            self._up.down()
            self._up.bare = {}
            self._up = None


def _environment() -> dict[str, str]:
    """As a user's shell has it, without what would lead to another inventory or into this source tree."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("HARDWAY_") and name not in ("KUBECONFIG", "PYTHONPATH")
    }


def until(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Waits for something that takes its own time, such as a boot."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.25)


def network_of(cluster: str) -> str:
    return SEVEN_NETWORK if cluster == SEVEN else NETWORK


def renamed(inventory: str, cluster: str, replacements: Mapping[str, str] | None = None) -> str:
    """A shipped inventory's text for a cluster of another name, on the tests' own network."""
    lines = []
    for line in (INVENTORIES / inventory).read_text().splitlines():
        if line.startswith("cluster:"):
            line = f"cluster: {cluster}"
        lines.append(line)
    text = "\n".join(lines) + "\n"
    for network in ("10.240.0", "10.242.0", "10.243.0"):
        text = text.replace(f"{network}.", f"{network_of(cluster)}.")
    for old, new in (replacements or {}).items():
        assert old in text, old
        text = text.replace(old, new)
    return text


def other_restarts(
    before: Mapping[tuple[str, str], object], after: Mapping[tuple[str, str], object], *allowed: tuple[str, str]
) -> list[tuple[str, str]]:
    """Units that were restarted though nothing about them was to be changed."""
    return [one for one in before if before[one] != after.get(one) and one not in allowed]
