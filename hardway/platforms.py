"""Linux distributions: everything in which they differ for hardway, in one table.

hardway has Debian's names for packages; what another family calls differently stands here, and so does what a
person must do there that Debian does not ask for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Platform:
    """A family of distributions.

    `oldest` are their `ID`s in /etc/os-release with the oldest release that will do. `packages` has this family's name
    for a Debian package where it is another. `modules` is the package that brings modules which a small kernel
    package lacks, `nftables` where rules for the next boot are kept.
    """

    name: str
    oldest: Mapping[str, int]
    tried: bool
    """Whether a cluster was made there by this project's tests; else it is known from documentation."""
    modules: str
    nftables: str
    install: str
    packages: Mapping[str, str] = field(default_factory=dict)


DEBIAN = Platform(
    name="Debian",
    oldest={"debian": 12},
    tried=True,
    modules="linux-image-$(dpkg --print-architecture)",
    nftables="/etc/nftables.conf",
    install="apt-get install -y --no-install-recommends",
)
UBUNTU = replace(DEBIAN, name="Ubuntu", oldest={"ubuntu": 22}, tried=False, modules="linux-modules-extra-$(uname -r)")
RED_HAT = Platform(
    name="Red Hat",
    oldest={"rhel": 9, "rocky": 9, "almalinux": 9, "centos": 9},
    tried=False,
    modules="kernel-modules-extra",
    nftables="/etc/sysconfig/nftables.conf",
    install="dnf install -y",
    # /etc/protocols is in setup, and iptables speaks to nftables.
    packages={"procps": "procps-ng", "netbase": "setup", "iptables": "iptables-nft"},
)
PLATFORMS = (DEBIAN, UBUNTU, RED_HAT)


def platform(os: str) -> Platform | None:
    """The family of an `ID`; None for one that is not in the table."""
    return next((one for one in PLATFORMS if os in one.oldest), None)
