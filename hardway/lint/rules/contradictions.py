"""Rules about settings that contradict the model: what the rest of the cluster, or a unit, counts on."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from hardway import yaml_text
from hardway.declare.phases.etcd import client_url, peer_url
from hardway.inventory.model import API_PORT
from hardway.inventory.rules import RUNS_ON
from hardway.lint.rules.common import SETUP, setup_of
from hardway.probe.setup.model import Component, MachineSetup
from hardway.rules import Evidence, Found, Rule
from hardway.values import host_port

ETCD_DATA = "/var/lib/etcd"
WRITTEN = {"etcd": ("data-dir", "wal-dir"), "kube-apiserver": ("audit-log-path",)}
"""Flags that name what a component writes."""

_READ = re.compile(
    r"(?:.*-)?(?:file|cafile|certfile|keyfile|ca|crt|key|cert|certificate|certificate-authority|kubeconfig|config|"
    r"config-file|policy-file)"
)
_NOT_READ = ("audit-log-path", "log-file", "lock-file", "pid-file", "cert-dir")
OWN_FOLDERS = ("/etc/kubernetes/", "/etc/etcd/", "/etc/containerd/", "/var/lib/kubelet/")
"""Folders in which nobody else puts files."""


def write_paths(evidence: Evidence) -> Iterator[Found]:
    for component, flags in WRITTEN.items():
        for machine, one in setup_of(evidence).each(component):
            allowed = _writable(machine, one)
            for flag in flags:
                path = one.flags.get(flag, "")
                if flag == "data-dir" and machine.files and path.rstrip("/") != ETCD_DATA:
                    text = f"etcd has --data-dir={path}; its unit, a backup and a reset have {ETCD_DATA}"
                    fix = f"mount the disk at {ETCD_DATA}, and take data-dir out of settings.etcd"
                    yield Found(machine.name, text, fix)
                elif path.startswith("/") and allowed and not _below(path, allowed):
                    yield Found(
                        machine.name,
                        f"{component} has --{flag}={path}; its unit may write below {', '.join(allowed)} only",
                        f"a path below {allowed[0]}, or a drop-in of the unit with ReadWritePaths=: `files` ships one",
                    )


def _writable(machine: MachineSetup, component: Component) -> tuple[str, ...]:
    """The folders that a unit lets its process write in; none where it may write everywhere, or nobody knows."""
    texts = [
        text
        for path, text in machine.files.items()
        if path == component.source or path.startswith(f"{component.source}.d/")
    ]
    unit = "\n".join(texts)
    if "ProtectSystem=strict" not in unit:
        return ()
    found: list[str] = []
    for line in re.findall(r"(?m)^ReadWritePaths=(.*)$", unit):
        found += (path.lstrip("-+") for path in line.split())
    return tuple(found)


def _below(path: str, folders: tuple[str, ...]) -> bool:
    return any(f"{path}/".startswith(f"{folder.rstrip('/')}/") for folder in folders)


def balancer_bind(evidence: Evidence) -> Iterator[Found]:
    port = evidence.cluster.endpoint_port
    for machine, one in setup_of(evidence).each("haproxy"):
        known = evidence.cluster.by_name.get(machine.name)
        text = machine.files.get(one.flags.get("f", ""), "")
        binds = re.findall(r"(?m)^\s*bind\s+(\S+)", text)
        if known is None or not text or any(_answers(bind, str(known.ip), port) for bind in binds):
            continue
        given = f"binds {', '.join(binds)}" if binds else "binds nothing"
        yield Found(
            machine.name,
            f"HAProxy {given}; kubelets and people dial the endpoint at {host_port(known.ip, port)}",
            f"set endpoint: {machine.name}:PORT, which HAProxy then binds, or bind *:{port}",
        )


def _answers(bind: str, address: str, port: int) -> bool:
    host, _, ports = bind.rpartition(":")
    low, _, high = ports.partition("-")
    there = low.isdigit() and int(low) <= port <= int(high if high.isdigit() else low)
    return there and host in ("", "*", "0.0.0.0", "[::]", "::", "ipv4@", "ipv4@*", address, f"[{address}]")


def runtime_sockets(evidence: Evidence) -> Iterator[Found]:
    for machine, kubelet in setup_of(evidence).each("kubelet"):
        served = _containerd_socket(machine.files.get("/etc/containerd/config.toml", ""))
        asked = {
            "the kubelet's containerRuntimeEndpoint": kubelet.config.get("containerRuntimeEndpoint"),
            "crictl's runtime-endpoint": _crictl_endpoint(machine.files.get("/etc/crictl.yaml", "")),
        }
        for what, endpoint in asked.items():
            if served and endpoint and str(endpoint).removeprefix("unix://") != served:
                yield Found(
                    machine.name,
                    f"{what} is {endpoint}; containerd answers at {served}",
                    "take grpc.address out of settings.containerd, containerRuntimeEndpoint out of settings.kubelet",
                )


@lru_cache(maxsize=64)
def _containerd_socket(text: str) -> str:
    """Of a configuration that many machines share."""
    try:
        # A placeholder stands where a truth value is meant.
        found: Any = tomllib.loads(re.sub(r"⟦[^⟧]*⟧", "true", text))
    except tomllib.TOMLDecodeError:
        return ""
    grpc = found.get("grpc")
    return str(grpc.get("address", "")) if isinstance(grpc, dict) else ""


@lru_cache(maxsize=64)
def _crictl_endpoint(text: str) -> str:
    return str(yaml_text.document(text).get("runtime-endpoint", "")) if text else ""


def etcd_urls(evidence: Evidence) -> Iterator[Found]:
    for machine, etcd in setup_of(evidence).each("etcd"):
        known = evidence.cluster.by_name.get(machine.name)
        if known is None or not machine.files:
            continue
        wanted = {
            "listen-peer-urls": (peer_url(known),),
            "initial-advertise-peer-urls": (peer_url(known),),
            "listen-client-urls": (client_url(known), "https://127.0.0.1:2379"),
            "advertise-client-urls": (client_url(known),),
        }
        if etcd.items("listen-client-urls") == ("https://127.0.0.1:2379",):
            # A member that joins again answers on its own machine only.
            del wanted["listen-client-urls"]
        for flag, urls in wanted.items():
            given = etcd.items(flag)
            missing = [url for url in urls if not any(_offers(one, url, flag) for one in given)]
            if missing:
                said = f"--{flag}={','.join(given)}" if given else f"no --{flag}"
                yield Found(
                    machine.name,
                    f"etcd has {said}; other members, API servers and checks dial {', '.join(missing)}",
                    f"take {flag} out of settings.etcd, or write {','.join(dict.fromkeys((*given, *missing)))}",
                )


def _offers(given: str, wanted: str, flag: str) -> bool:
    """Whether a URL is the one that is dialled; one that listens on all addresses is."""
    one, other = urlsplit(given), urlsplit(wanted)
    try:
        same_port = one.port == other.port
    except ValueError:
        return False
    hosts = (other.hostname, "0.0.0.0", "::") if flag.startswith("listen") else (other.hostname,)
    return one.scheme == other.scheme and same_port and one.hostname in hosts


def api_port(evidence: Evidence) -> Iterator[Found]:
    for machine, server in setup_of(evidence).each("kube-apiserver"):
        port = server.flags.get("secure-port", str(API_PORT))
        if machine.files and port != str(API_PORT):
            yield Found(
                machine.name,
                f"kube-apiserver has --secure-port={port}; balancers, components beside it and proofs dial {API_PORT}",
                "take secure-port out of settings.kube-apiserver; endpoint says under which port others dial",
            )


def missing_files(evidence: Evidence) -> Iterator[Found]:
    for machine, component, said, path in _unshipped(evidence):
        if path.startswith(OWN_FOLDERS):
            yield Found(machine, f"{said}, which nobody puts there", _ship(path, component))


def strange_files(evidence: Evidence) -> Iterator[Found]:
    for machine, component, said, path in _unshipped(evidence):
        if not path.startswith(OWN_FOLDERS):
            yield Found(machine, f"{said}, which hardway does not put there", _ship(path, component))


def _ship(path: str, component: str) -> str:
    source = path.rpartition("/")[2]
    return f"ship it: files: {{{path}: {{source: {source}, machines: {RUNS_ON[component]}, restart: {component}}}}}"


def _unshipped(evidence: Evidence) -> Iterator[tuple[str, str, str, str]]:
    """Machine, component, who names it, and path of each file that is to be read and that nobody declares."""
    for machine in setup_of(evidence).machines.values():
        if not machine.files:
            continue
        for name, component in machine.components.items():
            named = [(f"--{flag}", value) for flag, value in component.flags.items() if _is_read(flag)]
            named += _fields(component.config)
            for what, value in named:
                for path in _paths(value):
                    if path not in machine.files:
                        yield machine.name, name, f"{name} reads {path} ({what})", path


def _is_read(flag: str) -> bool:
    return flag not in _NOT_READ and _READ.fullmatch(flag) is not None


def _fields(config: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Fields of a configuration that name files, such as `authentication.x509.clientCAFile`."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _fields(value, f"{above}{name}.")
        elif isinstance(value, str) and re.fullmatch(r"kubeconfig|.*(?:File|KeyFile|CertFile)", str(name)):
            yield f"{above}{name}", value


def _paths(value: str) -> list[str]:
    """The files in a flag's value; of `tls-sni-cert-key` the certificate and its key, without the names."""
    return [part for part in value.partition(":")[0].split(",") if part.startswith("/")]


RULES = (
    Rule(
        "write-path", SETUP, write_paths, "systemd keeps a unit from writing anywhere else",
        "take the flag out of settings", layer="etcd",
        detects="etcd's data, or an audit log, where their unit may not write",
        symptom="etcd: cannot access data directory: mkdir …: read-only file system",
    ),
    Rule(
        "balancer-bind", SETUP, balancer_bind, "what listens elsewhere is found by nobody", "bind the endpoint's port",
        layer="control plane", detects="an HAProxy that does not listen where the endpoint is dialled",
        symptom="load-balancer: connect: connection refused",
    ),
    Rule(
        "runtime-socket", SETUP, runtime_sockets, "the kubelet has pods made by what answers at its socket",
        "one socket for both", layer="workers",
        detects="a kubelet or crictl that asks at another socket than containerd's",
        symptom="workers: failed to run Kubelet: validate service connection: dial unix …: no such file or directory",
    ),
    Rule(
        "etcd-urls", SETUP, etcd_urls, "all others have these URLs from the inventory, not from the member",
        "take the flag out of settings.etcd", layer="etcd",
        detects="a member that listens, or says to be, elsewhere than where others dial it",
        symptom="etcd: dial tcp …:2380: connect: connection refused",
    ),
    Rule(
        "api-port", SETUP, api_port, "a port that nobody dials serves nobody",
        "take secure-port out of settings.kube-apiserver", layer="control plane",
        detects="an API server on another port than the one that is dialled",
        symptom="control-plane: dial tcp …:6443: connect: connection refused",
    ),
    Rule(
        "missing-file", SETUP, missing_files, "a component does not start without a file that it is told to read",
        "ship it with `files` of the inventory", layer="control plane",
        detects="a flag or field that names a file in one of hardway's folders which nobody ships",
        symptom="control-plane: open …: no such file or directory",
    ),
    Rule(
        "unshipped-file", SETUP, strange_files,
        "it must be on each machine before the component starts, and again once a machine was replaced",
        "ship it with `files` of the inventory", "warning", layer="control plane",
        detects="a flag or field that names a file elsewhere which hardway does not put there",
        symptom="control-plane: open …: no such file or directory",
    ),
)  # fmt: skip
