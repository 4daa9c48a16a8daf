"""Who still shows a certificate of the CA before: what is read from an audit log, and what passes for current."""

import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from hardway.declare import pki
from hardway.operations.old_certificates import fingerprints_of, users_since

OLD, NEW = "ab" * 32, "cd" * 32
_ID = "authentication.kubernetes.io/credential-id"


def event(user: str, credential: str = f"X509SHA256={OLD}", address: str = "10.0.0.7", **more: object) -> str:
    """In the order in which API servers write it."""
    said = {"username": user, "groups": ["system:authenticated"], "extra": {_ID: [credential]}}
    head = {"kind": "Event", "level": "Request", "requestURI": "/api/v1/pods", "verb": "get", "user": said}
    return json.dumps({**head, "sourceIPs": [address], "userAgent": "curl", **more}, separators=(",", ":")) + "\n"


def read(log: Path, inode: int, size: int) -> list[tuple[str, ...]]:
    script = users_since(str(log), str(inode), str(size))
    said = subprocess.run(["sh", "-euc", script], capture_output=True, text=True, check=True).stdout
    return sorted(tuple(line.split("\t")) for line in said.splitlines())


def test_only_what_was_written_since_counts_and_a_log_that_was_rotated_is_read_on(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    log.write_text(event("early"))
    inode, size = log.stat().st_ino, log.stat().st_size
    with log.open("a") as file:
        file.write(event("ann") + event("ann") + event("ann", address="10.0.0.8") + event("pod", "JTI=1"))
    seen = [("ann", OLD, "10.0.0.7", "2"), ("ann", OLD, "10.0.0.8", "1")]
    assert read(log, inode, size) == seen
    log.rename(tmp_path / "audit-2026-11-28T05-00-00.000.log")
    log.write_text(event("late", f"X509SHA256={NEW}"))
    assert read(log, inode, size) == [*seen, ("late", NEW, "10.0.0.7", "1")]
    (tmp_path / "audit-2026-11-28T05-00-00.000.log").unlink()
    assert read(log, inode, size) == [("late", NEW, "10.0.0.7", "1")]


def test_what_somebody_sends_is_not_taken_for_a_user(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    inside = {"user": {"username": "forged", "extra": {_ID: [f"X509SHA256={NEW}"]}}, "sourceIPs": ["10.0.0.9"]}
    log.write_text(event("pod", "JTI=1", requestObject=inside) + event("ann", requestObject=inside))
    assert read(log, log.stat().st_ino, 0) == [("ann", OLD, "10.0.0.7", "1")]


def test_what_the_ca_that_signs_now_has_signed_is_current_and_nothing_else() -> None:
    now = datetime.now(UTC)
    spec, leaf = pki.CertificateSpec("ca", is_ca=True), pki.CertificateSpec("ann")
    keys = [pki.new_key("ecdsa-p256") for _ in range(2)]
    old, new = (pki.issue_ca(spec, key, now) for key in keys)
    of_old, of_new = (
        pki.issue(leaf, pki.new_key("ecdsa-p256"), ca, key, now) for ca, key in zip((old, new), keys, strict=True)
    )
    digest = pki.fingerprint(of_new).replace(":", "").lower()
    assert list(fingerprints_of([of_old, of_new, b""], new)) == [digest]
