"""What hardway makes of settings, and what it refuses, held against the components themselves."""

import json
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from etcd_life import real_programs
from real_api import real_api

from hardway.accepted import containerd_mistakes, known, mistakes, refused_gate, refused_text
from hardway.declare.haproxy import merge_sections
from hardway.declare.render import merge_flags, merge_toml, merge_yaml, render
from hardway.probe.setup.commands import exec_start

PROGRAMS: dict[str, Path] = {}
for _component in ("etcd", "kubernetes", "containerd"):
    PROGRAMS |= real_programs(_component) or {}
HAPROXY = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
LISTS = known("1.36")
KINDS = {"kubelet": "KubeletConfiguration", "kube-proxy": "KubeProxyConfiguration"}
LAST = {"kubelet": {"eventBurst": -1}, "kube-proxy": {"featureGates": {"NoSuchGate": True}}}
"""Ends a component once it has read all of its configuration, before it does anything."""
READ = {
    "kubelet": "eventBurst (--event-burst) -1 must not be a negative",
    "kube-proxy": "unrecognized feature gate: NoSuchGate",
}

needs_programs = pytest.mark.skipif(
    not {"etcd", "kubelet", "containerd"} <= PROGRAMS.keys(),
    reason="needs binaries in the cache: hardway artifacts get",
)


def said(program: str, *argv: str) -> str:
    """All that it says until it ends; none of these comes to serve anything."""
    done = subprocess.run(
        [PROGRAMS[program], *argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30, check=False
    )
    return done.stdout


TEXTS = (
    "true", "no", "yes", "T", "1", "0", "-1", "010", "0x1F", "1_000", "2147483648", "4000.5", "1e3", "lots", "30s",
    "1h30m", "1d", "-5m", ".5s", "30", "10.0.0.1", "::1", "10.0.0", "a=b", "a=b,c", "a=true", "a=maybe", "1,2", "1,x",
    "200Mi", "5%", "",
)  # fmt: skip


def _flags_of_each_type() -> Iterator[tuple[str, str, str]]:
    """A flag of every type that we judge; etcd reads its own."""
    seen: set[tuple[bool, str]] = set()
    for component, types in LISTS["types"].items():
        for name, kind in types.items():
            one = (component == "etcd", kind)
            if one not in seen and refused_text(kind, "no,such") and not LISTS["flags"][component][name]:
                seen.add(one)
                yield component, name, kind


@needs_programs
@pytest.mark.parametrize(("component", "flag", "kind"), list(_flags_of_each_type()))
def test_a_flag_takes_what_we_say_it_takes(component: str, flag: str, kind: str) -> None:
    ours = [text for text in TEXTS if refused_text(kind, text)]
    theirs = [text for text in TEXTS if _refuses(component, flag, text)]
    assert ours == theirs


def _refuses(component: str, flag: str, text: str) -> bool:
    answer = said(component, f"--{flag}={text}", "--version")
    return re.search(r"invalid (argument|value|boolean)", answer) is not None


def printed_flags(unit: str) -> list[str]:
    """What kube-apiserver says its flags to be; it ends for want of an etcd."""
    return re.findall(r'FLAG: (--\S+=".*")$', said("kube-apiserver", *exec_start(unit)[1:], "--v=1"), re.MULTILINE)


UNIT = "[Service]\nExecStart=/usr/local/bin/kube-apiserver \\\n  --service-account-issuer=https://before\n"


@needs_programs
@pytest.mark.parametrize(
    ("settings", "printed"),
    [
        ({"service-account-issuer": ["https://new", "https://old"]},
         '--service-account-issuer="[https://new,https://old]"'),
        ({"service-account-key-file": ["/a.pub", "/b,c.pub"]},
         '--service-account-key-file="[/a.pub,\\"/b,c.pub\\"]"'),
        ({"oidc-required-claim": {"group": "a,b", "hd": "example.com"}},
         '--oidc-required-claim="group=a,b,hd=example.com"'),
        ({"tls-sni-cert-key": ["/a.crt,/a.key", "/b.crt,/b.key:*.x"]},
         '--tls-sni-cert-key="[/a.crt,/a.key;/b.crt,/b.key:*.x]"'),
        ({"enable-admission-plugins": ["NodeRestriction", "AlwaysPullImages"]},
         '--enable-admission-plugins="[NodeRestriction,AlwaysPullImages]"'),
        ({"feature-gates": {"AllAlpha": False, "AllBeta": None}}, '--feature-gates=":AllAlpha=false"'),
        ({"service_account_issuer": None, "event_ttl": "2h"}, '--event-ttl="2h0m0s"'),
    ],
)  # fmt: skip
def test_kube_apiserver_has_the_values_that_were_meant(settings: dict[str, Any], printed: str) -> None:
    assert printed in printed_flags(merge_flags(UNIT, "kube-apiserver", settings))


@needs_programs
def test_tokens_of_the_issuer_before_are_still_good(tmp_path: Path) -> None:
    """That is what a second issuer is there for."""
    accounts = "/api/v1/namespaces/default/serviceaccounts"
    before, after = "https://kubernetes.default.svc", "https://api.example.com"
    with real_api(PROGRAMS, tmp_path) as api:
        api.ask(accounts, "POST", {"metadata": {"name": "somebody"}})
        token = json.loads(api.ask(f"{accounts}/somebody/token", "POST", {"spec": {}}))["status"]["token"]
        api.kill()
        api.settings = {"service-account-issuer": [after, before]}
        api.start()
        issuer = json.loads(api.ask("/.well-known/openid-configuration"))["issuer"]
        assert (issuer, api.status_with(token), api.status_with(token[:-8])) == (after, 200, 401)


@needs_programs
@pytest.mark.parametrize("name", ["NodeSwap", "NoSuchGate", "AllAlpha", "APIResponseCompression", "AppArmor"])
@pytest.mark.parametrize("value", ["true", "false"])
def test_a_feature_gate_is_taken_as_we_say(name: str, value: str) -> None:
    refused = bool(refused_gate(name, value, LISTS["gates"]["kube-apiserver"]))
    answer = said("kube-apiserver", f"--feature-gates={name}={value}")
    assert refused == (re.search("unrecognized feature gate|feature is locked", answer) is not None), answer


@needs_programs
def test_kube_apiserver_has_the_admission_plugins_that_we_say() -> None:
    plugins = [*LISTS["admission"], "PodSecurityPolicy"]
    answer = said("kube-apiserver", f"--enable-admission-plugins={','.join(plugins)}")
    assert re.findall(r'enable-admission-plugins plugin \\"(\w+)\\" is unknown', answer) == ["PodSecurityPolicy"]


def configuration_read(component: str, settings: Mapping[str, Any], folder: Path) -> str:
    """What it says of a configuration, until it comes to what ends it."""
    kind = KINDS[component]
    group = "kubelet.config.k8s.io/v1beta1" if component == "kubelet" else "kubeproxy.config.k8s.io/v1alpha1"
    path = folder / "config.yaml"
    path.write_text(merge_yaml(f"apiVersion: {group}\nkind: {kind}\n", {**settings, **LAST[component]}))
    return said(component, f"--config={path}")


VALUES: list[tuple[str, dict[str, Any]]] = [
    ("kubelet", {"maxPods": 60, "serializeImagePulls": False, "syncFrequency": "1m", "registryPullQPS": 5}),
    ("kubelet", {"maxPods": "lots"}),
    ("kubelet", {"maxPods": "60"}),
    ("kubelet", {"maxPods": 60.0}),
    ("kubelet", {"maxPods": 60.5}),
    ("kubelet", {"maxPods": 2**31}),
    ("kubelet", {"maxPods": True}),
    ("kubelet", {"serializeImagePulls": "no"}),
    ("kubelet", {"serializeImagePulls": 1}),
    ("kubelet", {"syncFrequency": 60}),
    ("kubelet", {"syncFrequency": "60"}),
    ("kubelet", {"syncFrequency": "1d"}),
    ("kubelet", {"evictionHard": {"memory.available": 200}}),
    ("kubelet", {"evictionHard": {"memory.available": "1e3"}}),
    ("kubelet", {"evictionHard": ["memory.available"]}),
    ("kubelet", {"clusterDNS": "10.32.0.10"}),
    ("kubelet", {"clusterDNS": [10]}),
    ("kubelet", {"clusterDomain": "no"}),
    ("kubelet", {"clusterDomain": 5}),
    ("kubelet", {"authentication": True}),
    ("kubelet", {"authentication": {"webhook": {"cacheTTL": "often"}}}),
    ("kubelet", {"logging": {"flushFrequency": 5, "verbosity": 2}}),
    ("kubelet", {"logging": {"flushFrequency": "5s", "verbosity": -1}}),
    ("kubelet", {"reservedMemory": [{"numaNode": 0, "limits": {"memory": "1Gi"}}]}),
    ("kubelet", {"reservedMemory": [{"numaNode": "zero"}]}),
    ("kubelet", {"registerWithTaints": [{"key": "a", "effect": "NoSchedule"}]}),
    ("kubelet", {"registerWithTaints": ["a:NoSchedule"]}),
    ("kubelet", {"featureGates": "NodeSwap=true"}),
    ("kube-proxy", {"conntrack": {"maxPerCore": 5}, "nftables": {"syncPeriod": "30s"}}),
    ("kube-proxy", {"conntrack": {"maxPerCore": "5"}}),
    ("kube-proxy", {"nftables": {"syncPeriod": 30}}),
    ("kube-proxy", {"clientConnection": {"qps": "x"}}),
    ("kube-proxy", {"nodePortAddresses": "primary"}),
]  # fmt: skip


@needs_programs
@pytest.mark.parametrize(("component", "settings"), VALUES)
def test_a_field_takes_what_we_say_it_takes(component: str, settings: dict[str, Any], tmp_path: Path) -> None:
    ours = list(mistakes(settings, LISTS["fields"][KINDS[component]]))
    answer = configuration_read(component, settings, tmp_path)
    assert bool(ours) != (READ[component] in answer), answer


@needs_programs
@pytest.mark.parametrize(
    ("component", "settings"),
    [("kubelet", {"maxPod": 5}), ("kubelet", {"authentication": {"anonymus": {}}}), ("kube-proxy", {"nftable": {}})],
)
def test_an_unknown_field_is_ignored(component: str, settings: dict[str, Any], tmp_path: Path) -> None:
    [mistake] = mistakes(settings, LISTS["fields"][KINDS[component]])
    answer = configuration_read(component, settings, tmp_path)
    assert f'unknown field \\"{".".join(mistake.path)}\\"' in answer
    assert READ[component] in answer


HAPROXY_CFG = render(
    "configs/haproxy.cfg", bind="*:8443", servers="  server c0 192.0.2.1:6443", health="/readyz", trust="/ca.crt"
)
NO_FILES = {
    "global": {"stats socket": None},
    "backend kube-apiserver": {"default-server": "check inter 1s"},
}
"""The template's own socket and certificates are not on this computer."""


@pytest.mark.skipif(HAPROXY is None, reason="needs haproxy")
@pytest.mark.parametrize(
    "settings",
    [
        {"defaults": {"option": ["tcplog", "dontlognull"]}},
        {"defaults": {"option": {"tcplog": True, "dontlognull": False}, "timeout": {"client": "2h"}}},
        {"defaults": {"timeout": ["client 2h", "server 2h"], "option": None}},
        {"frontend kube-apiserver": {"option dontlognull": False, "bind": ["*:8443", "*:8444"]}},
        {"defaults": None},
        {"listen stats": {"mode": "http", "bind": "127.0.0.1:8404", "stats": ["enable", "uri /"]}},
        {"backend other": {"server": ["a 192.0.2.1:1", "b 192.0.2.2:1"]}, "frontend other": {"bind": "*:9000",
         "default_backend": "other"}},
        {"global": {"daemon": True, "maxconn": 9000}},
    ],
)  # fmt: skip
def test_haproxy_takes_what_we_make_of_settings(settings: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "haproxy.cfg"
    path.write_text(merge_sections(merge_sections(HAPROXY_CFG, NO_FILES), settings))
    done = subprocess.run([HAPROXY or "", "-c", "-f", path], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, "[ALERT]" in done.stderr) == (0, False), done.stderr


def containerd_reads(settings: dict[str, Any], folder: Path) -> tuple[dict[str, Any], str]:
    """Its whole configuration as it comes to have it, or what it says of one that it does not take."""
    text = render("configs/containerd-config.toml", pause="p", restrict_oom_score_adj="false", systemd_cgroup="true")
    path = folder / "config.toml"
    path.write_text(merge_toml(text, settings))
    answer = said("containerd", "--config", str(path), "config", "dump")
    start = answer.find("version = ")
    return (tomllib.loads(answer[start:]) if start >= 0 else {}), answer


@needs_programs
@pytest.mark.parametrize(
    ("plugin", "settings"),
    [
        ("io.containerd.cri.v1.images", {"max_concurrent_download": 5}),
        ("io.containerd.cri.v1.images", {"registry": {"config_pat": "/a"}}),
        ("io.containerd.cri.v1.images", {"registry": {"headers": {"a": ["b"]}}, "use_local_image_pull": True}),
        ("io.containerd.cri.v1.runtime", {"containerd": {"runtimes": {"kata": {"runtime_typ": "x"}}}}),
        ("io.containerd.cri.v1.runtime", {"containerd": {"runtimes": {"kata": {"options": {"Any": 5}}}}}),
        ("io.containerd.grpc.v1.cri", {"stream_server_port": "5"}),
    ],
)
def test_containerds_cri_has_the_fields_that_we_say(plugin: str, settings: dict[str, Any], tmp_path: Path) -> None:
    ours = list(containerd_mistakes({"plugins": {plugin: settings}}, LISTS["containerd"]))
    _, answer = containerd_reads({"plugins": {plugin: settings}}, tmp_path)
    assert bool(ours) == ("Ignoring unknown key" in answer), answer


KATA = {"containerd": {"runtimes": {"kata": {"runtime_type": "io.containerd.kata.v2"}}}}


@needs_programs
def test_containerd_loses_part_of_what_is_below_the_old_plugin(tmp_path: Path) -> None:
    old, _ = containerd_reads({"plugins": {"io.containerd.grpc.v1.cri": KATA}}, tmp_path)
    new, _ = containerd_reads({"plugins": {"io.containerd.cri.v1.runtime": KATA}}, tmp_path)
    assert [*_runtimes(old)] == ["runc"]
    assert [*_runtimes(new)] == ["kata", "runc"]


def _runtimes(configuration: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = configuration["plugins"]["io.containerd.cri.v1.runtime"]["containerd"]["runtimes"]
    return found


@needs_programs
def test_a_text_and_no_null_come_to_containerd(tmp_path: Path) -> None:
    images = {"snapshotter": "bare:native", "max_concurrent_downloads": None}
    runtime = {"cdi_spec_dirs": ["/a", None, "bare:b"]}
    found, _ = containerd_reads(
        {"plugins": {"io.containerd.cri.v1.images": images, "io.containerd.cri.v1.runtime": runtime}}, tmp_path
    )
    assert found["plugins"]["io.containerd.cri.v1.images"]["snapshotter"] == "bare:native"
    assert found["plugins"]["io.containerd.cri.v1.runtime"]["cdi_spec_dirs"] == ["/a", "bare:b"]


@needs_programs
@pytest.mark.parametrize(
    "settings",
    [
        {"oom_score": "lots"},
        {"oom_score": -999},
        {"plugins": {"io.containerd.cri.v1.images": {"max_concurrent_downloads": "5"}}},
        {"plugins": {"io.containerd.cri.v1.images": {"max_concurrent_downloads": 5}}},
        {"plugins": {"io.containerd.cri.v1.runtime": {"enable_selinux": "no"}}},
        {"plugins": {"io.containerd.cri.v1.runtime": {"cdi_spec_dirs": "/etc/cdi"}}},
    ],
)
def test_containerd_takes_what_we_say_it_takes(settings: dict[str, Any], tmp_path: Path) -> None:
    ours = list(mistakes(settings, LISTS["containerd"]))
    configuration, answer = containerd_reads(settings, tmp_path)
    assert bool(ours) == (not configuration), answer
