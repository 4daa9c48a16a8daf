"""Looking at a machine that somebody set up by hand: sh that changes nothing, and what its answers mean.

Private keys and other secrets do not leave the machine: a file's text comes with placeholders in their places.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import product

from hardway.inventory.model import Range
from hardway.probe import network
from hardway.probe.script import Answers, Question
from hardway.probe.setup import material
from hardway.probe.setup.commands import environment, exec_start
from hardway.probe.setup.material import Command, Material
from hardway.probe.setup.model import COMPONENTS
from hardway.probe.setup.redaction import redacted

FOLDERS = (
    "/root", "/home/*", "/etc/kubernetes", "/etc/kubernetes/config", "/etc/kubernetes/pki", "/etc/kubernetes/pki/etcd",
    "/var/lib/kubernetes", "/var/lib/kubelet", "/var/lib/kubelet/pki", "/var/lib/kube-proxy", "/etc/etcd",
    "/etc/etcd/pki", "/etc/cni/net.d",
)  # fmt: skip
"""Where tutorials put what nobody names yet."""
ENDINGS = ("pem", "crt", "key", "pub", "kubeconfig", "conf", "yaml", "yml", "conflist")
LARGEST = 262144
"""Bytes of a file that is read; certificates and configurations have far less."""
ROUNDS = 4
"""A unit names a configuration, that a kubeconfig, and that a certificate."""

_LOOK = r"""
components="COMPONENTS"
name() { case " $components " in *" ${1##*/} "*) printf '%s' "${1##*/}" ;; esac; }
version() {
  case $1 in *kubectl) set -- "$1" version --client ;; *) set -- "$1" --version ;; esac
  timeout 5 "$@" 2>/dev/null </dev/null |
    grep -Eo '[0-9]+\.[0-9]+\.[0-9]+' | head -n 1 || true
}
own=$(readlink /proc/1/ns/pid || true)
for process in /proc/[0-9]*; do
  { IFS= read -r comm <"$process/comm"; } 2>/dev/null || continue
  case $comm in etcd|kube*|containerd|haproxy) ;; *) continue ;; esac
  # A pod may run an etcd or a kube-proxy of its own.
  [ "$(readlink "$process/ns/pid" 2>/dev/null)" = "$own" ] || continue
  first=$(tr '\0' '\n' <"$process/cmdline" 2>/dev/null | head -n 1) || continue
  component=$(name "$first"); [ -n "$component" ] || continue
  answer "process $component ${process#/proc/}"
  tr '\0' '\n' <"$process/cmdline" | sed 's/^/argv /'
  tr '\0' '\n' <"$process/environ" 2>/dev/null | grep '^ETCD_' | sed 's/^/env /' || true
  echo "version $(version "$(readlink "$process/exe" 2>/dev/null || echo "$first")")"
  answered 0
done
for unit in /etc/systemd/system/*.service; do
  if [ ! -f "$unit" ] || [ "$(stat -Lc %s "$unit")" -gt LARGEST ]; then continue; fi
  program=$(sed -n 's/^ExecStart=[-@:+!]*\([^ ]*\).*/\1/p' "$unit" | tail -n 1)
  [ -n "$(name "$program")" ] || continue
  answer "unit $unit"; cat "$unit"; answered 0
  answer "version $unit"; version "$program"; answered 0
done
kubectl=$(command -v kubectl || true)
answer kubectl; [ -z "$kubectl" ] || version "$kubectl"; answered 0
"""

_READ = r"""
LC_ALL=C
q="[\"']" v='[A-Za-z0-9+\/=_.-]{8,}'
key() { # a private key on standard input; its placeholder on standard output
  command -v openssl >/dev/null 2>&1 || return 1
  digest=$({ openssl pkey -passin pass: -pubout -outform DER 2>/dev/null || true; } | sha256sum)
  case $digest in e3b0c442*) return 0 ;; esac
  printf '⟦key/%s|plain|secret⟧\n' "${digest%% *}"
}
inline() { # a line with a secret in it; what cannot be replaced is hidden
  for word in client-key-data: client-key-data\": secret: secret\":; do
    case $1 in *"$word"*) ;; *) continue ;; esac
    before=${1%%"$word"*}; rest=${1#*"$word"}
    value=$(printf '%s' "$rest" | sed 's/^[[:space:]"'\'']*//; s/[][:space:]"'\'',}#].*$//')
    case $value in '') continue ;; esac
    case $word in
    secret*)
      size=$(printf '%s' "$value" | base64 -d 2>/dev/null | wc -c) || size=0
      digest=$({ printf '%s' "$value" | base64 -d 2>/dev/null || true; } | sha256sum)
      placeholder="⟦secret/${digest%% *}/$size|plain|secret⟧" ;;
    *) placeholder=$(printf '%s' "$value" | base64 -d 2>/dev/null | key) || placeholder=hidden ;;
    esac
    printf '%s%s%s%s%s\n' "$before" "$word" "${rest%%"$value"*}" "$placeholder" "${rest#*"$value"}"
    return
  done
  printf '%s\n' "$1"
}
unknown() { answer "unknown $file"; printf '%s' "$1"; answered 0; }
show() {
  file=$1
  [ -e "$file" ] || return 0
  if [ ! -f "$file" ] || [ ! -r "$file" ]; then unknown "not a file that can be read"; return 0; fi
  [ "$(stat -Lc %s "$file")" -le LARGEST ] || { unknown "too large for what it should be"; return 0; }
  answer "file $file"
  if grep -q 'PRIVATE KEY-----' "$file"; then
    sed -n '/BEGIN CERTIFICATE/,/END CERTIFICATE/p' "$file"
    pair=$(sed -n '/BEGIN .*PRIVATE KEY/,/END .*PRIVATE KEY/p' "$file" | key) || pair=
    [ -z "$pair" ] || printf '%s\n' "$pair"
  elif grep -Eq 'client-key-data|secret|token|password' "$file"; then
    while IFS= read -r line || [ -n "$line" ]; do inline "$line"; done <"$file" |
      sed -E "s/((client-key-data|secret|token|password)$q?[[:space:]]*:[[:space:]]*$q?)$v/\\1hidden/g"
  else
    cat "$file"
  fi
  answered 0
  ! grep -Eq 'PRIVATE KEY-----|client-key-data' "$file" || command -v openssl >/dev/null 2>&1 ||
    unknown "openssl is not installed there: its key was not compared"
}
"""


def look() -> Iterator[Question]:
    """Asks for processes, units, versions and routes, and for files in the tutorial's places."""
    yield Question("host", "uname -n")
    yield network.ROUTES
    text = _LOOK.replace("LARGEST", str(LARGEST)).replace("COMPONENTS", " ".join(COMPONENTS))
    yield Question("look", f"{text}{_functions()}{_loose()}", strict=True)


def read(paths: Collection[str]) -> Question:
    """Asks for files by path; each is an answer for itself."""
    shown = [f"show {shlex.quote(path)}\n" for path in sorted(paths)]
    return Question("read", f"{_functions()}{''.join(shown)}", strict=True)


def _functions() -> str:
    return _READ.replace("LARGEST", str(LARGEST))


def _loose() -> str:
    patterns = " ".join(f"{folder}/*.{ending}" for folder, ending in product(FOLDERS, ENDINGS))
    return f'for path in {patterns}; do [ -f "$path" ] && show "$path"; done\ntrue\n'


@dataclass(frozen=True)
class Glimpse:
    """What was seen of one machine so far; `asked` are paths that were read, or looked for."""

    material: Material
    asked: frozenset[str] = field(default_factory=frozenset)

    def wanted(self) -> set[str]:
        """Paths that what was seen names, and that nobody asked for yet."""
        return material.named_paths(self.material) - self.asked - self.material.files.keys()


def parse(machine: str, answers: Answers, before: Glimpse | None = None, asked: Iterable[str] = ()) -> Glimpse:
    """What was answered, laid over what was seen before."""
    seen = before.material if before else Material(machine, {}, {})
    for name, answer in answers.items():
        kind, _, rest = name.partition(" ")
        if kind == network.ROUTES.name:
            seen = _routes(seen, answers)
        elif kind == "unit":
            seen = _unit(seen, rest, answer.output, answers[f"version {rest}"].text)
        elif kind in _KINDS:
            seen = _KINDS[kind](seen, rest, answer.output)
    return Glimpse(seen, (before.asked if before else frozenset()) | frozenset(asked))


def _host(seen: Material, rest: str, text: str) -> Material:
    return replace(seen, hostname=text.strip())


def _process(seen: Material, rest: str, text: str) -> Material:
    """What runs goes before what a unit says."""
    component, _, pid = rest.partition(" ")
    lines = text.splitlines()
    argv = tuple(line.removeprefix("argv ") for line in lines if line.startswith("argv "))
    variables = dict(line.removeprefix("env ").partition("=")[::2] for line in lines if line.startswith("env "))
    version = next((line.removeprefix("version ") for line in lines if line.startswith("version ")), "")
    return _with_command(seen, component, Command(argv, f"pid {pid}", variables), version)


def _unit(seen: Material, path: str, text: str, version: str) -> Material:
    argv = exec_start(text)
    component = argv[0].rpartition("/")[2] if argv else ""
    if component not in COMPONENTS or component in seen.commands:
        return seen
    return _with_command(seen, component, Command(tuple(argv), path, environment(text, seen.files)), version)


def _with_command(seen: Material, component: str, command: Command, version: str) -> Material:
    versions = {**seen.versions, component: version} if version else seen.versions
    return replace(seen, commands={**seen.commands, component: command}, versions=versions)


def _kubectl(seen: Material, rest: str, text: str) -> Material:
    return replace(seen, versions={**seen.versions, "kubectl": text.strip()}) if text.strip() else seen


def _routes(seen: Material, answers: Answers) -> Material:
    """Those that lead over another machine; the default way names no range."""
    found: dict[Range, str] = {}
    for route in network.routes(answers):
        if route.to.prefixlen and route.via:
            found[route.to] = route.via
    return replace(seen, routes=found)


def _file(seen: Material, path: str, text: str) -> Material:
    return replace(seen, files={**seen.files, path: redacted(text)})


def _unknown(seen: Material, path: str, text: str) -> Material:
    return replace(seen, unknown={**seen.unknown, path: text})


_KINDS: Mapping[str, Callable[[Material, str, str], Material]] = {
    "host": _host, "process": _process, "kubectl": _kubectl, "file": _file,
    "unknown": _unknown,
}  # fmt: skip
