"""A snapshot that did not come over whole is no snapshot."""

import hashlib
from pathlib import Path

import pytest

from hardway.errors import HardwayError
from hardway.operations.etcd_snapshot import check

WHOLE = b"x" * 1024


def written(folder: Path, content: bytes, digest: bytes | None = None) -> Path:
    path = folder / "one.db"
    path.write_bytes(content + (hashlib.sha256(content).digest() if digest is None else digest))
    return path


def test_one_that_ends_with_its_digest_is_good(tmp_path: Path) -> None:
    check(written(tmp_path, WHOLE))


@pytest.mark.parametrize(
    ("content", "digest", "said"),
    [
        (WHOLE[:-3], None, "is no whole snapshot of etcd: 1053 bytes"),
        (WHOLE, b"", "is no whole snapshot of etcd: 1024 bytes"),
        (WHOLE, b"y" * 32, "is damaged"),
        (b"", b"", "is no whole snapshot of etcd: 0 bytes"),
    ],
)
def test_any_other_is_told(tmp_path: Path, content: bytes, digest: bytes | None, said: str) -> None:
    with pytest.raises(HardwayError, match=said):
        check(written(tmp_path, content, digest))
