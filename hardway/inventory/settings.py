"""Settings held against what the components of the release accept, each where it stands in the file."""

from collections.abc import Iterator, Mapping
from typing import Any

from hardway.accepted import (
    Mistake,
    containerd_mistakes,
    known,
    mistakes,
    nearest,
    refused_gate,
    refused_section,
    refused_text,
)
from hardway.inventory.model import Cluster, Settings
from hardway.inventory.problems import Loc, Problem, quoted

KINDS = {"kubelet": "KubeletConfiguration", "kube-proxy": "KubeProxyConfiguration"}
"""Components whose settings are fields of a configuration, and its kind."""
PLUGINS = ("enable-admission-plugins", "disable-admission-plugins")


def lists_of(cluster: Cluster, component: str) -> Mapping[str, Any]:
    """What is known of the component in the release that the cluster is to have; empty where nothing is."""
    lists = known(_minor(cluster.kubernetes))
    version = cluster.artifacts.versions.get(component)
    listed = lists.get("versions", {}).get(component, "")
    return lists if version is None or _minor(version) == _minor(listed) else {}


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def settings_problems(cluster: Cluster) -> Iterator[Problem]:
    """What a component would refuse or ignore. Nothing for a release without a list."""
    layers: list[tuple[Loc, Mapping[str, Settings]]] = [(("settings",), cluster.settings)]
    layers += [(("roles", role, "settings"), of) for role, of in cluster.role_settings.items()]
    layers += [(("machines", one.name, "settings"), one.settings) for one in cluster.machines]
    for loc, overlays in layers:
        for component, chosen in overlays.items():
            if lists := lists_of(cluster, component):
                yield from _of_component(component, chosen, lists, (*loc, component))


def _of_component(component: str, chosen: Settings, lists: Mapping[str, Any], loc: Loc) -> Iterator[Problem]:
    if component in KINDS:
        yield from _of_fields(mistakes(chosen, lists["fields"][KINDS[component]]), loc)
        yield from _of_gates(chosen.get("featureGates"), lists["gates"][component], (*loc, "featureGates"))
    elif component == "containerd":
        yield from _of_fields(containerd_mistakes(chosen, lists["containerd"]), loc)
    elif component == "haproxy":
        for title, directives in chosen.items():
            if wrong := refused_section(title, directives):
                yield Problem((*loc, title), wrong, at_key=True)
    elif component in lists["types"]:
        yield from _of_flags(component, chosen, lists, loc)


def _of_fields(found: Iterator[Mistake], loc: Loc) -> Iterator[Problem]:
    for one in found:
        path: Loc = (*loc, *(int(part) if part.isdigit() else part for part in one.path))
        yield Problem(path, f"{one.what}; {one.right}", at_key=one.unknown)


def _of_flags(component: str, chosen: Settings, lists: Mapping[str, Any], loc: Loc) -> Iterator[Problem]:
    types, flags = lists["types"][component], lists["flags"][component]
    for given, value in chosen.items():
        name, text = given.removeprefix("--").replace("_", "-"), _text(value)
        if text is None:
            continue
        if name not in flags and name not in ("v", "help", "version"):
            near = nearest(name, flags)
            yield Problem(
                (*loc, given), f"is no flag of {component}{f'; did you mean {near}?' if near else ''}", at_key=True
            )
        elif wanted := refused_text(types.get(name, ""), text):
            yield Problem((*loc, given), f"{quoted(text)} is not what it takes; give it {wanted}")
        elif name == "feature-gates":
            yield from _of_gates(value, lists["gates"].get(component, {}), (*loc, given))
        elif name in PLUGINS and component == "kube-apiserver":
            for plugin in text.split(","):
                if plugin.strip() and plugin.strip() not in lists["admission"]:
                    near = nearest(plugin, lists["admission"])
                    said = f"there is no admission plugin {plugin}{f'; did you mean {near}?' if near else ''}"
                    yield Problem((*loc, given), said)


def _of_gates(gates: object, listed: Mapping[str, bool | None], loc: Loc) -> Iterator[Problem]:
    pairs = gates.items() if isinstance(gates, Mapping) else _pairs(_text(gates) or "")
    for name, value in pairs if listed else ():
        if value is not None and (right := refused_gate(str(name), _text(value) or "", listed)):
            state = "cannot be set" if name in listed else "is no feature gate"
            yield Problem((*loc, str(name)), f"{quoted(name)} {state}; {right}")


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    """Of `A=true,COMPONENT:B=false`."""
    for part in filter(None, text.split(",")):
        name, _, value = part.rpartition(":")[2].partition("=")
        yield name.strip(), value


def _text(value: object) -> str | None:
    """A flag's value by commas; None where it takes the flag away."""
    if isinstance(value, Mapping):
        return ",".join(f"{key}={_text(one)}" for key, one in value.items() if one is not None)
    if isinstance(value, list | tuple):
        return ",".join(_text(one) or "" for one in value if one is not None)
    if isinstance(value, bool):
        return str(value).lower()
    return None if value is None else str(value)
