"""A real API server, and what it shows once its certificate was renewed: read as `hardway certs check` reads it."""

import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from etcd_life import real_programs
from real_api import RealApi, real_api

from hardway.certificates.renewal import SHOWN_LIMIT
from hardway.declare import pki
from hardway.probe.served import Port

ETCD, KUBERNETES = real_programs(), real_programs("kubernetes")
SPEC = pki.CertificateSpec("kube-apiserver", addresses=("127.0.0.1",), usages=frozenset({"server"}), days=1)


def put(folder: Path, now: datetime) -> int:
    """A certificate for the same key, of that time, put in place by rename as hardway does; its serial."""
    ca_key = pki.new_key("ecdsa-p256")
    ca = pki.issue_ca(pki.CertificateSpec("ca", is_ca=True), ca_key, now)
    pem = pki.issue(SPEC, (folder / "server.key").read_bytes(), ca, ca_key, now)
    (folder / "server.new").write_bytes(pem)
    (folder / "server.new").replace(folder / "server.crt")
    return pki.read(pem).serial


def shown(api: RealApi) -> int:
    port = Port("kube-apiserver", api.address, "")
    said = subprocess.run(["sh", "-euc", port.question.shell], capture_output=True, check=True, timeout=10).stdout
    return pki.read(said).serial


@pytest.mark.skipif(not (ETCD and KUBERNETES), reason="run hardway artifacts get first")
def test_an_api_server_shows_a_renewed_certificate_without_a_restart_also_after_one_that_expired(
    tmp_path: Path,
) -> None:
    assert ETCD and KUBERNETES
    with real_api({**ETCD, **KUBERNETES}, tmp_path) as api:
        pid = api.process.pid
        for age in (timedelta(days=2), timedelta(0)):
            serial = put(tmp_path, datetime.now(UTC) - age)
            began = time.monotonic()
            while shown(api) != serial:
                assert time.monotonic() - began < SHOWN_LIMIT
                time.sleep(0.2)
            print(f"shown after {time.monotonic() - began:.1f} s")
        assert (api.process.pid, api.process.poll()) == (pid, None)
