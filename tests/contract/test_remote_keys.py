"""Keys as ssh offers them: agents that do not sign, keys of tokens, PKCS#8, certificates, public halves alone."""

import base64
import contextlib
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Asked, Connect, Sshd, certify, new_key

from hardway.errors import AuthenticationFailed, HostKeyError, WorkspaceError
from hardway.remote import Fleet, Machine
from hardway.remote.authentication import server_takes
from hardway.remote.key_files import Unusable, certified, load, public_blob, public_line
from hardway.remote.transport import Transport

pytestmark = pytest.mark.contract

SK_BLOB = b"\0\0\0\x1ask-ssh-ed25519@openssh.com" + b"\0\0\0\x20" + bytes(range(32)) + b"\0\0\0\x04ssh:"


def whoami(machine: Machine) -> str:
    return machine.run("id -un", timeout=5, what="a test").text


def blob_of(public: Path) -> bytes:
    return base64.b64decode(public.read_text().split()[1])


@contextlib.contextmanager
def refusing_agent(path: Path, *blobs: bytes, after: float = 0) -> Iterator[list[bytes]]:
    """An agent that lists these keys and signs with none, `after` seconds; what it was asked to sign with."""
    asked: list[bytes] = []

    def answer(line: socket.socket) -> None:
        with line:
            while size := line.recv(4):
                request = line.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL)
                if request[0] == 11:
                    body = b"\x0c" + len(blobs).to_bytes(4, "big")
                    for blob in blobs:
                        body += len(blob).to_bytes(4, "big") + blob + b"\0\0\0\x05token"
                else:
                    asked.append(request[5 : 5 + int.from_bytes(request[1:5], "big")])
                    threading.Event().wait(after)
                    body = b"\x05"
                line.sendall(len(body).to_bytes(4, "big") + body)

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=answer, args=(server.accept()[0],), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield asked


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Callable[[Path], Path]]:
    """Loads keys into a real agent, and gives its socket."""
    path = tmp_path / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.PIPE)
    assert process.stdout
    process.stdout.readline()

    def add(key: Path) -> Path:
        subprocess.run(["ssh-add", "-q", str(key)], env={"SSH_AUTH_SOCK": str(path)}, check=True)
        return path

    yield add
    process.terminate()
    process.wait()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "ssh_config"


# agents


@pytest.mark.parametrize("kind", ["token", "confirmed"])
def test_a_key_that_the_agent_does_not_sign_with_leaves_the_next_one(
    connect: Connect, sshd: Sshd, tmp_path: Path, config: Path, kind: str
) -> None:
    other = new_key(tmp_path / "other")
    blob = SK_BLOB if kind == "token" else blob_of(other.with_suffix(".pub"))
    config.write_text(f"IdentityAgent {tmp_path}/refusing\nIdentityFile {sshd.folder}/id\n")
    with refusing_agent(tmp_path / "refusing", blob) as asked:
        assert whoami(connect(key=None, ssh_config=config)) == "root"
    assert asked == [blob]


def test_a_key_whose_use_is_denied_leaves_the_next_one(
    connect: Connect, sshd: Sshd, tmp_path: Path, config: Path
) -> None:
    """`ssh-add -c`, and a user who says no."""
    path = tmp_path / "denying"
    surroundings = {**os.environ, "SSH_ASKPASS": "/bin/false", "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":0"}
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", path], env=surroundings, stdout=subprocess.PIPE)
    assert agent.stdout
    agent.stdout.readline()
    second = new_key(tmp_path / "second")
    subprocess.run(["ssh-add", "-q", "-c", sshd.folder / "id"], env={"SSH_AUTH_SOCK": str(path)}, check=True)
    config.write_text(f"IdentityAgent {path}\nIdentityFile {second}\n")
    accepted = sshd.folder / "authorized_keys"
    before = accepted.read_text()
    accepted.write_text(before + second.with_suffix(".pub").read_text())
    try:
        assert whoami(connect(key=None, ssh_config=config)) == "root"
    finally:
        accepted.write_text(before)
        agent.terminate()
        agent.wait()


def test_an_agent_may_ask_its_user_longer_than_a_machine_may_be_silent(
    sshd: Sshd, known_hosts: Path, tmp_path: Path, config: Path
) -> None:
    config.write_text(f"IdentityAgent {tmp_path}/refusing\nIdentityFile {sshd.folder}/id\n")
    target = replace(sshd.target(known_hosts), key=None, ssh_config=config)
    with (
        refusing_agent(tmp_path / "refusing", SK_BLOB, after=3),
        Fleet(accept_new_host_keys=False, ask_secret=Asked(), timeout=2) as fleet,
    ):
        assert whoami(fleet.connect(target)) == "root"


def test_keys_that_cannot_sign_are_told_from_refused_ones(connect: Connect, tmp_path: Path, config: Path) -> None:
    config.write_text(f"IdentityAgent {tmp_path}/refusing\n")
    with (
        refusing_agent(tmp_path / "refusing", SK_BLOB),
        pytest.raises(AuthenticationFailed, match="none of the keys can be used") as caught,
    ):
        connect(key=None, ssh_config=config)
    assert caught.value.tried == "agent key token (the agent did not sign with it)"


@pytest.mark.parametrize("written", ["{agent}", '"{agent}"', "$MY_AGENT", "${{MY_AGENT}}"])
def test_the_agent_that_ssh_config_names_is_used(
    connect: Connect,
    sshd: Sshd,
    agent: Callable[[Path], Path],
    config: Path,
    written: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    socket_path = agent(sshd.folder / "id")
    monkeypatch.setenv("MY_AGENT", str(socket_path))
    config.write_text(f"IdentityAgent {written.format(agent=socket_path)}\n")
    assert whoami(connect(key=None, ssh_config=config)) == "root"


def test_a_public_half_names_the_agents_key_with_identities_only(
    connect: Connect, sshd: Sshd, agent: Callable[[Path], Path], tmp_path: Path, config: Path
) -> None:
    for number in range(7):
        agent(new_key(tmp_path / f"stranger-{number}"))
    shutil.copy(sshd.folder / "id.pub", tmp_path / "mine.pub")
    config.write_text(
        f"IdentityAgent {agent(sshd.folder / 'id')}\nIdentitiesOnly yes\nIdentityFile {tmp_path}/mine.pub\n"
    )
    assert whoami(connect(key=None, ssh_config=config)) == "root"


def test_a_public_half_that_no_agent_holds_is_told(connect: Connect, sshd: Sshd, config: Path) -> None:
    config.write_text(f"IdentityFile {sshd.folder}/id.pub\n")
    with pytest.raises(AuthenticationFailed, match="none of the keys can be used") as caught:
        connect(key=None, ssh_config=config)
    assert "id.pub (only the public half, and the agent does not hold the key)" in str(caught.value.tried)


# files


def pkcs8(folder: Path, kind: str) -> Path:
    key = folder / f"{kind}-key"
    generate = {"rsa": ["RSA", "-pkeyopt", "rsa_keygen_bits:2048"], "ec": ["EC", "-pkeyopt", "ec_paramgen_curve:P-256"]}
    argv = ["openssl", "genpkey", "-algorithm", *generate.get(kind, ["ed25519"]), "-out", str(key)]
    subprocess.run(argv, check=True, capture_output=True)
    assert key.read_text().startswith("-----BEGIN PRIVATE KEY-----")
    return key


@pytest.mark.parametrize("kind", ["rsa", "ec", "ed25519"])
def test_a_pkcs8_key_is_read(connect: Connect, sshd: Sshd, tmp_path: Path, kind: str) -> None:
    key = pkcs8(tmp_path, kind)
    loaded = load(key)
    accepted = sshd.folder / "authorized_keys"
    before = accepted.read_text()
    accepted.write_text(f"{before}{loaded.get_name()} {loaded.get_base64()}\n")
    try:
        assert whoami(connect(key=key)) == "root"
    finally:
        accepted.write_text(before)


def test_an_encrypted_pkcs8_key_is_asked_for_its_passphrase(connect: Connect, sshd: Sshd, tmp_path: Path) -> None:
    key, locked = pkcs8(tmp_path, "rsa"), tmp_path / "locked"
    argv = ["openssl", "pkcs8", "-topk8", "-in", str(key), "-out", str(locked), "-passout", "pass:open sesame"]
    subprocess.run(argv, check=True, capture_output=True)
    assert locked.read_text().startswith("-----BEGIN ENCRYPTED PRIVATE KEY-----")
    loaded = load(key)
    accepted = sshd.folder / "authorized_keys"
    before = accepted.read_text()
    accepted.write_text(f"{before}{loaded.get_name()} {loaded.get_base64()}\n")
    ask = Asked(passphrase="open sesame")
    try:
        assert whoami(connect(key=locked, ask=ask)) == "root"
    finally:
        accepted.write_text(before)
    assert ask.prompts == [f"passphrase of {locked}"]


def token_key(path: Path) -> Path:
    """The file that ssh-keygen -t ed25519-sk leaves: made here by its format, since there is no token."""

    def string(data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + data

    private = b"\0\0\0\1\0\0\0\1" + SK_BLOB + b"\x01" + string(b"handle") + string(b"") + string(b"note")
    private += bytes(range(1, 9 - len(private) % 8)) if len(private) % 8 else b""
    body = b"openssh-key-v1\0" + string(b"none") + string(b"none") + string(b"") + b"\0\0\0\1"
    body += string(SK_BLOB) + string(private)
    encoded = base64.encodebytes(body).decode()
    path.write_text(f"-----BEGIN OPENSSH PRIVATE KEY-----\n{encoded}-----END OPENSSH PRIVATE KEY-----\n")
    return path


def test_a_key_file_of_a_token_leaves_the_next_one(connect: Connect, sshd: Sshd, tmp_path: Path, config: Path) -> None:
    token = token_key(tmp_path / "id_ed25519_sk")
    config.write_text(f"IdentityFile {token}\nIdentityFile {sshd.folder}/id\n")
    assert whoami(connect(key=None, ssh_config=config)) == "root"
    with pytest.raises(AuthenticationFailed) as caught:
        connect(key=token)
    assert f"{token} (a key of a security token" in str(caught.value.tried)
    assert public_blob(token) == SK_BLOB


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.mkdir(), "it cannot be read: Is a directory"),
        (lambda path: path.write_text("nonsense"), "not a private key that can be read"),
    ],
)
def test_a_key_file_that_cannot_be_read_was_not_refused_by_the_machine(
    connect: Connect, tmp_path: Path, make: Callable[[Path], object], said: str
) -> None:
    key = tmp_path / "key"
    make(key)
    with pytest.raises(AuthenticationFailed, match="none of the keys can be used") as caught:
        connect(key=key)
    assert caught.value.tried == f"{key} ({said})"


def test_nothing_to_offer_is_told_as_that(connect: Connect) -> None:
    with pytest.raises(AuthenticationFailed, match="there is no key to offer") as caught:
        connect(key=None)
    assert caught.value.tried is None


@pytest.mark.parametrize("kind", ["ed25519", "rsa", "ecdsa"])
def test_the_public_half_is_found_without_a_passphrase(tmp_path: Path, kind: str) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "open sesame", "-f", key], check=True)
    public = key.with_suffix(".pub")
    blob = blob_of(public)
    assert public_line(public) == blob
    assert public_blob(key) == blob
    public.unlink()
    assert public_blob(key) == blob
    with pytest.raises(Unusable, match="the passphrase is wrong"):
        load(key, "wrong")
    assert load(key, "open sesame").asbytes() == blob


@pytest.mark.parametrize(
    ("kind", "algorithms", "answer"),
    [
        ("rsa", b"", True),
        ("rsa", b"ssh-ed25519,rsa-sha2-512", True),
        ("rsa", b"ssh-ed25519,ssh-rsa", False),
        ("ed25519", b"rsa-sha2-512", True),
    ],
)
def test_an_rsa_key_is_kept_from_a_server_that_says_it_takes_none(
    tmp_path: Path, kind: str, algorithms: bytes, answer: bool
) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", tmp_path / "key"], check=True)
    near, far = socket.socketpair()
    with near, far:
        transport = Transport(near)
        transport.server_extensions = {"server-sig-algs": algorithms}  # type: ignore[attr-defined]
        assert server_takes(transport, load(tmp_path / "key")) is answer


# certificates


@pytest.fixture
def certificates(sshd: Sshd, tmp_path: Path) -> Iterator[Path]:
    """An authority whose certificates the server takes for root."""
    authority = new_key(tmp_path / "authority")
    accepted = sshd.folder / "authorized_keys"
    before = accepted.read_text()
    accepted.write_text(f"{before}cert-authority {authority.with_suffix('.pub').read_text()}")
    yield authority
    accepted.write_text(before)


@pytest.mark.parametrize("way", ["named", "beside", "agent", "agent-public-half"])
def test_a_certificate_is_offered_for_its_key(
    connect: Connect,
    certificates: Path,
    agent: Callable[[Path], Path],
    tmp_path: Path,
    config: Path,
    way: str,
) -> None:
    key = new_key(tmp_path / "key")
    certificate = certify(certificates, key.with_suffix(".pub"), "root", "-z", "1")
    elsewhere = tmp_path / "elsewhere.pub"
    if way in ("named", "agent-public-half"):
        certificate.rename(elsewhere)
    identity = f"IdentityFile {key}\n"
    if way.startswith("agent"):
        identity = f"IdentityAgent {agent(key)}\n"
    if way == "agent-public-half":
        identity += f"IdentitiesOnly yes\nIdentityFile {key}.pub\n"
        key.unlink()
    config.write_text(f"{identity}CertificateFile {elsewhere}\n")
    assert whoami(connect(key=None, ssh_config=config)) == "root"


@pytest.mark.parametrize("kind", ["ed25519", "rsa", "ecdsa"])
def test_the_key_of_a_certificate_is_known(tmp_path: Path, kind: str) -> None:
    authority = new_key(tmp_path / "authority")
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", key], check=True)
    certificate = certify(authority, key.with_suffix(".pub"), "root", "-z", "1")
    assert certified(public_line(certificate)) == blob_of(key.with_suffix(".pub"))
    assert certified(blob_of(key.with_suffix(".pub"))) == b""


# host keys


@pytest.mark.parametrize(
    "written",
    [
        "UserKnownHostsFile {folder}/%h",
        "UserKnownHostsFile ~/.ssh/x/%h",
        "UserKnownHostsFile ${{HOME}}/.ssh/x/%h",
        "UserKnownHostsFile %d/.ssh/x/%h /dev/null",
        'UserKnownHostsFile "{folder}/with blank/%h"',
        "GlobalKnownHostsFile {folder}/127.0.0.1",
        "KnownHostsCommand /bin/cat {folder}/127.0.0.1",
    ],
)
def test_a_changed_key_is_refused_wherever_ssh_config_has_the_known_one(
    connect: Connect,
    sshd: Sshd,
    known_hosts: Path,
    no_habits_of_the_user: Path,
    tmp_path: Path,
    config: Path,
    written: str,
) -> None:
    known_hosts.unlink()
    stranger = new_key(tmp_path / "stranger").with_suffix(".pub").read_text()
    folder = no_habits_of_the_user / ".ssh" / "x"
    for place in (folder, folder / "with blank"):
        place.mkdir()
        (place / "127.0.0.1").write_text(f"[127.0.0.1]:{sshd.port} {stranger}")
    config.write_text(written.format(folder=folder) + "\n")
    with pytest.raises(HostKeyError, match="is not the one that is known"):
        connect(ssh_config=config, accept=True)
    assert not known_hosts.exists()


def test_a_command_that_knows_the_host_key_is_believed(
    connect: Connect, known_hosts: Path, tmp_path: Path, config: Path
) -> None:
    known = known_hosts.rename(tmp_path / "known")
    program = tmp_path / "known-hosts"
    program.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/asked\ncat {known}\n')
    program.chmod(0o755)
    config.write_text(f"KnownHostsCommand {program} %I %H %t\n")
    assert whoami(connect(ssh_config=config)) == "root"
    name = known.read_text().split()[0]
    assert (tmp_path / "asked").read_text().splitlines() == [f"ORDER {name} NONE", f"HOSTNAME {name} ssh-ed25519"]


@pytest.mark.parametrize("source", ["user's file", "command"])
def test_a_key_that_any_source_revokes_is_refused(
    connect: Connect, sshd: Sshd, known_hosts: Path, no_habits_of_the_user: Path, config: Path, source: str
) -> None:
    own = no_habits_of_the_user / ".ssh" / ("known_hosts" if source == "user's file" else "revoked")
    own.write_text(f"@revoked * {(sshd.folder / 'host_key.pub').read_text()}")
    config.write_text("" if source == "user's file" else f"KnownHostsCommand /bin/cat {own}\n")
    with pytest.raises(HostKeyError, match="is revoked"):
        connect(ssh_config=config)


@pytest.mark.parametrize("kind", ["list", "KRL", "another's list", "another's KRL", "absent"])
def test_a_key_on_the_list_of_revoked_ones_is_refused(
    connect: Connect, sshd: Sshd, tmp_path: Path, config: Path, kind: str
) -> None:
    public, revoked = sshd.folder / "host_key.pub", tmp_path / "revoked"
    if kind.startswith("another's"):
        public = new_key(tmp_path / "other").with_suffix(".pub")
    if kind.endswith("list"):
        shutil.copy(public, revoked)
    elif kind != "absent":
        subprocess.run(["ssh-keygen", "-q", "-k", "-f", revoked, public], check=True)
    config.write_text(f"RevokedHostKeys {revoked}\n")
    if kind.startswith("another's"):
        assert whoami(connect(ssh_config=config)) == "root"
        return
    with pytest.raises(
        HostKeyError, match="is good cannot be found out: No such file" if kind == "absent" else "is revoked"
    ):
        connect(ssh_config=config, accept=True)


def test_a_command_that_fails_lets_no_host_key_pass(connect: Connect, known_hosts: Path, config: Path) -> None:
    known_hosts.unlink()
    config.write_text("KnownHostsCommand /bin/sh -c 'echo no database >&2; exit 1'\n")
    with pytest.raises(HostKeyError, match="KnownHostsCommand failed, so no host key can be checked: no database"):
        connect(ssh_config=config, accept=True)


def test_a_folder_of_ours_that_cannot_be_written_is_no_fault_of_the_machine(
    connect: Connect, known_hosts: Path
) -> None:
    known_hosts.unlink()
    known_hosts.parent.rmdir()
    known_hosts.parent.write_text("a file")
    with pytest.raises(WorkspaceError, match=r"cannot be recorded: (File exists|Not a directory)"):
        connect(accept=True, ask=Asked())
