"""`artifacts lock`, `bundle` and a proxy, as commands: against a site on loopback and nothing else."""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fake.publisher import Site, serving
from in_process import ran

from hardway.artifacts import bundle
from hardway.artifacts.catalogue import ARCHES, releases_for
from hardway.artifacts.get import ensure, needs_for
from hardway.artifacts.lock import Entry, Lock
from hardway.artifacts.release import Wanted
from hardway.artifacts.store import Store
from hardway.declare.network.proxy import environment
from hardway.declare.phases.base import Model
from hardway.declare.phases.hosts import packages
from hardway.engine.guards import first_state
from hardway.events import discard
from hardway.inventory.load import load
from hardway.platforms import RED_HAT
from hardway.values import sha256

INVENTORY = """\
cluster: prod
kubernetes: 1.36.5
artifacts: {versions: {etcd: 3.6.15}}
machines:
  one: {role: [controller, worker], address: 192.0.2.10, ssh: {host: 127.0.0.2, port: 1}}
"""
NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY")
VARIABLES = {*NAMES, *(name.lower() for name in NAMES)}


def path_of(url: str) -> str:
    return f"/{url.removeprefix('https://')}"


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def site() -> Iterator[Site]:
    """Every file of the inventory's releases that nothing pins; an archive is a text here."""
    with serving() as site:
        for release in releases_for("1.36.5", {"etcd": "3.6.15"}).values():
            for file in release.files if not release.catalogued else ():
                for arch in ARCHES:
                    wanted = Wanted(file, release.version, arch)
                    content = f"{wanted.file_name} {arch}".encode()
                    site.files[path_of(wanted.url)] = content
                    sums = path_of(wanted.expand(file.checksums))
                    # One list for both architectures, or a file for each.
                    line = f"{sha256(content)}  {wanted.file_name}\n".encode()
                    site.files[sums] = site.files.get(sums, b"") + line
        yield site


@pytest.fixture
def hardway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command in this process, in a folder with the inventory, and without any proxy."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hardway.yaml").write_text(INVENTORY)
    for name, value in {"HOME": tmp_path, "XDG_CACHE_HOME": tmp_path / "cache", "COLUMNS": 200, "NO_COLOR": 1}.items():
        monkeypatch.setenv(name, str(value))
    for name in VARIABLES:
        monkeypatch.setenv(name, "")  # so that what a command sets is gone after the test
        monkeypatch.delenv(name)

    return lambda *words: Ran(*ran(monkeypatch, capsys, *words))


def locked(folder: Path) -> list[Entry]:
    return list(Lock(folder / "artifacts.lock").entries())


class TestLock:
    def test_digests_come_without_the_files(self, hardway: Run, site: Site, tmp_path: Path) -> None:
        ran = hardway("artifacts", "lock", "--source", "mirror", "--mirror", site.url)
        assert ran.code == 0, ran.err
        assert "for amd64 and arm64" in ran.out
        found = {(one.name, one.arch): (one.digest, one.source) for one in locked(tmp_path)}
        word = "mirror, publisher's digest"
        assert found["kubelet", "arm64"] == (sha256(b"kubelet arm64"), word)
        archive = "etcd-v3.6.15-linux-amd64.tar.gz"
        assert found[archive, "amd64"] == (sha256(f"{archive} amd64".encode()), word)
        pin = releases_for("1.36.4")["runc"].files[0].pin("amd64")
        assert found["runc.amd64", "amd64"] == (pin, "mirror, pinned")
        assert all(path.endswith((".sha256", "SHA256SUMS")) for path, _ in site.asked)

    def test_what_was_recorded_is_what_is_held_to(self, hardway: Run, site: Site, tmp_path: Path) -> None:
        place = ("--source", "mirror", "--mirror", site.url)
        hardway("artifacts", "lock", *place)
        before = locked(tmp_path)
        for path in [path for path in site.files if path.endswith("/kubelet.sha256")]:
            site.files[path] = sha256(b"another").encode()
        assert "0 of them new" in hardway("artifacts", "lock", *place).out
        assert locked(tmp_path) == before
        [need] = needs_for("1.36.5", "amd64", ["kubelet"])
        have = ensure(
            [need], source="mirror", mirror=site.url, store=Store(tmp_path / "c"),
            lock=Lock(tmp_path / "artifacts.lock"), require_pinned=False, events=discard,
        )  # fmt: skip
        assert have[need].path.read_bytes() == b"kubelet amd64"

    @pytest.mark.parametrize("words", [("init",), ("apply", "etcd"), ("artifacts", "get", "--source", "download")])
    def test_without_them_the_version_is_refused_and_nobody_contacted(
        self, hardway: Run, tmp_path: Path, words: tuple[str, ...]
    ) -> None:
        ran = hardway(*words)
        assert ran.code == 1
        said = " ".join(ran.err.split())
        assert "kubernetes 1.36.5 and etcd 3.6.15 are not in this hardway's catalogue" in said
        assert "hardway artifacts lock" in ran.err
        assert not (tmp_path / ".hardway").exists()

    def test_one_digest_vouches_for_no_other_file(self, hardway: Run, tmp_path: Path) -> None:
        Lock(tmp_path / "artifacts.lock").add(
            Entry("kubectl", "1.36.5", "amd64", sha256(b""), "download, publisher's digest")
        )
        ran = hardway("init")
        assert ran.code == 1
        said = " ".join(ran.err.split())
        assert "artifacts.lock has not every digest for amd64" in said
        assert "kube-apiserver" in said
        assert "kubectl" not in said.partition("without one")[2]

    def test_one_architecture_vouches_for_no_other(self, hardway: Run, site: Site, tmp_path: Path) -> None:
        place = ("--source", "mirror", "--mirror", site.url)
        assert hardway("artifacts", "lock", "--arch", "amd64", *place).code == 0
        before, asked = locked(tmp_path), len(site.asked)
        ran = hardway("artifacts", "get", "--arch", "arm64", *place)
        assert ran.code == 1
        assert "has not every digest for arm64" in " ".join(ran.err.split())
        assert (locked(tmp_path), len(site.asked)) == (before, asked)

    def test_those_of_one_architecture_let_a_run_begin(self, hardway: Run, site: Site) -> None:
        assert hardway("artifacts", "lock", "--arch", "arm64", "--source", "mirror", "--mirror", site.url).code == 0
        assert "ssh to root@127.0.0.2 port 1" in hardway("init").err

    def test_a_version_that_its_publisher_does_not_have_is_said(self, hardway: Run, site: Site, tmp_path: Path) -> None:
        (tmp_path / "hardway.yaml").write_text(INVENTORY.replace("3.6.15", "3.6.99"))
        ran = hardway("artifacts", "lock", "--source", "mirror", "--mirror", site.url)
        assert ran.code == 1
        assert "etcd 3.6.99 is not there" in ran.err
        assert "artifacts.versions" in ran.err
        assert locked(tmp_path) == []

    def test_another_minor_release_is_none_that_it_could_know(self, hardway: Run, tmp_path: Path) -> None:
        (tmp_path / "hardway.yaml").write_text(INVENTORY.replace("1.36.5", "1.99.0"))
        ran = hardway("artifacts", "lock", "--source", "download")
        assert ran.code == 2
        assert ran.err.startswith("hardway.yaml:2:13: kubernetes: Kubernetes 1.99.0 is not in")
        assert "another release of 1.36 or 1.35" in ran.err

    def test_what_is_built_has_no_publisher(self, hardway: Run) -> None:
        ran = hardway("artifacts", "lock", "--source", "build")
        assert ran.code == 2
        assert "--source download" in ran.err


class TestBundle:
    def test_which_packages_must_be_said(self, hardway: Run) -> None:
        ran = hardway("artifacts", "bundle", "site.tar.zst")
        assert ran.code == 2
        assert "--packages debian-12,debian-13" in ran.err
        assert "--packages none" in ran.err

    def test_packages_of_other_families_are_refused(self, hardway: Run) -> None:
        ran = hardway("artifacts", "bundle", "site.tar.zst", "--packages", "debian-12,rocky-9")
        assert ran.code == 2
        assert "no packages can be got for rocky-9" in ran.err

    def test_an_architecture_that_is_none_is_refused(self, hardway: Run) -> None:
        ran = hardway("artifacts", "bundle", "site.tar.zst", "--packages", "none", "--arch", "amd64,riscv64")
        assert ran.code == 2
        assert "no components for riscv64" in ran.err

    @pytest.mark.parametrize(
        ("file", "packages", "said"),
        [
            (".", "none", "is a folder"),
            ("none/site.tar.zst", "none", "cannot be written: No such file or directory"),
            ("site.tar.zst", "debian-12", "has no apt"),
        ],
    )
    def test_what_it_needs_is_looked_at_before_anything_is_got(
        self, hardway: Run, site: Site, monkeypatch: pytest.MonkeyPatch, file: str, packages: str, said: str
    ) -> None:
        monkeypatch.setenv("PATH", "")
        place = ("--source", "mirror", "--mirror", site.url)
        assert hardway("artifacts", "lock", *place).code == 0
        asked = len(site.asked)
        ran = hardway("artifacts", "bundle", file, "--packages", packages, *place)
        assert ran.code == 1
        assert said in " ".join(ran.err.split())
        assert len(site.asked) == asked

    @pytest.mark.parametrize("words", [("get",), ("bundle", "site.tar.zst", "--packages", "none")])
    def test_this_computers_architecture_is_never_guessed(
        self, hardway: Run, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
    ) -> None:
        monkeypatch.setattr("platform.machine", lambda: "riscv64")
        ran = hardway("artifacts", *words)
        assert ran.code == 2
        assert "no components for riscv64" in ran.err
        assert "--arch amd64,arm64" in ran.err

    def test_one_for_another_release_is_refused_before_anybody_is_contacted(self, hardway: Run, tmp_path: Path) -> None:
        bundle.write(tmp_path / "old.tar.zst", "1.35.6", {}, {}, discard)
        for words in (("init",), ("etcd",), ("artifacts", "get")):
            ran = hardway(*words, "--bundle", "old.tar.zst")
            assert ran.code == 1
            assert "old.tar.zst is for Kubernetes 1.35.6, and the inventory wants 1.36.5" in ran.err
            assert "kubernetes: 1.35.6" in ran.err
        assert not (tmp_path / ".hardway").exists()

    def test_its_own_word_is_no_pin(self, hardway: Run, tmp_path: Path) -> None:
        bundle.write(tmp_path / "site.tar.zst", "1.36.5", {}, {}, discard)
        for words in (("init",), ("etcd",), ("artifacts", "get")):
            ran = hardway(*words, "--bundle", "site.tar.zst", "--require-pinned")
            assert ran.code == 2
            assert "vouches for itself" in ran.err
        assert not (tmp_path / ".hardway").exists()

    def test_what_is_no_bundle_is_refused_before_anybody_is_contacted(self, hardway: Run, tmp_path: Path) -> None:
        ran = hardway("init", "--bundle", "hardway.yaml")
        assert ran.code == 1
        assert "hardway.yaml is damaged, or no bundle" in ran.err
        assert not (tmp_path / ".hardway").exists()


class TestItsPages:
    def page(self, name: str) -> str:
        return (Path(__file__).parents[2] / name).read_text()

    @pytest.mark.parametrize("name", ["README.md", "docs/operate/releases.md"])
    def test_machines_that_were_never_met_are_not_refused(self, name: str) -> None:
        [typed] = [line for line in self.page(name).splitlines() if line.startswith("hardway init --bundle")]
        assert "--accept-new-host-keys" in typed

    def test_what_is_to_be_installed_by_hand_is_all_that_hosts_would_install(self, tmp_path: Path) -> None:
        (tmp_path / "hardway.yaml").write_text(
            "cluster: a\nendpoint: lb\nnetwork: {proxy_mode: iptables}\n"
            "machines: {k1: {role: [controller, worker], address: 10.0.8.10}, "
            "lb: {role: load-balancer, address: 10.0.8.9}}\n"
        )
        cluster = load(tmp_path / "hardway.yaml")
        model = Model(cluster, first_state(cluster), {})
        wanted = {
            RED_HAT.packages.get(one.package, one.package)
            for machine in cluster.machines
            for one in packages(model, machine)
        }
        told = self.page("docs/operate/releases.md").partition("dnf are not in bundles")[2].partition("or run")[0]
        assert set(re.findall("`([a-z-]+)`", told)) == wanted


class TestProxy:
    """The loopback site stands in for the proxy."""

    def inventory(self, folder: Path, proxy: str) -> None:
        (folder / "hardway.yaml").write_text(INVENTORY + f"proxy: {proxy}\n")

    def test_downloads_go_through_it(self, hardway: Run, site: Site, tmp_path: Path) -> None:
        self.inventory(tmp_path, site.url)
        ran = hardway("artifacts", "lock", "--source", "mirror", "--mirror", "http://mirror.test")
        assert ran.code == 0, ran.err
        assert set(site.proxied) == {"mirror.test"}

    def test_so_do_those_with_tls(self, hardway: Run, site: Site, tmp_path: Path) -> None:
        self.inventory(tmp_path, site.url)
        ran = hardway("artifacts", "lock", "--source", "download")
        assert ran.code == 1
        assert set(site.proxied) <= {"dl.k8s.io:443", "github.com:443"}
        assert site.proxied
        assert "cannot be reached" in ran.err
        assert "--source build" not in ran.err

    def test_what_the_environment_says_comes_first(
        self, hardway: Run, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.inventory(tmp_path, "http://127.0.0.1:1")
        monkeypatch.setenv("http_proxy", site.url)
        assert hardway("artifacts", "lock", "--source", "mirror", "--mirror", "http://mirror.test").code == 0

    @pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
    def test_the_operators_exceptions_are_kept_beside_the_clusters(
        self, hardway: Run, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        self.inventory(tmp_path, "http://127.0.0.1:1")
        monkeypatch.setenv(name, "localhost,.corp.example")
        assert hardway("artifacts", "lock", "--source", "mirror", "--mirror", site.url).code == 0
        near = environment(load(tmp_path / "hardway.yaml"))["NO_PROXY"]
        assert os.environ["NO_PROXY"] == os.environ["no_proxy"] == f"localhost,.corp.example,{near}"

    def test_beside_a_proxy_of_the_operators_his_exceptions_are_his(
        self, hardway: Run, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.inventory(tmp_path, "http://127.0.0.1:1")
        for name in ("http_proxy", "https_proxy"):
            monkeypatch.setenv(name, "http://127.0.0.1:2")
        monkeypatch.setenv("no_proxy", "localhost,127.0.0.1")
        assert hardway("artifacts", "lock", "--source", "mirror", "--mirror", site.url).code == 0
        assert os.environ["no_proxy"] == "localhost,127.0.0.1"
        assert "NO_PROXY" not in os.environ

    def test_what_is_near_is_reached_without_it(self, hardway: Run, site: Site, tmp_path: Path) -> None:
        self.inventory(tmp_path, "http://127.0.0.1:1")
        assert hardway("artifacts", "lock", "--source", "mirror", "--mirror", site.url).code == 0
        assert site.proxied == []

    def test_the_model_says_what_is_near(self, tmp_path: Path) -> None:
        path = tmp_path / "hardway.yaml"
        path.write_text(
            "cluster: a\nproxy: http://proxy:3128\nendpoint: api.example.net\ndomain: example.net\n"
            "machines: {k1: {role: [controller, worker], address: 10.0.8.10}, k2: worker}\n"
        )
        assert environment(load(path)) == {
            "HTTP_PROXY": "http://proxy:3128",
            "HTTPS_PROXY": "http://proxy:3128",
            "NO_PROXY": "localhost,127.0.0.1,10.0.8.10,api.example.net,10.32.0.0/24,10.200.0.0/16,"
            ".cluster.local,.example.net",
        }

    def test_without_one_nothing_is_set(self, hardway: Run, site: Site) -> None:
        hardway("artifacts", "lock", "--source", "mirror", "--mirror", site.url)
        assert not VARIABLES & os.environ.keys()
