"""What commands of rotations refuse before anybody is contacted."""

from collections.abc import Callable

import pytest
from fake.authorities import company
from fake.cluster import PAIR, FakeCluster
from played_run import Commands

from hardway.declare.generations import encryption_keys

OWN = "certs: {authorities: {kubernetes: {certificate: my.crt, key: my.key}}}\n"


@pytest.fixture
def hardway(
    built_cluster: Callable[[str], FakeCluster], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Commands:
    return Commands(built_cluster(PAIR), monkeypatch, capsys)


def test_a_provider_is_the_inventorys(hardway: Commands) -> None:
    code, _, err = hardway("encryption", "rotate", "--provider", "aescbc")
    assert (code, "the inventory says secretbox" in err) == (2, True)
    code, _, err = hardway("encryption", "rotate", "--provider", "identity")
    assert (code, "does not go back to Secrets that are not encrypted" in err) == (2, True)


def test_an_operators_ca_is_exchanged_for_another_one_with_its_key(hardway: Commands) -> None:
    made, ca = hardway.cluster, company("Root")
    (made.root / "my.crt").write_bytes(ca.crt)
    (made.root / "my.key").write_bytes(ca.pem_key)
    made.rewrite("cluster: pair\n", f"{OWN}cluster: pair\n")
    code, out, _ = hardway("plan")
    assert (code, "hardway certs rotate-ca kubernetes" in out) == (1, True)
    # What is the cluster's own by now is no next one.
    (made.workspace().root / "pki/ca.crt").write_bytes(ca.crt)
    code, _, err = hardway("certs", "rotate-ca", "all", "--yes")
    assert (code, "hardway makes no next one" in err) == (2, True)
    made.rewrite(OWN, OWN.replace(", key: my.key", ""))
    code, _, err = hardway("certs", "rotate-ca", "kubernetes", "--yes")
    assert (code, "its key is not here" in err) == (2, True)


@pytest.mark.parametrize("words", [("etcd",), ("kubernetes", "--compromised")])
def test_nobody_outside_has_to_know_another_ca(hardway: Commands, words: tuple[str, ...]) -> None:
    code, _, err = hardway("certs", "rotate-ca", *words, "--pause", "--yes")
    assert (code, "clients outside know API servers by it" in err) == (2, True)


def test_the_keys_that_a_workspace_keeps_have_their_names() -> None:
    paths = ["pki/ca.crt", "secrets/encryption-key", "secrets/encryption-key-key12", "secrets/other"]
    assert encryption_keys(paths) == ["key1", "key12"]
