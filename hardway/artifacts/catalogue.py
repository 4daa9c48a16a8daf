"""What there is to install: releases, their publishers' files and digests, and how each is built.

Pure: nothing here reads a file or the network. Digests are the publishers' own, of the files as
published (an archive's digest is the archive's, not its members').
"""

from collections.abc import Mapping
from functools import cache
from itertools import product

from hardway.artifacts.release import ARCHES, Arch, Image, PublishedFile, Recipe, Release
from hardway.errors import ArtifactError

__all__ = [
    "ARCHES",
    "DEFAULT_KUBERNETES",
    "IMAGES",
    "KUBERNETES_VERSIONS",
    "Arch",
    "Image",
    "PublishedFile",
    "Recipe",
    "Release",
    "release",
    "releases_for",
]

KUBERNETES_VERSIONS = ("1.36.4", "1.35.6")
DEFAULT_KUBERNETES = "1.36.4"

ETCD, CONTAINERD, RUNC, CNI, CRICTL = "3.6.14", "2.3.4", "1.4.3", "1.9.1", "1.36.0"
COREDNS, PAUSE, AGNHOST = "1.14.6", "3.10.2", "2.63.0"


IMAGES: Mapping[str, Image] = {
    image.name: image
    for image in (
        Image("image/pause", f"registry.k8s.io/pause:{PAUSE}", "pause", "pause", user="65535:65535"),
        Image("image/coredns", f"registry.k8s.io/coredns/coredns:v{COREDNS}", "coredns", "coredns"),
        Image(
            "image/agnhost",
            f"registry.k8s.io/e2e-test-images/agnhost:{AGNHOST}",
            "agnhost",
            "agnhost",
            arguments=("pause",),
            folders=("tmp", "uploads"),
        ),
    )
}
"""By the name that a Need has for it. The tags are those of kubeadm and of Kubernetes' own tests."""

_KUBERNETES_BINARIES = (
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "kubectl",
)

_KUBERNETES_PINS: Mapping[tuple[str, str], tuple[tuple[Arch, str], ...]] = {
    ("1.36.4", "kubelet"): (
        ("amd64", "cf2562db46c48ab84cc3791540778ee7fb1a0a008529adbb434723dd02ed8b4b"),
        ("arm64", "fd53ea3fcbd077844f50a3c67e9b52f62972a563674956bab0c0f4fb7ea37d50"),
    ),
    ("1.36.4", "kubectl"): (
        ("amd64", "8b8f088da2dab964f853b38464033b1be15ede2839eca751482357c45abdd05a"),
        ("arm64", "0ecf44450ee6063bf19dd166a103ee6df4a9034455c2abce626e6eea657d73fb"),
    ),
}


def _kubernetes(version: str) -> Release:
    values = {
        "gitVersion": f"v{version}",
        "gitMajor": version.split(".")[0],
        "gitMinor": version.split(".")[1],
        # The module zip does not say its commit; left alone, the placeholder "$Format:%H$" would show.
        "gitCommit": "",
        "gitTreeState": "clean",
    }
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    address = "https://dl.k8s.io/v{version}/bin/linux/{arch}/"
    return Release(
        "kubernetes",
        version,
        Recipe(
            f"kubernetes-{version}",
            tuple((name, f"k8s.io/kubernetes/cmd/{name}") for name in _KUBERNETES_BINARIES),
            tuple((f"{package}.{name}", value) for package, (name, value) in product(packages, values.items())),
        ),
        tuple(
            PublishedFile(
                address + name,
                address + name + ".sha256",
                ((name, None),),
                _KUBERNETES_PINS.get((version, name), ()),
            )
            for name in _KUBERNETES_BINARIES
        ),
    )


def _etcd() -> Release:
    address = "https://github.com/etcd-io/etcd/releases/download/v{version}/"
    names = ("etcd", "etcdctl", "etcdutl")
    return Release(
        "etcd",
        ETCD,
        Recipe(
            "etcd",
            (
                ("etcd", "go.etcd.io/etcd/server/v3"),
                ("etcdctl", "go.etcd.io/etcd/etcdctl/v3"),
                ("etcdutl", "go.etcd.io/etcd/etcdutl/v3"),
            ),
        ),
        (
            PublishedFile(
                address + "etcd-v{version}-linux-{arch}.tar.gz",
                address + "SHA256SUMS",
                tuple((name, f"etcd-v{{version}}-linux-{{arch}}/{name}") for name in names),
                (
                    ("amd64", "ffe840ff9295808e88cce2794a18a5ac87f12a5203c8314d0bf6aa119b41bac5"),
                    ("arm64", "fa1b80565ee6fc2df1ae6f57a508b221f3ecc7d591c317c581cd8281b0842b3e"),
                ),
            ),
        ),
    )


def _containerd() -> Release:
    address = "https://github.com/containerd/containerd/releases/download/v{version}/"
    package = "github.com/containerd/containerd/v2"
    names = ("containerd", "containerd-shim-runc-v2", "ctr")
    archive = address + "containerd-{version}-linux-{arch}.tar.gz"
    return Release(
        "containerd",
        CONTAINERD,
        Recipe(
            "containerd",
            tuple((name, f"{package}/cmd/{name}") for name in names),
            ((f"{package}/version.Version", f"v{CONTAINERD}"),),
        ),
        (
            PublishedFile(
                archive,
                archive + ".sha256sum",
                tuple((name, f"bin/{name}") for name in names),
                (
                    ("amd64", "9d68969855fbf676cdb8ed758e420fb048d61f984f61de3e53eddfebe484d168"),
                    ("arm64", "a985fbb7e18fc0362d31a055338f5d7b0e087a3e27f14c70d1c5965399a29f95"),
                ),
            ),
        ),
    )


def _runc() -> Release:
    address = "https://github.com/opencontainers/runc/releases/download/v{version}/"
    return Release(
        "runc",
        RUNC,
        Recipe(
            "runc",
            (("runc", "github.com/opencontainers/runc"),),
            (("main.gitCommit", "none"),),
            # seccomp profiles need libseccomp, the one C library in all of this.
            tags=("seccomp", "netgo", "osusergo"),
            cgo=True,
        ),
        (
            PublishedFile(
                address + "runc.{arch}",
                address + "runc.sha256sum",
                (("runc", None),),
                (
                    ("amd64", "f6ae8efc0fa40079e1475e97cbe9d1bd3f106a28d6af78a11d9f1bd565515e60"),
                    ("arm64", "633301e2e32f8a5ad54031aab4901eb00308bec677dd15faa2751e8f9dab5ca4"),
                ),
            ),
        ),
    )


def _cni_plugins() -> Release:
    package = "github.com/containernetworking/plugins"
    archive = f"https://{package}/releases/download/v{{version}}/cni-plugins-linux-{{arch}}-v{{version}}.tgz"
    kinds = {"bridge": "main", "loopback": "main", "host-local": "ipam", "portmap": "meta"}
    return Release(
        "cni-plugins",
        CNI,
        Recipe(
            "cni-plugins",
            tuple((name, f"{package}/plugins/{kind}/{name}") for name, kind in kinds.items()),
            ((f"{package}/pkg/utils/buildversion.BuildVersion", f"v{CNI}"),),
        ),
        (
            PublishedFile(
                archive,
                archive + ".sha256",
                tuple((name, name) for name in kinds),
                (
                    ("amd64", "b98f74a0f8522f0a83867178729c1aa70f2158f90c45a2ca8fa791db1c76b303"),
                    ("arm64", "56171987d3947707c3563db2f4001bccaf50fd63468611b9f3cbecb1375ee7ec"),
                ),
            ),
        ),
    )


def _cri_tools() -> Release:
    archive = (
        "https://github.com/kubernetes-sigs/cri-tools/releases/download/v{version}/"
        "crictl-v{version}-linux-{arch}.tar.gz"
    )
    return Release(
        "cri-tools",
        CRICTL,
        Recipe(
            "cri-tools",
            (("crictl", "sigs.k8s.io/cri-tools/cmd/crictl"),),
            (("sigs.k8s.io/cri-tools/pkg/version.Version", f"v{CRICTL}"),),
        ),
        (
            PublishedFile(
                archive,
                archive + ".sha256",
                (("crictl", "crictl"),),
                (
                    ("amd64", "83855e114566a8a8c44c548d515670f51de3a5e1da8b2effb59870e2f10c25a3"),
                    ("arm64", "68328594ccf780a80ae2b092d9f6ce484eec7cf540c275242e8fd954bfd95332"),
                ),
            ),
        ),
    )


def _for_images() -> tuple[Release, ...]:
    return (
        Release("coredns", COREDNS, Recipe("coredns", (("coredns", "github.com/coredns/coredns"),))),
        Release(
            "pause",
            PAUSE,
            Recipe("pause", (("pause", "hardway.local/components/pause"),), (("main.version", PAUSE),)),
        ),
        Release(
            "agnhost",
            AGNHOST,
            Recipe("agnhost", (("agnhost", "k8s.io/kubernetes/test/images/agnhost"),), (("main.Version", AGNHOST),)),
        ),
    )


def releases_for(kubernetes_version: str, others: Mapping[str, str] | None = None) -> Mapping[str, Release]:
    """The releases that go with a Kubernetes version, by component; `others` are versions in place of the catalogue's.

    Another patch release of a minor release that is known has the same companions. Raises ArtifactError for any other.
    """
    known = next((one for one in KUBERNETES_VERSIONS if _minor(one) == _minor(kubernetes_version)), None)
    if known is None:
        lines = " or ".join(_minor(one) for one in KUBERNETES_VERSIONS)
        raise ArtifactError(
            f"Kubernetes {kubernetes_version} is not in this hardway's catalogue",
            hint=f"in the inventory: kubernetes: {' or '.join(KUBERNETES_VERSIONS)}; "
            f"or, after `hardway artifacts lock`, another release of {lines}",
        )
    base = kubernetes_version if kubernetes_version in KUBERNETES_VERSIONS else known
    wanted = {"kubernetes": kubernetes_version, **(others or {})}
    return {name: one.at(wanted.get(name, one.version)) for name, one in _catalogued(base).items()}


@cache
def _catalogued(kubernetes_version: str) -> Mapping[str, Release]:
    releases = (
        _kubernetes(kubernetes_version),
        _etcd(),
        _containerd(),
        _runc(),
        _cni_plugins(),
        _cri_tools(),
        *_for_images(),
    )
    return {release.component: release for release in releases}


def _minor(version: str) -> str:
    return version.rpartition(".")[0]


@cache
def release(component: str, version: str) -> Release:
    """One release of a component. Raises ArtifactError where there is none: of an unknown component, or an image's."""
    if component == "kubernetes":
        return releases_for(version)[component]
    found = releases_for(DEFAULT_KUBERNETES).get(component)
    if found is None or (found.version != version and not found.files):
        raise ArtifactError(f"{component} {version} is not in this hardway's catalogue")
    return found.at(version)
