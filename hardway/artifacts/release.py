"""What a release is: published files with their digests, and how `go build` makes the same binaries."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

Arch = Literal["amd64", "arm64"]
ARCHES: tuple[Arch, ...] = get_args(Arch)


@dataclass(frozen=True)
class PublishedFile:
    """One file of a publisher; `{version}` and `{arch}` stand in its URLs.

    `checksums` is the publisher's own list of digests beside it. `members` maps each binary to its
    path in the archive; None: the file is the binary. `pins` are the sha256 digests known here.
    """

    url: str
    checksums: str
    members: tuple[tuple[str, str | None], ...]
    pins: tuple[tuple[Arch, str], ...] = ()

    def pin(self, arch: Arch) -> str | None:
        return dict(self.pins).get(arch)


@dataclass(frozen=True)
class Wanted:
    """One publisher's file for one architecture."""

    file: PublishedFile
    version: str
    arch: Arch

    def expand(self, text: str) -> str:
        return text.format(version=self.version, arch=self.arch)

    @property
    def url(self) -> str:
        return self.expand(self.file.url)

    @property
    def file_name(self) -> str:
        return self.url.rpartition("/")[2]

    @property
    def name(self) -> str:
        """As a person would name it: `kubelet` alone says neither version nor architecture."""
        name = self.file_name
        return name if self.version in name else f"{name} {self.version} {self.arch}"

    @property
    def members(self) -> Mapping[str, str | None]:
        return {name: path and self.expand(path) for name, path in self.file.members}


@dataclass(frozen=True)
class Recipe:
    """How `go build` makes a component: a folder under components/, a main package for each binary.

    `variables` are set by the linker (`-X name=value`).
    """

    module: str
    packages: tuple[tuple[str, str], ...]
    variables: tuple[tuple[str, str], ...] = ()
    tags: tuple[str, ...] = ()
    cgo: bool = False


@dataclass(frozen=True)
class Release:
    """One version of one component. `files` is empty where the publisher offers an image only.

    Where it is not `catalogued`, an inventory names it: it cannot be built here, and its digests are the lock's.
    """

    component: str
    version: str
    recipe: Recipe
    files: tuple[PublishedFile, ...] = ()
    catalogued: bool = True

    @property
    def binaries(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.recipe.packages)

    def file_with(self, binary: str) -> PublishedFile | None:
        """The published file that is or holds this binary."""
        return next((file for file in self.files if binary in dict(file.members)), None)

    def at(self, version: str) -> "Release":
        """This version of the component, or itself where that is its own."""
        if version == self.version:
            return self
        files = tuple(replace(file, pins=()) for file in self.files)
        return replace(self, version=version, files=files, catalogued=False)


@dataclass(frozen=True)
class Image:
    """A container image: pulled as `ref`, or made from a binary of ours as an OCI archive of that name."""

    name: str
    ref: str
    component: str
    binary: str
    arguments: tuple[str, ...] = ()
    user: str = ""
    folders: tuple[str, ...] = field(default=())

    @property
    def entrypoint(self) -> str:
        return f"/{self.binary}"
