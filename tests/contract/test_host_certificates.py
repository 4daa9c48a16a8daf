"""What a host certificate must be for an authority's word to count, judged on ssh-keygen's own."""

import base64
import subprocess
from pathlib import Path

import pytest
from conftest import certify, new_key

from hardway.remote.host_certificates import fault

pytestmark = pytest.mark.contract


def parts(public: Path) -> tuple[str, bytes]:
    kind, blob = public.read_text().split()[:2]
    return kind, base64.b64decode(blob)


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    return new_key(tmp_path / "ca")


@pytest.fixture
def host_key(tmp_path: Path) -> Path:
    return new_key(tmp_path / "host").with_suffix(".pub")


def judge(authority: Path, certificate: Path, host: str = "k1.example.net") -> str | None:
    return fault(*parts(certificate), host, {parts(authority.with_suffix(".pub"))[1]})


@pytest.mark.parametrize("names", ["k1.example.net", "k2,k1.example.net", "*.example.net"])
def test_a_certificate_for_the_host_is_taken(authority: Path, host_key: Path, names: str) -> None:
    assert judge(authority, certify(authority, host_key, names)) is None


@pytest.mark.parametrize(
    ("options", "names", "said"),
    [
        (("-h",), "k2,k3", "its certificate is for k2, k3"),
        (("-h", "-V", "-2h:-1h"), "k1.example.net", "its certificate is not valid at this time"),
        (("-h", "-V", "+1h:+2h"), "k1.example.net", "its certificate is not valid at this time"),
        (("-V", "+1h"), "k1.example.net", "its certificate is a user's"),
    ],
)
def test_any_other_is_not(authority: Path, host_key: Path, options: tuple[str, ...], names: str, said: str) -> None:
    assert judge(authority, certify(authority, host_key, names, *options)) == said


def test_another_authority_does_not_count(authority: Path, host_key: Path, tmp_path: Path) -> None:
    certificate = certify(new_key(tmp_path / "other"), host_key, "k1.example.net")
    assert judge(authority, certificate) == "its certificate is of another authority"


def test_a_changed_certificate_is_found(authority: Path, host_key: Path) -> None:
    kind, blob = parts(certify(authority, host_key, "k1.example.net"))
    forged = blob.replace(b"k1.example.net", b"k2.example.net")
    trusted = {parts(authority.with_suffix(".pub"))[1]}
    assert fault(kind, forged, "k2.example.net", trusted) == "its certificate cannot be verified"


@pytest.mark.parametrize(
    ("algorithm", "said"), [("rsa-sha2-512", None), ("ssh-rsa", "its certificate is signed with SHA-1")]
)
def test_sha1_is_not_taken_from_an_rsa_authority(
    tmp_path: Path, host_key: Path, algorithm: str, said: str | None
) -> None:
    authority = tmp_path / "rsa"
    subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", authority], check=True)
    certificate = certify(authority, host_key, "k1.example.net", "-h", "-t", algorithm)
    assert judge(authority, certificate) == said


def test_a_plain_key_is_no_certificate(authority: Path, host_key: Path) -> None:
    assert judge(authority, host_key) == "it shows no certificate"
