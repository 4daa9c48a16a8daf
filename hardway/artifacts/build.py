"""Building components from their Go modules: `components/*/go.mod` pins each, go.sum is the digest.

A build is keyed by go.mod, go.sum, the folder's own sources, Go's version, architecture and flags; one that
the cache holds is not repeated. Go's own module and build caches are used as they are.
"""

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

from hardway import data
from hardway.artifacts.catalogue import Arch, Recipe, Release
from hardway.artifacts.store import Blob, Store
from hardway.artifacts.text import without_credentials
from hardway.errors import ArtifactError
from hardway.events import ArtifactProgress, Sink

_HOST_ARCH = {"x86_64": "amd64", "aarch64": "arm64"}
_CROSS_COMPILER = {"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}
_ELF_MACHINES = {"amd64": 62, "arm64": 183}
"""EM_X86_64 and EM_AARCH64."""
_GO_HINT = "install Go from https://go.dev/dl/ and put it on PATH, or use `--source download` or a mirror"


@dataclass(frozen=True)
class Build:
    """One component for one architecture, as `go build` will be told."""

    release: Release
    arch: Arch
    folder: Path
    go_version: str

    @property
    def source(self) -> str:
        return f"build {self.go_version}"

    @property
    def command(self) -> tuple[str, ...]:
        """The command without `-o`; run in `folder`, with `environment` set."""
        recipe = self.release.recipe
        variables = [f"-X {name}={value}" for name, value in recipe.variables]
        static = ["-extldflags -static"] if recipe.cgo else []
        return (
            *("go", "build", "-mod=readonly", "-trimpath", "-buildvcs=false"),
            *(("-tags", ",".join(recipe.tags)) if recipe.tags else ()),
            *("-ldflags", " ".join(["-s -w", *variables, *static])),
        )

    @property
    def environment(self) -> Mapping[str, str]:
        """What is set over the caller's environment; a GOFLAGS or go.work of his must not change the build."""
        settings = {
            "CGO_ENABLED": "1" if self.release.recipe.cgo else "0",
            "GOOS": "linux",
            "GOARCH": self.arch,
            "GOFLAGS": "",
            "GOWORK": "off",
        }
        if self.release.recipe.cgo and self.arch != host_arch():
            triplet = _CROSS_COMPILER[self.arch]
            settings |= {"CC": f"{triplet}-gcc", "PKG_CONFIG_LIBDIR": f"/usr/lib/{triplet}/pkgconfig"}
        return settings

    @property
    def key(self) -> str:
        files = sorted(path for path in self.folder.iterdir() if path.suffix in {".go", ".mod", ".sum"})
        inputs = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
        stated = [inputs, self.go_version, self.command, dict(self.environment), self.release.recipe.packages]
        return hashlib.sha256(json.dumps(stated, sort_keys=True).encode()).hexdigest()


def plan_build(release: Release, arch: Arch) -> Build:
    """What building a release here would be. Raises ArtifactError where Go is missing or too old for it."""
    if not release.catalogued:
        raise ArtifactError(
            f"{release.component} {release.version} cannot be built: components/ pins another version",
            hint="--source download, or a mirror; or pin it as components/README.md says",
        )
    folder = data.folder("components") / release.recipe.module
    return Build(release, arch, folder, go_version(_wanted_go(folder), os.environ.get("PATH", "")))


def built(build: Build, store: Store) -> Mapping[str, Blob] | None:
    """The binaries of this build by name, where the cache has them."""
    return store.recorded(f"build-{build.key}")


def run_build(build: Build, store: Store, events: Sink) -> Mapping[str, Blob]:
    """The component's binaries by name, built unless the cache has them; a second run at the same time waits.

    Raises ArtifactError with the compiler's last lines.
    """
    with store.locked(f"build-{build.key}"):
        if (blobs := built(build, store)) is not None:
            return blobs
        component = build.release.component
        check_tools(build)
        events(ArtifactProgress(component, "build", 0, 1))
        with store.temporary() as folder:
            _go_build(build, folder)
            for _, package in build.release.recipe.packages:
                refuse_other_machine(folder / output_name(package), build.arch)
            blobs = {name: store.add(folder / output_name(package)) for name, package in build.release.recipe.packages}
        store.note(f"build-{build.key}", {name: blob.digest for name, blob in blobs.items()})
        events(ArtifactProgress(component, "build", 1, 1))
    return blobs


def check_tools(build: Build) -> None:
    """Raises ArtifactError, with what to install, where this build's C compiler or library is missing."""
    if not build.release.recipe.cgo:
        return
    if platform.system() != "Linux":
        raise ArtifactError(
            f"{build.release.component} is built with a C compiler for Linux, and this is {platform.system()}",
            hint="use `--source download` or a mirror, or build on Linux",
        )
    compiler = build.environment.get("CC", "gcc")
    missing = [tool for tool in (compiler, "pkg-config") if shutil.which(tool) is None]
    if not missing:
        asked = ["pkg-config", "--exists", "libseccomp"]
        environment = {**os.environ, **build.environment}
        if subprocess.run(asked, env=environment, check=False).returncode == 0:
            return
        missing = ["libseccomp"]
    install = "apt-get install gcc pkg-config libseccomp-dev"
    if build.arch != host_arch():
        compiler_package = f"gcc-{_CROSS_COMPILER[build.arch].replace('_', '-')}"
        install = (
            f"dpkg --add-architecture {build.arch} && apt-get update && "
            f"apt-get install {compiler_package} pkg-config libseccomp-dev:{build.arch}"
        )
    raise ArtifactError(
        f"{build.release.component} for {build.arch} needs a C compiler and libseccomp: "
        f"{' and '.join(missing)} not found",
        hint=install,
    )


def refuse_other_machine(binary: Path, arch: Arch) -> None:
    """Raises ArtifactError where a binary's ELF header names another processor than this architecture's."""
    with binary.open("rb") as file:
        header = file.read(20)
    machine = int.from_bytes(header[18:20], "little")
    if header[:4] != b"\x7fELF" or machine != _ELF_MACHINES[arch]:
        made = f"an ELF file for machine {machine}" if header[:4] == b"\x7fELF" else "no ELF file"
        raise ArtifactError(
            f"the build of {binary.name} for {arch} made {made}",
            hint=f"check that the `go` on PATH is Go's own and builds for GOARCH={arch}",
        )


def _go_build(build: Build, output: Path) -> None:
    packages = [package for _, package in build.release.recipe.packages]
    argv = [*build.command, "-o", f"{output}/", *packages]
    ran = subprocess.run(
        argv,
        cwd=build.folder,
        env={**os.environ, **build.environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    if ran.returncode == 0:
        return
    raise ArtifactError(
        f"{build.release.component} {build.release.version} for {build.arch} could not be built",
        tried=f"cd {build.folder} && go build … {' '.join(packages)}",
        said="\n".join(without_credentials(ran.stdout).splitlines()[-12:]),
        hint=_failure_hint(ran.stdout, build.release.recipe),
    )


def _failure_hint(said: str, recipe: Recipe) -> str:
    if "no space left" in said:
        return "free some 10 GB for Go's caches (`go env GOCACHE GOMODCACHE TMPDIR` says where they are)"
    if recipe.cgo and ("pkg-config" in said or "seccomp" in said):
        return "apt-get install gcc pkg-config libseccomp-dev"
    if "dial tcp" in said or "Forbidden" in said or "proxyconnect" in said or "i/o timeout" in said:
        return "let this computer reach a Go module proxy (`go env GOPROXY`), or use a mirror"
    return "run the same command again; what was built so far is kept"


@cache
def go_version(wanted: str, path: str) -> str:
    """Go's version on this search path, such as `go1.26.8`; raises ArtifactError where it is below `wanted`.

    Cached: every component asks, and Go takes 10 ms to answer.
    """
    go = shutil.which("go", path=path)
    if go is None:
        raise ArtifactError("building needs Go, and there is no `go` on PATH", hint=_GO_HINT)
    # Outside any module, so that an old Go says its version instead of refusing a newer go.mod.
    asked = [go, "env", "GOVERSION", "GOTOOLCHAIN"]
    environment = {**os.environ, "GOWORK": "off", "GOFLAGS": ""}
    ran = subprocess.run(asked, cwd="/", env=environment, capture_output=True, text=True, check=False)
    version, _, toolchain = ran.stdout.strip().partition("\n")
    if not version.startswith("go"):
        raise ArtifactError("`go` does not work", tried=" ".join(asked), said=ran.stderr, hint=_GO_HINT)
    if _numbers(version) >= _numbers(wanted):
        return version
    # Since 1.21 Go fetches by itself the newer one that a go.mod asks for, unless told not to.
    if _numbers(version) >= (1, 21) and toolchain.strip() == "auto":
        return f"go{wanted}"
    raise ArtifactError(f"building needs Go {wanted} or newer, and {go} is {version}", hint=_GO_HINT)


def _wanted_go(folder: Path) -> str:
    try:
        lines = (folder / "go.mod").read_text().splitlines()
    except FileNotFoundError as error:
        raise ArtifactError(f"{folder}/go.mod is missing from this installation") from error
    return next(line.removeprefix("go ") for line in lines if line.startswith("go "))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version))


def host_arch() -> str:
    """This computer's architecture, by Go's name for it where there is one in the catalogue."""
    return _HOST_ARCH.get(platform.machine(), platform.machine())


def output_name(package: str) -> str:
    """What `go build` calls a main package's binary: the last element of its path that is no version."""
    path = PurePosixPath(package)
    return path.parent.name if re.fullmatch(r"v\d+", path.name) else path.name
