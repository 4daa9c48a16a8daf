"""A real API server with hardway's audit policy says whose certificate a request showed."""

import subprocess
import time
from pathlib import Path

import pytest
from etcd_life import real_programs
from real_api import LIMIT, real_api

from hardway import data
from hardway.declare import pki
from hardway.operations.old_certificates import end_of, users_since

ETCD, KUBERNETES = real_programs(), real_programs("kubernetes")


@pytest.mark.skipif(not (ETCD and KUBERNETES), reason="run hardway artifacts get first")
def test_a_certificate_that_was_shown_is_in_the_audit_log(tmp_path: Path) -> None:
    assert ETCD and KUBERNETES
    log = tmp_path / "audit.log"
    with real_api({**ETCD, **KUBERNETES}, tmp_path) as api:
        api.kill()
        policy = data.folder("templates") / "configs" / "audit-policy.yaml"
        api.settings = {"audit-policy-file": str(policy), "audit-log-path": str(log)}
        api.start()
        mark = subprocess.run(["sh", "-euc", end_of(str(log))], capture_output=True, text=True, check=True).stdout
        api.ask("/api/v1/namespaces/default/secrets")
        script = users_since(str(log), *mark.split())
        deadline, said = time.monotonic() + LIMIT, ""
        while "operator" not in said:
            assert time.monotonic() < deadline
            said = subprocess.run(["sh", "-euc", script], capture_output=True, text=True, check=True).stdout
        digest = pki.fingerprint((tmp_path / "operator.crt").read_bytes()).replace(":", "").lower()
        assert [line.split("\t")[:3] for line in said.splitlines() if line.startswith("operator")] == [
            ["operator", digest, "127.0.0.1"]
        ]
