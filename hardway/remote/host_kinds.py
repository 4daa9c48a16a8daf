"""Which hosts ssh_config files cannot tell apart, so that ssh is asked once for all of them."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

_LINE = re.compile(r'\s*"?([A-Za-z]+)"?[\s=]+(.*)')
_BY_HOST = re.compile(r"\b(host|originalhost|exec)\b", re.IGNORECASE)
_EXPANDED_LATER = ("identityfile", "certificatefile", "proxycommand", "knownhostscommand")
_NOT_USED = ("controlpath", "localcommand", "remotecommand")


class HostKinds:
    """Hosts of one kind match the same `Host` patterns, and nothing else in the files asks for a host's name."""

    def __init__(self, files: Iterable[Path]) -> None:
        self._alike = True
        self._names: set[str] = set()
        self._patterns: list[re.Pattern[str]] = []
        try:
            for path in dict.fromkeys(files):
                for keyword, value in _lines(path):
                    self._add(keyword, value)
        except OSError:
            self._alike = False

    def of(self, host: str) -> tuple[object, ...]:
        """A value that only hosts of the same kind share."""
        if not self._alike or host in self._names or host != host.lower():
            return (host,)
        return tuple(pattern.fullmatch(host) is not None for pattern in self._patterns)

    def _add(self, keyword: str, value: str) -> None:
        if keyword == "host":
            for pattern in re.split(r"[\s,]+", value.replace('"', " ")):
                self._add_pattern(pattern.removeprefix("!"))
        elif keyword == "hostname":
            # nobody could tell it from the name of the host that was asked for
            self._names.add(value.strip().strip('"').lower())
        elif keyword == "proxyjump":
            # a host is not its own jump host
            self._names.update(re.split(r"[\s,@:/\[\]]+", value))
        if keyword == "match" and _BY_HOST.search(value):
            self._alike = False
        if keyword.startswith("canonical") or _names_the_host(keyword, value):
            self._alike = False

    def _add_pattern(self, pattern: str) -> None:
        if "*" in pattern or "?" in pattern:
            self._patterns.append(re.compile(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")))
        else:
            self._names.add(pattern)


def _names_the_host(keyword: str, value: str) -> bool:
    """Whether ssh puts a host's name into the value before we do."""
    if keyword in _EXPANDED_LATER:
        return "%C" in value
    return "%" in value and keyword not in _NOT_USED


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    for line in path.read_text(encoding="latin-1").splitlines():
        if found := _LINE.match(line):
            yield found[1].lower(), found[2]
