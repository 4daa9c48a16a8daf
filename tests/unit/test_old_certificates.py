"""Who still shows a certificate of the CA before: what is read from an audit log, and what passes for current."""

import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from hardway.declare import pki
from hardway.operations.old_certificates import end_of, fingerprints_of, users_since

OLD, NEW = "ab" * 32, "cd" * 32
_ID = "authentication.kubernetes.io/credential-id"


def event(user: str, credential: str = f"X509SHA256={OLD}", address: str = "10.0.0.7", **more: object) -> str:
    """In the order in which API servers write it."""
    said = {"username": user, "groups": ["system:authenticated"], "extra": {_ID: [credential]}}
    head = {"kind": "Event", "level": "Request", "requestURI": "/api/v1/pods", "verb": "get", "user": said}
    return json.dumps({**head, "sourceIPs": [address], "userAgent": "curl", **more}, separators=(",", ":")) + "\n"


def end(log: Path) -> list[str]:
    return subprocess.run(["sh", "-euc", end_of(str(log))], capture_output=True, text=True, check=True).stdout.split()


def ran(log: Path, mark: list[str]) -> subprocess.CompletedProcess[str]:
    script = users_since(str(log), *mark)
    return subprocess.run(["sh", "-euc", script], capture_output=True, text=True, check=False)


def read(log: Path, mark: list[str]) -> list[tuple[str, ...]]:
    done = ran(log, mark)
    assert done.returncode == 0, done.stderr
    return sorted(tuple(line.split("\t")) for line in done.stdout.splitlines())


def test_only_what_was_written_since_counts_and_a_log_that_was_rotated_is_read_on(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    (tmp_path / "audit-2026-11-27T05-00-00.000.log").write_text(event("yesterday"))
    log.write_text(event("early"))
    mark = end(log)
    with log.open("a") as file:
        file.write(event("ann") + event("ann") + event("ann", address="10.0.0.8") + event("pod", "JTI=1"))
    seen = [("ann", OLD, "10.0.0.7", "2"), ("ann", OLD, "10.0.0.8", "1")]
    assert read(log, mark) == seen
    for hour, user in ((5, "between"), (6, "later"), (7, "zoe")):
        log.rename(tmp_path / f"audit-2026-11-28T0{hour}-00-00.000.log")
        log.write_text(event(user, f"X509SHA256={NEW}"))
        seen.append((user, NEW, "10.0.0.7", "1"))
        assert read(log, mark) == seen


def test_a_log_of_which_a_part_is_gone_is_not_taken_for_all(tmp_path: Path) -> None:
    log, kept = tmp_path / "audit.log", tmp_path / "audit-2026-11-28T05-00-00.000.log"
    log.write_text(event("early"))
    mark = end(log)
    log.rename(kept)
    log.write_text(event("late"))
    assert read(log, mark) == [("late", OLD, "10.0.0.7", "1")]
    kept.unlink()
    done = ran(log, mark)
    assert (done.returncode, done.stdout) == (1, "")
    assert "is gone: the log was rotated more often" in done.stderr


def test_what_somebody_sends_is_not_taken_for_a_user(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    inside = {"user": {"username": "forged", "extra": {_ID: [f"X509SHA256={NEW}"]}}, "sourceIPs": ["10.0.0.9"]}
    log.write_text(event("pod", "JTI=1", requestObject=inside) + event("ann", requestObject=inside))
    inode, birth, _ = end(log)
    assert read(log, [inode, birth, "0"]) == [("ann", OLD, "10.0.0.7", "1")]


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
