"""Rules across an inventory's fields: each broken alone, and what is then said."""

from pathlib import Path

import pytest

from hardway.errors import InventoryError
from hardway.inventory.load import load

# One line a section, so that a case can replace one.
BASE = {
    "cluster": "prod",
    "endpoint": "api.example.net",
    "network": "{}",
    "c1": "{role: controller, address: 10.0.8.1}",
    "c2": "{role: controller, address: 10.0.8.2}",
    "c3": "{role: controller, address: 10.0.8.3}",
    "w1": "{role: worker, address: 10.0.8.4}",
    "w2": "{role: worker, address: 10.0.8.5}",
}


def written(**changes: str | None) -> str:
    lines = {key: value for key, value in (BASE | changes).items() if value is not None}
    sections = {"cluster", "endpoint", "network", "lab", "domain"}
    text = [f"{key}: {value}" for key, value in lines.items() if key in sections]
    text += ["machines:", *(f"  {key}: {value}" for key, value in lines.items() if key not in sections)]
    return "\n".join(text) + "\n"


def mistakes(folder: Path, text: str) -> list[str]:
    path = folder / "hardway.yaml"
    path.write_text(text)
    try:
        load(path)
    except InventoryError as error:
        return [problem.removeprefix(f"{path}:") for problem in error.problems]
    return []


def test_the_base_of_the_cases_is_right(tmp_path: Path) -> None:
    assert mistakes(tmp_path, written()) == []


CASES: dict[str, tuple[dict[str, str | None], str]] = {
    "two controllers": (
        {"c3": None},
        "4:1: machines: 2 controllers; right: 1, 3 or 5 (an even number survives no more failures)",
    ),
    "no controller": (
        {"c1": None, "c2": None, "c3": None},
        "4:1: machines: no machine is a controller; give one, three or five that role",
    ),
    "no worker": (
        {"w1": None, "w2": None},
        "4:1: machines: no machine is a worker; give one that role (a controller may be one too)",
    ),
    "three controllers and nothing before them": (
        {"endpoint": None},
        "1:1: endpoint: is missing, with several controllers; right: a balancer's name, or a load-balancer machine",
    ),
    "two balancers and no word which": (
        {"endpoint": None, "l1": "load-balancer", "l2": "load-balancer"},
        "1:1: endpoint: is missing, with several load balancers; right: an address of their network that is no "
        "machine's own: l1, l2 hold it between them",
    ),
    "one controller of three as the endpoint": (
        {"endpoint": "c1"},
        "2:11: endpoint: c1 is one controller of several, whose death would take the API along; right: a load balancer",
    ),
    "the same by its address": (
        {"endpoint": "10.0.8.2"},
        "2:11: endpoint: c2 is one controller of several, whose death would take the API along; right: a load balancer",
    ),
    "a worker as the endpoint": (
        {"endpoint": "w1"},
        "2:11: endpoint: w1 is neither a load balancer nor a controller, so no API answers there",
    ),
    "a port that no API server listens on": (
        {"endpoint": "c1:443", "c2": None, "c3": None},
        "2:11: endpoint: kube-apiserver on c1 listens on 6443, not 443; right: c1",
    ),
    "balancer and API server on one port": (
        {"endpoint": "c1", "c1": "{role: [controller, load-balancer], address: 10.0.8.1}"},
        "2:11: endpoint: c1 is controller and load balancer, and 6443 is kube-apiserver's there;"
        " right: another port, such as c1:8443",
    ),
    "an endpoint among the services": (
        {"endpoint": "10.32.0.1"},
        "2:11: endpoint: 10.32.0.1 is inside network.service_cidr 10.32.0.0/24; right: one that can be dialled",
    ),
    "one address twice": (
        {"w2": "{role: worker, address: 10.0.8.4}"},
        "9:31: machines.w2.address: 10.0.8.4 is the address of w1 too; each machine needs its own",
    ),
    "a machine among the pods": (
        {"w2": "{role: worker, address: 10.200.0.4}"},
        "9:31: machines.w2.address: 10.200.0.4 is inside network.pod_cidr 10.200.0.0/16; move the machine or the range",
    ),
    "a loopback address": (
        {"w2": "{role: worker, address: 127.0.1.1}"},
        "9:31: machines.w2.address: 127.0.1.1 is a loopback address; right: one that the other machines can dial",
    ),
    "one SSH address twice": (
        {
            "w1": "{role: worker, ssh: {host: box}}",
            "w2": "{role: worker, ssh: {host: box}}",
        },
        "9:34: machines.w2.ssh.host: box is where w1 answers too; each machine needs its own",
    ),
    "pods and services in one range": (
        {"network": "{pod_cidr: 10.32.0.0/16}"},
        "3:21: network.pod_cidr: 10.32.0.0/16 overlaps network.service_cidr 10.32.0.0/24;"
        " give one of them a range of its own",
    ),
    "a range of special addresses": (
        {"network": "{pod_cidr: 224.0.0.0/16}"},
        "3:21: network.pod_cidr: 224.0.0.0/16 holds multicast or reserved addresses;"
        " right: a private range such as 10.32.0.0/16",
    ),
    "a range that does not begin at its beginning": (
        {"network": "{pod_cidr: 10.200.0.1/16}"},
        '3:21: network.pod_cidr: "10.200.0.1/16" does not begin at the range\'s first address; right: 10.200.0.0/16',
    ),
    "a range without its length": (
        {"network": "{pod_cidr: 10.200.0.0}"},
        '3:21: network.pod_cidr: "10.200.0.0" has no prefix length; right: a range such as 10.200.0.0/24',
    ),
    "too few services": (
        {"network": "{service_cidr: 10.32.0.0/29, dns_address: 10.32.0.2}"},
        "3:25: network.service_cidr: 10.32.0.0/29 is too small; right: a /12 to /28",
    ),
    "too few pods": (
        {"network": "{pod_cidr: 10.200.0.0/24}"},
        "3:21: network.pod_cidr: 10.200.0.0/24 holds 1 shares of /24, and there are 2 workers; take a larger one",
    ),
    "a share larger than the whole": (
        {"network": "{pod_cidr: 10.200.0.0/24, pod_prefix: 20}"},
        "3:48: network.pod_prefix: a share of /20 is larger than all of pod_cidr 10.200.0.0/24; right: 24 to 28",
    ),
    "DNS outside the services": (
        {"network": "{dns_address: 10.33.0.10}"},
        "3:24: network.dns_address: 10.33.0.10 is not inside service_cidr 10.32.0.0/24; right: such as 10.32.0.10",
    ),
    "DNS in the API's place": (
        {"network": "{dns_address: 10.32.0.1}"},
        "3:24: network.dns_address: 10.32.0.1 is the first of service_cidr, which is the API's own;"
        " right: such as 10.32.0.10",
    ),
    "a pod range twice": (
        {
            "w1": "{role: worker, pod_cidr: 10.200.1.0/24}",
            "w2": "{role: worker, pod_cidr: 10.200.1.128/25}",
        },
        "9:32: machines.w2.pod_cidr: 10.200.1.128/25 overlaps 10.200.1.0/24 of w1; each worker needs its own",
    ),
    "a pod range elsewhere": (
        {"w2": "{role: worker, pod_cidr: 10.201.1.0/24}"},
        "9:32: machines.w2.pod_cidr: 10.201.1.0/24 is not inside network.pod_cidr 10.200.0.0/16",
    ),
    "pods on a machine that runs none": (
        {"c3": "{role: controller, pod_cidr: 10.200.1.0/24}"},
        "7:36: machines.c3.pod_cidr: c3 is no worker and runs no pods; take it out",
    ),
    "taints on what is no node": (
        {"c3": "{role: controller, taints: ['a=b:NoSchedule']}"},
        "7:26: machines.c3.taints: c3 is no worker and so no node that could have taints; take them out",
    ),
    "labels on what is no node": (
        {"c3": "{role: controller, labels: {disk: ssd}}"},
        "7:26: machines.c3.labels: c3 is no worker and so no node that could have labels; take them out",
    ),
    "a lab over the services": (
        {
            "lab": "{network: 10.0.0.0/10}",
        },
        "4:16: lab.network: 10.0.0.0/10 overlaps network.service_cidr 10.32.0.0/24;"
        " give one of them a range of its own",
    ),
}


@pytest.mark.parametrize(("changes", "message"), CASES.values(), ids=CASES)
def test_a_broken_rule_is_told_at_its_place(tmp_path: Path, changes: dict[str, str | None], message: str) -> None:
    assert mistakes(tmp_path, written(**changes)) == [message]


def test_lab_machines_lie_in_the_lab_and_leave_this_computer_its_address(tmp_path: Path) -> None:
    text = written(
        lab="{network: 10.240.0.0/24}",
        c1="{role: controller, address: 10.240.0.1}",
        c2="{role: controller, address: 10.240.0.255}",
        c3="{role: controller, address: 10.240.1.3}",
        w1="worker",
        w2="{role: worker, address: 10.240.0.20}",
    )
    assert mistakes(tmp_path, text) == [
        "6:35: machines.c1.address: 10.240.0.1 is this computer's in 10.240.0.0/24; right: such as 10.240.0.10",
        "7:35: machines.c2.address: 10.240.0.255 is the broadcast address in 10.240.0.0/24; right: such as 10.240.0.10",
        "8:35: machines.c3.address: 10.240.1.3 is not inside lab.network 10.240.0.0/24; right: such as 10.240.0.10",
        "9:7: machines.w1.address: is missing, and a lab machine has no DNS name; right: such as 10.240.0.10",
    ]


def test_a_value_that_cannot_be_read_brings_no_further_complaints(tmp_path: Path) -> None:
    text = written(network="{service_cidr: 10.32.0.0}", endpoint=None).replace("network", "endpont: api\nnetwork")
    assert [line.split(":")[2].strip() for line in mistakes(tmp_path, text)] == [
        "endpont",
        "network.service_cidr",
    ]
