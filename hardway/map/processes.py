"""From the units and files of one machine to what listens there, and as whom it calls others.

The flags are read, not repeated: an operator's `settings:` that moves a port moves it on the map.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from hardway import yaml_text
from hardway.declare.network.flows import KUBELET, PODS
from hardway.declare.phases.paths import HAPROXY_CFG, unit_path
from hardway.declare.phases.workers import CONTAINERD_CONFIG, KUBELET_CONFIG, PROXY_CONFIG
from hardway.inventory.model import API_PORT, Machine
from hardway.map.values import Port
from hardway.preview.evidence import command
from hardway.values import placeholders

SSH = 22
KUBELET_HEALTH, CONTROLLER_MANAGER, SCHEDULER = 10248, 10257, 10259
PROXY_HEALTH, PROXY_METRICS = "0.0.0.0:10256", "127.0.0.1:10249"
ETCD_CLIENTS, ETCD_PEERS = "http://localhost:2379", "http://localhost:2380"
"""Where a component listens that is told nothing else."""


@dataclass(frozen=True)
class Credentials:
    """What a caller shows, and by which CA it knows the server: workspace paths without their endings, or empty."""

    shows: str = ""
    trusted_by: str = ""


@dataclass(frozen=True)
class Process:
    """`credentials` are those for what it calls, by the use of the server's port: `API`, `clients` …"""

    name: str
    ports: tuple[Port, ...]
    credentials: Mapping[str, Credentials]
    reads: tuple[str, ...]
    socket: str = ""
    unit: str = ""


@dataclass(frozen=True)
class Files:
    """The declared files of one machine by their path, texts with placeholders."""

    texts: Mapping[str, str]

    def issued(self, path: str) -> str:
        """The certificate at a path, as a workspace path without its ending."""
        return _certificate(self.texts.get(path, ""))

    def flags(self, unit: str) -> dict[str, str]:
        """A flag that settings took away has the empty value."""
        words = (word[2:].partition("=") for word in command(self.texts[unit_path(unit)]) if word.startswith("--"))
        return defaultdict(str, {name: value for name, _, value in words})

    def pair(self, certificate: str, ca: str) -> Credentials:
        return Credentials(self.issued(certificate), self.issued(ca))

    def api(self, kubeconfig: str) -> dict[str, Credentials]:
        """Those of the kubeconfig at this path: none where settings took it away, or it is none of hardway's."""
        return {"API": of_kubeconfig(self.texts[kubeconfig])} if kubeconfig in self.texts else {}

    def yaml(self, path: str) -> dict[str, object]:
        loaded: dict[str, object] = yaml_text.document(self.texts[path])
        return loaded


def of_kubeconfig(text: str) -> Credentials:
    content = yaml_text.document(text)
    cluster, user = content["clusters"][0]["cluster"], content["users"][0]["user"]
    return Credentials(
        _certificate(user["client-certificate-data"]), _certificate(cluster["certificate-authority-data"])
    )


def processes(machine: Machine, files: Files) -> Iterator[Process]:
    """What runs on a machine, from the top of the stack to its bottom; sshd was there before."""
    for name, (unit, read) in _READERS.items():
        if unit_path(unit) in files.texts:
            ports, credentials, socket = read(files)
            listening = tuple(one for one in ports if one.number)
            yield Process(name, listening, credentials, _reads(files, unit, name), socket, f"{unit}.service")
    if machine.is_worker:
        yield Process(PODS, (), {"API": Credentials("pki/sa", "pki/ca")}, ())
    yield Process("sshd", (Port(machine.ssh.port or SSH, "ssh", "SSH"),), {}, ())


_Read = tuple[list[Port], dict[str, Credentials], str]
"""What it listens on (0: on nothing), its credentials, and its socket, if any."""


def _haproxy(files: Files) -> _Read:
    text = files.texts[HAPROXY_CFG]
    ports = [Port(int(number), "tcp", "API") for number in re.findall(r"^\s*bind \S*:(\d+)", text, re.M)]
    check = re.search(r"^\s*default-server .*ca-file (\S+) crt (\S+)", text, re.M)
    return ports, {"API": files.pair(check[2], check[1])} if check else {}, ""


def _api_server(files: Files) -> _Read:
    flags = files.flags("kube-apiserver")
    port = Port(
        int(flags["secure-port"] or API_PORT), "https", "API", certificate=files.issued(flags["tls-cert-file"]),
        client_ca=files.issued(flags["client-ca-file"]),
    )  # fmt: skip
    credentials = {
        "clients": files.pair(flags["etcd-certfile"], flags["etcd-cafile"]),
        "logs, exec": files.pair(flags["kubelet-client-certificate"], flags["kubelet-certificate-authority"]),
        "webhooks": files.pair(flags["proxy-client-cert-file"], ""),
    }
    return [port], credentials, ""


def _beside(component: str, default: int) -> Callable[[Files], _Read]:
    def read(files: Files) -> _Read:
        flags = files.flags(component)
        port, local = int(flags["secure-port"] or default), _is_local(flags["bind-address"])
        client_ca = files.issued(flags["client-ca-file"])
        return [Port(port, "https", "metrics", local, client_ca=client_ca)], files.api(flags["kubeconfig"]), ""

    return read


def _etcd(files: Files) -> _Read:
    flags = files.flags("etcd")
    ports: dict[tuple[int, str], Port] = {}
    clients, peers = flags["listen-client-urls"] or ETCD_CLIENTS, flags["listen-peer-urls"] or ETCD_PEERS
    for use, prefix, urls in (("clients", "", clients), ("peers", "peer-", peers)):
        certificate, ca = files.issued(flags[f"{prefix}cert-file"]), files.issued(flags[f"{prefix}trusted-ca-file"])
        for host, number in map(_address, urls.split(",")):
            if (number, use) not in ports or not _is_local(host):
                ports[number, use] = Port(number, "tls", use, _is_local(host), certificate, ca)
    for host, number in map(_address, filter(None, flags["listen-metrics-urls"].split(","))):
        ports[number, "metrics"] = Port(number, "http", "metrics", _is_local(host))
    peers_pair = files.pair(flags["peer-cert-file"], flags["peer-trusted-ca-file"])
    return list(ports.values()), {"peers": peers_pair}, ""


def _kubelet(files: Files) -> _Read:
    config = files.yaml(KUBELET_CONFIG)
    x509 = _at(config, "authentication", "x509", "clientCAFile")
    ports = [
        Port(int(_at(config, "port") or KUBELET), "https", "logs, exec",
             certificate=files.issued(_at(config, "tlsCertFile")), client_ca=files.issued(x509)),
        Port(int(_at(config, "healthzPort") or KUBELET_HEALTH), "http", "health", local=True),
    ]  # fmt: skip
    return ports, files.api(files.flags("kubelet")["kubeconfig"]), ""


def _proxy(files: Files) -> _Read:
    config = files.yaml(PROXY_CONFIG)
    ports = []
    for use, key, default in (
        ("health", "healthzBindAddress", PROXY_HEALTH),
        ("metrics", "metricsBindAddress", PROXY_METRICS),
    ):
        host, number = _bound(_at(config, key) or default, default)
        ports.append(Port(number, "http", use, _is_local(host)))
    return ports, files.api(_at(config, "clientConnection", "kubeconfig")), ""


def _containerd(files: Files) -> _Read:
    socket = re.search(r'^\[grpc\]\n(?:.+\n)*?address = "(.+)"', files.texts[CONTAINERD_CONFIG], re.M)
    return [], {}, socket.group(1) if socket else ""


_READERS: dict[str, tuple[str, Callable[[Files], _Read]]] = {
    "haproxy": ("kube-apiserver-lb", _haproxy),
    "kube-apiserver": ("kube-apiserver", _api_server),
    "kube-controller-manager": (
        "kube-controller-manager",
        _beside("kube-controller-manager", CONTROLLER_MANAGER),
    ),
    "kube-scheduler": ("kube-scheduler", _beside("kube-scheduler", SCHEDULER)),
    "etcd": ("etcd", _etcd),
    "kubelet": ("kubelet", _kubelet),
    "kube-proxy": ("kube-proxy", _proxy),
    "containerd": ("containerd", _containerd),
}
"""By the component's name: its unit, and the source of its ports and calls."""

_CONFIGS = {
    "haproxy": HAPROXY_CFG,
    "kubelet": KUBELET_CONFIG,
    "kube-proxy": PROXY_CONFIG,
    "containerd": CONTAINERD_CONFIG,
}


def _reads(files: Files, unit: str, component: str) -> tuple[str, ...]:
    """The unit, its configuration, and every declared file that one of these names."""
    own = [path for path in (unit_path(unit), _CONFIGS.get(component, "")) if path in files.texts]
    words = set(re.split(r"[\s=\"',]+", "\n".join(files.texts[path] for path in own)))
    return tuple(dict.fromkeys([*own, *(path for path in files.texts if path in words)]))


def _certificate(text: str) -> str:
    names = [placeholder.name for placeholder in placeholders(text) if placeholder.name.endswith(".crt")]
    return names[0].removesuffix(".crt") if names else ""


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 443


def _bound(address: str, default: str) -> tuple[str, int]:
    """Host and port; an address without a port listens on the default's."""
    host, _, number = address.rpartition(":")
    return (host, int(number)) if number.isdecimal() and host else (address, int(default.rpartition(":")[2]))


def _is_local(host: str) -> bool:
    return host.startswith("127.") or host == "localhost"


def _at(config: object, *path: str) -> str:
    for key in path:
        config = config.get(key) if isinstance(config, dict) else None
    return "" if config is None else str(config)
