"""ssh_config where there is no ssh client to ask: what says the same to every reader, and an error for the rest."""

import glob
import os
import re
import shlex
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from hardway.errors import UsageError
from hardway.remote.ssh_client import SYSTEM, Settings, local_user

_LINE = re.compile(r"([A-Za-z]+)(?:\s*=\s*|\s+)(.*)")
_USED = (
    "addressfamily",
    "bindaddress",
    "certificatefile",
    "connecttimeout",
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
    "revokedhostkeys",
    "user",
    "userknownhostsfile",
)
_SEVERAL = ("identityfile", "certificatefile")
_EXPANDED_BY_SSH = ("hostkeyalias", "hostname", "identityagent", "user", "userknownhostsfile", "globalknownhostsfile")
_WHOLE_LINE = ("proxycommand", "knownhostscommand")
_FILES = ("userknownhostsfile", "globalknownhostsfile")
_SSH_ONLY = ("match", "canonicalizehostname")


class PlainReader:
    """Reads `Host` blocks of plain values as ssh does: the first value counts, but IdentityFile adds up."""

    def __init__(self, given: Path | None, own: bool, why: str) -> None:
        """`why` ssh cannot be asked."""
        self._why = why
        self._lines = [
            (path, number, line)
            for path in (given, *([Path.home() / ".ssh" / "config", SYSTEM] if own else []))
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
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            found = _LINE.fullmatch(line.strip())
            try:
                keyword, words = (found[1].lower(), shlex.split(found[2], comments=True)) if found else ("", [])
            except ValueError:
                words = []
            if found is None or not words or _for_ssh_only(path, keyword, words):
                raise self._unreadable(path, number, line)
            if keyword == "host":
                matches = _matches(host, words)
            elif matches and keyword in _USED:
                _add(settings, keyword, [found[2]] if keyword in _WHOLE_LINE else words)
        return _defaults(settings, host)

    def _unreadable(self, path: Path, number: int, line: str) -> UsageError:
        return UsageError(
            f"{path}:{number}: {line.strip()!r} cannot be read: {self._why}",
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


def _for_ssh_only(path: Path, keyword: str, words: Sequence[str]) -> bool:
    if keyword == "include":
        return bool(_included(path, words))
    if keyword in ("port", "connecttimeout"):
        return not words[0].isdecimal() or words == ["0"]
    expands = any("%" in word or "${" in word for word in words) and words != ["%h"]
    return keyword in _SSH_ONLY or (keyword in _EXPANDED_BY_SSH and expands)


def _included(path: Path, patterns: Sequence[str]) -> list[str]:
    """The files that an Include means; a distribution's own often means none."""
    folder = SYSTEM.parent if path == SYSTEM else Path.home() / ".ssh"
    return [found for one in patterns for found in glob.glob(str(folder / Path(one).expanduser()))]  # noqa: PTH207


def _matches(host: str, patterns: Sequence[str]) -> bool:
    if any(pattern.startswith("!") and fnmatchcase(host, pattern[1:]) for pattern in patterns):
        return False
    return any(fnmatchcase(host, pattern) for pattern in patterns)


def _add(settings: dict[str, list[str]], keyword: str, words: list[str]) -> None:
    if keyword == "proxyjump" and "proxycommand" in settings:
        return
    if keyword == "proxycommand" and settings.get("proxyjump", ["none"]) != ["none"]:
        return
    if keyword in _SEVERAL:
        settings.setdefault(keyword, []).append(words[0])
    elif keyword not in settings:
        settings[keyword] = [" ".join(words) if keyword in _FILES else words[0]]


def _own_name() -> str:
    try:
        return local_user()
    except KeyError:
        raise UsageError(
            f"there is no user to log in as: uid {os.getuid()} has no name on this computer",
            hint="name one in the inventory: ssh: {user: …}",
        ) from None


def _defaults(settings: dict[str, list[str]], host: str) -> Settings:
    if "user" not in settings:
        settings["user"] = [_own_name()]
    settings.setdefault("port", ["22"])
    settings["hostname"] = [host if name == "%h" else name for name in settings.get("hostname", [host])]
    settings.setdefault("identityfile", [f"~/.ssh/id_{kind}" for kind in ("rsa", "ecdsa", "ed25519")])
    settings.setdefault("userknownhostsfile", ["~/.ssh/known_hosts ~/.ssh/known_hosts2"])
    settings.setdefault("globalknownhostsfile", ["/etc/ssh/ssh_known_hosts"])
    return settings
