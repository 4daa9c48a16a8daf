"""Templates, and overlays that are merged after rendering."""

import tomllib

import jinja2
import pytest
import yaml

from hardway.declare.render import flags, merge_flags, merge_sections, merge_toml, merge_yaml, render
from hardway.errors import UsageError
from hardway.values import Placeholder

UNIT = """\
[Service]
ExecStart=/usr/local/bin/thing \\
  --one=1 \\
  --two=2
Restart=always
"""
HOLE = str(Placeholder("fact/cgroup-driver"))


def test_a_missing_value_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError):
        render("units/kubelet.service", name="w")


@pytest.mark.parametrize(
    ("name", "written"),
    [
        *(
            (name, f'"{name}"')
            for name in ("on", "no", "true", "null", "y", "n", "123", "1e3", "0o17", "2026-11-21", ".5")
        ),
        *((name, name) for name in ("node-0", "on-call", "lab", "n1", "cluster.local", "system:node:worker-0")),
    ],
)
def test_a_name_stays_a_name_for_every_reader_of_yaml(name: str, written: str) -> None:
    text = render(
        "configs/kubeconfig.yaml",
        cluster=name, server="https://x", ca="x", user=name, certificate="x", key="x", context=name,
    )  # fmt: skip
    assert f"current-context: {written}\n" in text
    read = yaml.safe_load(text)
    assert read["clusters"][0]["name"] == read["users"][0]["name"] == read["current-context"] == name


def test_an_empty_overlay_leaves_a_text_as_it_is() -> None:
    yaml_text, toml_text = "# why\na:   1\n", "# why\na=1\n"
    assert merge_flags(UNIT, "thing", {}) == UNIT
    assert merge_yaml(yaml_text, {}) == yaml_text
    assert merge_toml(toml_text, {}) == toml_text
    assert merge_sections("global\n  daemon\n", {}) == "global\n  daemon\n"


def test_flags_are_replaced_added_and_taken_away() -> None:
    merged = merge_flags(UNIT, "thing", {"two": 22, "--three": True, "one": None, "list": ["a", "b"]})
    assert merged == (
        "[Service]\nExecStart=/usr/local/bin/thing \\\n  --two=22 \\\n  --three=true \\\n  --list=a,b\nRestart=always\n"
    )


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("100%", "--x=100%%"),
        ("$HOME", "--x=$$HOME"),
        ("a b", '"--x=a b"'),
        ('say "hi"\\', '"--x=say \\"hi\\"\\\\"'),
        ("a;b", '"--x=a;b"'),
        ({"a": 1, "b": "c"}, "--x=a=1,b=c"),
    ],
)
def test_systemd_reads_a_flag_as_it_was_meant(value: object, written: str) -> None:
    assert f"  {written}\n" in merge_flags(UNIT, "thing", {"x": value})


def test_a_flag_cannot_smuggle_a_directive() -> None:
    with pytest.raises(UsageError, match=r"settings\.thing\.x"):
        merge_flags(UNIT, "thing", {"x": "1\nExecStartPost=/bin/sh"})


def test_flags_can_be_read_back() -> None:
    assert flags(UNIT) == {"one": "1", "two": "2"}


def test_yaml_is_merged_by_path_and_keeps_placeholders() -> None:
    merged = yaml.safe_load(merge_yaml(f"a: {{b: 1, c: 2}}\nd: {HOLE}\n", {"a": {"b": None, "e": [1]}}))
    assert merged == {"a": {"c": 2, "e": [1]}, "d": HOLE}
    assert f"d: {HOLE}\n" in merge_yaml(f"d: {HOLE}\n", {"x": 1})


def test_toml_is_merged_by_path_and_keeps_bare_placeholders() -> None:
    text = f'version = 3\n[plugins."io.x"]\nflag = {HOLE}\nlist = ["a"]\n'
    merged = merge_toml(text, {"plugins": {"io.x": {"more": {"k": "v"}, "list": None}}, "version": 4})
    assert f"flag = {HOLE}\n" in merged
    assert tomllib.loads(merged.replace(HOLE, "true")) == {
        "version": 4,
        "plugins": {"io.x": {"flag": True, "more": {"k": "v"}}},
    }


def test_a_directive_is_put_into_its_section() -> None:
    text = "global\n  daemon\n\ndefaults\n  timeout client 1h\n  timeout connect 2s\n\nbackend b\n  server a\n"
    merged = merge_sections(text, {"defaults": {"timeout client": "2h", "maxconn": 5}, "global": {"daemon": None}})
    assert merged == (
        "global\n\ndefaults\n  timeout connect 2s\n  timeout client 2h\n  maxconn 5\n\nbackend b\n  server a\n"
    )


def test_a_section_that_is_not_there_is_a_mistake() -> None:
    with pytest.raises(UsageError, match="no section"):
        merge_sections("global\n", {"backend x": {"balance": "first"}})
