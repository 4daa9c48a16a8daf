"""The box for provider lxc: the lab's Debian root with the account, key and network that Vagrant expects of a box."""

import hashlib
import json
import re
import shutil
import subprocess
import tarfile
import time
from pathlib import Path

from hardway.errors import LabError
from hardway.events import Note, Sink
from hardway.lab import image
from hardway.lab.disk import nameservers, resolv_conf
from hardway.lab.user import Invoker
from hardway.values import LabImage

HERE = Path(__file__).parent
IMAGE: LabImage = "debian-12"
INSECURE_KEY = "usr/share/rubygems-integration/all/gems/vagrant-2*/keys/vagrant.pub"
"""What every box lets in until Vagrant, at the first boot, replaces it by a key of the machine's own."""

_CUSTOMIZE = """\
set -eu
root=$1
chroot "$root" useradd --create-home --shell /bin/bash vagrant
printf 'vagrant ALL=(ALL) NOPASSWD: ALL\\n' >"$root/etc/sudoers.d/vagrant"
chmod 0440 "$root/etc/sudoers.d/vagrant"
install -d -m 0700 "$root/home/vagrant/.ssh"
install -m 0600 "$2" "$root/home/vagrant/.ssh/authorized_keys"
chroot "$root" chown -R vagrant: /home/vagrant/.ssh
printf '127.0.0.1 localhost\\n::1 localhost ip6-localhost\\n' >"$root/etc/hosts"
: >"$root/etc/machine-id"
mkdir -p "$root/etc/systemd/network" "$root/etc/systemd/system/ssh.service.d" "$root/etc/systemd/system.conf.d"
# eth0 is Vagrant's own, as the NAT card of a virtual machine; eth1 gets its address from the plugin.
cat >"$root/etc/systemd/network/10-eth0.network" <<'UNIT'
[Match]
Name=eth0
[Network]
DHCP=ipv4
LinkLocalAddressing=no
IPv6AcceptRA=no
[DHCPv4]
ClientIdentifier=mac
UNIT
printf '[Match]\\nName=eth1\\n[Link]\\nUnmanaged=yes\\n' >"$root/etc/systemd/network/10-eth1.network"
# Every machine makes host keys of its own.
cat >"$root/etc/systemd/system/ssh.service.d/keys.conf" <<'UNIT'
[Service]
ExecStartPre=
ExecStartPre=/usr/bin/ssh-keygen -A
ExecStartPre=/usr/sbin/sshd -t
UNIT
printf '[Manager]\\nDefaultTimeoutStopSec=5s\\n' >"$root/etc/systemd/system.conf.d/stop.conf"
"""


def ensure(home: Path, bridge: str, caller: Invoker, events: Sink) -> None:
    """Adds the box that vagrant/Vagrantfile names to the Vagrant home, where it is not there already.

    Raises LabError with what the command said that failed.
    """
    name, version = _named((HERE.parent / "Vagrantfile").read_text())
    config = (HERE / "lxc-config").read_text().replace("@BRIDGE@", bridge)
    template = (HERE / "lxc-template").read_text()
    parts = (name, version, config, template, _CUSTOMIZE, resolv_conf(nameservers()), str(image.path(IMAGE, caller)))
    wanted = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    mark = home / "box-of"
    if mark.exists() and mark.read_text() == wanted:
        return
    root = image.ensure(IMAGE, caller, events)
    started, work = time.monotonic(), home / "box.new"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    (work / "lxc-config").write_text(config)
    (work / "lxc-template").write_text(template)
    (work / "lxc-template").chmod(0o755)
    (work / "metadata.json").write_text(json.dumps({"provider": "lxc", "version": "1.0.0"}))
    _pack_root(root, work)
    with tarfile.open(work / "lxc.box", "w") as box:
        for member in ("metadata.json", "lxc-config", "lxc-template", "rootfs.tar.gz"):
            box.add(work / member, member)
    _add(home, work, name, version)
    mark.write_text(wanted)
    shutil.rmtree(work)
    events(Note(f"the box {name} {version} for lxc took {time.monotonic() - started:.0f} s"))


def _named(vagrantfile: str) -> tuple[str, str]:
    found = dict(re.findall(r'^(BOX|BOX_VERSION) = "(.+)"$', vagrantfile, re.MULTILINE))
    return found["BOX"], found["BOX_VERSION"]


def _pack_root(root: Path, work: Path) -> None:
    copy = work / "rootfs"
    _run("cp", "--archive", str(root), str(copy))
    _run("sh", "-c", _CUSTOMIZE, "customize", str(copy), *map(str, Path("/").glob(INSECURE_KEY)))
    (copy / "etc/resolv.conf").write_text(resolv_conf(nameservers()))
    # Without extended attributes file capabilities would be lost, and with them ping for user vagrant.
    argv = ["tar", "--xattrs", "--xattrs-include=*", "--numeric-owner", "--use-compress-program=gzip -1"]
    _run(*argv, "--create", f"--file={work}/rootfs.tar.gz", f"--directory={work}", "./rootfs")


def _add(home: Path, work: Path, name: str, version: str) -> None:
    """By a catalogue of its own, so that the public box's name and version lead here."""
    url = f"file://{work}/lxc.box"
    versions = [{"version": version, "providers": [{"name": "lxc", "url": url}]}]
    catalogue = work / "catalogue.json"
    catalogue.write_text(json.dumps({"name": name, "versions": versions}))
    _run("env", f"VAGRANT_HOME={home}", "vagrant", "box", "add", "--force", "--provider=lxc", str(catalogue))


def _run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise LabError("the box could not be made", tried=argv[0], said=done.stderr or done.stdout)
