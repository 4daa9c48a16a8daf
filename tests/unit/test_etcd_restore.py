"""Which snapshots are refused, and which keys open what an API server encrypted."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from nacl.secret import SecretBox

from hardway.errors import HardwayError
from hardway.operations.etcd_restore import inspect, opens
from hardway.state import State

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))
STATE = State("one", "feed")


def sealed(provider: str) -> bytes:
    text = b"k8s\x00 a Secret"
    if provider == "secretbox":
        return bytes(SecretBox(KEY).encrypt(text))
    if provider == "aesgcm":
        nonce = os.urandom(12)
        return nonce + AESGCM(KEY).encrypt(nonce, text, None)
    vector, padding = os.urandom(16), 16 - len(text) % 16
    encryptor = Cipher(algorithms.AES(KEY), modes.CBC(vector)).encryptor()
    return vector + encryptor.update(text + bytes([padding]) * padding) + encryptor.finalize()


@pytest.mark.parametrize("provider", ["secretbox", "aesgcm", "aescbc"])
def test_the_key_that_sealed_it_opens_it(provider: str) -> None:
    assert opens(provider, KEY, sealed(provider))
    assert not opens(provider, KEY, b"short")
    assert not opens("identity", KEY, sealed(provider))


@pytest.mark.parametrize("provider", ["secretbox", "aesgcm"])
def test_another_key_does_not(provider: str) -> None:
    assert not opens(provider, OTHER, sealed(provider))


def taken(folder: Path, **note: Any) -> Path:
    content = b"x" * 1024
    path = folder / "one.db"
    path.write_bytes(content + hashlib.sha256(content).digest())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    told = {
        "cluster": "one", "cluster_id": "feed", "taken": "2026-11-28T00:00:00+00:00", "sha256": digest,
        "encryption_provider": "secretbox", "encryption_keys": ["key1", "key2"],
    }  # fmt: skip
    (folder / "one.db.json").write_text(json.dumps({**told, **note}))
    return path


def test_a_snapshot_says_which_keys_it_needs(tmp_path: Path) -> None:
    source = inspect(taken(tmp_path), STATE)
    assert (source.encryption_keys, source.encryption_provider) == (("key1", "key2"), "secretbox")
    (tmp_path / "one.db.json").unlink()
    assert inspect(tmp_path / "one.db", STATE).encryption_keys == ()


@pytest.mark.parametrize(
    ("note", "said"),
    [
        ({"cluster_id": "cafe", "cluster": "two"}, r"is of another cluster: two \(cafe\); this one is one \(feed\)"),
        ({"sha256": "00" * 32}, "is not the file of one.db.json"),
        ({"encryption_keys": 7}, "is not as hardway writes it"),
    ],
)
def test_one_that_is_not_this_clusters_is_refused(tmp_path: Path, note: dict[str, Any], said: str) -> None:
    with pytest.raises(HardwayError, match=said):
        inspect(taken(tmp_path, **note), STATE)


def test_one_that_was_cut_is_refused(tmp_path: Path) -> None:
    path = taken(tmp_path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(HardwayError, match="no whole snapshot"):
        inspect(path, STATE)
