"""What lies with the operator: made once where it is a key, made again where it no longer fits."""

from datetime import UTC, datetime, timedelta

import pytest

from hardway.declare.pki import CertificateSpec
from hardway.declare.resources import Certificate, Key, PublicKey, RandomKey, WorkspaceFile
from hardway.declare.resources.local import Local
from hardway.values import Placeholder

NOW = datetime(2026, 11, 21, tzinfo=UTC)
CA = (
    Key("pki/ca.key", "ecdsa-p256"),
    Certificate("pki/ca.crt", CertificateSpec("ca", is_ca=True, days=3650), "ecdsa-p256", None),
)
SPEC = CertificateSpec("admin", usages=frozenset(("client",)), days=365)
ADMIN = (Key("pki/admin.key", "ecdsa-p256"), Certificate("pki/admin.crt", SPEC, "ecdsa-p256", "pki/ca"))


def made(*wanted: Local, values: dict[str, bytes] | None = None, now: datetime = NOW) -> dict[str, bytes]:
    """As the engine makes them: in order, and only what is not right yet."""
    found = dict(values or {})
    for one in wanted:
        if one.differences(found, now):
            found[one.path] = one.make(found, now)
    return found


def test_made_again_from_what_was_made_nothing_differs() -> None:
    first = made(*CA, *ADMIN)
    assert set(first) == {"pki/ca.key", "pki/ca.crt", "pki/admin.key", "pki/admin.crt"}
    assert made(*CA, *ADMIN, values=first, now=NOW + timedelta(days=300)) == first


def test_a_certificate_is_renewed_before_it_ends_and_keeps_its_key() -> None:
    first = made(*CA, *ADMIN)
    later = made(*CA, *ADMIN, values=first, now=NOW + timedelta(days=340))
    assert {path for path in first if later[path] != first[path]} == {"pki/admin.crt"}


def test_a_certificate_of_another_ca_or_key_is_made_again() -> None:
    first = made(*CA, *ADMIN)
    for path in ("pki/ca.key", "pki/admin.key"):
        less = {name: content for name, content in first.items() if name != path}
        later = made(*CA, *ADMIN, values=less)
        assert later["pki/admin.crt"] != first["pki/admin.crt"]
        assert made(*CA, *ADMIN, values=later) == later


def test_random_keys_are_made_once() -> None:
    key = RandomKey("secrets/encryption-key", 32)
    first = made(key)
    assert len(first[key.path]) == 32
    assert made(key, values=first) == first
    assert made(key) != first


def test_a_public_half_follows_its_key() -> None:
    pair = (Key("pki/sa.key", "ecdsa-p256"), PublicKey("pki/sa.pub", "pki/sa.key"))
    first = made(*pair)
    assert first["pki/sa.pub"].startswith(b"-----BEGIN PUBLIC KEY-----")
    other = made(*pair)
    mixed = {**first, "pki/sa.key": other["pki/sa.key"]}
    assert made(*pair, values=mixed) == other


def test_a_text_with_a_placeholder_waits_for_what_fills_it() -> None:
    text = WorkspaceFile("kubeconfig", f"ca: {Placeholder('pki/ca.crt')}\n")
    with pytest.raises(ValueError, match="kubeconfig: not all of its placeholders are known"):
        text.make({}, NOW)
    first = made(text, values={"pki/ca.crt": b"CA"})
    assert first["kubeconfig"] == b"ca: CA\n"
    assert text.differences(first, NOW) == []
    assert text.differences({**first, "pki/ca.crt": b"NEW"}, NOW) == ["content differs"]


def test_keys_are_private() -> None:
    assert (CA[0].mode, RandomKey("a").mode, WorkspaceFile("a", "").mode, CA[1].mode) == (0o600, 0o600, 0o600, 0o644)
