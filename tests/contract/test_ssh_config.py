"""Where OpenSSH lands and where hardway lands, by the same ssh_config files.

Each case is a file, what is dialled, and where that leads; `ssh -G` is asked beside hardway, so a case that is wrong
about OpenSSH fails as well. A case without an expectation leads where the installed ssh says.
"""

import os
import pwd
import shlex
import subprocess
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from hardway.errors import UsageError
from hardway.remote import Target
from hardway.remote.ssh_config import Hop, SshConfig

pytestmark = pytest.mark.contract

ME = "root" if os.geteuid() == 0 else os.environ.get("USER", "")


@dataclass(frozen=True)
class Case:
    """`text` is the file ({folder}: where `files` are); `says` are the fields of the last hop that are looked at."""

    text: str
    lands: str | None = None
    host: str = "k1"
    target: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    says: dict[str, Any] = field(default_factory=dict)
    fails: bool = False


def block(text: str, host: str = "k1") -> str:
    return f"Host {host}\n" + "".join(f"  {line}\n" for line in text.splitlines())


DIRECT = f"{ME}@k1:22"
OPS = "ops@192.0.2.7:2222"
LEADS = block("HostName 192.0.2.7\nPort 2222\nUser ops")

CASES = {
    # what is written, and how
    "nothing": Case("", DIRECT),
    "a block": Case(LEADS, OPS),
    "another block": Case(block("Port 2222", "k2"), DIRECT),
    "before any block": Case("User ops\n", "ops@k1:22"),
    "the first value counts": Case(f"Host k1\n  User first\n{LEADS}", "first@192.0.2.7:2222"),
    "defaults at the end": Case(f"{LEADS}Host *\n  User other\n  Port 1\n", OPS),
    "defaults at the beginning": Case(f"Host *\n  User other\n{LEADS}", "other@192.0.2.7:2222"),
    "several patterns": Case(block("Port 2222", "k0 k? m*"), f"{ME}@k1:2222"),
    "a pattern taken back": Case(block("Port 2222", "k* !k1"), DIRECT),
    "only a pattern taken back": Case(block("Port 2222", "!k2"), DIRECT),
    "an address by its pattern": Case(block("User ops", "10.0.8.*"), "ops@10.0.8.10:22", host="10.0.8.10"),
    "an IPv6 address": Case(block("User ops", "2001:db8::*"), "ops@2001:db8::7:22", host="2001:db8::7"),
    "a name in capitals": Case(block("User ops", "k1"), None, host="K1"),
    "equals signs": Case("Host=k1\nPort=2222\nUser = ops\n", "ops@k1:2222"),
    "quotes": Case('Host "k1"\n  User "ops"\n  HostName "192.0.2.7"\n', "ops@192.0.2.7:22"),
    "keywords in any case": Case("HOST k1\n\tPORT 2222\n\tuSeR ops\n", "ops@k1:2222"),
    "Windows line ends": Case(LEADS.replace("\n", "\r\n"), OPS),
    "blanks at the ends": Case(LEADS.replace("\n", " \t\n"), OPS),
    "no line end at the end": Case(LEADS.rstrip("\n"), OPS),
    "comments at line ends": Case(block("Port 2222 # not 22\nUser ops # not root"), "ops@k1:2222"),
    "comment lines": Case(f"# Host k1\n   # Port 1\n{LEADS}", OPS),
    "a comment in Latin-1": Case(f"# R\udce4uber\n{LEADS}", OPS),
    "a byte order mark": Case("\ufeffHost k1\n  Port 2222\n", fails=True),
    "an unknown keyword": Case("Bogus yes\n", fails=True),
    "an unknown keyword that is to be ignored": Case(f"IgnoreUnknown Bogus,UseKeychain\nBogus yes\n{LEADS}", OPS),
    "a keyword of macOS": Case("UseKeychain yes\n", fails=True),
    "a keyword that is no more": Case(f"UsePrivilegedPort no\nProtocol 2\n{LEADS}", OPS),
    "a keyword without a value": Case("Host k1\n  Port\n", fails=True),
    "a quote that does not end": Case('Host "k1\n', fails=True),
    "much that is not about the way": Case(f"ServerAliveInterval 5\nSendEnv LANG LC_*\nCompression yes\n{LEADS}", OPS),
    # ports and users
    "a port by its service": Case(block("Port ssh"), f"{ME}@k1:22"),
    "a port that is none": Case(block("Port 0"), fails=True),
    "a port by an unknown service": Case(block("Port nonsense"), fails=True),
    "a port of the inventory": Case(LEADS, "ops@192.0.2.7:22", target={"port": 22}),
    "a user of the inventory": Case(LEADS, "root@192.0.2.7:2222", target={"user": "root"}),
    # Match
    "match final all": Case(f"{LEADS}Match final all\n  User other\n", OPS),
    "match final all, as Red Hat has it": Case(
        f"{LEADS}Include {{folder}}/*.conf\n",
        OPS,
        files={
            "50-redhat.conf": "Match final all\n\tInclude {folder}/openssh.config\n\tForwardX11Trusted yes\n",
            "openssh.config": "Ciphers aes256-gcm@openssh.com\nUser other\n",
        },
    ),
    "match final host": Case(
        "Match final host 192.0.2.7\n  User ops\nHost k1\n  HostName 192.0.2.7\n", "ops@192.0.2.7:22"
    ),
    "match all": Case("Match all\n  User ops\n", "ops@k1:22"),
    "match host": Case("Match host k1\n  User ops\n", "ops@k1:22"),
    "match host after HostName": Case(
        "Host k1\n  HostName 192.0.2.7\nMatch host 192.0.2.*\n  User ops\n", "ops@192.0.2.7:22"
    ),
    "match host with an equals sign": Case("Match host=k1\n  User ops\n"),
    "match host list": Case("Match host k0,k1,!k2\n  User ops\n", "ops@k1:22"),
    "match not host": Case("Match !host k1\n  User ops\n", DIRECT),
    "match originalhost": Case(
        "Host k1\n  HostName 192.0.2.7\nMatch originalhost k1\n  User ops\n", "ops@192.0.2.7:22"
    ),
    "match user": Case("Match user ops\n  Port 2222\n", "ops@k1:2222", target={"user": "ops"}),
    "match user of a file": Case("User ops\nMatch user ops\n  Port 2222\n", "ops@k1:2222"),
    "match localuser": Case(f"Match localuser {ME}\n  Port 2222\n", f"{ME}@k1:2222"),
    "match another localuser": Case("Match localuser somebody-else\n  Port 2222\n", DIRECT),
    "match exec": Case('Match exec "test %h = k1"\n  Port 2222\n', f"{ME}@k1:2222"),
    "match exec that fails": Case("Match exec false\n  Port 2222\n", DIRECT),
    "match host and exec": Case('Match host k1 exec "true"\n  Port 2222\n', f"{ME}@k1:2222"),
    "match localnetwork": Case("Match localnetwork 203.0.113.0/24\n  Port 2222\n"),
    "match canonical": Case("Match canonical\n  Port 2222\n", DIRECT),
    "match tagged": Case("Tag lab\nMatch tagged lab\n  Port 2222\n"),
    "match nonsense": Case("Match moon full\n  Port 2222\n", fails=True),
    # names
    "a name of a name": Case(block("HostName %h.example.net"), f"{ME}@k1.example.net:22"),
    "canonical names, always": Case(
        "CanonicalizeHostname always\nCanonicalDomains invalid\nHost *\n  User ops\n", "ops@k1:22"
    ),
    "canonical names": Case("CanonicalizeHostname yes\nCanonicalDomains invalid\nUser ops\n", "ops@k1:22"),
    "canonical names or nothing": Case(
        "CanonicalizeHostname yes\nCanonicalDomains invalid\nCanonicalizeFallbackLocal no\n", fails=True
    ),
    "a host key alias": Case(block("HostKeyAlias lab"), DIRECT, says={"known_as": ("lab", 22)}),
    "a host key alias of the inventory": Case(
        block("HostKeyAlias lab"), DIRECT, target={"host_key_alias": "mine"}, says={"known_as": ("mine", 22)}
    ),
    # ways
    "a jump host": Case(block("ProxyJump bastion"), f"{ME}@bastion:22 > {DIRECT}"),
    "jump hosts": Case(
        block("ProxyJump ops@b0:2201,b1") + block("User two", "b1"), f"ops@b0:2201 > two@b1:22 > {DIRECT}"
    ),
    "a jump host by an alias": Case(
        block("ProxyJump b0") + block("HostName 192.0.2.1\nUser hop", "b0"), f"hop@192.0.2.1:22 > {DIRECT}"
    ),
    "a jump host's own jump host": Case(
        block("ProxyJump b1") + block("ProxyJump b0", "b1"), f"{ME}@b0:22 > {ME}@b1:22 > {DIRECT}"
    ),
    "only the first one's own jump host counts": Case(
        block("ProxyJump b1,b2") + block("ProxyJump b0", "b2"), f"{ME}@b1:22 > {ME}@b2:22 > {DIRECT}"
    ),
    "a jump host as a URI": Case(block("ProxyJump ssh://ops@b0:2201"), f"ops@b0:2201 > {DIRECT}"),
    "a jump host by its IPv6 address": Case(
        block("ProxyJump ops@[2001:db8::1]:2201"), f"ops@2001:db8::1:2201 > {DIRECT}"
    ),
    "no jump host": Case("Host k1\n  ProxyJump none\nHost *\n  ProxyJump bastion\n", DIRECT),
    "no jump host by the inventory": Case(block("ProxyJump bastion"), DIRECT, target={"jump": "none"}),
    "a jump host of the inventory": Case(
        block("ProxyJump bastion"), f"ops@b0:2201 > {DIRECT}", target={"jump": "ops@b0:2201"}
    ),
    "a jump host of the inventory over a command": Case(
        block("ProxyCommand nc %h %p"), f"{ME}@b0:22 > {DIRECT}", target={"jump": "b0"}, says={"proxy_command": None}
    ),
    "no jump host by the inventory leaves a command": Case(
        block("ProxyCommand nc %h %p"), DIRECT, target={"jump": "none"}, says={"proxy_command": "nc k1 22"}
    ),
    "a jump host for all": Case("Host *\n  ProxyJump bastion\n  User ops\n", "ops@bastion:22 > ops@k1:22"),
    "a jump host that is none": Case(block("ProxyJump b0:nonsense"), fails=True),
    "a command": Case(block("ProxyCommand nc %h %p"), DIRECT, says={"proxy_command": "nc k1 22"}),
    "a command with all its tokens": Case(
        LEADS + "ProxyCommand relay %n %r@%h:%p 100%%\n",
        OPS,
        says={"proxy_command": "relay k1 ops@192.0.2.7:2222 100%"},
    ),
    "a command with variables": Case(
        block("ProxyCommand ${{HOME}}/relay $HOME"), DIRECT, says={"proxy_command": "${HOME}/relay $HOME"}
    ),
    "no command": Case(
        "Host k1\n  ProxyCommand none\nHost *\n  ProxyCommand nc %h %p\n", DIRECT, says={"proxy_command": None}
    ),
    "no jump host, but a command": Case(
        block("ProxyJump none\nProxyCommand nc %h %p"), DIRECT, says={"proxy_command": "nc k1 22"}
    ),
    "a command before a jump host": Case(
        block("ProxyCommand nc %h %p\nProxyJump bastion"), DIRECT, says={"proxy_command": "nc k1 22"}
    ),
    "a jump host before a command": Case(
        block("ProxyJump bastion\nProxyCommand nc %h %p"), f"{ME}@bastion:22 > {DIRECT}", says={"proxy_command": None}
    ),
    "how it is dialled": Case(
        block("AddressFamily inet\nBindAddress 127.0.0.9\nConnectTimeout 30"),
        DIRECT,
        says={"family": "inet", "bind_address": "127.0.0.9", "connect_seconds": 30.0},
    ),
    "how it is dialled by default": Case(
        "", DIRECT, says={"family": "any", "bind_address": None, "connect_seconds": None}
    ),
    # Include
    "included by its path": Case("Include {folder}/more\n", OPS, files={"more": LEADS}),
    "included with a pattern": Case("Include {folder}/m*\n", OPS, files={"more": LEADS, "other": "Bogus\n"}),
    "included from .ssh": Case("Include part\n", OPS, files={"home/part": LEADS}),
    "included from home": Case("Include ~/.ssh/part\n", OPS, files={"home/part": LEADS}),
    "two included on a line": Case(
        "Include {folder}/a {folder}/b\n", "ops@k1:2222", files={"a": "User ops\n", "b": "Port 2222\n"}
    ),
    "included with blanks in its name": Case('Include "{folder}/a b"\n', OPS, files={"a b": LEADS}),
    "included with an equals sign": Case("Include={folder}/more\n", OPS, files={"more": LEADS}),
    "included in a block": Case(block("Include {folder}/more", "k1"), "ops@k1:22", files={"more": "User ops\n"}),
    "included in a block of another": Case(block("Include {folder}/more", "k2"), DIRECT, files={"more": LEADS}),
    "a block goes on after an Include": Case(
        block("Include {folder}/more\nPort 2222", "k1"), f"{ME}@k1:2222", files={"more": "Host k2\n  User ops\n"}
    ),
    "included by what is included": Case("Include {folder}/a\n", OPS, files={"a": "Include {folder}/b\n", "b": LEADS}),
    "included and not there": Case(f"Include {{folder}}/absent\n{LEADS}", OPS),
    "included for ever": Case("Include {folder}/a\n", files={"a": "Include {folder}/a\n"}, fails=True),
    "an Include with a comment": Case("Include {folder}/more # ours\n", OPS, files={"more": LEADS}),
    # keys, agents, host keys
    "keys": Case(
        block("IdentityFile /keys/%r@%h\nIdentityFile /keys/%%a\nIdentitiesOnly yes"),
        DIRECT,
        says={"identities": (Path(f"/keys/{ME}@k1"), Path("/keys/%a")), "identities_only": True},
    ),
    "keys of home": Case(
        block("IdentityFile ~/.ssh/a\nIdentityFile ${{HOME}}/b\nIdentityFile %d/c"),
        DIRECT,
        says={"identities": (Path("{home}/.ssh/a"), Path("{home}/b"), Path("{home}/c"))},
    ),
    "no keys": Case(block("IdentityFile none"), DIRECT, says={"identities": ()}),
    "certificates": Case(
        block("CertificateFile /keys/%u-cert.pub"), DIRECT, says={"certificates": (Path(f"/keys/{ME}-cert.pub"),)}
    ),
    "no agent": Case(block("IdentityAgent none"), DIRECT, says={"agent": None}),
    "an agent": Case(block("IdentityAgent /run/%r/agent"), DIRECT, says={"agent": Path(f"/run/{ME}/agent")}),
    "an agent by a variable": Case(block("IdentityAgent $MY_AGENT"), DIRECT, says={"agent": Path("/run/mine")}),
    "an agent by a variable in braces": Case(
        block("IdentityAgent ${{MY_AGENT}}.sock"), DIRECT, says={"agent": Path("/run/mine.sock")}
    ),
    "known hosts by name": Case(
        block("UserKnownHostsFile /known/%h /known/%k\nGlobalKnownHostsFile none\nHostKeyAlias lab"),
        DIRECT,
        says={"known_hosts": (Path("/known/k1"), Path("/known/lab"))},
    ),
    "no known hosts": Case(
        block("UserKnownHostsFile none\nGlobalKnownHostsFile /etc/known"),
        DIRECT,
        says={"known_hosts": (Path("/etc/known"),)},
    ),
    "a variable that is not set": Case(block("UserKnownHostsFile ${{NOT_SET_AT_ALL}}/known"), fails=True),
    "a token that there is not": Case(block("UserKnownHostsFile /known/%Q"), fails=True),
    "a command that knows hosts": Case(
        block("KnownHostsCommand /bin/known %H"), DIRECT, says={"known_hosts_command": "/bin/known %H"}
    ),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MY_AGENT", "/run/mine")
    folder = tmp_path / "files"
    folder.mkdir()
    return folder


def written(path: Path, text: str, folder: Path) -> Path:
    path.write_bytes(os.fsencode(text.replace("{folder}", str(folder)).replace("{{", "{").replace("}}", "}")))
    return path


def place(case: Case, folder: Path, home: Path) -> None:
    for name, text in case.files.items():
        if name.startswith("home/"):
            written(home / ".ssh" / name.removeprefix("home/"), text, folder)
        else:
            written(folder / name, text, folder)


def options(case: Case) -> list[str]:
    """What of the inventory somebody would type for ssh."""
    flags = {"user": "-l", "port": "-p", "jump": "-J"}
    return [word for key, flag in flags.items() if key in case.target for word in (flag, str(case.target[key]))]


def asked(case: Case, config: Path) -> dict[str, str] | None:
    """What `ssh -G` says of it, or None where it refuses the file."""
    argv = ["ssh", "-T", "-G", "-F", str(config), *options(case), case.host]
    done = subprocess.run(argv, capture_output=True, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        return None
    return dict(line.split(" ", 1) for line in os.fsdecode(done.stdout).splitlines() if " " in line)


def words(route: tuple[Hop, ...]) -> str:
    return " > ".join(f"{hop.user}@{hop.host}:{hop.port}" for hop in route)


@pytest.mark.parametrize("place_of_file", ["inventory's", "user's"])
@pytest.mark.parametrize("name", CASES)
def test_hardway_lands_where_ssh_lands(
    name: str, place_of_file: str, folder: Path, no_habits_of_the_user: Path, tmp_path: Path
) -> None:
    case, home = CASES[name], no_habits_of_the_user
    place(case, folder, home)
    given = place_of_file == "inventory's"
    config = written(tmp_path / "config" if given else home / ".ssh" / "config", case.text, folder)
    target = replace(Target("m1", case.host, known_hosts=tmp_path / "known_hosts"), **case.target)
    ssh = asked(case, config)
    assert case.lands is None or not case.fails
    if case.fails or ssh is None:
        assert ssh is None
        with pytest.raises(UsageError) as caught:
            SshConfig(config if given else None).route(target)
        assert "hardway-ssh-" not in str(caught.value)
        return
    route = SshConfig(config if given else None).route(target)
    hop = route[-1]
    assert (hop.host, str(hop.port), hop.user) == (ssh["hostname"], ssh["port"], ssh["user"])
    assert len(route) > 1 or ssh.get("proxyjump", "none") == "none"
    assert case.lands is None or words(route) == case.lands
    for field_name, value in case.says.items():
        if field_name == "identities":
            value = tuple(Path(str(path).replace("{home}", str(home))) for path in value)
        assert getattr(hop, field_name) == value, field_name


def test_there_are_many_cases() -> None:
    assert len(CASES) > 60


def test_hosts_that_no_file_tells_apart_cost_one_question(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = folder / "ssh"
    program.write_text(f'#!/bin/sh\necho >>{folder}/asked\nexec {shlex.quote("/usr/bin/ssh")} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    config = tmp_path / "config"

    def questions(text: str) -> tuple[int, list[str]]:
        (folder / "asked").write_text("")
        config.write_text(text)
        ssh = SshConfig(config)
        targets = [Target("m", f"10.0.8.{number}", known_hosts=tmp_path / "known_hosts") for number in range(20)]
        routes = [words(ssh.route(target)) for target in targets]
        return len((folder / "asked").read_text()), routes

    assert questions("Host 10.*\n  User ops\nHost x\n  Port 1\n") == (1, [f"ops@10.0.8.{n}:22" for n in range(20)])
    asked, routes = questions("Host 10.0.8.1?\n  User ops\nHost 10.0.8.7\n  Port 7\n")
    assert (asked, routes[7], routes[12]) == (3, f"{ME}@10.0.8.7:7", "ops@10.0.8.12:22")
    assert questions("Match host 10.*\n  User ops\n") == (20, [f"ops@10.0.8.{n}:22" for n in range(20)])
    asked, routes = questions("Host *\n  HostName %h.example.net\n")
    assert (asked, routes[3]) == (20, f"{ME}@10.0.8.3.example.net:22")
    # the jump host is asked for twice: ssh refuses it as its own jump host
    asked, routes = questions("Host *\n  ProxyJump bastion\n")
    assert (asked, routes[3]) == (3, f"{ME}@bastion:22 > {ME}@10.0.8.3:22")


# where there is no ssh to ask

PLAIN = [
    "nothing", "a block", "another block", "before any block", "the first value counts", "defaults at the end",
    "defaults at the beginning", "several patterns", "a pattern taken back", "an address by its pattern",
    "equals signs", "quotes", "keywords in any case", "Windows line ends", "comments at line ends", "comment lines",
    "a comment in Latin-1", "much that is not about the way", "a port of the inventory",
    "a user of the inventory", "a host key alias", "a jump host", "jump hosts",
    "a jump host's own jump host", "only the first one's own jump host counts", "no jump host",
    "no jump host by the inventory", "a jump host of the inventory", "a jump host for all", "a command",
    "a command with variables", "no command", "a command before a jump host", "a jump host before a command",
    "included and not there", "keys", "keys of home", "no agent", "an agent by a variable", "no known hosts",
]  # fmt: skip
"""Cases that need no ssh to be read."""


@pytest.fixture
def no_ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


@pytest.mark.parametrize("name", CASES)
def test_without_a_client_hardway_lands_there_too_or_says_why_not(
    name: str, folder: Path, no_habits_of_the_user: Path, tmp_path: Path, no_ssh: None
) -> None:
    case, home = CASES[name], no_habits_of_the_user
    place(case, folder, home)
    config = written(tmp_path / "config", case.text, folder)
    target = replace(Target("m1", case.host, known_hosts=tmp_path / "known_hosts"), **case.target)
    try:
        route = SshConfig(config).route(target)
    except UsageError:
        assert name not in PLAIN
        return
    # a keyword that nobody knows is none that hardway goes by
    assert not case.fails or name in ("an unknown keyword", "a keyword of macOS")
    assert case.lands is None or words(route) == case.lands
    for field_name, value in case.says.items():
        if field_name == "identities":
            value = tuple(Path(str(path).replace("{home}", str(home))) for path in value)
        assert getattr(route[-1], field_name) == value, field_name


def test_what_only_ssh_can_read_is_an_error_with_its_line(tmp_path: Path, no_ssh: None) -> None:
    config = tmp_path / "config"
    config.write_text("Host k1\n  User ops\nMatch final all\n  Port 2222\n")
    with pytest.raises(UsageError) as caught:
        SshConfig(config).route(Target("m1", "k1", known_hosts=tmp_path / "known_hosts"))
    assert caught.value.what == f"{config}:3: 'Match final all' cannot be read: there is no ssh client on this computer"
    assert caught.value.hint and caught.value.hint.startswith("install the OpenSSH client")


def test_a_client_that_knows_no_user_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container that runs as a uid of its own."""
    program = tmp_path / "ssh"
    program.write_text("#!/bin/sh\necho No user exists for uid 12345 >&2\nexit 255\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("pwd.getpwuid", dict[int, str]().__getitem__)
    config = tmp_path / "config"
    config.write_text("Host k1\n  Port 2222\n")
    target = Target("m1", "k1", known_hosts=tmp_path / "known_hosts")
    with pytest.raises(UsageError, match="there is no user to log in as: uid"):
        SshConfig(config).route(target)
    assert words(SshConfig(config).route(replace(target, user="ops"))) == "ops@k1:2222"
    config.write_text("Match all\n  Port 2222\n")
    with pytest.raises(UsageError, match="cannot be read: the ssh client does not work: No user exists for uid 12345"):
        SshConfig(config).route(replace(target, user="ops"))


def test_the_home_of_the_password_database_is_left_to_ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this computer's own files say: without another HOME ssh is asked as anybody would ask it."""
    monkeypatch.setenv("HOME", pwd.getpwuid(os.getuid()).pw_dir)
    done = subprocess.run(["ssh", "-T", "-G", "k1"], capture_output=True, check=True)
    said = dict(line.split(" ", 1) for line in os.fsdecode(done.stdout).splitlines() if " " in line)
    hop = SshConfig(None).route(Target("m1", "k1", known_hosts=tmp_path / "known_hosts"))[-1]
    assert (hop.host, str(hop.port), hop.user) == (said["hostname"], said["port"], said["user"])
    assert (
        " ".join(str(path) for path in hop.known_hosts)
        == f"{said['userknownhostsfile']} {said['globalknownhostsfile']}"
    )
