"""Certificates: made by us, read back by cryptography and by openssl."""

import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hardway.declare import pki
from hardway.declare.pki import CertificateSpec

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
CA = CertificateSpec("kubernetes", is_ca=True, days=pki.CA_DAYS)
SERVER = CertificateSpec(
    "kube-apiserver",
    dns_names=("kubernetes", "kubernetes.default", "localhost"),
    addresses=("10.32.0.1", "127.0.0.1", "fd00::1"),
    usages=frozenset({"server"}),
)
CLIENT = CertificateSpec("hardway-admin", organizations=("hardway:cluster-admins",), usages=frozenset({"client"}))
NODE = CertificateSpec(
    "system:node:worker-0",
    organizations=("system:nodes",),
    dns_names=("worker-0",),
    addresses=("10.240.0.20",),
    usages=frozenset({"server", "client"}),
)
LEAVES = [SERVER, CLIENT, NODE]
EC: pki.KeyAlgorithm = "ecdsa-p256"


class Authority:
    def __init__(self, algorithm: pki.KeyAlgorithm = EC, spec: CertificateSpec = CA) -> None:
        self.key = pki.new_key(algorithm)
        self.cert = pki.issue_ca(spec, self.key, NOW)

    def issue(self, spec: CertificateSpec, key: bytes, now: datetime = NOW) -> bytes:
        return pki.issue(spec, key, self.cert, self.key, now)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def key() -> bytes:
    return pki.new_key(EC)


def openssl(*arguments: str) -> str:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here")
    ran = subprocess.run(["openssl", *arguments], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr + ran.stdout
    return ran.stdout


def compare(
    spec: CertificateSpec,
    cert: bytes,
    key: bytes,
    ca: bytes,
    now: datetime = NOW,
    algorithm: pki.KeyAlgorithm = EC,
) -> list[str]:
    return pki.differences(spec, algorithm, cert, key, ca, now)


@pytest.mark.parametrize("spec", LEAVES, ids=lambda spec: spec.common_name)
def test_a_certificate_read_back_says_what_was_specified(
    spec: CertificateSpec, authority: Authority, key: bytes
) -> None:
    found = pki.read(authority.issue(spec, key))
    ca = pki.read(authority.cert)
    assert (found.common_name, found.organizations) == (spec.common_name, spec.organizations)
    assert (found.dns_names, found.addresses) == (spec.dns_names, spec.addresses)
    assert (found.usages, found.is_ca) == (spec.usages, False)
    assert (found.not_before, found.not_after) == (NOW - timedelta(minutes=5), NOW + timedelta(days=365))
    assert found.authority_key_id == ca.subject_key_id != found.subject_key_id
    assert found.issuer == "CN=kubernetes"
    assert 2**100 < found.serial < 2**159


@pytest.mark.parametrize("algorithm", ["ecdsa-p256", "rsa-2048"])
@pytest.mark.parametrize("spec", LEAVES, ids=lambda spec: spec.common_name)
def test_openssl_verifies_each_kind(spec: CertificateSpec, algorithm: pki.KeyAlgorithm, tmp_path: Path) -> None:
    authority, key = Authority(algorithm), pki.new_key(algorithm)
    ca, leaf, private = tmp_path / "ca.crt", tmp_path / "leaf.crt", tmp_path / "leaf.key"
    ca.write_bytes(authority.cert)
    leaf.write_bytes(authority.issue(spec, key))
    private.write_bytes(key)
    at = ["-x509_strict", "-attime", str(int(NOW.timestamp())), "-CAfile", str(ca)]
    purposes = {"server": "sslserver", "client": "sslclient"}
    for usage in spec.usages:
        openssl("verify", *at, "-purpose", purposes[usage], str(leaf))
    for address in spec.addresses:
        openssl("verify", *at, "-verify_ip", address, str(leaf))
    for name in spec.dns_names:
        openssl("verify", *at, "-verify_hostname", name, str(leaf))
    assert openssl("pkey", "-in", str(private), "-pubout") == pki.public_key_pem(key).decode()
    text = openssl("x509", "-in", str(leaf), "-noout", "-text", "-nameopt", "RFC2253")
    assert "X509v3 Basic Constraints: critical\n                CA:FALSE" in text
    assert "X509v3 Key Usage: critical\n                Digital Signature" in text
    assert f"Subject: CN={spec.common_name}" in text
    printed = openssl("x509", "-in", str(leaf), "-noout", "-fingerprint", "-sha256")
    assert printed.partition("=")[2].strip() == pki.fingerprint(leaf.read_bytes())


def test_openssl_reads_a_ca_that_signs_leaves_only(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_bytes(authority.cert)
    text = openssl("x509", "-in", str(tmp_path / "ca.crt"), "-noout", "-text")
    assert "X509v3 Basic Constraints: critical\n                CA:TRUE, pathlen:0" in text
    assert "X509v3 Key Usage: critical\n                Certificate Sign, CRL Sign" in text
    assert pki.read(authority.cert).not_after == NOW + timedelta(days=3650)


def test_a_certificate_never_outlives_its_ca(key: bytes) -> None:
    authority = Authority(spec=replace(CA, days=100))
    late = NOW + timedelta(days=90)
    found = pki.read(authority.issue(SERVER, key, late))
    assert found.not_after == NOW + timedelta(days=100)
    assert compare(SERVER, authority.issue(SERVER, key, late), key, authority.cert, late) == []


def test_an_expired_ca_signs_nothing(authority: Authority, key: bytes) -> None:
    with pytest.raises(pki.PemError, match="expired"):
        authority.issue(SERVER, key, NOW + timedelta(days=3651))


def test_a_ca_with_a_foreign_key_signs_nothing(authority: Authority, key: bytes) -> None:
    with pytest.raises(pki.PemError, match="not the key of the CA"):
        pki.issue(SERVER, key, authority.cert, key, NOW)


@pytest.mark.parametrize("spec", LEAVES, ids=lambda spec: spec.common_name)
def test_what_was_just_issued_is_as_specified(spec: CertificateSpec, authority: Authority, key: bytes) -> None:
    assert compare(spec, authority.issue(spec, key), key, authority.cert) == []


def test_a_ca_is_compared_with_itself(authority: Authority) -> None:
    assert compare(CA, authority.cert, authority.key, authority.cert) == []
    late = NOW + timedelta(days=3640)
    assert compare(CA, authority.cert, authority.key, authority.cert, late) == ["expires in 10 days, on 2036-11-18"]


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (replace(SERVER, common_name="kubernetes"), "CN is kubernetes, should be kube-apiserver"),
        (replace(SERVER, organizations=("system:masters",)), "unexpected O: system:masters"),
        (replace(SERVER, dns_names=("kubernetes", "localhost")), "DNS name kubernetes.default is missing"),
        (replace(SERVER, addresses=("10.32.0.1", "127.0.0.1")), "address fd00::1 is missing"),
        (
            replace(SERVER, usages=frozenset({"server", "client"})),
            "is for client and server, should be for server",
        ),
    ],
)
def test_one_thing_wrong_is_one_phrase(made: CertificateSpec, said: str, authority: Authority, key: bytes) -> None:
    assert compare(SERVER, authority.issue(made, key), key, authority.cert) == [said]


@pytest.mark.parametrize(
    ("days", "left", "said"),
    [
        (365, timedelta(days=30, minutes=1), []),
        (365, timedelta(days=30), ["expires in 30 days, on 2027-11-21"]),
        # Its life began five minutes earlier.
        (30, timedelta(days=30), []),
        (30, timedelta(days=10, minutes=2), []),
        (30, timedelta(days=10, minutes=1), ["expires in 10 days, on 2026-12-21"]),
        (1, timedelta(hours=23), []),
        (1, timedelta(hours=8), ["expires in 8 hours, on 2026-11-22"]),
    ],
)
def test_a_certificate_is_due_with_a_third_of_its_life_left_and_at_most_a_month(
    days: int, left: timedelta, said: list[str], authority: Authority, key: bytes
) -> None:
    spec = replace(SERVER, days=days)
    now = NOW + timedelta(days=days) - left
    assert compare(spec, authority.issue(spec, key), key, authority.cert, now) == said
    short = Authority(spec=replace(CA, days=days))
    assert compare(CA, short.cert, short.key, short.cert, now) == said
    assert pki.differences(CA, EC, short.cert, short.key, short.cert, None) == []


def test_another_ca_of_the_same_name_is_told_apart(authority: Authority, key: bytes) -> None:
    cert = Authority().issue(SERVER, key)
    assert compare(SERVER, cert, key, authority.cert) == ["signed by CN=kubernetes, not by the key of CN=kubernetes"]


def test_another_key_and_another_algorithm_are_told(authority: Authority, key: bytes) -> None:
    other = pki.new_key("rsa-2048")
    assert compare(SERVER, authority.issue(SERVER, key), other, authority.cert) == [
        "the certificate belongs to another key",
        "key is rsa-2048, should be ecdsa-p256",
    ]


def test_an_expired_certificate_is_told(authority: Authority, key: bytes) -> None:
    late = NOW + timedelta(days=366)
    assert compare(SERVER, authority.issue(SERVER, key), key, authority.cert, late) == [
        "expired on 2027-11-21 12:00 UTC"
    ]


def test_a_time_with_microseconds_is_taken(authority: Authority, key: bytes) -> None:
    found = pki.read(authority.issue(SERVER, key, NOW + timedelta(microseconds=123456)))
    assert found.not_after == NOW + timedelta(days=365)


def test_a_clock_that_is_behind_is_told(authority: Authority, key: bytes) -> None:
    early = NOW - timedelta(minutes=10)
    assert compare(SERVER, authority.issue(SERVER, key), key, authority.cert, early) == [
        "not valid before 2026-11-21 11:55 UTC"
    ]


@pytest.mark.parametrize("bad", [b"", b"hello", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_malformed_pem_is_a_clear_error(bad: bytes, authority: Authority) -> None:
    with pytest.raises(pki.PemError, match="not a PEM certificate"):
        pki.read(bad)
    with pytest.raises(pki.PemError, match="not a PEM private key"):
        pki.public_key_pem(bad)
