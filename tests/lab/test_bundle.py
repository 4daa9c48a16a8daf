"""A site without a network: bare machines, an empty cache, and everything from one file."""

from pathlib import Path

import pytest
from driving import Labs, Site, renamed

pytestmark = pytest.mark.lab

ALONE = renamed("single.yaml", "hwtest-gap", {"10.245.0.0/24}": "10.245.0.0/24, image: debian-12-minimal}"})


@pytest.fixture
def gap(labs: Labs) -> Site:
    """A bare machine that reaches nobody but the network it is on."""
    site = labs.fresh(labs.make("hwtest-gap", ALONE))
    # Made where there is a network and a cache; of the machines that computer knows nothing.
    site.hardway("artifacts", "bundle", "site.tar.zst", "--yes", timeout=900)
    site.on("one", "ip route delete default && rm -rf /var/lib/apt/lists/* && : >/etc/resolv.conf")
    assert site.on("one", "apt-get -qq update 2>&1 || true; ls /var/lib/apt/lists").count("InRelease") == 0
    return site


def test_a_cluster_comes_up_without_a_network(gap: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty"))
    # Whoever tried to reach the outside all the same would wait for nobody, and fail.
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    (gap.folder / "artifacts.lock").unlink()

    bundle = gap.folder / "site.tar.zst"
    whole = bundle.read_bytes()
    half = gap.folder / "half.tar.zst"
    half.write_bytes(whole[: len(whole) // 2])
    refused = gap.hardway("init", "--yes", "--bundle", "half.tar.zst", code=1)
    assert "half.tar.zst is damaged" in refused.out
    assert gap.on("one", "ls /usr/local/bin /etc/kubernetes 2>/dev/null", code=None).split() == ["/usr/local/bin:"]

    ran = gap.init("--bundle", "site.tar.zst")
    installed = {what for _, what, _ in ran.changes if what.startswith("package:")}
    assert {"package:nftables", "package:netbase"} <= installed
    assert set(gap.nodes_ready()) == {"one"}
    assert gap.on("one", "ls /var/lib/hardway/stage /etc/apt/sources.list.d 2>/dev/null; true") == ""
    gap.unchanged("init", "--bundle", "site.tar.zst")
    gap.unchanged("init")
