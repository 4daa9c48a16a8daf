"""Settings that keep a component from starting: one member stops, the others serve, and what doctor prints helps.

Two that a component finds late; `HARDWAY_SETTINGS=all` tries all of them (`make soak`).
"""

import os
import re
import shlex

import pytest
import yaml
from as_printed import edited
from driving import Site

pytestmark = pytest.mark.lab

BAD = {
    "tls-version": {"kube-apiserver": {"tls-min-version": "VersionTLS99"}},
    "token-expiration": {"kube-apiserver": {"service-account-max-token-expiration": "10s"}},
    "negative": {"kube-apiserver": {"audit-log-maxage": -3}},
    "heartbeat": {"etcd": {"heartbeat-interval": 9000}},
    "compaction": {"etcd": {"auto-compaction-mode": "sometimes"}},
    "controllers": {"kube-controller-manager": {"controllers": "no-such-controller"}},
    "lease": {"kube-scheduler": {"leader-elect-renew-deadline": "90s"}},
    "eviction": {"kubelet": {"evictionHard": {"memory.available": "lots"}}},
    "topology": {"kubelet": {"topologyManagerPolicy": "magic"}},
    "proxy-mode": {"kube-proxy": {"mode": "magic"}},
    "containerd": {"containerd": {"root": "/run/containerd"}},
    "haproxy": {"haproxy": {"defaults": {"balance": "by-taste"}}},
}
TRIED = BAD if os.environ.get("HARDWAY_SETTINGS") == "all" else ("lease", "haproxy")
HEALTHY = "systemctl show -p ActiveState,MainPID,NRestarts --value {}.service | paste -sd' '"
UNITS = {"haproxy": "kube-apiserver-lb"}


def wanted(site: Site, settings: object) -> str:
    """The inventory with these settings; what it said before."""
    before = site.inventory.read_text()
    document = yaml.safe_load(before)
    document["settings"] = settings
    site.inventory.write_text(yaml.safe_dump(document, sort_keys=False))
    return before


@pytest.mark.parametrize("name", TRIED)
def test_a_bad_setting_stops_one_member_and_doctors_fix_brings_it_back(seven: Site, name: str) -> None:
    [component] = BAD[name]
    unit = UNITS.get(component, component)
    looked = seven.everywhere(f"[ -e /etc/systemd/system/{unit}.service ] && {HEALTHY.format(unit)} || true")
    running = {machine: said for machine, said in looked.items() if said.strip()}
    before = wanted(seven, BAD[name])
    try:
        said = seven.hardway("apply", "--yes", code=None)
        assert said.code in (1, 2), said.out
        if "lint" not in said.out and "nothing was changed" not in said.out:
            _repaired(seven, name, unit, running)
    finally:
        seven.inventory.write_text(before)
    seven.unchanged("init")


def _repaired(site: Site, name: str, unit: str, before: dict[str, str]) -> None:
    """Follows doctor's printed fix; no machine but the one that failed has a new process."""
    if before == site.everywhere(HEALTHY.format(unit), before):
        return  # it was tried before it replaced what works
    told = site.hardway("doctor", code=None).out
    edits = re.findall(r"^ *(edit \S+: .*)$", told, re.MULTILINE)
    commands = re.findall(r"^ *(hardway apply .*)$", told, re.MULTILINE)
    assert edits, told
    [failed] = re.findall(r" -l (\S+)$", commands[0])
    others = [machine for machine in before if machine != failed]
    well = {machine: before[machine] for machine in others}
    assert site.everywhere(HEALTHY.format(unit), others) == well, told
    for line in edits:
        edited(site.inventory, line)
    for command in commands:
        site.hardway(*shlex.split(command)[1:], "--yes")
    assert site.everywhere(HEALTHY.format(unit), others) == well, told
    assert site.hardway("doctor", code=None).code == 0
