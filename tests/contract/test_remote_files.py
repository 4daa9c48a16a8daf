"""known_hosts and ssh_config, read as ssh reads them."""

import base64
import hmac
from dataclasses import replace
from pathlib import Path

import pytest

from hardway.errors import UsageError
from hardway.remote import Target
from hardway.remote.known_hosts import algorithms, lookup_name, matches, read
from hardway.remote.ssh_config import SshConfig

BLOB = base64.b64encode(b"key").decode()


def hashed(name: str) -> str:
    salt = b"0123456789abcdefghij"
    digest = hmac.digest(salt, name.encode(), "sha1")
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"


@pytest.mark.parametrize(
    ("hosts", "name", "answer"),
    [
        ("k1.example.net", "k1.example.net", True),
        ("k1.example.net", "K1.Example.Net", True),
        ("k1", "k1.example.net", False),
        ("10.0.8.11,k1", "k1", True),
        ("*.example.net,!k2.example.net", "k1.example.net", True),
        ("*.example.net,!k2.example.net", "k2.example.net", False),
        ("k?", "k1", True),
        ("[k1]:2222", "[k1]:2222", True),
        ("[k1]:2222", "k1", False),
        ("k.1", "kx1", False),
        (hashed("k1"), "k1", True),
        (hashed("k1"), "k2", False),
        ("|1|nonsense", "k1", False),
    ],
)
def test_the_host_field_means_what_ssh_means_by_it(hosts: str, name: str, answer: bool) -> None:
    assert matches(hosts, name) is answer


def test_lines_that_are_no_entries_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    path.write_text(f"# k0 ssh-ed25519 {BLOB}\n\nk1\nk2 ssh-ed25519 !!\n@revoked k3 ssh-ed25519 {BLOB} note\n")
    assert [(e.marker, e.hosts, e.blob, e.place) for e in read(path)] == [("@revoked", "k3", b"key", f"{path}:5")]
    assert read(tmp_path / "absent") == []


def test_the_known_key_types_are_asked_for_first(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    path.write_text(f"@revoked k1 ssh-ed25519 {BLOB}\nk1 ssh-rsa {BLOB}\nk1 unheard-of {BLOB}\n")
    available = ["ssh-ed25519", "rsa-sha2-512", "rsa-sha2-256"]
    assert algorithms(read(path), available) == ["rsa-sha2-512", "rsa-sha2-256", "ssh-ed25519"]
    assert algorithms([], available) == available


def test_the_port_is_part_of_the_name_unless_it_is_22() -> None:
    assert (lookup_name("k1", 22), lookup_name("k1", 2222)) == ("k1", "[k1]:2222")


@pytest.fixture
def target(tmp_path: Path) -> Target:
    return Target("k1", "k1", known_hosts=tmp_path / "known_hosts")


@pytest.fixture
def given(tmp_path: Path) -> Path:
    return tmp_path / "ssh_config"


def test_the_inventory_comes_before_ssh_config(target: Target, given: Path) -> None:
    given.write_text("Host k1\n  HostName 192.0.2.11\n  Port 2222\n  User ops\n")
    (hop,) = SshConfig(given).route(target)
    assert (hop.host, hop.port, hop.user, hop.known_as) == ("192.0.2.11", 2222, "ops", ("192.0.2.11", 2222))
    (hop,) = SshConfig(given).route(replace(target, port=22, user="root"))
    assert (hop.port, hop.user) == (22, "root")


def test_the_given_file_comes_before_the_users_own(target: Target, given: Path, no_habits_of_the_user: Path) -> None:
    (no_habits_of_the_user / ".ssh" / "config").write_text("Host k1\n  User second\n  Port 2\n")
    given.write_text("Host k1\n  User first\n")
    (hop,) = SshConfig(given).route(target)
    assert (hop.user, hop.port) == ("first", 2)


def test_an_include_leaves_the_scope_as_it_was(target: Target, given: Path, tmp_path: Path) -> None:
    (tmp_path / "more").write_text("Host other\n  Port 1\n")
    given.write_text(f"Host k1\n  User ops\n  Include {tmp_path}/more\n  Port 2222\n")
    (hop,) = SshConfig(given).route(target)
    assert (hop.user, hop.port) == ("ops", 2222)


def test_a_circle_of_includes_is_told_in_ssh_s_words(target: Target, given: Path) -> None:
    given.write_text(f"Include {given}\n")
    with pytest.raises(UsageError, match="Too many recursive configuration includes"):
        SshConfig(given).route(target)


def test_jump_hosts_come_in_dialling_order_with_their_own_settings(target: Target, given: Path) -> None:
    given.write_text("Host b1\n  HostName 192.0.2.1\n  ProxyJump b0\nHost b2\n  User two\n")
    route = SshConfig(given).route(replace(target, jump="ops@b1:2201,b2"))
    assert [(hop.written, hop.host, hop.port) for hop in route] == [
        ("b0", "b0", 22),
        ("b1", "192.0.2.1", 2201),
        ("b2", "b2", 22),
        ("k1", "k1", 22),
    ]
    assert (route[1].user, route[2].user) == ("ops", "two")


def test_a_jump_of_none_overrides_ssh_config(target: Target, given: Path) -> None:
    given.write_text("Host *\n  ProxyJump bastion\n")
    assert [hop.host for hop in SshConfig(given).route(replace(target, jump="none"))] == ["k1"]


def test_a_jump_host_for_all_hosts_is_itself_dialled_directly(target: Target, given: Path) -> None:
    given.write_text("Host *\n  ProxyJump bastion\n")
    assert [hop.host for hop in SshConfig(given).route(target)] == ["bastion", "k1"]


def test_jump_hosts_in_a_circle_are_told(target: Target, given: Path) -> None:
    given.write_text("Host k1 b2\n  ProxyJump b1\nHost b1\n  ProxyJump b2\n")
    with pytest.raises(UsageError, match="is circular"):
        SshConfig(given).route(target)


@pytest.mark.parametrize("jump", ["b1:x", "[::1]:x"])
def test_a_port_that_is_no_number_is_told(target: Target, given: Path, jump: str) -> None:
    given.write_text("")
    with pytest.raises(UsageError, match="the port is no number"):
        SshConfig(given).route(replace(target, jump=jump))


def test_a_missing_ssh_config_is_told(given: Path) -> None:
    with pytest.raises(UsageError, match="no such ssh_config file"):
        SshConfig(given)
