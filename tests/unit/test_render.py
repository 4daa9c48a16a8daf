"""Templates, and overlays that are merged after rendering."""

import tomllib

import jinja2
import pytest
import yaml

from hardway.declare.haproxy import merge_sections
from hardway.declare.render import flags, merge_flags, merge_toml, merge_yaml, render
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


@pytest.mark.parametrize(
    ("flag", "value", "written"),
    [
        ("service-account-issuer", ["new", "old"], ["--service-account-issuer=new", "--service-account-issuer=old"]),
        ("service-account-key-file", ["/a", "/b"], ["--service-account-key-file=/a", "--service-account-key-file=/b"]),
        ("service-account-key-file", [], []),
        ("oidc-required-claim", {"a": 1, "b": None, "c": True},
         ["--oidc-required-claim=a=1", "--oidc-required-claim=c=true"]),
        ("oidc-required-claim", ["a=1", "b=x,y"], ["--oidc-required-claim=a=1", "--oidc-required-claim=b=x,y"]),
        ("tls-sni-cert-key", ["/a.crt,/a.key", "/b.crt,/b.key:h"],
         ["--tls-sni-cert-key=/a.crt,/a.key", "--tls-sni-cert-key=/b.crt,/b.key:h"]),
        ("feature-gates", {"Foo": None, "Bar": True}, ["--feature-gates=Bar=true"]),
        ("feature-gates", {"Foo": None}, []),
        ("api-audiences", ["a", None, "b"], ["--api-audiences=a,b"]),
        ("etcd-servers", ["https://a", "https://b"], ["--etcd-servers=https://a,https://b"]),
        ("goaway_chance", 0.01, ["--goaway-chance=0.01"]),
    ],
)  # fmt: skip
def test_a_flag_has_its_values_as_its_type_wants_them(flag: str, value: object, written: list[str]) -> None:
    unit = UNIT.replace("--one=1", f"--{flag.replace('_', '-')}=before")
    lines = merge_flags(unit, "kube-apiserver", {flag: value}).replace(" \\", "").splitlines()
    assert lines == ["[Service]", "ExecStart=/usr/local/bin/thing", *(f"  {one}" for one in written), "  --two=2",
                     "Restart=always"]  # fmt: skip


@pytest.mark.parametrize("value", [{"a": {"b": 1}}, [["a"]], [{"a": "b"}]])
def test_a_flag_cannot_hold_a_list_in_a_list(value: object) -> None:
    with pytest.raises(UsageError, match=r"settings\.thing\.x"):
        merge_flags(UNIT, "thing", {"x": value})


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


def test_toml_has_no_null_and_no_text_of_ours() -> None:
    overlay = {"a": "bare:true", "b": [{"c": None, "d": 1}, None, "bare:2"], "e": {"f": None}}
    assert tomllib.loads(merge_toml("a = 1\n", overlay)) == {"a": "bare:true", "b": [{"d": 1}, "bare:2"], "e": {}}


@pytest.mark.parametrize("text", ["1e3", "y", "N", "0o17", "123", "1_000", "0b1", "5e3", "no", "null", "2026-11-28"])
def test_a_text_is_one_for_gos_reader_of_yaml_too(text: str) -> None:
    assert merge_yaml("a: 1\n", {"a": text}) == f"a: '{text}'\n"


def test_a_directive_is_put_into_its_section() -> None:
    text = "global\n  daemon\n\ndefaults\n  timeout client 1h\n  timeout connect 2s\n\nbackend b\n  server a\n"
    merged = merge_sections(text, {"defaults": {"timeout client": "2h", "maxconn": 5}, "global": {"daemon": None}})
    assert merged == (
        "global\n\ndefaults\n  timeout client 2h\n  timeout connect 2s\n  maxconn 5\n\nbackend b\n  server a\n"
    )


HAPROXY = """\
defaults
  mode tcp
  option dontlognull
  option redispatch 1
  timeout client 1h

backend b
  balance first
  server a 192.0.2.1:1
"""


@pytest.mark.parametrize(
    ("settings", "before", "after"),
    [
        (
            {"defaults": {"option": ["tcplog", "dontlognull"]}},
            "  option redispatch 1\n  timeout client 1h\n",
            "  option redispatch 1\n  timeout client 1h\n  option tcplog\n",
        ),
        ({"defaults": {"option": "redispatch 2"}}, "redispatch 1", "redispatch 2"),
        ({"defaults": {"option redispatch": True}}, "redispatch 1", "redispatch"),
        ({"defaults": {"option dontlognull": False}}, "  option dontlognull\n", ""),
        ({"defaults": {"option": None}}, "  option dontlognull\n  option redispatch 1\n", ""),
        ({"backend b": {"option dontlognull": False}}, "a 192.0.2.1:1", "a 192.0.2.1:1\n  no option dontlognull"),
        ({"defaults": {"timeout": {"client": "2h"}}}, "timeout client 1h", "timeout client 2h"),
        (
            {"backend b": {"server": ["a 192.0.2.1:1", "b 192.0.2.2:1"]}},
            "a 192.0.2.1:1",
            "a 192.0.2.1:1\n  server b 192.0.2.2:1",
        ),
        # HAProxy gives it to the servers that come after it.
        ({"backend b": {"default-server": "check"}}, "  server a", "  default-server check\n  server a"),
        ({"backend b": None}, "backend b\n  balance first\n  server a 192.0.2.1:1\n", ""),
        ({"listen none": None}, "", ""),
        (
            {"listen stats": {"bind": "127.0.0.1:8404", "stats": ["enable", "uri /"]}},
            "a 192.0.2.1:1\n",
            "a 192.0.2.1:1\n\nlisten stats\n  bind 127.0.0.1:8404\n  stats enable\n  stats uri /\n",
        ),
    ],
)
def test_haproxys_settings_mean_what_they_say(settings: dict[str, object], before: str, after: str) -> None:
    assert merge_sections(HAPROXY, settings).rstrip() == HAPROXY.replace(before, after, 1).rstrip()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"deflauts": {"maxconn": 5}},
            r"settings\.haproxy\.deflauts: HAProxy has no such section; did you mean defaults",
        ),
        ({"frontend": {"maxconn": 5}}, r"settings\.haproxy\.frontend: a section frontend has a name"),
        ({"defaults": "maxconn 5"}, r"settings\.haproxy\.defaults: is the text .*; a section holds directives"),
        ({"defaults": {"option": [["tcplog"]]}}, r"settings\.haproxy\.defaults\.option: each item"),
        ({"defaults": {"maxconn": "5\nx"}}, r"settings\.haproxy\.defaults\.maxconn: no value"),
    ],
)
def test_what_is_no_section_or_directive_is_a_mistake(settings: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        merge_sections(HAPROXY, settings)
