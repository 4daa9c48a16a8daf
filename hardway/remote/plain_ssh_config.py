"""ssh_config where there is no ssh client to ask: what says the same to every reader, and an error for the rest."""

import getpass
import re
import shlex
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from hardway.errors import UsageError
from hardway.remote.ssh_client import SYSTEM, Settings

_LINE = re.compile(r"([A-Za-z]+)(?:\s*=\s*|\s+)(.*)")
_USED = (
    "certificatefile",
    "globalknownhostsfile",
    "hostkeyalias",
    "hostname",
    "identitiesonly",
    "identityagent",
    "identityfile",
    "knownhostscommand",
    "port",
    "proxycommand",
    "proxyjump",
    "user",
    "userknownhostsfile",
)
_SEVERAL = ("identityfile", "certificatefile")
_WHOLE_LINE = ("proxycommand", "knownhostscommand")
_FILES = ("userknownhostsfile", "globalknownhostsfile")
_SSH_ONLY = ("match", "include", "canonicalizehostname", "tag")


class PlainReader:
    """Reads `Host` blocks of plain values as ssh does: the first value counts, but IdentityFile adds up."""

    def __init__(self, given: Path | None, why: str) -> None:
        """`why` ssh cannot be asked."""
        self._why = why
        self._lines = [
            (path, number, line)
            for path in (given, Path.home() / ".ssh" / "config", SYSTEM)
            if path is not None and path.is_file()
            for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1)
        ]

    def settings(self, host: str, options: Sequence[str]) -> Settings:
        """What `ssh OPTIONS HOST` would go by, `-l`, `-p` and `-o`. Raises UsageError for what only ssh can read."""
        settings: dict[str, list[str]] = {}
        for name, value in _pairs(options):
            settings[name] = [value]
        matches, last = True, None
        for path, number, line in self._lines:
            if path != last:
                matches, last = True, path
            found = _LINE.fullmatch(line.strip())
            if found is None or line.lstrip().startswith("#"):
                continue
            keyword, rest = found[1].lower(), found[2]
            try:
                words = shlex.split(rest, comments=True)
            except ValueError as error:
                raise self._unreadable(path, number, line, str(error)) from None
            if keyword in _SSH_ONLY and words != ["none"]:
                raise self._unreadable(path, number, line, self._why)
            if keyword == "host":
                matches = _matches(host, words)
            elif matches and keyword in _USED and words:
                _add(settings, keyword, [rest] if keyword in _WHOLE_LINE else words)
        return _defaults(settings, host)

    def _unreadable(self, path: Path, number: int, line: str, why: str) -> UsageError:
        return UsageError(
            f"{path}:{number}: {line.strip()!r} cannot be read: {why}",
            hint="install the OpenSSH client (openssh-client, openssh-clients), which reads it for hardway",
        )


def _pairs(options: Sequence[str]) -> list[tuple[str, str]]:
    """`-l USER -p PORT -o Keyword=value` as keywords with their values."""
    pairs = []
    for option, value in zip(options[::2], options[1::2], strict=True):
        keyword, _, given = (
            value.partition("=") if option == "-o" else ({"-l": "user", "-p": "port"}[option], "", value)
        )
        pairs.append((keyword.lower(), given))
    return pairs


def _matches(host: str, patterns: Sequence[str]) -> bool:
    if any(pattern.startswith("!") and fnmatchcase(host, pattern[1:]) for pattern in patterns):
        return False
    return any(fnmatchcase(host, pattern) for pattern in patterns)


def _add(settings: dict[str, list[str]], keyword: str, words: list[str]) -> None:
    if {keyword, *settings} >= {"proxycommand", "proxyjump"}:
        return
    if keyword in _SEVERAL:
        settings.setdefault(keyword, []).append(words[0])
    elif keyword not in settings:
        settings[keyword] = [" ".join(words) if keyword in _FILES else words[0]]


def _defaults(settings: dict[str, list[str]], host: str) -> Settings:
    settings.setdefault("user", [getpass.getuser()])
    settings.setdefault("port", ["22"])
    settings["hostname"] = [name.replace("%h", host) for name in settings.get("hostname", [host])]
    settings.setdefault("identityfile", [f"~/.ssh/id_{kind}" for kind in ("rsa", "ecdsa", "ed25519")])
    settings.setdefault("userknownhostsfile", ["~/.ssh/known_hosts ~/.ssh/known_hosts2"])
    settings.setdefault("globalknownhostsfile", ["/etc/ssh/ssh_known_hosts"])
    return settings
