"""Rules about values: types of flags and fields, and names that a value may hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from hardway.accepted import Mistake, containerd_mistakes, known, mistakes, nearest, refused_gate, refused_text
from hardway.inventory.rules import RUNS_ON
from hardway.inventory.settings import KINDS, lists_of
from hardway.lint.rules.common import SETUP, setup_of, stated
from hardway.lint.rules.releases import flag_lists, minor
from hardway.probe.setup.model import MachineSetup
from hardway.rules import Evidence, Found, Rule
from hardway.values import has_placeholder_marks


def wrong_flags(evidence: Evidence) -> Iterator[Found]:
    for machine, component, lists in flag_lists(evidence):
        types = lists["types"][component]
        for name, text in machine.components[component].flags.items():
            wanted = "" if has_placeholder_marks(text) else refused_text(types.get(name, ""), text)
            if wanted:
                yield Found(
                    machine.name,
                    f"{component} does not take --{name}={text}",
                    f"{stated(evidence, machine.name, component, name)}give it {wanted}",
                    symptom=f"{_phase(component)}: invalid argument {text!r} for --{name}",
                )


def unknown_fields(evidence: Evidence) -> Iterator[Found]:
    for machine, component, one in _mistakes(evidence):
        if one.unknown:
            path = ".".join(one.path)
            yield Found(
                machine.name,
                f"{component}'s configuration has {path}, which {KINDS[component]} does not have: it is ignored",
                f"{stated(evidence, machine.name, component, *one.path)}{one.right}",
            )


def wrong_fields(evidence: Evidence) -> Iterator[Found]:
    for machine, component, one in _mistakes(evidence):
        if not one.unknown:
            yield Found(
                machine.name,
                f"{component}'s configuration has a wrong type: {'.'.join(one.path)} {one.what}",
                f"{stated(evidence, machine.name, component, *one.path)}{one.right}",
            )
    yield from _wrong_in_containerd(evidence)


def _mistakes(evidence: Evidence) -> Iterator[tuple[MachineSetup, str, Mistake]]:
    for component, kind in KINDS.items():
        for machine, one in setup_of(evidence).each(component):
            fields = known(minor(evidence, machine, component)).get("fields", {}).get(kind)
            for mistake in mistakes(one.config, fields) if fields else ():
                yield machine, component, mistake


def _wrong_in_containerd(evidence: Evidence) -> Iterator[Found]:
    for machine, one in _containerd_mistakes(evidence):
        if not one.unknown:
            yield Found(
                machine, f"containerd's configuration has a wrong type: {'.'.join(one.path)} {one.what}",
                f"{stated(evidence, machine, 'containerd', *one.path)}{one.right}",
                symptom="workers: containerd: failed to load TOML",
            )  # fmt: skip


def unknown_in_containerd(evidence: Evidence) -> Iterator[Found]:
    for machine, one in _containerd_mistakes(evidence):
        if one.unknown:
            what = f"containerd's configuration has {one.path[-1]} below {one.path[-2]}"
            yield Found(
                machine,
                f"{what}, which it does not have there",
                f"{stated(evidence, machine, 'containerd', *one.path)}{one.right}",
            )


def _containerd_mistakes(evidence: Evidence) -> Iterator[tuple[str, Mistake]]:
    """In what an inventory lays over containerd's configuration, by machine."""
    cluster = evidence.cluster
    fields = lists_of(cluster, "containerd").get("containerd")
    for machine in cluster.machines if setup_of(evidence).made == "declared" else ():
        chosen = cluster.settings_for("containerd", machine) if RUNS_ON["containerd"] in machine.roles else {}
        for one in containerd_mistakes(chosen, fields) if fields else ():
            yield machine.name, one


def unknown_gates(evidence: Evidence) -> Iterator[Found]:
    for machine, component, lists in flag_lists(evidence):
        gates = lists["gates"].get(component)
        if not gates:
            continue
        one = machine.components[component]
        for path, name, value in _gates(one.flags.get("feature-gates", ""), one.config.get("featureGates")):
            if right := refused_gate(name, value, gates):
                state = "is locked" if name in gates else "is unknown"
                yield Found(
                    machine.name,
                    f"{component}'s feature gate {name} {state}",
                    f"{stated(evidence, machine.name, component, path, name)}{right}",
                    symptom=f"{_phase(component)}: {_gate_error(name, value, gates)}",
                )


def _gates(flag: str, config: object) -> Iterator[tuple[str, str, str]]:
    """Where it is said, a gate and its value; a flag may have `COMPONENT:` before a gate."""
    for part in filter(None, flag.split(",")):
        name, _, value = part.rpartition(":")[2].partition("=")
        yield "feature-gates", name.strip(), value
    for name, value in config.items() if isinstance(config, Mapping) else ():
        yield "featureGates", str(name), str(value)


def _gate_error(name: str, value: str, gates: Mapping[str, bool | None]) -> str:
    if name not in gates:
        return f"unrecognized feature gate: {name}"
    only = str(gates[name]).lower()
    return f"cannot set feature gate {name} to {value.lower()}, feature is locked to {only}"


def unknown_plugins(evidence: Evidence) -> Iterator[Found]:
    for machine, component, lists in flag_lists(evidence):
        for flag in ("enable-admission-plugins", "disable-admission-plugins"):
            for name in machine.components[component].items(flag) if component == "kube-apiserver" else ():
                if name not in lists["admission"]:
                    near = nearest(name, lists["admission"])
                    right = f"write {near}, if that is meant" if near else f"take {name} away"
                    yield Found(
                        machine.name,
                        f"kube-apiserver has no admission plugin {name} (--{flag})",
                        f"{stated(evidence, machine.name, component, flag)}{right}",
                        symptom=f"control-plane: {flag} plugin {name!r} is unknown",
                    )


def _phase(component: str) -> str:
    return {"etcd": "etcd"}.get(component, "workers" if component in KINDS else "control-plane")


RULES = (
    Rule(
        "wrong-value", SETUP, wrong_flags, "a component that cannot read a flag's value does not start",
        "correct the value", layer="control plane",
        detects="a flag whose value is not of its type: a number, a duration, true or false, …",
        symptom='etcd, control-plane or workers: invalid argument "…" for "--…" flag',
    ),
    Rule(
        "unknown-field", SETUP, unknown_fields,
        "kubelet and kube-proxy say one line about it in their journal, and go on without what was meant",
        "correct the field's name", layer="workers",
        detects="a field that KubeletConfiguration or KubeProxyConfiguration of the release does not have",
        symptom='workers: strict decoding error: unknown field "…"',
    ),
    Rule(
        "wrong-type", SETUP, wrong_fields, "kubelet, kube-proxy and containerd do not start with it",
        "correct the value", layer="workers",
        detects="a value in a configuration of kubelet, kube-proxy or containerd that is not of its field's type",
        symptom="workers: json: cannot unmarshal string into Go struct field …",
    ),
    Rule(
        "feature-gate", SETUP, unknown_gates, "a component does not start with a feature gate that it does not take",
        "take it away", layer="control plane",
        detects="a feature gate that the release does not know, or a value other than the one it is locked to",
        symptom="control-plane or workers: unrecognized feature gate: …",
    ),
    Rule(
        "admission-plugin", SETUP, unknown_plugins, "kube-apiserver does not start with a plugin that it does not have",
        "correct the plugin's name", layer="control plane",
        detects="an admission plugin that the release does not have",
        symptom='control-plane: enable-admission-plugins plugin "…" is unknown',
    ),
    Rule(
        "containerd-plugin", SETUP, unknown_in_containerd,
        "containerd ignores what a plugin does not have, and of what version 3 has elsewhere it loses a part",
        "write it where containerd reads it", layer="workers",
        detects="settings below io.containerd.grpc.v1.cri that are of io.containerd.cri.v1.images or …cri.v1.runtime, "
        "and fields that these do not have",
        symptom="smoke-test: a runtime, a registry or a limit that is not there",
    ),
)  # fmt: skip
