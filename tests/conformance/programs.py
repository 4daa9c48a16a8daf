"""What the suite consists of: its programs, built from their modules, and the file systems of its images.

All of it is kept in the cache, in a folder whose name depends on everything that goes into it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hardway.artifacts.store import default_store
from hardway.lab.image import apt_options, mirrors

COMPONENT = Path(__file__).resolve().parents[2] / "components" / "conformance"
VERSION = "1.36.4"
SUITE = "trixie"
"""Debian's, of the images' file systems."""
BASE_PACKAGES = (
    "bash", "busybox", "curl", "netcat-openbsd", "bind9-dnsutils", "iproute2", "iperf", "util-linux", "procps",
    "iptables", "iputils-ping", "ca-certificates", "nginx-light", "perl", "stress", "ipvsadm", "conntrack", "socat",
)  # fmt: skip
"""What the tests run in pods that say that they are agnhost or nginx."""
NO_DOCUMENTS = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/var/lib/apt/lists/*")
BUSYBOX = "1.37.0"
BUSYBOX_DIGEST = "3311dff32e746499f4df0d5df04d7eb396382d7e108bb9250e7b519b837043a4"
"""Of upstream's own archive. Debian's program drops variables such as `data-1`, and four tests print them."""
PROGRAMS = {
    "ginkgo": "github.com/onsi/ginkgo/v2/ginkgo",
    "sample-apiserver": "k8s.io/sample-apiserver",
    "nonewprivs": "k8s.io/kubernetes/test/images/nonewprivs",
}
_SAYS_VERSION = "k8s.io/component-base/version"
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Parts:
    """A folder that has, when complete: e2e.test, `PROGRAMS`, busybox, base.tar, libc.tar."""

    folder: Path

    def __truediv__(self, name: str) -> Path:
        return self.folder / name


def parts(tell: Tell) -> Parts:
    """All parts, made now where the cache does not have them. Raises CalledProcessError, RuntimeError."""
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for name in ("go.mod", "go.sum"):
        digest.update((COMPONENT / name).read_bytes())
    made = Parts(default_store().root / "conformance" / digest.hexdigest()[:16])
    made.folder.mkdir(parents=True, exist_ok=True)
    for name, make in _RECIPES.items():
        if (made / name).exists():
            continue
        tell(f"making {name}")
        new = made.folder / f".{name}.{os.getpid()}"
        make(name, new)
        new.rename(made / name)
    return made


def module_folder(module: str) -> Path:
    """Where Go keeps a module's source."""
    words = ["go", "list", "-mod=readonly", "-m", "-f", "{{.Dir}}", module]
    said = subprocess.run(words, cwd=COMPONENT, check=True, capture_output=True, text=True).stdout
    return Path(said.strip())


def _go(words: Sequence[str]) -> None:
    settings = {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly", "GOWORK": "off"}
    subprocess.run(["go", *words], cwd=COMPONENT, check=True, env={**os.environ, **settings})


def _suite(_name: str, new: Path) -> None:
    major, minor, _ = VERSION.split(".")
    values = {"gitVersion": f"v{VERSION}", "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    flags = " ".join(["-s -w", *(f"-X {_SAYS_VERSION}.{name}={value}" for name, value in values.items())])
    # Without -vet=off Go would vet every dependency, and refuse some.
    _go(["test", "-c", "-vet=off", "-trimpath", "-ldflags", flags, "-o", str(new), "k8s.io/kubernetes/test/e2e"])


def _program(name: str, new: Path) -> None:
    _go(["build", "-trimpath", "-ldflags", "-s -w", "-o", str(new), PROGRAMS[name]])


def _base(_name: str, new: Path) -> None:
    """Debian with what the tests call: all that an image layer may hold of it."""
    whole = new.with_suffix(".whole")
    _mmdebstrap("minbase", BASE_PACKAGES, whole)
    with tarfile.open(whole) as source, tarfile.open(new, "w", format=tarfile.GNU_FORMAT) as target:
        for member in source:
            member.name = member.name.removeprefix("./").strip("/")
            if not member.name or member.name == "dev" or member.name.startswith(("dev/", "proc/", "sys/", "run/")):
                continue
            target.addfile(member, source.extractfile(member) if member.isreg() else None)
    whole.unlink()


def _libc(_name: str, new: Path) -> None:
    _mmdebstrap("extract", ("busybox", "libc6"), new)


def _mmdebstrap(variant: str, packages: Sequence[str], new: Path) -> None:
    leave_out = [f"--dpkgopt=path-exclude={pattern}" for pattern in NO_DOCUMENTS]
    options = [f"--aptopt={option}" for option in apt_options()]
    words = [f"--variant={variant}", f"--include={','.join(packages)}", "--format=tar", *leave_out, *options]
    subprocess.run(["mmdebstrap", "--quiet", *words, SUITE, str(new), *mirrors(SUITE)], check=True)


def _busybox(_name: str, new: Path) -> None:
    """Upstream's, from the archive that Debian's source package holds."""
    work = new.with_suffix(".source")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    (work / "lists" / "partial").mkdir(parents=True)
    sources = work / "sources.list"
    sources.write_text("".join(f"{line.replace('deb ', 'deb-src ', 1)}\n" for line in mirrors(SUITE)[:1]))
    settings = [
        f"Dir::Etc::SourceList={sources}",
        "Dir::Etc::SourceParts=/dev/null",
        f"Dir::State::Lists={work / 'lists'}",
        "APT::Sandbox::User=root",
    ]
    apt = ["apt-get", "-qq", *(f"-o{setting}" for setting in settings)]
    subprocess.run([*apt, "update"], cwd=work, check=True)
    subprocess.run([*apt, "source", "--download-only", "busybox"], cwd=work, check=True)
    [archive] = work.glob(f"busybox_{BUSYBOX}.orig.tar.*")
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    if digest != BUSYBOX_DIGEST:
        raise RuntimeError(f"{archive.name} is not busybox {BUSYBOX}: its sha256 is {digest}")
    with tarfile.open(archive) as source:
        source.extractall(work, filter="data")
    [folder] = work.glob("busybox-*/")
    subprocess.run(["make", "-s", "defconfig"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    config = folder / ".config"
    # tc does not build with today's kernel headers.
    config.write_text(config.read_text().replace("CONFIG_TC=y", "# CONFIG_TC is not set"))
    jobs = f"-j{os.cpu_count() or 1}"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(["make", "-s", jobs, "busybox"], cwd=folder, check=True, **quiet)
    shutil.copy2(folder / "busybox", new)
    shutil.rmtree(work)


_RECIPES: dict[str, Callable[[str, Path], None]] = {
    "e2e.test": _suite,
    **dict.fromkeys(PROGRAMS, _program),
    "base.tar": _base,
    "libc.tar": _libc,
    "busybox": _busybox,
}
