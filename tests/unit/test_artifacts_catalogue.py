"""The catalogue against the component modules that travel with it."""

import re

import pytest

from hardway import data
from hardway.artifacts.catalogue import (
    ARCHES,
    DEFAULT_KUBERNETES,
    IMAGES,
    KUBERNETES_VERSIONS,
    Release,
    release,
    releases_for,
)
from hardway.artifacts.get import names_of, needs_for
from hardway.artifacts.release import Wanted
from hardway.errors import ArtifactError

RELEASES = sorted({(r.component, r.version): r for v in KUBERNETES_VERSIONS for r in releases_for(v).values()}.items())


@pytest.mark.parametrize("found", [r for _, r in RELEASES], ids=lambda r: f"{r.component}-{r.version}")
class TestEveryRelease:
    def test_its_module_pins_the_version_that_the_catalogue_names(self, found: Release) -> None:
        text = (data.folder("components") / found.recipe.module / "go.mod").read_text()
        if found.component in ("pause", "agnhost"):
            assert f"module hardway.local/components/{found.component}\n" in text
        else:
            package = found.recipe.packages[0][1]
            versions = [
                version
                for path, version in re.findall(r"^\s+(\S+) v(\S+)", text, re.M)
                if package == path or package.startswith(f"{path}/")
            ]
            assert versions == [found.version]

    def test_its_module_names_every_main_package_as_a_tool(self, found: Release) -> None:
        text = (data.folder("components") / found.recipe.module / "go.mod").read_text()
        tools = set(re.findall(r"^(?:tool|\t)\s*(\S+)$", text, re.M)) - {"tool"}
        packages = {package for _, package in found.recipe.packages if "hardway.local" not in package}
        assert packages <= tools

    def test_its_files_have_plain_urls_and_whole_pins(self, found: Release) -> None:
        for file in found.files:
            for arch in ARCHES:
                wanted = Wanted(file, found.version, arch)
                assert re.fullmatch(r"https://[\w./-]+", wanted.url)
                assert re.fullmatch(r"https://[\w./-]+", wanted.expand(file.checksums))
                assert file.pin(arch) is None or re.fullmatch("[0-9a-f]{64}", file.pin(arch) or "")

    def test_every_binary_of_a_published_release_is_in_one_of_its_files(self, found: Release) -> None:
        if found.files:
            assert all(found.file_with(binary) for binary in found.binaries)


def test_the_default_is_a_version_of_the_catalogue() -> None:
    assert DEFAULT_KUBERNETES in KUBERNETES_VERSIONS


def test_an_unknown_kubernetes_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ArtifactError) as refused:
        releases_for("1.2.3")
    assert "1.36.4 or 1.35.6" in (refused.value.hint or "")
    assert "hardway artifacts lock" in (refused.value.hint or "")


def test_another_patch_release_has_the_companions_of_the_one_that_is_known() -> None:
    known, other = releases_for("1.36.4"), releases_for("1.36.5")
    assert {name: one for name, one in other.items() if one != known[name]}.keys() == {"kubernetes"}
    assert other["kubernetes"].version == "1.36.5"
    assert not other["kubernetes"].catalogued
    assert all(file.pin(arch) is None for file in other["kubernetes"].files for arch in ARCHES)


def test_other_versions_take_the_place_of_the_catalogues() -> None:
    found = releases_for("1.36.4", {"etcd": "3.6.15", "runc": "1.4.3"})
    assert (found["etcd"].version, found["etcd"].catalogued) == ("3.6.15", False)
    assert found["runc"] == releases_for("1.36.4")["runc"]
    [need] = needs_for("1.36.4", "arm64", ["etcdctl"], {"etcd": "3.6.15"})
    file = need.release.file_with("etcdctl")
    assert file is not None
    assert Wanted(file, need.version, need.arch).url.endswith("/v3.6.15/etcd-v3.6.15-linux-arm64.tar.gz")


def test_a_release_is_found_by_component_and_version() -> None:
    assert release("kubernetes", "1.35.6").recipe.module == "kubernetes-1.35.6"
    for component, version in (("kubernetes", "1.0.0"), ("coredns", "9.9.9"), ("kubeadm", "1.36.4")):
        with pytest.raises(ArtifactError):
            release(component, version)


def test_urls_are_the_publishers_own() -> None:
    def url(name: str) -> str:
        (need,) = needs_for("1.36.4", "arm64", [name])
        file = need.release.file_with(name)
        assert file is not None
        return Wanted(file, need.version, need.arch).url

    assert url("kubelet") == "https://dl.k8s.io/v1.36.4/bin/linux/arm64/kubelet"
    assert url("etcdctl") == (
        "https://github.com/etcd-io/etcd/releases/download/v3.6.14/etcd-v3.6.14-linux-arm64.tar.gz"
    )
    assert url("bridge") == (
        "https://github.com/containernetworking/plugins/releases/download/v1.9.1/cni-plugins-linux-arm64-v1.9.1.tgz"
    )


def test_needs_keep_their_order_and_come_once() -> None:
    needs = needs_for("1.36.4", "amd64", ["kubelet", "image/pause", "kubelet"])
    assert [(need.name, need.component, need.version) for need in needs] == [
        ("kubelet", "kubernetes", "1.36.4"),
        ("image/pause", "pause", "3.10.2"),
    ]


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ArtifactError, match="kubeadm"):
        needs_for("1.36.4", "amd64", ["kubeadm"])


def test_all_names_can_be_needed() -> None:
    names = names_of("1.36.4")
    assert {"kube-apiserver", "etcd", "runc", "loopback", "crictl", *IMAGES} <= set(names)
    assert len(needs_for("1.36.4", "amd64", names)) == len(names)
