"""What Hypothesis draws from: inventories that the model must accept."""

import string
from ipaddress import IPv4Network
from typing import Any

import yaml
from hypothesis import strategies as st


class Quoting(yaml.SafeDumper):
    """Quotes every text: what PyYAML leaves bare after YAML 1.1, such as 08, the inventory reads as a number of 1.2."""


Quoting.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))


def dumped(inventory: dict[str, Any]) -> str:
    """The YAML of an inventory."""
    return yaml.dump(inventory, Dumper=Quoting, sort_keys=False)


ROLE_NAMES = {"controller", "worker", "load-balancer", "operator", "all", "localhost"}

names = st.text(string.ascii_lowercase + string.digits + "-", min_size=1, max_size=20).filter(
    lambda name: name[0].isalpha() and name[-1] != "-" and name not in ROLE_NAMES
)
dns_names = st.lists(names, min_size=2, max_size=4).map(".".join)
label_values = st.from_regex(r"\A([A-Za-z0-9]([A-Za-z0-9_.-]{0,20}[A-Za-z0-9])?)?\Z")
label_keys = st.from_regex(r"\A([a-z]{1,8}\.[a-z]{1,8}/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,20}[A-Za-z0-9])?\Z")

ssh = st.fixed_dictionaries(
    {},
    optional={
        "user": st.sampled_from(["root", "ops", "vagrant"]),
        "port": st.integers(1, 65535),
        "key": st.sampled_from(["~/.ssh/id", "/etc/key", "keys/prod"]),
        "jump": st.sampled_from(["bastion.example.net", "ops@a:2222,b"]),
        "become": st.sampled_from(["sudo", "none"]),
    },
)
kubelet = st.fixed_dictionaries({"maxPods": st.integers(10, 250)})
sections = st.fixed_dictionaries(
    {},
    optional={
        "kubernetes": st.sampled_from(["1.36.4", "1.35.6"]),
        "domain": dns_names.map(lambda name: f"{name}.net"),
        "ssh": ssh,
        "hosts": st.fixed_dictionaries(
            {},
            optional={
                "hostname": st.sampled_from(["keep", "set"]),
                "resolve": st.sampled_from(["dns", "etc-hosts"]),
                "firewall": st.sampled_from(["check", "ignore"]),
            },
        ),
        "certs": st.fixed_dictionaries(
            {},
            optional={
                "key": st.sampled_from(["ecdsa-p256", "rsa-2048"]),
                "extra_sans": st.lists(st.sampled_from(["203.0.113.7", "api.example.net"]), unique=True),
                "leaf_days": st.integers(30, 3650),
            },
        ),
        "encryption": st.fixed_dictionaries({"provider": st.sampled_from(["secretbox", "aescbc", "aesgcm"])}),
        "artifacts": st.fixed_dictionaries(
            {"source": st.sampled_from(["auto", "download", "build"])},
            optional={"versions": st.fixed_dictionaries({"etcd": st.sampled_from(["3.6.14", "3.6.15"])})},
        ),
        "proxy": st.sampled_from(["http://proxy.example.net:3128", "http://192.0.2.9:8080"]),
        "settings": st.fixed_dictionaries(
            {},
            optional={
                "kubelet": kubelet,
                "kube-apiserver": st.fixed_dictionaries({"audit-log-maxage": st.integers(1, 90)}),
            },
        ),
        "roles": st.fixed_dictionaries(
            {"worker": st.fixed_dictionaries({"settings": st.fixed_dictionaries({"kubelet": kubelet})})}
        ),
    },
)


@st.composite
def inventories(draw: st.DrawFn, addressed: bool = True) -> str:
    """The YAML of an inventory that is right: any roles, sizes, ranges and sections.

    With `addressed` false some machines are in the short form and have no address yet.
    """
    blocks = draw(st.lists(st.integers(0, 255), min_size=3, max_size=3, unique=True))
    service_block, pod_block, machine_block = (IPv4Network(f"10.{second}.0.0/16") for second in blocks)
    service = IPv4Network((service_block.network_address, draw(st.integers(16, 28))))
    # Of a smaller share a kubelet takes more pods than it has addresses for.
    pod_prefix = draw(st.integers(20, 24))
    network: dict[str, Any] = {
        "service_cidr": str(service),
        "pod_cidr": str(pod_block),
        "pod_prefix": pod_prefix,
        "proxy_mode": draw(st.sampled_from(["nftables", "iptables"])),
        "plugin": draw(st.sampled_from(["bridge", "none"])),
    }
    if draw(st.booleans()):
        network["dns_address"] = str(service[draw(st.integers(2, service.num_addresses - 2))])
    inventory: dict[str, Any] = {"cluster": draw(names), **draw(sections), "network": network}
    is_lab = draw(st.booleans())
    if is_lab:
        inventory["lab"] = {"network": str(machine_block)}
    machines = draw(_machines(machine_block, list(pod_block.subnets(new_prefix=pod_prefix)), addressed or is_lab))
    inventory["machines"] = machines
    endpoint = draw(_endpoint(machines))
    if endpoint:
        inventory["endpoint"] = endpoint
    keys = draw(st.permutations(list(inventory)))
    return dumped({key: inventory[key] for key in keys})


@st.composite
def _machines(draw: st.DrawFn, block: IPv4Network, shares: list[IPv4Network], addressed: bool) -> dict[str, Any]:
    roles: list[set[str]] = [{"controller"} for _ in range(draw(st.sampled_from([1, 3, 5])))]
    for controller in roles:
        if draw(st.booleans()):
            controller.add("worker")
    roles += [{"worker"} for _ in range(draw(st.integers(0, 5)))]
    if not any("worker" in held for held in roles):
        roles[0].add("worker")
    roles += [{"load-balancer"} for _ in range(draw(st.integers(0, 2)))]
    count = len(roles)
    labels = st.dictionaries(label_keys, label_values, max_size=2)
    host_ids = draw(st.lists(st.integers(2, 65000), min_size=count, max_size=count, unique=True))
    share_ids = draw(st.lists(st.integers(0, len(shares) - 1), min_size=count, max_size=count, unique=True))
    machines: dict[str, Any] = {}
    for name, held, host_id, share in zip(
        draw(st.lists(names, min_size=count, max_size=count, unique=True)),
        roles,
        host_ids,
        share_ids,
        strict=True,
    ):
        role = sorted(held) if len(held) > 1 or draw(st.booleans()) else next(iter(held))
        if not addressed and draw(st.booleans()):
            machines[name] = role
            continue
        machine: dict[str, Any] = {"role": role, "address": str(block[host_id])}
        if "worker" in held and draw(st.booleans()):
            machine["pod_cidr"] = str(shares[share])
        if "worker" in held and draw(st.booleans()):
            machine |= {"labels": draw(labels), "settings": {"kubelet": draw(kubelet)}}
        if draw(st.booleans()):
            machine["ssh"] = draw(ssh)
        machines[name] = machine
    return dict(draw(st.permutations(list(machines.items()))))


@st.composite
def _endpoint(draw: st.DrawFn, machines: dict[str, Any]) -> str | None:
    def holds(machine: Any, role: str) -> bool:
        held = machine["role"] if isinstance(machine, dict) else machine
        return role == held or (isinstance(held, list) and role in held)

    balancers = [name for name, machine in machines.items() if holds(machine, "load-balancer")]
    several = sum(holds(machine, "controller") for machine in machines.values()) > 1
    needed = len(balancers) > 1 or (not balancers and several)
    if not needed and draw(st.booleans()):
        return None
    host = draw(st.sampled_from(balancers) if balancers else dns_names.map(lambda name: f"{name}.net"))
    return f"{host}:{draw(st.integers(1, 65535))}" if draw(st.booleans()) else host
