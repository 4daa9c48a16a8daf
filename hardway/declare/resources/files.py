"""Files, folders, binaries, links, and marked blocks inside files of somebody else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, ClassVar, Self

from hardway.declare.resources.base import (
    STAGE,
    Absent,
    Context,
    Difference,
    ManualStep,
    Observed,
    Present,
    Resource,
    Unknown,
    quote,
    staged_name,
)
from hardway.values import fill, is_secret, placeholders, sha256

SHARED = (
    "/", "/bin", "/sbin", "/etc", "/opt", "/run", "/srv", "/usr", "/usr/bin", "/usr/sbin", "/usr/local",
    "/usr/local/bin", "/usr/local/sbin", "/var", "/var/lib", "/var/log", "/etc/systemd", "/etc/systemd/system",
    "/etc/systemd/network", "/etc/sysctl.d", "/etc/modules-load.d", "/etc/modprobe.d", "/etc/pki", "/etc/profile.d",
    "/etc/ssl", "/etc/ssl/certs", "/etc/ssl/private", "/root", "/usr/local/etc", "/usr/local/lib", "/usr/local/share",
    "/usr/local/share/ca-certificates",
)  # fmt: skip
"""Folders of the system: they are never deleted, and may be links (of a merged /usr, of an image with a fixed /)."""
LINK = "symbolic link"

STAT_FORMAT = r"%s\t%.9Y\t%.9Z\t%i\t%a\t%U\t%G\t%F\t%n"


@dataclass(frozen=True)
class Stat:
    """One line of stat(1). Times are seconds as printed, so that they compare exactly.

    `digest` is the SHA-256 of the content where it is known: from the journal's index when nothing
    about the file has moved since, or because it was read.
    """

    size: int
    mtime: str
    ctime: str
    inode: int
    mode: int
    owner: str
    group: str
    type: str
    digest: str | None = None

    @property
    def is_regular(self) -> bool:
        return self.type in ("regular file", "regular empty file")

    @property
    def identity(self) -> list[Any]:
        """What must be the same for an earlier digest to hold, as git's index does it."""
        return [self.size, self.mtime, self.ctime, self.inode]


def stat_probe(paths: Sequence[str], inside: Sequence[str] = ()) -> str:
    """Prints a line for each path that exists, and for everything `inside` folders, in one process.

    An edit in place changes the times of what is in a folder, and not the folder's own.
    """
    patterns = "".join(f" {quote(folder)}/*" for folder in inside)
    return f"stat --printf {quote(STAT_FORMAT + chr(92) + 'n')} -- {quote(*paths)}{patterns} 2>/dev/null || true"


def parse_stat(output: str) -> dict[str, Stat]:
    """Stat by path."""
    seen = {}
    for line in output.splitlines():
        fields = line.split("\t", 8)
        if len(fields) == 9:
            size, mtime, ctime, inode, mode, owner, group, kind, path = fields
            seen[path] = Stat(int(size), mtime, ctime, int(inode), int(mode, 8), owner, group, kind)
    return seen


class OnDisk(Resource):
    """Whatever is found by its path."""

    path: str

    @property
    def name(self) -> str:
        return self.path

    @classmethod
    def probe(cls, wanted: Sequence[Self]) -> str:
        return stat_probe([one.path for one in wanted])

    @classmethod
    def parse(cls, wanted: Sequence[Self], output: str) -> dict[str, Observed]:
        seen = parse_stat(output)
        return {one.key: Present(seen[one.path]) if one.path in seen else Absent() for one in wanted}


def _access(resource: File | Directory | Binary, stat: Stat, owner: str = "root", group: str = "root") -> list[str]:
    differs = []
    if stat.mode != resource.mode:
        differs.append(f"mode {stat.mode:04o} is not {resource.mode:04o}")
    if (stat.owner, stat.group) != (owner, group):
        differs.append(f"owner {stat.owner}:{stat.group} is not {owner}:{group}")
    return differs


def _put(resource: File | Binary, staged: str, owner: str, group: str) -> str:
    return f"put {quote(f'{STAGE}/{staged}', resource.path, f'{resource.mode:04o}', f'{owner}:{group}')}"


@dataclass(frozen=True)
class File(OnDisk):
    """A file with its whole content, a text that may have placeholders; owner and mode travel with it.

    `tried_by` is a program and its words, to which a path is added: what it refuses does not replace what works.
    """

    kind: ClassVar[str] = "file"
    path: str
    text: str
    mode: int = 0o644
    owner: str = "root"
    group: str = "root"
    tried_by: tuple[str, ...] = ()

    @property
    def secret(self) -> bool:
        return is_secret(self.text)

    def content(self, context: Context) -> bytes | None:
        """None while a placeholder cannot be filled."""
        return fill(self.text, context.values)

    def has_content(self, stat: Stat, context: Context) -> bool:
        """Whether what is there differs in its access at most."""
        content = self.content(context)
        return stat.is_regular and content is not None and stat.digest == sha256(content)

    def diff(self, observed: Observed, context: Context) -> Difference | None:
        content = self.content(context)
        if content is None:
            missing = sorted(
                {placeholder.name for placeholder in placeholders(self.text) if placeholder.name not in context.values}
            )
            return Difference("create", f"known after {', '.join(missing)}")
        wanted = sha256(content)
        if isinstance(observed, Absent):
            return Difference("create", "is not there", after=f"sha256:{wanted[:12]}")
        if isinstance(observed, Unknown):
            return None
        stat: Stat = observed.value
        differs = _access(self, stat, self.owner, self.group)
        if not stat.is_regular:
            differs.insert(0, f"is a {stat.type}")
        elif stat.digest != wanted:
            differs.insert(0, "content differs")
        if not differs:
            return None
        return Difference(
            "update",
            "; ".join(differs),
            before=f"sha256:{(stat.digest or '')[:12]}",
            after=f"sha256:{wanted[:12]}",
        )

    def staged(self, context: Context) -> Mapping[str, bytes]:
        content = self.content(context)
        return {} if content is None else {staged_name(self.key): content}

    def steps(self, difference: Difference, context: Context) -> str:
        put = _put(self, staged_name(self.key), self.owner, self.group)
        if not self.tried_by:
            return put
        return f"tried {quote(f'{STAGE}/{staged_name(self.key)}', self.path, *self.tried_by)}\n{put}"

    def manual_steps(self) -> tuple[ManualStep, ...]:
        owner = ("-o", self.owner, "-g", self.group) if (self.owner, self.group) != ("root", "root") else ()
        install = quote("install", "-D", "-m", f"{self.mode:o}", *owner, "/dev/stdin", self.path)
        only = list(placeholders(self.text))
        if len(only) == 1 and str(only[0]) == self.text and only[0].form == "plain":
            return (ManualStep(install, source=only[0].name),)
        return (ManualStep(install, self.text),)

    def entry(self, observed: Observed, context: Context) -> dict[str, Any]:
        content = self.content(context)
        return {} if content is None else {"digest": sha256(content)}

    @classmethod
    def undo(cls, name: str, entry: Mapping[str, Any]) -> str:
        folder = quote(str(PurePosixPath(name).parent))
        return f"own {folder}; rm -f -- {quote(name)}; prune {folder}"


@dataclass(frozen=True)
class OperatorFile(File):
    """A file that the inventory names, and not hardway: more is asked before it is deleted."""

    kind: ClassVar[str] = "operator-file"

    @classmethod
    def undo(cls, name: str, entry: Mapping[str, Any]) -> str:
        """Only while it is what hardway put there: a journal alone is no reason to delete what somebody else wrote."""
        return f"if holds {quote(name, str(entry.get('digest', '')))}; then {File.undo(name, entry)}; fi"


@dataclass(frozen=True)
class Directory(OnDisk):
    """A folder with its mode and owner.

    `data` says that components write into it what `reset` must take away with it; a folder
    without it is removed only when it has become empty.

    A link is never followed, neither to change what it points to nor to delete that: who made it may use that for
    something else, and nothing says what of it is hardway's. Data on another disk is mounted here.
    """

    kind: ClassVar[str] = "directory"
    path: str
    mode: int = 0o755
    owner: str = "root"
    group: str = "root"
    data: bool = False

    @property
    def own(self) -> tuple[str, ...]:
        """It and the folders above it that are not the system's, topmost first."""
        path = PurePosixPath(self.path)
        return tuple(str(one) for one in reversed((path, *path.parents)) if str(one) not in SHARED)

    @classmethod
    def probe(cls, wanted: Sequence[Self]) -> str:
        paths: set[str] = set()
        for one in wanted:
            paths.update(one.own)
        return stat_probe(sorted(paths))

    @classmethod
    def parse(cls, wanted: Sequence[Self], output: str) -> dict[str, Observed]:
        seen = parse_stat(output)
        found: dict[str, Observed] = {}
        for one in wanted:
            links = [path for path in one.own if path in seen and seen[path].type == LINK]
            if links:
                found[one.key] = Unknown(f"{links[0]} is a {LINK}")
            else:
                found[one.key] = Present(seen[one.path]) if one.path in seen else Absent()
        return found

    def diff(self, observed: Observed, context: Context) -> Difference | None:
        if isinstance(observed, Absent):
            return Difference("create", "is not there")
        if isinstance(observed, Unknown):
            return None
        stat: Stat = observed.value
        differs = _access(self, stat, self.owner, self.group)
        if stat.type != "directory":
            differs.insert(0, f"is a {stat.type}")
        return Difference("update", "; ".join(differs)) if differs else None

    def steps(self, difference: Difference, context: Context) -> str:
        return f"folder {quote(self.path, f'{self.mode:04o}', self.owner, self.group)}"

    def manual_steps(self) -> tuple[ManualStep, ...]:
        owner = ("-o", self.owner, "-g", self.group) if (self.owner, self.group) != ("root", "root") else ()
        return (ManualStep(quote("install", "-d", "-m", f"{self.mode:o}", *owner, self.path)),)

    def entry(self, observed: Observed, context: Context) -> dict[str, Any]:
        return {"data": self.data, "before": self._before(observed, context.noted.get(self.key))}

    def _before(self, observed: Observed, noted: Mapping[str, Any] | None) -> list[str] | None:
        """Mode, owner and group of a folder that was there before hardway; what was noted first counts."""
        if noted:
            before: list[str] | None = noted.get("before")
            return before
        if not isinstance(observed, Present):
            return None
        stat: Stat = observed.value
        return [f"{stat.mode:04o}", stat.owner, stat.group]

    @classmethod
    def undo(cls, name: str, entry: Mapping[str, Any]) -> str:
        folder = quote(name)
        # A container's mounts outlive it; what they show is not ours to delete.
        lines = [f"unmount_below {folder}; empty_folder {folder}"] if entry.get("data") else []
        if before := entry.get("before"):
            mode, owner, group = before
            lines.append(f"folder {quote(name, mode, owner, group)}")
        elif not lines:
            lines.append(f"own {folder}; prune {folder}")
        return "; ".join(lines)


@dataclass(frozen=True)
class Binary(OnDisk):
    """An executable of a component: `file` and `version` name it in the catalogue of releases."""

    kind: ClassVar[str] = "binary"
    path: str
    file: str
    version: str
    mode: int = 0o755

    def has_content(self, stat: Stat, context: Context) -> bool:
        """Whether it is an accepted build."""
        return stat.is_regular and stat.digest in context.accepted.get((self.file, self.version), frozenset())

    def diff(self, observed: Observed, context: Context) -> Difference | None:
        if isinstance(observed, Absent):
            return Difference("create", "is not there", after=f"{self.file} {self.version}")
        if isinstance(observed, Unknown):
            return None
        stat: Stat = observed.value
        differs = _access(self, stat)
        if not self.has_content(stat, context):
            differs.insert(0, f"is not an accepted build of {self.file} {self.version}")
        if not differs:
            return None
        return Difference(
            "update", "; ".join(differs), f"sha256:{(stat.digest or '')[:12]}", f"{self.file} {self.version}"
        )

    def steps(self, difference: Difference, context: Context) -> str:
        return _put(self, f"bin/{self.file}-{self.version}", "root", "root")

    def manual_steps(self) -> tuple[ManualStep, ...]:
        return (
            ManualStep(quote("install", "-m", f"{self.mode:o}", "/dev/stdin", self.path), source=binary(self.file)),
        )

    def entry(self, observed: Observed, context: Context) -> dict[str, Any]:
        return {"version": self.version}

    @classmethod
    def undo(cls, name: str, entry: Mapping[str, Any]) -> str:
        return File.undo(name, entry)


FILE_KINDS = (File.kind, OperatorFile.kind, Binary.kind)
"""Kinds of what has a path and a digest."""


def binary(file: str) -> str:
    """Where a person keeps a component's file for machines of one architecture, in the workspace."""
    return f"bin/$arch/{file.replace('/', '-')}"


@dataclass(frozen=True)
class Block(Resource):
    """A marked block inside a file that belongs to the machine, such as /etc/hosts."""

    kind: ClassVar[str] = "block"
    path: str
    text: str

    @property
    def name(self) -> str:
        return self.path

    @classmethod
    def marks(cls) -> tuple[str, str]:
        return "# BEGIN hardway", "# END hardway"

    @classmethod
    def probe(cls, wanted: Sequence[Self]) -> str:
        begin, end = cls.marks()
        # An end that stands alone is shown, too.
        block = f"/^{begin}$/,/^{end}$/{{p;d}};/^{end}$/p"
        return "\n".join(
            f"printf '%s\\n' {quote('@' + one.path)}; "
            f"[ ! -f {quote(one.path)} ] || sed -n {quote(block)} -- {quote(one.path)}"
            for one in wanted
        )

    @classmethod
    def parse(cls, wanted: Sequence[Self], output: str) -> dict[str, Observed]:
        found: dict[str, list[str]] = {}
        marks: dict[str, list[str]] = {}
        path = ""
        for line in output.splitlines():
            if line.startswith("@/"):
                path = line[1:]
                found[path], marks[path] = [], []
            elif path and line in cls.marks():
                marks[path].append(line)
            elif path:
                found[path].append(line + "\n")
        return {one.key: cls._observed(found.get(one.path, []), marks.get(one.path, [])) for one in wanted}

    @classmethod
    def _observed(cls, lines: Sequence[str], marks: Sequence[str]) -> Observed:
        """Without its end, a block would go on to the end of the file: nobody knows which lines are hardway's."""
        if tuple(marks) == cls.marks():
            return Present("".join(lines)) if lines else Absent()
        if not marks:
            return Absent()
        begin, end = cls.marks()
        return Unknown(f"'{begin}' and then '{end}' must stand there once each, or not at all")

    def diff(self, observed: Observed, context: Context) -> Difference | None:
        if isinstance(observed, Unknown):
            return None
        before = observed.value if isinstance(observed, Present) else ""
        if before == self.text:
            return None
        return Difference("update" if before else "create", "the block differs", before, self.text)

    def staged(self, context: Context) -> Mapping[str, bytes]:
        begin, end = self.marks()
        return {staged_name(self.key): f"{begin}\n{self.text}{end}\n".encode()}

    def steps(self, difference: Difference, context: Context) -> str:
        return f"put_block {quote(f'{STAGE}/{staged_name(self.key)}', self.path)}"

    def manual_steps(self) -> tuple[ManualStep, ...]:
        begin, end = self.marks()
        path, new = quote(self.path), quote(f"{self.path}.new")
        # Written through, not renamed over: the file may be a mount. It stays where its block lacks an end, or the disk
        # is full.
        lines = (
            f"touch {path} &&",
            f"[ $(grep -cx '{begin}' {path}) = $(grep -cx '{end}' {path}) ] &&",
            f"{{ sed '/^{begin}$/,/^{end}$/d' {path} && cat; }} >{new} &&",
            f"cat {new} >{path} && rm {new}",
        )
        return (ManualStep("\n".join(lines), f"{begin}\n{self.text}{end}\n"),)

    @classmethod
    def undo(cls, name: str, entry: Mapping[str, Any]) -> str:
        return f"put_block /dev/null {quote(name)}"
