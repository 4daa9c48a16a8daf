"""Certificates of a living cluster: all issued again under clients that count, and all of them expired."""

import base64
import json
import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from driving import Site, until
from load import assert_served, counting

from hardway.cli.options import Options
from hardway.cli.site import site as read
from hardway.declare import pki
from hardway.declare.resources import Certificate, File
from hardway.engine.plan import declared
from hardway.probe.certificates import KUBELET_CLIENT
from hardway.values import fill, placeholders

pytestmark = pytest.mark.lab

KEPT = ("etcd", "kube-apiserver", "containerd", "kube-apiserver-lb")
EVERYTHING = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")


def checked(site: Site, code: int) -> Any:
    return json.loads(site.hardway("certs", "check", "-o", "json", code=code).out)


def test_all_certificates_are_renewed_and_no_caller_notices(seven: Site, tmp_path: Path) -> None:
    before = {(one["machine"], one["path"]): one["certificate"]["serial"] for one in checked(seven, 0)["disk"]}
    running = seven.processes()
    with counting(seven.workspace / "kubeconfig", tmp_path) as load:
        ran = seven.hardway("certs", "renew", "--all", "--yes", "-o", "json")
    print(f"{ran.seconds:.1f} s; {load}")
    told = checked(seven, 0)
    assert all(one["as_on_disk"] is not False for one in told["served"])
    after = {(one["machine"], one["path"]): one["certificate"] for one in told["disk"]}
    kept = [place for place, serial in before.items() if after[place]["serial"] == serial]
    assert {after[place]["is_ca"] or place[1] == KUBELET_CLIENT for place in kept} == {True}
    now = seven.processes()
    assert {unit for unit in running if unit[1] in KEPT and now[unit] != running[unit]} == set()
    assert_served(load)
    seven.unchanged("init")


@pytest.mark.in_turn("disasters")
def test_all_certificates_have_expired_and_everything_was_restarted(seven: Site) -> None:
    expire(seven)
    # An API server whose etcd has gone does not end by itself before systemd kills it.
    seven.everywhere("systemctl kill -s KILL kube-apiserver 2>/dev/null; true")
    seven.everywhere(f"systemctl restart --no-block {' '.join(EVERYTHING)} 2>/dev/null; true")
    until(lambda: seven.hardway("kubectl", "get", "nodes", code=None).code != 0, 60, "nobody is served")
    assert {one["certificate"]["age"] for one in checked(seven, 3)["disk"]} == {"good", "expired"}
    ran = seven.hardway("certs", "renew", "--yes", "-o", "json")
    print(f"{ran.seconds:.1f} s")
    until(lambda: len(seven.nodes_ready()) == 3, 60, "all nodes Ready")
    checked(seven, 0)
    seven.hardway("smoke-test")
    seven.unchanged("init")


def expire(site: Site) -> None:
    """Puts certificates that ended yesterday in place of all but the CAs', in the workspace and on the machines."""
    here = read(Options(inventory=site.inventory))
    _, declaration = declared(here.cluster, here.state)
    values = dict(here.workspace.values())
    for _, local in declaration.local:
        if isinstance(local, Certificate) and local.ca is not None:
            values[local.path] = expired(local, values)
            here.workspace.write(local.path, values[local.path], local.mode)
    for machine in here.cluster.machines:
        lines: list[str] = []
        for placed in declaration.on(machine.name):
            file = placed.resource
            if isinstance(file, File) and any(one.name.endswith(".crt") for one in placeholders(file.text)):
                content = fill(file.text, values)
                assert content is not None
                lines.append(f"echo {base64.b64encode(content).decode()} | base64 -d >{shlex.quote(file.path)}")
        pki_of_kubelet = "/etc/kubernetes/pki/kubelet.crt /etc/kubernetes/pki/kubelet.key"
        lines.append(f"[ ! -e {KUBELET_CLIENT} ] || cat {pki_of_kubelet} >$(readlink -f {KUBELET_CLIENT})")
        site.on(machine.name, "\n".join(lines))


def expired(local: Certificate, values: dict[str, bytes]) -> bytes:
    then = datetime.now(UTC) - timedelta(days=local.spec.days + 1)
    key = values[f"{local.ca}.key"]
    # The CA as it would have been then: the same name and key.
    ca = pki.issue_ca(pki.CertificateSpec(pki.read(values[f"{local.ca}.crt"]).common_name, is_ca=True), key, then)
    return pki.issue(local.spec, values[local.key_path], ca, key, then)
