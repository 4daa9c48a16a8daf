"""The machines' root file systems: Debian, made once by mmdebstrap and kept in the user's cache."""

import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hardway.debian import SUITES, archives
from hardway.errors import LabError
from hardway.events import Note, Sink
from hardway.lab.user import Invoker
from hardway.values import LabImage

_BOOT = [
    "systemd",
    "systemd-sysv",
    "dbus",
    "libpam-systemd",
    "openssh-server",
    "sudo",
    "iproute2",
    "procps",
    "mount",
    "apt",
    "ca-certificates",
]
_PREPARED = [
    "nftables",
    "netbase",
    "conntrack",
    "socat",
    "kmod",
    "util-linux",
    "zstd",
    "openssl",
    "haproxy",
    "keepalived",
    "ethtool",
    "iputils-ping",
]


def suite(image: LabImage) -> str:
    return SUITES[image.removesuffix("-minimal")]


def packages(image: LabImage) -> list[str]:
    """Debian 13 comes with systemd-resolved, so that both ways of finding names occur in the lab."""
    if image.endswith("-minimal"):
        return sorted(_BOOT)
    return sorted(_BOOT + _PREPARED + (["systemd-resolved"] if image == "debian-13" else []))


# systemd-nspawn hands a machine its kernel interfaces read-only; kubelet, runc and sysctl(8) write to them.
_INTERFACES_UNIT = """\
[Unit]
Description=Make the kernel interfaces of this lab machine writable
DefaultDependencies=no
ConditionVirtualization=systemd-nspawn
Before=systemd-sysctl.service systemd-networkd.service sysinit.target
After=local-fs-pre.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'mount -o remount,rw,bind /proc/sys; \
for group in /sys/fs/cgroup /sys/fs/cgroup/*/; do \
mountpoint -q $$group && mount -o remount,rw,bind $$group; done; true'

[Install]
WantedBy=sysinit.target
"""

# What a machine of the lab has no use for and would only spend the two cores on, or write to the host.
_MASKED_UNITS = [
    "systemd-networkd-wait-online.service",
    "systemd-firstboot.service",
    "systemd-timesyncd.service",
    "getty@.service",
    "console-getty.service",
    "container-getty@.service",
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "systemd-pstore.service",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "systemd-udevd.service",
    "systemd-udev-trigger.service",
    "systemd-journald-audit.socket",
]

# Run by mmdebstrap with the new root as its first argument; part of the cache key.
_CUSTOMIZE = f"""\
set -eu
root=$1
for user in ops guarded; do chroot "$root" useradd --create-home --shell /bin/bash "$user"; done
echo guarded:hardway | chroot "$root" chpasswd
printf 'ops ALL=(ALL) NOPASSWD: ALL\\nguarded ALL=(ALL) ALL\\n' >"$root/etc/sudoers.d/lab"
chmod 0440 "$root/etc/sudoers.d/lab"
for user in root home/ops home/guarded; do install -d -m 0700 "$root/$user/.ssh"; done
chroot "$root" chown ops: /home/ops/.ssh
chroot "$root" chown guarded: /home/guarded/.ssh
rm -f "$root"/etc/ssh/ssh_host_* "$root/etc/resolv.conf" "$root/etc/hostname"
printf 'UseDNS no\\nMaxStartups 100\\nMaxSessions 100\\n' >"$root/etc/ssh/sshd_config.d/lab.conf"
cat >"$root/etc/systemd/system/lab-interfaces.service" <<'UNIT'
{_INTERFACES_UNIT}UNIT
# Debian's defaults are written by its own kernel's boot; from here they would be written to the host's.
for file in "$root"/usr/lib/sysctl.d/*.conf; do ln -s /dev/null "$root/etc/sysctl.d/${{file##*/}}"; done
chroot "$root" systemctl --quiet enable lab-interfaces.service systemd-networkd.service ssh.service
chroot "$root" systemctl --quiet set-default multi-user.target
chroot "$root" systemctl --quiet mask {" ".join(_MASKED_UNITS)}
if [ -e "$root/etc/haproxy" ]; then chroot "$root" systemctl --quiet disable haproxy.service; fi
if [ -e "$root/etc/keepalived" ]; then chroot "$root" systemctl --quiet disable keepalived.service; fi
rm -rf "$root"/usr/share/doc/* "$root"/usr/share/man/* "$root"/var/cache/apt/*.bin
"""


def _key(image: LabImage, apt_options: list[str], mirrors: list[str]) -> str:
    """Names the cached root: everything that goes into making it."""
    parts = [suite(image), *packages(image), _CUSTOMIZE, *apt_options, *mirrors]
    return f"{image}-{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:16]}"


def cache(invoker: Invoker) -> Path:
    return invoker.cache / "hardway" / "lab"


def path(image: LabImage, invoker: Invoker) -> Path:
    """Where this image's root is, or will be."""
    return cache(invoker) / _key(image, apt_options(), mirrors(suite(image))) / "root"


def is_made(image: LabImage, invoker: Invoker) -> bool:
    try:
        return path(image, invoker).is_dir()
    except PermissionError:
        # Only root may look inside what root has made.
        return True


def ensure(image: LabImage, invoker: Invoker, events: Sink) -> Path:
    """The root folder, made now if the cache does not hold it (half a minute); raises LabError."""
    root = path(image, invoker)
    if root.is_dir():
        return root
    home = root.parent
    invoker.make_folder(home.parent)
    with _locked(home.parent / ".lock") as lock:
        if root.is_dir():
            return root
        events(Note(f"making a root for {image} with mmdebstrap, once: {root}"))
        started = time.monotonic()
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(mode=0o700)
        _bootstrap(image, home, lock)
        events(Note(f"the root took {time.monotonic() - started:.0f} s"))
    return root


def _bootstrap(image: LabImage, home: Path, lock: int) -> None:
    fresh, hook = home / "root.new", home / "customize"
    hook.write_text(_CUSTOMIZE)
    # Its mounts are its own: what sweeps up after a killed run must never find the host's /dev in there.
    argv = ["unshare", "--mount", "--propagation", "slave"]
    argv += ["mmdebstrap", "--quiet", "--variant=minbase", "--mode=root", "--format=directory"]
    argv += [f"--include={','.join(packages(image))}"]
    argv += [f"--aptopt={option}" for option in apt_options()]
    argv += [f'--customize-hook=sh "{hook}" "$1"', suite(image), str(fresh), *mirrors(suite(image))]
    # It holds the lock too, so the next run waits for one whose parent was killed before it sweeps up.
    result = subprocess.run(
        argv, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False, pass_fds=[lock]
    )
    if result.returncode:
        raise LabError(
            "the root file system of the lab's machines could not be made",
            tried=f"mmdebstrap {suite(image)}",
            said="\n".join(result.stderr.strip().splitlines()[-8:]),
            hint="check that `apt-get update` works on this computer, then run the same command again",
        )
    fresh.rename(home / "root")


@contextmanager
def _locked(file: Path) -> Iterator[int]:
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock.fileno()


@functools.cache
def apt_options() -> list[str]:
    """How apt reaches its archives from here (proxies, and whether dates are checked), for the machines too."""
    dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=False).stdout
    wanted = ("Acquire::http::Proxy", "Acquire::https::Proxy", "Acquire::Check-")
    options = [line.rstrip(";") for line in dump.splitlines() if line.startswith(wanted)]
    proxy = os.environ.get("http_proxy")
    if proxy and not any(option.startswith("Acquire::http::Proxy") for option in options):
        options.append(f'Acquire::http::Proxy "{proxy}"')
    return options


@functools.cache
def mirrors(name: str) -> list[str]:
    """A suite's package sources: this computer's archive where it runs Debian, else none: mmdebstrap has its own."""
    main, security = archives()
    if main is None:
        return []
    sources = {name: main, f"{name}-updates": main} | ({f"{name}-security": security} if security else {})
    return [f"deb {uri} {release} main" for release, uri in sources.items()]
