"""Connecting as ssh itself would: host keys, keys and passphrases, jump hosts, sudo, forwarding."""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import paramiko
import pytest
from conftest import Asked, Connect, Sshd, certify, free_port, new_key, start_sshd

from hardway.errors import (
    AuthenticationFailed,
    CommandFailed,
    HostKeyError,
    OutputTooLarge,
    SudoRefused,
    Unreachable,
)
from hardway.remote import Fleet, Machine, Target, model
from hardway.remote.authentication import Secrets
from hardway.remote.connection import new_dialer

pytestmark = pytest.mark.contract


def whoami(machine: Machine) -> str:
    return machine.run("id -un", timeout=5, what="a test").text


@pytest.fixture
def other_key(tmp_path: Path) -> str:
    """The public half of a key that the server does not have: kind and blob."""
    return " ".join(new_key(tmp_path / "other_key").with_suffix(".pub").read_text().split()[:2])


@pytest.fixture
def bastion(sshd: Sshd, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Sshd]:
    """A second server, with a host key of its own, the same users, and settings given as a parameter."""
    folder = tmp_path / "bastion"
    (folder / "bin").mkdir(parents=True)
    new_key(folder / "host_key")
    certify(new_key(folder / "ca"), folder / "host_key.pub", "127.0.0.1")
    (folder / "authorized_keys").write_bytes((sshd.folder / "authorized_keys").read_bytes())
    port = free_port()
    process = start_sshd(folder, port, getattr(request, "param", "").format(folder=folder))
    yield Sshd(folder, port, process.pid)
    process.terminate()
    process.wait()


def record(known_hosts: Path, server: Sshd) -> None:
    kind, blob = (server.folder / "host_key.pub").read_text().split()[:2]
    with known_hosts.open("a") as file:
        file.write(f"[127.0.0.1]:{server.port} {kind} {blob}\n")


# host keys


def test_an_unknown_host_key_is_refused_with_its_fingerprint(connect: Connect, sshd: Sshd, known_hosts: Path) -> None:
    known_hosts.unlink()
    with pytest.raises(HostKeyError) as caught:
        connect()
    assert f"m1: the host key of [127.0.0.1]:{sshd.port} is unknown" in str(caught.value)
    assert sshd.fingerprint in str(caught.value)
    assert "--accept-new-host-keys" in str(caught.value)
    assert not known_hosts.exists()


def test_an_accepted_host_key_is_recorded_in_the_workspace(
    connect: Connect, known_hosts: Path, no_habits_of_the_user: Path
) -> None:
    wanted = known_hosts.read_text()
    known_hosts.write_text("# a line without its end")
    assert whoami(connect(accept=True)) == "root"
    assert known_hosts.read_text() == "# a line without its end\n" + wanted
    assert whoami(connect()) == "root"
    assert list((no_habits_of_the_user / ".ssh").iterdir()) == []


def test_a_new_known_hosts_file_is_the_users_alone(connect: Connect, known_hosts: Path) -> None:
    known_hosts.unlink()
    connect(accept=True)
    assert known_hosts.stat().st_mode & 0o777 == 0o600


def test_a_changed_host_key_is_refused_even_when_new_ones_are_accepted(
    connect: Connect, sshd: Sshd, known_hosts: Path, other_key: str, tmp_path: Path
) -> None:
    known_hosts.write_text(f"# one\n[127.0.0.1]:{sshd.port} {other_key}\n")
    printed = subprocess.run(["ssh-keygen", "-lf", known_hosts], capture_output=True, text=True).stdout
    with pytest.raises(HostKeyError) as caught:
        connect(accept=True)
    text = str(caught.value)
    assert f"known   ssh-ed25519 {printed.split()[1]} ({known_hosts}:2)" in text
    assert f"offered ssh-ed25519 {sshd.fingerprint}" in text
    assert f"ssh-keygen -R '[127.0.0.1]:{sshd.port}' -f {known_hosts}" in text


@pytest.mark.parametrize("hashed", [False, True])
def test_the_users_own_known_hosts_count_too(
    connect: Connect, known_hosts: Path, no_habits_of_the_user: Path, hashed: bool
) -> None:
    own = no_habits_of_the_user / ".ssh" / "known_hosts"
    known_hosts.rename(own)
    if hashed:
        subprocess.run(["ssh-keygen", "-q", "-H", "-f", own], check=True, capture_output=True)
    assert whoami(connect()) == "root"
    assert not known_hosts.exists()


def test_the_workspace_comes_before_the_users_own_file(
    connect: Connect, sshd: Sshd, no_habits_of_the_user: Path, other_key: str
) -> None:
    stale = f"[127.0.0.1]:{sshd.port} {other_key}\n"
    (no_habits_of_the_user / ".ssh" / "known_hosts").write_text(stale)
    assert whoami(connect()) == "root"


@pytest.mark.parametrize("marker", ["", "@revoked "])
def test_a_line_without_the_port_counts_where_it_has_the_key(
    connect: Connect, sshd: Sshd, known_hosts: Path, other_key: str, marker: str
) -> None:
    line = known_hosts.read_text()
    plain = line.replace(f"[127.0.0.1]:{sshd.port}", "127.0.0.1")
    known_hosts.write_text(f"127.0.0.1 {other_key}\n{marker}{plain}")
    if marker:
        with pytest.raises(HostKeyError, match="is revoked"):
            connect(accept=True)
    else:
        assert whoami(connect()) == "root"
    # another key there is another server's
    known_hosts.write_text(f"127.0.0.1 {other_key}\n")
    with pytest.raises(HostKeyError, match="is unknown"):
        connect()


def test_a_revoked_host_key_is_refused(connect: Connect, known_hosts: Path) -> None:
    line = known_hosts.read_text()
    known_hosts.write_text(line + "@revoked " + line)
    with pytest.raises(HostKeyError, match=f"is revoked: .*{known_hosts}:1|is revoked"):
        connect()


def test_a_host_key_is_looked_up_by_its_alias(connect: Connect, known_hosts: Path, sshd: Sshd) -> None:
    known_hosts.write_text(known_hosts.read_text().replace(f"[127.0.0.1]:{sshd.port}", "lab-machine"))
    assert whoami(connect(host_key_alias="lab-machine")) == "root"


@pytest.mark.parametrize("bastion", ["HostCertificate {folder}/host_key-cert.pub"], indirect=True)
def test_an_authority_vouches_for_a_host(connect: Connect, bastion: Sshd, known_hosts: Path, other_key: str) -> None:
    authority = " ".join((bastion.folder / "ca.pub").read_text().split()[:2])
    known_hosts.write_text(f"@cert-authority * {authority}\n")
    assert whoami(connect(port=bastion.port)) == "root"
    known_hosts.write_text(f"@cert-authority * {other_key}\n")
    with pytest.raises(HostKeyError, match=r"is unknown \(its certificate is of another authority\)"):
        connect(port=bastion.port)
    known_hosts.write_text(f"@cert-authority * {authority}\n@revoked * {authority}\n")
    with pytest.raises(HostKeyError, match="is unknown: ssh-ed25519"):
        connect(port=bastion.port)


def test_a_host_without_a_certificate_is_unknown_to_an_authority(
    connect: Connect, known_hosts: Path, other_key: str
) -> None:
    known_hosts.write_text(f"@cert-authority * {other_key}\n")
    with pytest.raises(HostKeyError, match="it shows no certificate"):
        connect()


# reaching it


def test_a_closed_port_is_told_at_once(connect: Connect) -> None:
    port = free_port()
    with pytest.raises(Unreachable, match=f"m1: 127.0.0.1:{port}: Connection refused"):
        connect(port=port)


def test_a_name_without_address_is_told(connect: Connect) -> None:
    with pytest.raises(Unreachable, match="no address is known for this name"):
        connect(host="nowhere.invalid")


@pytest.mark.parametrize(
    ("bastion", "missing"),
    [
        ("KexAlgorithms curve25519-sha256", None),
        ("KexAlgorithms curve25519-sha256@libssh.org", None),
        (
            "KexAlgorithms sntrup761x25519-sha512@openssh.com",
            "no key exchange algorithm in common; it offers sntrup761x25519-sha512@openssh.com",
        ),
        ("Ciphers chacha20-poly1305@openssh.com", "no cipher algorithm in common; it offers chacha20-poly1305"),
        ("MACs umac-64@openssh.com", "no MAC algorithm in common; it offers umac-64"),
    ],
    indirect=["bastion"],
)
def test_a_missing_algorithm_is_named(connect: Connect, bastion: Sshd, known_hosts: Path, missing: str | None) -> None:
    record(known_hosts, bastion)
    if missing is None:
        assert whoami(connect(port=bastion.port)) == "root"
        return
    with pytest.raises(Unreachable) as caught:
        connect(port=bastion.port)
    assert missing in caught.value.what
    assert caught.value.hint == "allow one of those in its sshd_config"


def test_a_port_that_never_greets_is_told(sshd: Sshd, known_hosts: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        fleet = Fleet(accept_new_host_keys=False, ask_secret=Asked(), timeout=0.3)
        target = sshd.target(known_hosts)
        with pytest.raises(Unreachable, match=r"not as an SSH server should: nothing more within 0.3 s"):
            fleet.connect(replace(target, port=port))


def test_a_connection_comes_from_the_address_that_ssh_config_binds(connect: Connect, tmp_path: Path) -> None:
    config = tmp_path / "ssh_config"
    config.write_text("AddressFamily inet\nBindAddress 127.0.0.9\n")
    machine = connect(ssh_config=config)
    assert machine._connection.transport.sock.getsockname()[0] == "127.0.0.9"
    config.write_text("AddressFamily inet6\n")
    with pytest.raises(Unreachable, match="no address is known for this name"):
        connect(ssh_config=config)


def test_aliases_of_ssh_config_are_followed_through_includes(
    connect: Connect, sshd: Sshd, no_habits_of_the_user: Path, tmp_path: Path
) -> None:
    folder = no_habits_of_the_user / ".ssh"
    (folder / "more.conf").write_text(f"Host other\n  Port 1\nHost web\n  Port {sshd.port}\n")
    identity = f"Host *\n  IdentityFile {sshd.folder}/id\n"
    web = "Host web\n  HostName 127.0.0.1\n  User nobody\n"
    (folder / "config").write_text(f"Include more.conf\n{web}{identity}")
    given = tmp_path / "ssh_config"
    given.write_text("Host web\n  User root\n")
    machine = connect(host="web", port=None, key=None, ssh_config=given)
    assert whoami(machine) == "root"


@pytest.mark.parametrize("by_config", [False, True])
def test_a_machine_is_reached_through_two_jump_hosts_in_their_order(
    connect: Connect, sshd: Sshd, bastion: Sshd, known_hosts: Path, tmp_path: Path, by_config: bool
) -> None:
    record(known_hosts, bastion)
    config = tmp_path / "ssh_config"
    # ssh refuses a machine that is its own jump host, so the second one has another name
    first, second = f"root@127.0.0.1:{bastion.port}", f"root@localhost:{sshd.port}"
    kind, blob = (sshd.folder / "host_key.pub").read_text().split()[:2]
    known_hosts.write_text(known_hosts.read_text() + f"inner,[localhost]:{sshd.port} {kind} {blob}\n")
    identity = f"Host *\n  IdentityFile {sshd.folder}/id\n"
    config.write_text(identity)
    if by_config:
        inner = f"Host inner\n  HostName 127.0.0.1\n  HostKeyAlias inner\n  ProxyJump {first},{second}\n"
        config.write_text(inner + identity)
        machine = connect(host="inner", ssh_config=config)
    else:
        machine = connect(jump=f"{first},{second}", ssh_config=config)
    assert whoami(machine) == "root"
    assert len(bastion.sessions()) == 1


def relay(folder: Path, port: int) -> Path:
    """A program that joins its standard streams with a port here, as ProxyCommands do."""
    program = folder / "relay"
    program.write_text(
        f"""#!{sys.executable}
import os, select, socket
line = socket.create_connection(("127.0.0.1", {port}))
while True:
    for ready in select.select([0, line], [], [])[0]:
        data = os.read(0, 65536) if ready == 0 else line.recv(65536)
        if not data:
            raise SystemExit
        line.sendall(data) if ready == 0 else os.write(1, data)
"""
    )
    program.chmod(0o755)
    return program


def test_a_proxy_command_is_the_line(connect: Connect, sshd: Sshd, tmp_path: Path, known_hosts: Path) -> None:
    config = tmp_path / "ssh_config"
    config.write_text(f"Host far\n  HostKeyAlias far\n  ProxyCommand {relay(tmp_path, sshd.port)} %h %p\n")
    known_hosts.write_text(known_hosts.read_text().replace(f"[127.0.0.1]:{sshd.port}", "far"))
    assert whoami(connect(host="far", ssh_config=config)) == "root"


def test_a_proxy_command_ends_with_its_connection(
    connect: Connect, sshd: Sshd, tmp_path: Path, known_hosts: Path
) -> None:
    program = relay(tmp_path, sshd.port)
    config = tmp_path / "ssh_config"
    # it would not see that its input ended
    config.write_text(f"Host far\n  HostKeyAlias far\n  ProxyCommand sh -c 'echo $$ >{tmp_path}/pid; exec {program}'\n")
    known_hosts.write_text(known_hosts.read_text().replace(f"[127.0.0.1]:{sshd.port}", "far"))
    machine = connect(host="far", ssh_config=config)
    pid = int((tmp_path / "pid").read_text())
    assert Path(f"/proc/{pid}").exists()
    machine.close()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_proxy_command_that_leads_to_silence_is_told_as_that(sshd: Sshd, known_hosts: Path, tmp_path: Path) -> None:
    config = tmp_path / "ssh_config"
    config.write_text("Host far\n  ProxyCommand sleep 60\n")
    fleet = Fleet(accept_new_host_keys=False, ask_secret=Asked(), timeout=0.3)
    with pytest.raises(Unreachable, match=r"not as an SSH server should: nothing more within 0.3 s"):
        fleet.connect(replace(sshd.target(known_hosts), host="far", ssh_config=config))


def test_a_proxy_command_may_pass_a_socket(connect: Connect, sshd: Sshd, tmp_path: Path, known_hosts: Path) -> None:
    program = tmp_path / "passes"
    program.write_text(
        f"""#!{sys.executable}
import socket, sys
line = socket.create_connection((sys.argv[1], int(sys.argv[2])))
socket.send_fds(socket.socket(fileno=1), [b"x"], [line.fileno()])
"""
    )
    program.chmod(0o755)
    config = tmp_path / "ssh_config"
    config.write_text(f"Host far\n  HostName 127.0.0.1\n  ProxyCommand {program} %h %p\n  ProxyUseFdpass yes\n")
    assert whoami(connect(host="far", ssh_config=config)) == "root"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("/nowhere/relay %h", "/nowhere/relay"),
        ("sh -c 'echo no way to %h >&2; exit 3'", "no way to far"),
        ("sh -c 'exit 3'", "exit status 3"),
    ],
)
def test_a_proxy_command_that_fails_is_told_in_its_own_words(
    connect: Connect, tmp_path: Path, command: str, said: str
) -> None:
    config = tmp_path / "ssh_config"
    config.write_text(f"Host far\n  ProxyCommand {command}\n")
    with pytest.raises(Unreachable, match=f"m1: the ProxyCommand for far failed: .*{said}") as caught:
        connect(host="far", ssh_config=config)
    assert caught.value.tried == command.replace("%h", "far")


def test_settings_of_fabric_itself_change_nothing(connect: Connect, no_habits_of_the_user: Path) -> None:
    (no_habits_of_the_user / ".fabric.yaml").write_text("gateway: /nowhere/relay\nuser: nobody\n")
    assert whoami(connect()) == "root"


def test_an_unknown_or_changed_host_key_of_a_jump_host_is_refused(
    connect: Connect, bastion: Sshd, known_hosts: Path, other_key: str
) -> None:
    jump = f"root@127.0.0.1:{bastion.port}"
    with pytest.raises(HostKeyError, match="is unknown") as caught:
        connect(jump=jump)
    assert bastion.fingerprint in str(caught.value)
    known_hosts.write_text(known_hosts.read_text() + f"[127.0.0.1]:{bastion.port} {other_key}\n")
    with pytest.raises(HostKeyError, match="is not the one that is known") as caught:
        connect(jump=jump)
    assert bastion.fingerprint in str(caught.value)


def test_a_jump_host_that_leads_nowhere_says_so(
    connect: Connect, sshd: Sshd, bastion: Sshd, known_hosts: Path, tmp_path: Path
) -> None:
    record(known_hosts, bastion)
    config = tmp_path / "ssh_config"
    config.write_text(f"IdentityFile {sshd.folder}/id\n")
    port = free_port()
    with pytest.raises(Unreachable, match=f"the jump host does not lead to 127.0.0.1:{port}"):
        connect(jump=f"root@127.0.0.1:{bastion.port}", port=port, ssh_config=config)


# who we are


@pytest.fixture
def locked_key(sshd: Sshd, tmp_path: Path) -> Iterator[Path]:
    """A key with the passphrase «open sesame» that the server accepts."""
    key = new_key(tmp_path / "locked", "open sesame")
    accepted = sshd.folder / "authorized_keys"
    before = accepted.read_text()
    accepted.write_text(before + key.with_suffix(".pub").read_text())
    yield key
    accepted.write_text(before)


def test_a_passphrase_is_asked_once_for_all_machines(sshd: Sshd, known_hosts: Path, locked_key: Path) -> None:
    ask = Asked(passphrase="open sesame")
    target = sshd.target(known_hosts)
    with Fleet(accept_new_host_keys=False, ask_secret=ask) as fleet:
        for name in ("m1", "m2", "m3"):
            machine = fleet.connect(replace(target, name=name, key=locked_key))
            assert whoami(machine) == "root"
    assert ask.prompts == [f"passphrase of {locked_key}"]


@pytest.mark.parametrize(
    ("answer", "said"),
    [("wrong", "the passphrase is wrong"), ("", "it has a passphrase, and none was given")],
)
def test_a_passphrase_that_does_not_fit_is_told(connect: Connect, locked_key: Path, answer: str, said: str) -> None:
    with pytest.raises(AuthenticationFailed) as caught:
        connect(key=locked_key, ask=Asked(passphrase=answer))
    assert f"{locked_key} ({said})" in str(caught.value)


def test_a_key_in_the_agent_needs_no_passphrase(
    connect: Connect, locked_key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(tmp_path / "agent")], stdout=subprocess.PIPE)
    try:
        assert agent.stdout and agent.stdout.readline()
        monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
        helper = tmp_path / "askpass"
        helper.write_text("#!/bin/sh\necho open sesame\n")
        helper.chmod(0o700)
        monkeypatch.setenv("SSH_ASKPASS", str(helper))
        monkeypatch.setenv("SSH_ASKPASS_REQUIRE", "force")
        subprocess.run(["ssh-add", "-q", str(locked_key)], check=True)
        ask = Asked()
        assert whoami(connect(key=locked_key, ask=ask)) == "root"
        assert whoami(connect(key=None, ask=ask)) == "root"
        assert ask.prompts == []
    finally:
        agent.terminate()
        agent.wait()


def test_a_refused_key_names_user_and_key(connect: Connect, tmp_path: Path) -> None:
    stranger = new_key(tmp_path / "stranger")
    with pytest.raises(AuthenticationFailed, match=r"m1: root@127\.0\.0\.1 does not let us in") as caught:
        connect(key=stranger)
    assert caught.value.tried == str(stranger)


def test_no_passphrase_is_asked_for_once_the_server_has_hung_up(
    connect: Connect, locked_key: Path, tmp_path: Path
) -> None:
    keys = [new_key(tmp_path / f"stranger-{number}") for number in range(6)]
    config = tmp_path / "ssh_config"
    config.write_text("".join(f"IdentityFile {key}\n" for key in (*keys, locked_key)))
    ask = Asked(passphrase="open sesame")
    with pytest.raises(AuthenticationFailed, match="does not let us in: it hung up") as caught:
        connect(key=None, ssh_config=config, ask=ask)
    assert (caught.value.tried, ask.prompts) == (", ".join(map(str, keys)), [])


@pytest.mark.parametrize("bastion", ["AuthenticationMethods publickey,publickey"], indirect=True)
def test_a_server_that_wants_two_keys_is_given_two(
    connect: Connect, bastion: Sshd, known_hosts: Path, tmp_path: Path
) -> None:
    record(known_hosts, bastion)
    second = new_key(tmp_path / "second")
    with (bastion.folder / "authorized_keys").open("a") as accepted:
        accepted.write(second.with_suffix(".pub").read_text())
    config = tmp_path / "ssh_config"
    config.write_text(f"IdentityFile {second}\n")
    assert whoami(connect(port=bastion.port, ssh_config=config)) == "root"


@pytest.mark.parametrize(
    "bastion",
    ["AuthenticationMethods publickey,keyboard-interactive\nKbdInteractiveAuthentication yes\nUsePAM yes"],
    indirect=True,
)
def test_a_second_factor_is_told_from_a_refused_key(
    connect: Connect, sshd: Sshd, bastion: Sshd, known_hosts: Path
) -> None:
    record(known_hosts, bastion)
    with pytest.raises(AuthenticationFailed) as caught:
        connect(port=bastion.port)
    assert caught.value.what.endswith(
        f"it took {sshd.folder}/id, and asks for more than hardway can give: keyboard-interactive"
    )


@pytest.mark.parametrize("bastion", ["Banner {folder}/banner\nAllowUsers somebody-else"], indirect=True)
def test_what_the_server_prints_before_it_refuses_is_shown(connect: Connect, bastion: Sshd, known_hosts: Path) -> None:
    record(known_hosts, bastion)
    (bastion.folder / "banner").write_text("Authorized persons only: ask the help desk\n")
    with pytest.raises(AuthenticationFailed, match="it took none of the keys") as caught:
        connect(port=bastion.port)
    assert caught.value.said == "Authorized persons only: ask the help desk"


@pytest.mark.parametrize("bastion", ["PubkeyAcceptedAlgorithms ssh-ed25519"], indirect=True)
def test_a_server_without_rsa_is_offered_the_next_key(
    connect: Connect, sshd: Sshd, bastion: Sshd, known_hosts: Path, tmp_path: Path
) -> None:
    record(known_hosts, bastion)
    rsa = tmp_path / "rsa"
    subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-N", "", "-f", rsa], check=True)
    config = tmp_path / "ssh_config"
    config.write_text(f"IdentityFile {rsa}\nIdentityFile {sshd.folder}/id\n")
    assert whoami(connect(port=bastion.port, key=None, ssh_config=config)) == "root"


@pytest.mark.parametrize("bastion", ["PubkeyAuthentication no\nPasswordAuthentication yes"], indirect=True)
def test_a_server_that_takes_no_keys_is_told_after_the_first(
    connect: Connect, sshd: Sshd, bastion: Sshd, known_hosts: Path, tmp_path: Path
) -> None:
    record(known_hosts, bastion)
    config = tmp_path / "ssh_config"
    config.write_text(f"IdentityFile {new_key(tmp_path / 'second')}\n")
    with pytest.raises(AuthenticationFailed, match="does not let us in: it takes only password") as caught:
        connect(port=bastion.port, ssh_config=config)
    assert caught.value.tried == str(sshd.folder / "id")


@pytest.mark.parametrize("bastion", ["PubkeyAuthentication no\nPasswordAuthentication yes"], indirect=True)
def test_what_a_server_takes_is_told_where_there_is_no_key(connect: Connect, bastion: Sshd, known_hosts: Path) -> None:
    record(known_hosts, bastion)
    with pytest.raises(AuthenticationFailed) as caught:
        connect(port=bastion.port, key=None)
    assert caught.value.what.endswith("there is no key to offer, and it takes only password")


class Open(paramiko.ServerInterface):
    """A server that lets everybody in, as one does that knows the network."""

    def check_auth_none(self, username: str) -> int:
        return paramiko.AUTH_SUCCESSFUL

    def get_allowed_auths(self, username: str) -> str:
        return "none"


def test_a_server_that_asks_for_no_key_needs_none(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            transport = paramiko.Transport(server.accept()[0])
            transport.add_server_key(paramiko.Ed25519Key.from_private_key_file(str(new_key(tmp_path / "host_key"))))
            transport.start_server(server=Open())

        threading.Thread(target=serve, daemon=True).start()
        target = Target("m1", "127.0.0.1", port=server.getsockname()[1], known_hosts=tmp_path / "known_hosts")
        dialer = new_dialer(target, accept_new_host_keys=True, secrets=Secrets(None), timeout=5)
        connection = dialer.dial(target)
        assert connection.transport.is_authenticated()
        connection.close()


# sudo


def test_sudo_without_password_needs_no_answer(connect: Connect, sshd: Sshd) -> None:
    sshd.sudo("free")
    ask = Asked()
    assert whoami(connect(become="sudo", ask=ask)) == "root"
    assert ask.prompts == []


def test_a_sudo_password_is_asked_once_and_never_seen(connect: Connect, sshd: Sshd, tmp_path: Path) -> None:
    sshd.sudo("hunter2")
    ask = Asked(sudo="hunter2")
    machine = connect(become="sudo", ask=ask)
    seen = machine.run(
        "cat /proc/*/cmdline /proc/*/environ 2>/dev/null | tr '\\0' '\\n' | grep -c '[h]unter2' || :",
        timeout=10,
        what="look for it",
    )
    assert seen.text == "0"
    assert machine.stream([b"one", b"two"], "cat", what="stream").stdout == b"onetwo"
    machine.reconnect()
    assert whoami(machine) == "root"
    assert ask.prompts == ["sudo password of root"]


@pytest.mark.parametrize(
    ("mode", "answer", "said"),
    [
        ("hunter2", "", "sudo asks root for a password, and none was given"),
        ("hunter2", "hunter3", "sudo did not take the password of root"),
        ("stranger", "", "root cannot become root"),
    ],
)
def test_sudo_that_refuses_is_told(connect: Connect, sshd: Sshd, mode: str, answer: str, said: str) -> None:
    sshd.sudo(mode)
    with pytest.raises(SudoRefused, match=f"m1: {said}") as caught:
        connect(become="sudo", ask=Asked(sudo=answer))
    assert "hunter" not in str(caught.value)
    assert caught.value.hint


def test_a_sudo_that_asks_in_other_words_is_given_a_password(connect: Connect, sshd: Sshd) -> None:
    sshd.sudo("hunter2")
    sudo = sshd.folder / "bin" / "sudo"
    before = sudo.read_text()
    # sudo-rs
    other = before.replace("sudo: a password is required", "sudo: interactive authentication is required")
    sudo.write_text(other.replace('printf %s "$prompt"', 'printf "[sudo: %s] Password: " "$prompt"'))
    ask = Asked(sudo="hunter2")
    try:
        assert whoami(connect(become="sudo", ask=ask)) == "root"
    finally:
        sudo.write_text(before)
    assert ask.prompts == ["sudo password of root"]


CLOUD_IMAGE = (
    """command="echo 'Please login as the user \\"ubuntu\\" rather than the user \\"root\\".';echo;exit 142" """
)


@pytest.mark.parametrize(
    ("option", "what", "hint"),
    [
        (
            CLOUD_IMAGE,
            'root logs in, but gets no shell there: Please login as the user "ubuntu" rather than the user "root".',
            "name that user in the inventory: ssh: {user: ubuntu}",
        ),
        (
            'command="echo This account is currently not available.; exit 1" ',
            "root logs in, but gets no shell there: This account is currently not available.",
            "look at the login shell of root",
        ),
        (
            'command="echo WARNING: Your password has expired. >&2; exit 1" ',
            "root logs in, but gets no shell there: WARNING: Your password has expired.",
            "look at the login shell of root",
        ),
        ('command="exit 0" ', "root logs in, but gets no shell there: it printed nothing", "look at the login shell"),
    ],
)
def test_an_account_without_a_shell_says_what_the_server_printed(
    connect: Connect, sshd: Sshd, tmp_path: Path, option: str, what: str, hint: str
) -> None:
    key = new_key(tmp_path / "forced")
    accepted = sshd.folder / "authorized_keys"
    before = accepted.read_text()
    accepted.write_text(f"{before}{option}{key.with_suffix('.pub').read_text()}")
    try:
        with pytest.raises(AuthenticationFailed) as caught:
            connect(key=key, become=None)
    finally:
        accepted.write_text(before)
    assert caught.value.what == what
    assert caught.value.hint and caught.value.hint.startswith(hint)


def test_a_machine_without_sudo_is_told(connect: Connect, sshd: Sshd) -> None:
    hidden = (sshd.folder / "bin" / "sudo").rename(sshd.folder / "sudo")
    try:
        with pytest.raises(SudoRefused, match="there is no sudo"):
            connect(become="sudo")
    finally:
        hidden.rename(sshd.folder / "bin" / "sudo")


def test_root_needs_no_sudo(connect: Connect, sshd: Sshd) -> None:
    sshd.sudo("stranger")
    assert whoami(connect(become=None)) == "root"


# beyond the shell


def test_a_forwarded_connection_carries_both_ways(connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def echo() -> None:
            line, _ = server.accept()
            with line:
                line.sendall(line.recv(100).upper())

        thread = threading.Thread(target=echo)
        thread.start()
        channel = connect().forward("127.0.0.1", server.getsockname()[1])
        channel.sendall(b"hello")
        assert channel.recv(100) == b"HELLO"
        thread.join()


def test_a_forwarded_connection_to_nothing_is_told(connect: Connect) -> None:
    with pytest.raises(Unreachable, match=r"cannot reach 127\.0\.0\.1:1 from there"):
        connect().forward("127.0.0.1", 1)


def test_bulk_data_is_encrypted_with_the_fast_cipher(connect: Connect) -> None:
    assert connect()._connection.transport.local_cipher == "aes128-gcm@openssh.com"


def test_noise_of_a_login_script_is_no_answer(connect: Connect, sshd: Sshd) -> None:
    sshd.sudo("free")
    sudo = sshd.folder / "bin" / "sudo"
    quiet = sudo.read_text()
    sudo.write_text(quiet.replace("mode=", "echo Welcome; echo 'lecture' >&2\nmode=", 1))
    try:
        assert whoami(connect(become="sudo")) == "root"
    finally:
        sudo.write_text(quiet)


def test_a_stream_that_is_cut_off_is_a_lost_connection(connect: Connect, sshd: Sshd) -> None:
    machine = connect()

    def chunks() -> Iterator[bytes]:
        yield bytes(1 << 20)
        sshd.drop_all()
        yield from (bytes(1 << 20) for _ in range(20))

    with pytest.raises(Unreachable, match="m1: the connection was lost during: upload"):
        machine.stream(chunks(), "cat >/dev/null; sleep 5", what="upload")


def test_a_killed_command_is_no_lost_connection(connect: Connect) -> None:
    with pytest.raises(CommandFailed, match="upload: killed by a signal"):
        connect().stream([b"x"], "kill -9 $$", what="upload")


# elsewhere than on Linux


def test_a_computer_without_linuxs_socket_options_connects_too(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(socket, "TCP_QUICKACK")
    monkeypatch.delattr(socket, "TCP_USER_TIMEOUT")
    assert whoami(connect()) == "root"


# a machine that never stops talking


@pytest.mark.parametrize("stream", ["1", "2"])
def test_a_command_that_takes_data_and_never_stops_talking_is_ended(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, stream: str
) -> None:
    monkeypatch.setattr(model, "MOST_OUTPUT", 4 << 20)
    machine = connect()
    with pytest.raises(OutputTooLarge) as caught:
        machine.stream([b"data"], f"cat >/dev/null; yes >&{stream}", what="unpack")
    assert (caught.value.machine, caught.value.what) == ("m1", "unpack: more than 4 MiB of output")
    # The connection itself still serves.
    assert whoami(machine) == "root"
