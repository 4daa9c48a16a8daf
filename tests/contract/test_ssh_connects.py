"""Where ssh itself logs in, hardway does, and where ssh does not, hardway does not: for real, with the same file."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Asked, Sshd, certify, new_key

from hardway.errors import MachineError
from hardway.remote import Fleet

pytestmark = pytest.mark.contract

RELAY = """#!{python}
import os, select, socket, sys
line = socket.create_connection((sys.argv[1], int(sys.argv[2])))
while True:
    for ready in select.select([0, line], [], [])[0]:
        data = os.read(0, 65536) if ready == 0 else line.recv(65536)
        if not data:
            raise SystemExit
        line.sendall(data) if ready == 0 else os.write(1, data)
"""

HERE = "HostName 127.0.0.1\nPort {port}\nIdentityFile {folder}/id\nUserKnownHostsFile {folder}/known\n"

CASES = {
    "a key": (HERE, True),
    "no key": ("HostName 127.0.0.1\nPort {port}\nIdentityFile none\nUserKnownHostsFile {folder}/known\n", False),
    "match final": (f"{HERE}Match final all\nUser root\n", True),
    "known under the alias": (HERE.replace("known", "known-alias") + "HostKeyAlias lab\n", True),
    "known under another name": (HERE.replace("known", "known-alias"), False),
    "known without the port": (HERE.replace("known", "known-plain"), True),
    "known by the address in the file's name": (HERE.replace("known", "%h-known"), True),
    "another key is known": (HERE.replace("known", "other-known"), False),
    "known by a command": (HERE.replace("known", "none") + "KnownHostsCommand /bin/cat {folder}/known\n", True),
    "a command for host keys that fails": (HERE + "KnownHostsCommand /bin/false\n", False),
    "a revoked key": (HERE + "RevokedHostKeys {folder}/revoked\n", False),
    "another revoked key": (HERE + "RevokedHostKeys {folder}/other.pub\n", True),
    "a list of revoked keys that is not there": (HERE + "RevokedHostKeys {folder}/nothing\n", False),
    "a key's path with tokens": (HERE.replace("{folder}/id", "{folder}/keys/%r-%n-%p"), True),
    "a key's path with a variable": (HERE.replace("{folder}/id", "${{MY_KEYS}}/id"), True),
    "a key's path with a shell's variable": (HERE.replace("{folder}/id", "$MY_KEYS/id"), False),
    "an agent": (HERE.replace("{folder}/id", "none") + "IdentityAgent {folder}/agent\n", True),
    "an agent by a variable": (HERE.replace("{folder}/id", "none") + "IdentityAgent $MY_AGENT\n", True),
    "no agent": (HERE.replace("{folder}/id", "none") + "IdentityAgent none\n", False),
    "a public half and an agent": (
        HERE.replace("{folder}/id", "{folder}/public/id.pub") + "IdentitiesOnly yes\nIdentityAgent {folder}/agent\n",
        True,
    ),
    "a stranger's public half and an agent": (
        HERE.replace("{folder}/id", "{folder}/other.pub") + "IdentitiesOnly yes\nIdentityAgent {folder}/agent\n",
        False,
    ),
    "a certificate": (HERE.replace("/id", "/other") + "CertificateFile {folder}/other-cert.pub\n", True),
    "the certificate beside a key": (HERE.replace("/id", "/other"), True),
    "a certificate for somebody else": (
        HERE.replace("/id", "/third") + "CertificateFile {folder}/third-cert.pub\n",
        False,
    ),
    "a command": (HERE + "ProxyCommand {folder}/relay %h %p\n", True),
    "a command with variables": (HERE + "ProxyCommand $MY_KEYS/relay 127.0.0.1 ${{MY_PORT}}\n", True),
    "a command that fails": (HERE + "ProxyCommand false\n", False),
    "a jump host": (HERE + "ProxyJump jump\nHost jump\n" + HERE.replace("127.0.0.1", "localhost"), True),
    "a jump host that is not known": (
        HERE + "ProxyJump jump\nHost jump\n" + HERE.replace("127.0.0.1", "localhost").replace("known", "known-alias"),
        False,
    ),
    "a key that is not there first": (
        HERE.replace("IdentityFile", "IdentityFile {folder}/nothing\nIdentityFile"),
        True,
    ),
}


@pytest.fixture
def folder(sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Keys, an agent that holds the server's, certificates, known_hosts files and a relay."""
    folder = tmp_path / "files"
    for name in ("keys", "public"):
        (folder / name).mkdir(parents=True)
    shutil.copy(sshd.folder / "id", folder)
    shutil.copy(sshd.folder / "id.pub", folder / "public")
    shutil.copy(sshd.folder / "id", folder / "keys" / f"root-web-{sshd.port}")
    key = " ".join((sshd.folder / "host_key.pub").read_text().split()[:2])
    other = " ".join(new_key(folder / "other").with_suffix(".pub").read_text().split()[:2])
    known = f"[127.0.0.1]:{sshd.port},[localhost]:{sshd.port}"
    for name, line in {
        "known": f"{known} {key}", "127.0.0.1-known": f"{known} {key}", "known-alias": f"lab {key}",
        "known-plain": f"127.0.0.1 {key}", "other-known": f"{known} {other}", "revoked": key,
    }.items():  # fmt: skip
        (folder / name).write_text(f"{line}\n")
    (folder / "relay").write_text(RELAY.format(python=sys.executable))
    (folder / "relay").chmod(0o755)
    authority = new_key(folder / "authority")
    certify(authority, folder / "other.pub", "root", "-z", "1")
    certify(authority, new_key(folder / "third").with_suffix(".pub"), "nobody", "-z", "1")
    accepted = sshd.folder / "authorized_keys"
    before = accepted.read_text()
    accepted.write_text(f"{before}cert-authority {authority.with_suffix('.pub').read_text()}")
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", folder / "agent"], stdout=subprocess.PIPE)
    assert agent.stdout
    agent.stdout.readline()
    subprocess.run(["ssh-add", "-q", folder / "id"], env={"SSH_AUTH_SOCK": str(folder / "agent")}, check=True)
    for name, value in {"MY_KEYS": folder, "MY_PORT": sshd.port, "MY_AGENT": folder / "agent"}.items():
        monkeypatch.setenv(name, str(value))
    yield folder
    agent.terminate()
    agent.wait()
    accepted.write_text(before)


@pytest.mark.parametrize("name", CASES)
def test_hardway_logs_in_where_ssh_does(name: str, folder: Path, sshd: Sshd, tmp_path: Path) -> None:
    text, logs_in = CASES[name]
    config = tmp_path / "config"
    config.write_text("Host web\n" + text.format(folder=folder, port=sshd.port))
    argv = ["ssh", "-F", str(config), "-oBatchMode=yes", "-oStrictHostKeyChecking=yes", "web", "id -un"]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, env={**os.environ, "SHELL": "/bin/sh"})
    assert (done.returncode == 0) is logs_in, done.stderr.decode()

    target = replace(
        sshd.target(tmp_path / "none"), host="web", port=None, key=None, ssh_config=config, own_config=False
    )
    with Fleet(accept_new_host_keys=False, ask_secret=Asked(), timeout=5.0) as fleet:
        if logs_in:
            machine = fleet.connect(target)
            assert machine.run("id -un", timeout=5, what="a test").stdout == done.stdout
        else:
            with pytest.raises(MachineError):
                fleet.connect(target)
