"""Which snapshots are refused, and which keys open what an API server encrypted."""

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from nacl.secret import SecretBox

from hardway.declare.phases.base import Model
from hardway.declare.phases.encryption import encryption_config
from hardway.errors import HardwayError
from hardway.inventory.model import Cluster
from hardway.operations.etcd_restore import inspect
from hardway.operations.snapshot_objects import Stored, opens, readable, stored
from hardway.state import ENCRYPTED_RESOURCES, ENCRYPTION_PROVIDER, State

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
        "encryption_resources": ["secrets", "configmaps"],
    }  # fmt: skip
    (folder / "one.db.json").write_text(json.dumps({**told, **note}))
    return path


def test_a_snapshot_says_what_may_be_encrypted_in_it(tmp_path: Path) -> None:
    source = inspect(taken(tmp_path), STATE)
    assert source.encryption_resources == ("secrets", "configmaps")
    (tmp_path / "one.db.json").unlink()
    assert inspect(tmp_path / "one.db", STATE).encryption_resources == ()


def model(keys: tuple[str, ...], provider: str = "secretbox", resources: str = "secrets", **more: Any) -> Model:
    fixed = {ENCRYPTION_PROVIDER: provider, ENCRYPTED_RESOURCES: resources}
    return Model(Cluster("one", ()), replace(STATE, encryption_keys=keys, fixed=fixed, **more), {})


VALUES = {"secrets/encryption-key": KEY, "secrets/encryption-key-key2": OTHER}


def secret(provider: str = "secretbox", key: str = "key1", resource: str = "secrets") -> Stored:
    value = f"k8s:enc:{provider}:v1:{key}:".encode() + sealed(provider)
    return Stored(resource, f"/registry/{resource}/default/first", value)


PLAIN = Stored("configmaps", "/registry/configmaps/default/first", b"k8s\x00 a ConfigMap")


def test_the_key_of_another_provider_reads_as_that_one() -> None:
    state = readable(model(("key2",)), VALUES, [secret("aescbc")])
    assert state.encryption_keys == ("key2", "key1")
    assert state.encryption_providers == {"key2": "secretbox", "key1": "aescbc"}
    assert state.encryption_changing == ()


def test_a_snapshot_of_today_changes_nothing() -> None:
    known = model(("key1",), resources="secrets, configmaps")
    assert readable(known, VALUES, [secret(), secret(resource="configmaps")]) is known.state
    # Of a rotation's middle, so is what it has in both forms.
    known = model(("key1",), encryption_changing=("configmaps",))
    assert readable(known, VALUES, [secret(), PLAIN, secret(resource="configmaps")]) is known.state


@pytest.mark.parametrize(
    ("resources", "changing", "objects", "providers"),
    [
        # Taken before ConfigMaps were encrypted, and before they were decrypted; restored afterwards.
        ("secrets, configmaps", (), [secret(), PLAIN], ["secretbox", "secretbox", "identity"]),
        ("secrets", (), [secret(), secret(resource="configmaps")], ["identity", "secretbox", "secretbox"]),
        # Restored in the middle of that.
        ("secrets", ("configmaps",), [secret(), PLAIN], ["secretbox", "secretbox", "identity"]),
        ("secrets, configmaps", ("configmaps",), [secret(resource="configmaps")], ["identity", *["secretbox"] * 2]),
    ],
)
def test_what_is_in_the_snapshot_in_another_form_is_read_in_both_and_written_as_wanted(
    resources: str, changing: tuple[str, ...], objects: list[Stored], providers: list[str]
) -> None:
    known = model(("key2", "key1"), resources=resources, encryption_changing=changing)
    state = readable(known, VALUES, objects)
    config = yaml.safe_load(encryption_config(replace(known, state=state)))
    [entry] = [one for one in config["resources"] if one["resources"] == ["configmaps"]]
    named: list[str] = []
    for one in entry["providers"]:
        for name, of in one.items():
            named += [name] * len(of["keys"] if of else [name])
    assert named == providers


@pytest.mark.parametrize(
    ("known", "one", "said"),
    [
        (model(("key2",)), secret(key="key3"), "Secret default/first in the snapshot needs key3, which the workspace"),
        (model(("key1",)), secret("aescbc"), r"another key1 \(aescbc\) than the workspace has"),
        (model(("key1", "key2")), secret(key="key2"), r"another key2 \(secretbox\) than the workspace has"),
        (model(("key1",)), replace(PLAIN, resource="secrets"), "is not encrypted"),
    ],
)
def test_what_no_api_server_could_read_is_refused(known: Model, one: Stored, said: str) -> None:
    with pytest.raises(HardwayError, match=said):
        readable(known, VALUES, [one])


def test_what_was_not_read_to_its_end_is_not_taken_for_all() -> None:
    with pytest.raises(HardwayError, match="configmaps in the snapshot could not be read"):
        stored({"whole": ["secrets"]}, ["secrets", "configmaps"])


@pytest.mark.parametrize(
    ("note", "said"),
    [
        ({"cluster_id": "cafe", "cluster": "two"}, r"is of another cluster: two \(cafe\); this one is one \(feed\)"),
        ({"sha256": "00" * 32}, "is not the file of one.db.json"),
        ({"encryption_resources": 7}, "is not as hardway writes it"),
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
