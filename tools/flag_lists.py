"""Writes what a release's binaries know of flags and configuration fields: the lists in components/flags/.

    python tools/flag_lists.py FOLDER_WITH_BINARIES > components/flags/kubernetes-1.36.json

Flags are what each binary's own `--help` says. Kubernetes hides some deprecated ones from it: their
names come from the sources in Go's module cache, and each is held against the binary itself. Fields of
the kubelet's and kube-proxy's configuration come from the modules that define them. A flag's value in
the lists is null, or what is said of its deprecation. A field's is its type, the fields below it, or a list with
what each item of it has; null where the type is not known, and `*` stands for any name.

`types` are flags' types as pflag names them, etcd's from its source; `gates` the feature gates that each binary takes,
with the value of those that are locked to one; `admission` the API server's admission plugins; `containerd` the
fields of its configuration.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
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
INLINE = re.compile(r"^\t(?:\w+\.)?(\w+)\s+`json:\",inline\"", re.MULTILINE)
TEXT = re.compile(r"^type (\w+) string$", re.MULTILINE)
ELSEWHERE = (
    ("component-base", "logs/api/v1/types.go"),
    ("component-base", "tracing/api/v1/types.go"),
    ("component-base", "config/v1alpha1/types.go"),
    ("api", "core/v1/types.go"),
)
"""Where the types are that configurations take from other packages."""
NAMED = {
    "metav1.Duration": "duration", "TimeOrMetaDuration": "duration or int", "resource.QuantityValue": "quantity",
    "resource.Quantity": "quantity", "v1.ResourceList": "map[string]quantity", "VerbosityLevel": "uint32",
    "metav1.Time": "string",
}  # fmt: skip
PLAIN = ("bool", "string", "int", "int32", "int64", "uint32", "float32", "float64")

TYPED = re.compile(r"^\s{2,}(?:-\w, )?--([A-Za-z0-9][\w.-]*) (?:(\S+) )? ", re.MULTILINE)
SAID_OTHERWISE = {
    "version[=true]": "string", "pattern=N,...": "string", "RuntimeDefault": "bool",
    "ProxyMode": "string", "LocalMode": "string",
}  # fmt: skip
"""What `--help` says in place of a type."""
DEFINED = re.compile(r"\bf?s\.(\w+?)(?:Slice)?Var(?:P)?\(\s*(?:&|\()?[^,]+,\s*\"([a-z0-9-]+)\"")
"""A flag's definition in Go, such as `fs.BoolVar(&s.Foo, "foo", …`."""
NO_SPLIT = re.compile(r'NewMapStringStringNoSplit\([^)]*\), "?([\w-]+)')
"""Flags, or the constants that name them, whose values are not divided at commas, though their type's otherwise are."""
GATE = re.compile(r'\bFeature = "(\w+)"')
ALL_GATES = ("AllAlpha", "AllBeta")
CRI = {
    "io.containerd.cri.v1.images": "ImageConfig", "io.containerd.cri.v1.runtime": "RuntimeConfig",
    "io.containerd.grpc.v1.cri": "ServerConfig",
}  # fmt: skip
FREE = ("timeouts", "stream_processors", "runtimes")
"""Tables of containerd's configuration whose names are the operator's."""
PLUGINS = re.compile(r"Comma-delimited list of admission plugins: ([^.]*)\.")


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
    """The fields of each configuration by name, with their types or the fields below them."""
    found = {}
    borrowed = [(module(name, version, cache) / path).read_text(encoding="utf-8") for name, path in ELSEWHERE]
    for kind, (name, path) in CONFIGURATIONS.items():
        text = "\n".join((*borrowed, (module(name, version, cache) / path).read_text(encoding="utf-8")))
        found[kind] = tree(kind, dict(STRUCT.findall(text)), frozenset(TEXT.findall(text)))
    return found


def tree(kind: str, structs: dict[str, str], texts: frozenset[str]) -> dict[str, Any]:
    body = structs[kind]
    below: dict[str, Any] = {name: typed(of, structs, texts) for of, name in FIELD.findall(body)}
    for embedded in INLINE.findall(body):
        if embedded in structs:
            below |= tree(embedded, structs, texts)
    return below | ({"apiVersion": "string", "kind": "string"} if "metav1.TypeMeta" in body else {})


def typed(of: str, structs: dict[str, str], texts: frozenset[str]) -> Any:
    """A field's type: a name, `[]NAME`, `map[string]NAME`, the fields below it, or a list of what its items have."""
    of = of.removeprefix("*")
    bare = of.rpartition(".")[2]
    if of.startswith("[]"):
        item = typed(of.removeprefix("[]"), structs, texts)
        return f"[]{item}" if isinstance(item, str) else [item]
    if of.startswith("map[string]"):
        item = typed(of.removeprefix("map[string]"), structs, texts)
        return {"*": item} if isinstance(item, dict) else item and f"map[string]{item}"
    if of in NAMED or of in PLAIN:
        return NAMED.get(of, of)
    if bare in structs:
        return tree(bare, structs, texts)
    return "string" if bare in texts else None


def flag_types(binary: Path, names: dict[str, str | None], sources: str) -> dict[str, str]:
    """Types by flag, as `--help` says them; of flags that it hides, as the source defines them."""
    found: dict[str, str] = {}
    for of, name in DEFINED.findall(sources):
        if name in names and of not in ("", "Text"):
            found[name] = pflag(of)
    if binary.name in KUBERNETES:
        for name, of in TYPED.findall(said(str(binary), "--help")):
            found[name] = SAID_OTHERWISE.get(of, of) or "bool"
    for name in NO_SPLIT.findall(sources):
        constant = re.search(rf'\b{name}\s*= "([^"]+)"', sources)
        flag = constant[1] if constant else name
        if flag in found:
            found[flag] = "mapStringStringNoSplit"
    return found


def pflag(method: str) -> str:
    """`BoolVar` defines a bool, `StringSliceVar` strings."""
    return method[0].lower() + method[1:]


def source(folders: list[Path]) -> str:
    texts: list[str] = []
    for folder in folders:
        for path in sorted(folder.rglob("*.go")):
            if not path.name.endswith("_test.go"):
                texts.append(path.read_text(encoding="utf-8"))
    return "\n".join(texts)


def feature_gates(binary: Path, named: set[str]) -> dict[str, bool | None]:
    """Those of the named gates that the binary takes. It names one at a time that it refuses."""
    found: dict[str, bool | None] = dict.fromkeys(sorted(named - {*ALL_GATES}))
    for value in ("true", "false"):
        while refused := _refused_gate(binary, [f"{name}={value}" for name, only in found.items() if only is None]):
            name, only = refused
            if only:
                found[name] = only == "true"
            else:
                del found[name]
    return found | dict.fromkeys(ALL_GATES)


def _refused_gate(binary: Path, gates: list[str]) -> tuple[str, str] | None:
    """The gate that ends the binary, and the value that it is locked to."""
    # Without a configuration none of them comes to serve anything.
    harmless = {"kubelet": ["--config=/nonexistent"], "kube-scheduler": ["--config=/nonexistent"],
                "kube-proxy": ["--kubeconfig=/nonexistent"]}  # fmt: skip
    answer = said(str(binary), f"--feature-gates={','.join(gates)}", *harmless.get(binary.name, []))
    if unknown := re.search(r"unrecognized feature gate: (\w+)", answer):
        return unknown[1], ""
    locked = re.search(r"cannot set feature gate (\w+) to \w+, feature is locked to (\w+)", answer)
    return (locked[1], locked[2]) if locked else None


def defaults(value: Any) -> Any:
    """The fields of containerd's default configuration, with the types of their values."""
    if isinstance(value, dict):
        return {name: defaults(below) for name, below in value.items() if name not in FREE}
    if isinstance(value, list):
        return f"[]{defaults(value[0])}" if value else None
    return {bool: "bool", int: "int64", float: "float64", str: "string"}[type(value)]


def containerd(binary: Path, modules: Path) -> dict[str, Any]:
    """The fields of its default configuration; of the CRI's plugins all that its source has."""
    found: dict[str, Any] = defaults(tomllib.loads(said(str(binary), "config", "default")))
    folder = modules / "github.com/containerd/containerd" / f"v2@v{release(binary)}" / "internal/cri/config"
    text = re.sub(r'`toml:"(\w+)" json:"[^"]*"`', r'`json:"\1"`', source([folder]))
    # What is embedded has a name in TOML, too.
    structs = dict(STRUCT.findall(re.sub(r"^\t(\w+) `json", r"\tOf \1 `json", text, flags=re.MULTILINE)))
    for plugin, kind in CRI.items():
        found["plugins"][plugin] = tree(kind, structs, frozenset())
    return found


def main() -> None:
    folder = Path(sys.argv[1])
    modules = Path(said("go", "env", "GOMODCACHE").strip())
    cache = modules / "k8s.io"
    version = release(folder / "kubelet")
    kubernetes = [cache / f"kubernetes@v{version}" / part for part in ("cmd", "pkg")]
    sources = source([*kubernetes, *(module(name, version, cache) for name in (*STAGING, "client-go", "kube-proxy"))])
    gates = set(GATE.findall(sources))
    flags: dict[str, dict[str, str | None]] = {}
    types: dict[str, dict[str, str]] = {}
    for name in (*KUBERNETES, *OTHERS):
        binary = folder / name
        beyond_help = hidden(binary, version, cache) if name in KUBERNETES else {}
        flags[name] = beyond_help | listed(said(str(binary), "--help"))
        types[name] = flag_types(binary, flags[name], sources if name in KUBERNETES else "")
    etcd = modules / "go.etcd.io/etcd/server" / f"v3@v{release(folder / 'etcd')}" / "embed"
    types["etcd"] = flag_types(folder / "etcd", flags["etcd"], source([etcd]))
    plugins = PLUGINS.search(said(str(folder / "kube-apiserver"), "--help"))
    lists = {
        "versions": {name: release(folder / name) for name in flags},
        "flags": flags,
        "types": types,
        "fields": fields(version, cache),
        "gates": {name: feature_gates(folder / name, gates) for name in KUBERNETES},
        "containerd": containerd(folder / "containerd", modules),
        "admission": sorted(plugins[1].split(", ")) if plugins else [],
    }
    print(json.dumps(lists, indent=1, sort_keys=True))


if __name__ == "__main__":
    main()
