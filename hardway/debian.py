"""Debian as this computer's apt knows it: where machines of the lab and packages for a bundle come from."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

SUITES: Mapping[str, str] = {"debian-12": "bookworm", "debian-13": "trixie"}
"""The archive's name for each distribution, which is written as os-release's ID and VERSION_ID."""

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


def archives() -> tuple[str | None, str | None]:
    """The URIs from which this computer has Debian and its security updates; None for what it has not.

    An archive holds every suite, so the one that this computer runs on says where the others are.
    """
    # By its origin: others have sources here too, and call their suites by Debian's names.
    argv = ["apt-get", "indextargets", "--format", "$(ORIGIN) $(RELEASE) $(REPO_URI)", "Created-By: Packages"]
    said = subprocess.run(argv, capture_output=True, text=True, check=False).stdout
    own = [words for line in said.splitlines() if len(words := line.split()) == 3 and words[0] == "Debian"]
    main = (uri for _, release, uri in own if not release.endswith("-security"))
    security = (uri for _, release, uri in own if release.endswith("-security"))
    first, updates = next(main, None), next(security, None)
    return first and first.rstrip("/"), updates and updates.rstrip("/")
