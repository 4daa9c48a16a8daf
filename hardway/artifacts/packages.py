"""Packages of the machines' distribution, for machines that reach no package source: got by this computer's apt.

It works in a root of its own, as if nothing were installed there, so that every dependency comes along; what the
machines have already they leave out. The signatures of the archive are checked here.
"""

import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from hardway.artifacts.catalogue import Arch
from hardway.artifacts.store import Blob, Store
from hardway.artifacts.text import without_credentials
from hardway.debian import KEYRING, SUITES, archives
from hardway.errors import ArtifactError

INDEX = "Packages"
"""The file beside the packages in which apt looks them up."""

_MAIN, _SECURITY = "http://deb.debian.org/debian", "http://deb.debian.org/debian-security"


def fetch(distribution: str, arch: Arch, names: Iterable[str], store: Store) -> Mapping[str, Blob]:
    """These packages and all that they depend on, by file name, and their index. Raises ArtifactError."""
    suite = SUITES[distribution]
    refuse_without_tools()
    with store.temporary() as root:
        apt = _Apt(root, arch)
        main, security = archives()
        (root / "sources.list").write_text(sources(suite, arch, main or _MAIN, security or _SECURITY))
        # Without this a source that cannot be fetched is a warning, and security updates would be left out.
        apt("apt-get", "-qq", "-o", "APT::Update::Error-Mode=any", "update")
        apt("apt-get", "-qq", "--yes", "--no-install-recommends", "--download-only", "install", *sorted(names))
        got = sorted(path.name.partition("_")[0] for path in (root / "archives").glob("*.deb"))
        said = apt("apt-cache", "show", "--no-all-versions", *got)
        # The index says where in the archive each is; here they are all beside it.
        stanzas = sorted(_stanza(text) for text in said.strip().split("\n\n"))
        debs = {name: store.add(root / "archives" / cached, expected=sha) for name, cached, sha, _ in stanzas}
        index = "\n\n".join(text for _, _, _, text in stanzas) + "\n"
        return {**debs, INDEX: store.add([index.encode()])}


def sources(suite: str, arch: Arch, main: str, security: str) -> str:
    """apt's list of sources for one release of Debian."""
    options = f"[arch={arch} signed-by={KEYRING}]"
    places = ((main, suite), (main, f"{suite}-updates"), (security, f"{suite}-security"))
    return "".join(f"deb {options} {uri} {name} main\n" for uri, name in places)


def _stanza(text: str) -> tuple[str, str, str, str]:
    """One paragraph of the index: the package's file, its name in apt's cache, its digest, the paragraph rewritten."""
    fields = dict(line.partition(": ")[::2] for line in text.splitlines() if not line.startswith(" "))
    version = fields["Version"].replace(":", "%3a")
    cached = f"{fields['Package']}_{version}_{fields['Architecture']}.deb"
    name = fields["Filename"].rpartition("/")[2]
    return name, cached, fields["SHA256"], text.replace(f"Filename: {fields['Filename']}", f"Filename: ./{name}")


def refuse_without_tools() -> None:
    """Raises ArtifactError where this computer has no apt, or not the keys of the archive."""
    if shutil.which("apt-get") is None:
        raise ArtifactError(
            "this computer has no apt, which gets the machines' packages",
            hint="make the bundle on a Debian or Ubuntu computer; or --packages none, and install them by hand",
        )
    if not KEYRING.exists():
        raise ArtifactError(
            f"{KEYRING} is missing, by which Debian's signatures are checked",
            hint="apt-get install debian-archive-keyring",
        )


class _Apt:
    """apt's commands over a root of their own. This computer's proxies hold for them, its packages do not."""

    def __init__(self, root: Path, arch: Arch) -> None:
        for folder in ("archives/partial", "lists/partial", "state", "cache"):
            (root / folder).mkdir(parents=True)
        (root / "status").touch()
        self._options = [
            f"APT::Architecture={arch}",
            f"APT::Architectures={arch}",
            "APT::Sandbox::User=root",
            "Acquire::Languages=none",
            f"Dir::State={root}/state",
            f"Dir::State::lists={root}/lists",
            f"Dir::State::status={root}/status",
            f"Dir::Cache={root}/cache",
            f"Dir::Cache::archives={root}/archives",
            f"Dir::Etc::sourcelist={root}/sources.list",
            "Dir::Etc::sourceparts=/dev/null",
            "Dir::Etc::preferences=/dev/null",
            "Dir::Etc::preferencesparts=/dev/null",
        ]

    def __call__(self, command: str, *words: str) -> str:
        options: list[str] = []
        for option in self._options:
            options += ["-o", option]
        ran = subprocess.run(
            [command, *options, *words],
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if ran.returncode:
            raise ArtifactError(
                "the machines' packages could not be got",
                tried=" ".join([command, *words]),
                said="\n".join(without_credentials(ran.stderr).splitlines()[-8:]),
                hint="check that this computer reaches Debian's archive, or use --packages none",
            )
        return ran.stdout
