"""A site without a network: bare machines, an empty cache, and everything from one file."""

from pathlib import Path

import pytest
from driving import Labs, Site, renamed

pytestmark = pytest.mark.lab

ALONE = renamed("single.yaml", "hwtest-gap", {"10.245.4.0/24}": "10.245.4.0/24, image: debian-12-minimal}"})


@pytest.fixture
def gap(labs: Labs) -> Site:
    """A bare machine that reaches nobody but the network it is on."""
    site = labs.fresh(labs.make("hwtest-gap", ALONE))
    # Made where there is a network and a cache; of the machines that computer knows nothing. The lock goes along.
    site.hardway("artifacts", "bundle", "site.tar.zst", "--yes", timeout=900)
    site.on("one", "ip route delete default; rm -r /var/lib/apt/lists/*; echo nameserver 192.0.2.1 >/etc/resolv.conf")
    assert "Failed to fetch" in site.on("one", "apt-get -qq update 2>&1; true")
    return site


@pytest.mark.in_turn("closed sites")
def test_a_cluster_comes_up_without_a_network(gap: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty"))
    whole = (gap.folder / "site.tar.zst").read_bytes()
    (gap.folder / "half.tar.zst").write_bytes(whole[: len(whole) // 2])
    with monkeypatch.context() as offline:
        # Whoever tried to reach the outside all the same would find nobody.
        offline.setenv("http_proxy", "http://127.0.0.1:1")
        offline.setenv("https_proxy", "http://127.0.0.1:1")
        refused = gap.hardway("init", "--yes", "--bundle", "half.tar.zst", code=1)
        assert "half.tar.zst is damaged" in refused.out
        assert gap.on("one", "ls /usr/local/bin /etc/kubernetes 2>/dev/null", code=None).split() == ["/usr/local/bin:"]
        # Not even that a run has begun: the next one is a bare machine's still.
        assert gap.on("one", "ls /var/lib/hardway 2>/dev/null; true") == ""
        ran = gap.init("--bundle", "site.tar.zst")
    installed = {what for _, what, _ in ran.changes if what.startswith("package:")}
    assert {"package:nftables", "package:netbase"} <= installed
    assert set(gap.nodes_ready()) == {"one"}
    assert gap.on("one", "find /var/lib/hardway/stage /etc/apt/sources.list.d -type f 2>/dev/null; true") == ""
    gap.unchanged("init", "--bundle", "site.tar.zst")
    gap.unchanged("init")
