"""The state of a cluster fits 80 columns, however long it has been up."""

from datetime import UTC, datetime

import pytest

from hardway.console.words import uptime
from hardway.status.page import status_page
from hardway.status.status import CertificateStatus, Etcd, EtcdMember, MachineStatus, Status

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def page(up: float) -> list[str]:
    machines = (
        MachineStatus("lb-0", ("load-balancer",), True, "debian 12", up),
        MachineStatus("controller-0", ("controller",), True, "ubuntu 24.04", up, "not ready"),
        MachineStatus(
            "worker-0", ("worker",), True, "debian 12", up, node="not registered", cordoned=True,
            versions={"kubelet": "1.36.4"},
        ),
    )  # fmt: skip
    member = EtcdMember("controller-0", "https://10.240.0.10:2379", True, "3.6.14")
    certificate = CertificateStatus("a", "operator", "pki/a.crt", NOW, 30)
    found = Status("lab", "https://10.240.0.30:6443", "1.36.4", Etcd((member,)), machines, (certificate,), 0, True)
    return status_page(found, seconds=1.2)


@pytest.mark.parametrize("up", [59.0, 3 * 3600 + 59 * 60, 99 * 86400, 3650 * 86400])
def test_how_long_a_machine_is_up_is_never_cut(up: float) -> None:
    lines = page(up)
    assert max(map(len, lines)) <= 80
    assert all(uptime(up) in line for line in lines[3:6])


def test_uptime_is_told_in_its_largest_unit() -> None:
    told = [uptime(seconds) for seconds in (45, 119, 120, 7199, 7200, 172799, 172800, 3650 * 86400)]
    assert told == ["45 s", "119 s", "2 min", "119 min", "2 h", "47 h", "2 d", "3650 d"]
