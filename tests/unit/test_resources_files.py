"""Files, folders, binaries and blocks: what is read of them, what differs, what is noted."""

from typing import Any

import pytest

from hardway.declare.resources import (
    Absent,
    Binary,
    Block,
    Context,
    Difference,
    Directory,
    File,
    Observed,
    Present,
    Unknown,
)
from hardway.declare.resources.files import OnDisk, Stat, parse_stat
from hardway.values import Placeholder, sha256

CONTEXT = Context("m", {"secrets/key": b"s3cret"}, {("etcd", "3.6"): frozenset(("aa", "bb"))})
FILE = File("/etc/a", "text\n", mode=0o640, owner="etcd", group="etcd")


def stat(mode: int = 0o644, digest: str | None = None, **more: Any) -> Stat:
    fields = {"owner": "root", "group": "root", "type": "regular file", **more}
    return Stat(5, "1.5", "2.5", 9, mode, digest=digest, **fields)


def why(resource: File | Directory | Binary | Block, observed: Observed, context: Context = CONTEXT) -> str | None:
    difference = resource.diff(observed, context)
    return f"{difference.verb}: {difference.why}" if difference else None


def test_a_line_of_stat_keeps_times_as_they_were_printed() -> None:
    line = "12\t1700000000.000000001\t1700000000.100000000\t77\t600\tetcd\tetcd\tregular file\t/etc/with a\ttab\n"
    assert parse_stat(line + "junk\n") == {
        "/etc/with a\ttab": Stat(
            12, "1700000000.000000001", "1700000000.100000000", 77, 0o600, "etcd", "etcd", "regular file"
        )
    }


@pytest.mark.parametrize("resource", [FILE, Directory("/etc/a"), Binary("/etc/a", "etcd", "3.6")])
def test_what_stat_does_not_name_is_absent(resource: OnDisk) -> None:
    assert type(resource).parse([resource], "") == {resource.key: Absent()}
    assert resource.diff(Unknown("no answer"), CONTEXT) is None


@pytest.mark.parametrize(
    ("observed", "says"),
    [
        (Absent(), "create: is not there"),
        (Present(stat(0o640, sha256(b"text\n"), owner="etcd", group="etcd")), None),
        (Present(stat(0o640, sha256(b"other"), owner="etcd", group="etcd")), "update: content differs"),
        (Present(stat(0o600, sha256(b"text\n"), owner="etcd", group="etcd")), "update: mode 0600 is not 0640"),
        (Present(stat(0o640, sha256(b"text\n"))), "update: owner root:root is not etcd:etcd"),
        (Present(stat(0o640, owner="etcd", group="etcd", type="symbolic link")), "update: is a symbolic link"),
        (Present(stat(0o644, "x")), "update: content differs; mode 0644 is not 0640; owner root:root is not etcd:etcd"),
    ],
)  # fmt: skip
def test_a_file_differs_by_content_mode_owner_and_type(observed: Observed, says: str | None) -> None:
    assert why(FILE, observed) == says


def test_a_secret_shows_as_its_digest_only() -> None:
    secret = File("/etc/key", f"key: {Placeholder('secrets/key', secret=True)}\n")
    difference = secret.diff(Absent(), CONTEXT)
    assert secret.secret
    assert secret.content(CONTEXT) == b"key: s3cret\n"
    assert "s3cret" not in repr(difference) + repr(secret) + repr(secret.entry(Absent(), CONTEXT))


def test_a_placeholder_that_nothing_fills_yet_is_named() -> None:
    later = File("/etc/crt", str(Placeholder("pki/ca.crt")))
    assert later.diff(Absent(), CONTEXT) == Difference("create", "known after pki/ca.crt")
    assert (later.staged(CONTEXT), later.entry(Absent(), CONTEXT)) == ({}, {})


@pytest.mark.parametrize(
    ("observed", "says"),
    [
        (Absent(), "create: is not there"),
        (Present(stat(0o755, "aa")), None),
        (Present(stat(0o755, "bb")), None),
        (Present(stat(0o755, "cc")), "update: is not an accepted build of etcd 3.6"),
        (Present(stat(0o755)), "update: is not an accepted build of etcd 3.6"),
        (Present(stat(0o744, "aa")), "update: mode 0744 is not 0755"),
    ],
)
def test_a_binary_may_be_any_accepted_build(observed: Observed, says: str | None) -> None:
    assert why(Binary("/usr/local/bin/etcd", "etcd", "3.6"), observed) == says


@pytest.mark.parametrize(
    ("observed", "says"),
    [
        (Absent(), "create: is not there"),
        (Present(stat(0o700, type="directory")), None),
        (Present(stat(0o755, type="directory")), "update: mode 0755 is not 0700"),
        (Present(stat(0o700)), "update: is a regular file"),
    ],
)
def test_a_folder(observed: Observed, says: str | None) -> None:
    assert why(Directory("/var/lib/etcd", 0o700), observed) == says


def test_a_folder_that_was_there_before_gets_its_access_back() -> None:
    folder = Directory("/etc/cni")
    there = folder.entry(Present(stat(type="directory", mode=0o750, group="adm")), CONTEXT)
    assert Directory.undo("/etc/cni", there) == "folder /etc/cni 0750 root adm"
    made = folder.entry(Absent(), CONTEXT)
    assert Directory.undo("/etc/cni", made) == "own /etc/cni; prune /etc/cni"
    # In a second run it is there, but hardway's own journal knows that it was not.
    noted = Context("m", noted={folder.key: made})
    assert folder.entry(Present(stat(type="directory")), noted) == made


def test_a_data_folder_goes_with_its_content_and_without_its_mounts() -> None:
    entry = Directory("/var/lib/kubelet", data=True).entry(Absent(), CONTEXT)
    assert Directory.undo("/var/lib/kubelet", entry) == (
        "unmount_below /var/lib/kubelet; empty_folder /var/lib/kubelet"
    )


BLOCK = Block("/etc/hosts", "10.0.0.1 a\n10.0.0.2 b\n")


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ("@/etc/hosts\n", "create: the block differs"),
        ("", "create: the block differs"),
        ("@/etc/hosts\n# BEGIN hardway\n10.0.0.1 a\n10.0.0.2 b\n# END hardway\n", None),
        ("@/etc/hosts\n# BEGIN hardway\n10.0.0.1 a\n# END hardway\n", "update: the block differs"),
        ("@/etc/hosts\n# BEGIN hardway\n10.0.0.1 a\n10.0.0.9 theirs\n", None),
    ],
)
def test_a_block_is_what_lies_between_its_marks(said: str, says: str | None) -> None:
    assert why(BLOCK, Block.parse([BLOCK], said)[BLOCK.key]) == says


@pytest.mark.parametrize(
    "lines",
    [
        "# BEGIN hardway\nx\n10.0.0.9 theirs\n",
        "# END hardway\n",
        "# END hardway\n# BEGIN hardway\nx\n",
        "# BEGIN hardway\nx\n# END hardway\n" * 2,
    ],
    ids=["no end", "no begin", "end first", "twice"],
)
def test_a_block_whose_marks_are_damaged_is_unknown(lines: str) -> None:
    seen = Block.parse([BLOCK], f"@/etc/hosts\n{lines}")[BLOCK.key]
    assert isinstance(seen, Unknown)
    assert "must stand there once each, or not at all" in seen.why


def test_blocks_of_two_files_are_kept_apart() -> None:
    other = Block("/etc/other", "x\n")
    said = "@/etc/hosts\n@/etc/other\n# BEGIN hardway\nx\n# END hardway\n"
    assert Block.parse([BLOCK, other], said) == {BLOCK.key: Absent(), other.key: Present("x\n")}


def test_paths_are_quoted() -> None:
    odd = File("/etc/it's; reboot", "")
    assert "'/etc/it'\"'\"'s; reboot'" in File.probe([odd])
    assert File.undo(odd.path, {}).startswith("own /etc; rm -f -- '/etc/it'")
