"""Every flag and setting has its why, and every why its flag or setting."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from phase_models import cluster, model

from hardway import data
from hardway.declare.phases import etcd as etcd_chapter
from hardway.declare.phases.control_plane import COMPONENTS
from hardway.declare.phases.control_plane import unit as control_plane_unit
from hardway.declare.render import flags

TEMPLATES = data.folder("templates")
LAB = model(cluster("lab"))
CONTROLLER = LAB.cluster.controllers[0]
OBVIOUS = {"Description", "Documentation", "Wants", "After", "ExecStart", "WantedBy"}


def whys(path: Path) -> dict[str, str]:
    read: dict[str, str] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return read


def units() -> list[Path]:
    return sorted((TEMPLATES / "units").glob("*.service"))


def has_flags(unit: Path) -> bool:
    return "\n  --" in unit.read_text(encoding="utf-8")


@pytest.mark.parametrize("unit", [one for one in units() if has_flags(one)], ids=lambda one: one.stem)
def test_flags_and_whys_are_the_same(unit: Path) -> None:
    assert set(flags(unit.read_text(encoding="utf-8"))) == set(whys(unit.with_suffix(".why.yaml")))


def test_directives_and_whys_are_the_same() -> None:
    directives = {
        line.partition("=")[0]
        for unit in units()
        for line in unit.read_text(encoding="utf-8").splitlines()
        if "=" in line and line[0].isupper()
    }
    assert directives - OBVIOUS == set(whys(TEMPLATES / "units" / "systemd.why.yaml"))


def leaves(value: Any, path: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    if isinstance(value, dict):
        return {leaf for key, one in value.items() for leaf in leaves(one, (*path, key))}
    return {path}


@pytest.mark.parametrize("name", ["kubelet-config", "kube-proxy-config"])
def test_yaml_settings_and_whys_are_the_same(name: str) -> None:
    text = (TEMPLATES / "configs" / f"{name}.yaml").read_text(encoding="utf-8").replace("{{", "'").replace("}}", "'")
    settings = {".".join(leaf) for leaf in leaves(yaml.safe_load(text))} - {"apiVersion", "kind"}
    assert settings == set(whys(TEMPLATES / "configs" / f"{name}.why.yaml"))


def test_containerd_settings_and_whys_are_the_same() -> None:
    text = (TEMPLATES / "configs" / "containerd-config.toml").read_text(encoding="utf-8")
    text = text.replace('"{{ pause }}"', "''").replace("{{", "'").replace("}}", "'")
    settings = {".".join(f'"{part}"' if "." in part else part for part in leaf) for leaf in leaves(tomllib.loads(text))}
    assert settings == set(whys(TEMPLATES / "configs" / "containerd-config.why.yaml"))


@pytest.mark.parametrize("path", sorted(TEMPLATES.rglob("*.why.yaml")), ids=lambda one: one.name)
def test_a_why_is_worth_reading(path: Path) -> None:
    assert not {name: why for name, why in whys(path).items() if len(why) < 20 and not why.startswith("See ")}


@pytest.mark.parametrize("component", COMPONENTS)
def test_flags_have_values_after_an_equals_sign(component: str) -> None:
    """Auditors search for `--flag=value`."""
    assert all(flags(control_plane_unit(LAB, CONTROLLER, component)).values())


def test_etcd_flags_have_values_after_an_equals_sign() -> None:
    assert all(flags(etcd_chapter.unit(LAB, CONTROLLER)).values())
