"""Writes what a release's binaries know of flags and configuration fields: the lists in components/flags/.

    python tools/flag_lists.py FOLDER_WITH_BINARIES > components/flags/kubernetes-1.36.json

Flags are what each binary's own `--help` says. Kubernetes hides some deprecated ones from it: their
names come from the sources in Go's module cache, and each is held against the binary itself. Fields of
the kubelet's and kube-proxy's configuration come from the modules that define them. A flag's value in
the lists is null, or what is said of its deprecation; a field's is null, or the fields below it.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

KUBERNETES = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")
OTHERS = ("etcd", "containerd")
STAGING = ("apiserver", "component-base", "controller-manager", "cloud-provider")
CONFIGURATIONS = {
    "KubeletConfiguration": ("kubelet", "config/v1beta1/types.go"),
    "KubeProxyConfiguration": ("kube-proxy", "config/v1alpha1/types.go"),
}
FLAG = re.compile(r"^\s{2,}(?:-\w, )?--([A-Za-z0-9][\w.-]*)")
HIDDEN = re.compile(r'Mark(?:Deprecated|Hidden)\("([^"]+)"')
DEPRECATED = re.compile(r"\bDEPRECATED:? ?|\bDeprecated (?=in |and )|\bWill be deprecated")
"""Upper case is said of the flag itself; `deprecated` may be said of one of its values."""
STRUCT = re.compile(r"^type (\w+) struct \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
FIELD = re.compile(r"^\t\w+\s+(\S+)\s+`json:\"(\w+)", re.MULTILINE)


def said(*argv: str) -> str:
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False)
    return done.stdout


def release(binary: Path) -> str:
    """Its version as numbers."""
    found = re.search(r"\bv?(\d+\.\d+\.\d+)", said(str(binary), "--version"))
    return found[1] if found else ""


def listed(help_text: str) -> dict[str, str | None]:
    """Flags by name. A description may go on below its flag, as etcd's do."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in help_text.splitlines():
        if flag := FLAG.match(line):
            name = flag[1]
            found[name] = [line]
        elif name and line.startswith("    "):
            found[name].append(line.strip())
        else:
            name = ""
    return {flag: deprecation(" ".join(lines)) for flag, lines in found.items()}


def deprecation(text: str) -> str | None:
    found = DEPRECATED.search(text)
    if found is None:
        return None
    rest = text[found.end() if "DEPRECATED" in found[0] else found.start() :]
    return rest.strip().removesuffix(")")


def hidden(binary: Path, version: str, cache: Path) -> dict[str, str | None]:
    """Flags that `--help` keeps to itself, with what the binary says when one is given."""
    folders = [cache / f"kubernetes@v{version}" / part for part in ("cmd", "pkg")]
    folders += [module(name, version, cache) for name in STAGING]
    sources = [path for folder in folders for path in folder.rglob("*.go") if not path.name.endswith("_test.go")]
    names = {name for path in sources for name in HIDDEN.findall(path.read_text(encoding="utf-8"))}
    found: dict[str, str | None] = {}
    for name in sorted(names):
        answer = said(str(binary), f"--{name}=1", "--version")
        if "unknown flag" not in answer:
            told = re.search(rf"Flag --{re.escape(name)} has been deprecated, (.*)", answer)
            found[name] = told[1].strip() if told else "hidden from --help"
    return found


def module(name: str, version: str, cache: Path) -> Path:
    """A staging module of that release, or of another patch release where components/ takes that instead."""
    exact = cache / f"{name}@v0.{version.partition('.')[2]}"
    minor = version.split(".")[1]
    return exact if exact.exists() else sorted(cache.glob(f"{name}@v0.{minor}.*"))[-1]


def fields(version: str, cache: Path) -> dict[str, Any]:
    """The fields of each configuration by name, those of types of the same file below them."""
    found = {}
    for kind, (name, path) in CONFIGURATIONS.items():
        text = (module(name, version, cache) / path).read_text(encoding="utf-8")
        found[kind] = tree(kind, dict(STRUCT.findall(text)))
    return found


def tree(kind: str, structs: dict[str, str]) -> dict[str, Any]:
    below: dict[str, Any] = {}
    for of, name in FIELD.findall(structs[kind]):
        inner = of.removeprefix("*")
        below[name] = tree(inner, structs) if inner in structs else None
    return below | ({"apiVersion": None, "kind": None} if "metav1.TypeMeta" in structs[kind] else {})


def main() -> None:
    folder = Path(sys.argv[1])
    cache = Path(said("go", "env", "GOMODCACHE").strip()) / "k8s.io"
    version = release(folder / "kubelet")
    flags: dict[str, dict[str, str | None]] = {}
    for name in (*KUBERNETES, *OTHERS):
        beyond_help = hidden(folder / name, version, cache) if name in KUBERNETES else {}
        flags[name] = beyond_help | listed(said(str(folder / name), "--help"))
    versions = {name: release(folder / name) for name in flags}
    print(
        json.dumps({"versions": versions, "flags": flags, "fields": fields(version, cache)}, indent=1, sort_keys=True)
    )


if __name__ == "__main__":
    main()
