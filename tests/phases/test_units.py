"""Units as systemd itself judges them, and the balancer's configuration as HAProxy does."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from phase_models import cluster, model

from hardway.declare.declaration import declare
from hardway.declare.phases import load_balancer
from hardway.declare.resources import File

LAB = model(cluster("lab"))
UNITS = {
    placed.resource.path.rpartition("/")[2]: placed.resource.text
    for placed in declare(LAB).placed
    if isinstance(placed.resource, File) and placed.resource.path.endswith(".service")
}
EXPOSURE = {
    "etcd.service": 1.7,
    "kube-apiserver.service": 1.7,
    "kube-controller-manager.service": 1.7,
    "kube-scheduler.service": 1.7,
    "kube-proxy.service": 3.0,
    "kube-apiserver-lb.service": 3.0,
}
"""At most so exposed, on systemd's scale from 0 to 10. The kubelet and containerd rule the machine: no use."""

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")


@needs_systemd
@pytest.mark.parametrize("name", sorted(EXPOSURE))
def test_a_unit_is_as_sandboxed_as_was_promised(name: str, tmp_path: Path) -> None:
    unit = tmp_path / name
    unit.write_text(UNITS[name], encoding="utf-8")
    asked = ["systemd-analyze", "security", "--no-pager", "--offline=true", str(unit)]
    said = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
    exposure = re.search(r"Overall exposure level for \S+: ([\d.]+)", said)
    assert exposure
    assert float(exposure[1]) <= EXPOSURE[name]


@needs_systemd
@pytest.mark.parametrize("name", sorted(UNITS))
def test_systemd_knows_every_directive(name: str, tmp_path: Path) -> None:
    unit = tmp_path / name
    unit.write_text(UNITS[name], encoding="utf-8")
    asked = ["systemd-analyze", "verify", "--recursive-errors=no", str(unit)]
    said = subprocess.run(asked, capture_output=True, text=True, check=False).stderr
    assert not re.findall(r".*(?:Unknown key|Failed to parse|Invalid|ignoring).*", said)


def test_every_sandboxed_unit_is_known() -> None:
    unsandboxed = {"containerd.service", "kubelet.service", "pod-routes.service", "pod-masquerade.service"}
    assert set(UNITS) == set(EXPOSURE) | unsandboxed


@pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not here")
def test_haproxy_accepts_the_configuration(tmp_path: Path) -> None:
    text = load_balancer.haproxy_cfg(LAB, LAB.cluster.load_balancers[0])
    openssl = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subject = ["-subj", "/CN=test", "-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "crt")]
    subprocess.run([*openssl, *subject], capture_output=True, check=True)
    both = tmp_path / "haproxy-health.pem"
    both.write_bytes((tmp_path / "crt").read_bytes() + (tmp_path / "key").read_bytes())
    text = text.replace("/etc/kubernetes/pki/ca.crt", str(tmp_path / "crt"))
    text = text.replace("/etc/kubernetes/pki/haproxy-health.pem", str(both))
    config = tmp_path / "haproxy.cfg"
    config.write_text(text, encoding="utf-8")
    said = subprocess.run(["haproxy", "-c", "-f", str(config)], capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
