"""What is done before and after a member of the control plane is restarted, so that no client notices. Texts of sh."""

from collections.abc import Sequence

from hardway.declare.phases.paths import HAPROXY_SOCKET, KUBECTL
from hardway.declare.resources import Aside
from hardway.declare.resources.base import quote

API_SERVER = "kube-apiserver.service"

FROZEN = 2
"""Seconds after which a frozen API server goes on by itself. Less than HAProxy takes to find a server dead."""

DRAINED = 180
"""Seconds after which HAProxy may use a drained API server again, whatever has become of the run."""

_DETACHED = "</dev/null >/dev/null 2>&1 8>&- &"
"""Outlives the run, and holds neither its connection nor the machine's lock (descriptor 8, remote/shell.py)."""

_FREEZE = f"""\
pid=$(systemctl show -p MainPID --value {API_SERVER})
[ "$pid" -gt 0 ] || exit 0
# First what lets it go on: nobody may be left to do so.
setsid sh -c 'sleep {FROZEN}; kill -CONT "$1"' thaw "$pid" {_DETACHED}
kill -STOP "$pid"
"""

_THAW = f"""\
pid=$(systemctl show -p MainPID --value {API_SERVER})
[ "$pid" = 0 ] || kill -CONT "$pid"
"""

# Perl is in every Debian, Python in every Red Hat.
_TELL = f"""\
tell() {{
  if command -v perl >/dev/null 2>&1; then
    perl -MIO::Socket::UNIX -e '$s = IO::Socket::UNIX->new(Peer => $ARGV[0]) or die "$ARGV[0]: $!\\n";
      print $s "$ARGV[1]\\n"; print while <$s>' {HAPROXY_SOCKET} "$1"
  else
    python3 -c 'import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.sendall(sys.argv[2].encode() + b"\\n")
sys.stdout.write(s.makefile().read())' {HAPROXY_SOCKET} "$1"
  fi
}}
# field NUMBER: of this server in HAProxy's statistics.
field() {{ tell 'show stat -1 4 -1' | awk -F, -v name="$server" -v n="$1" '$2 == name {{ print $n }}'; }}
"""

_DRAIN = """\
said=$(tell "set server kube-apiserver/$server state drain")
[ -z "$said" ] || { printf '%s\\n' "$said" >&2; exit 1; }
for i in 1 2 3 4 5 6 7 8 9 10; do
  before=$(field 8)
  sleep 0.2
  [ -z "$before" ] || [ "$(field 8)" != "$before" ] || exit 0
done
echo "HAProxy still gives $server new connections" >&2
exit 1
"""

_PUT_BACK = """\
tell "set server kube-apiserver/$server state ready" >/dev/null
for i in $(seq 50); do
  status=$(field 18)
  case $status in UP*) exit 0;; esac
  sleep 0.2
done
echo "HAProxy says of $server: $status" >&2
exit 1
"""

_HOLDS = f"""\
# holds LEASE: whether a process of this machine leads by it.
holds() {{
  holder=$({KUBECTL} -n kube-system get lease "$1" -o 'jsonpath={{.spec.holderIdentity}}' 2>/dev/null) || return 1
  [ "${{holder%%_*}}" = "$(uname -n)" ]
}}
"""

# What client-go writes when it releases a lease (leaderelection.go: release). The scheduler does so when it stops, the
# controller manager does not (its gate ControllerManagerReleaseLeaderElectionLockOnExit is alpha).
_RELEASE = """\
# release LEASE: another process leads from now on, within two seconds instead of fifteen.
release() {
  holds "$1" || return 0
  systemctl stop -- "$1.service"
  if holds "$1"; then
    KUBECTL -n kube-system patch lease "$1" --type=merge \\
      -p '{"spec":{"holderIdentity":"","leaseDurationSeconds":1}}' >/dev/null
  fi
  echo "$1 leads on another machine from now on"
}
""".replace("KUBECTL", KUBECTL)


def tell(words: str) -> str:
    """Prints what HAProxy answers to a command."""
    return f"{_TELL}tell {quote(words)}\n"


def frozen(machines: Sequence[str]) -> Aside:
    """API servers hold still while etcd's leader changes: it would drop what they write in that moment, unanswered."""
    return Aside(tuple(machines), _FREEZE, _THAW)


def drained(balancers: Sequence[str], server: str) -> Aside:
    """HAProxy gives a server no new connections until it is back."""
    head = f"server={quote(server)}\n{_TELL}"
    by_itself = quote(f'{head}sleep {DRAINED}; tell "set server kube-apiserver/$server state ready"')
    arm = f"setsid sh -c {by_itself} {_DETACHED}\n"
    return Aside(tuple(balancers), head + arm + _DRAIN, head + _PUT_BACK)


def holds_any(leases: Sequence[str]) -> str:
    """Status 0 where this machine holds one of the leases."""
    return _HOLDS + " || ".join(f"holds {quote(lease)}" for lease in leases) + "\n"


def release(leases: Sequence[str]) -> str:
    """Stops the processes here that hold one of the leases, and lets others take it at once."""
    return _HOLDS + _RELEASE + "".join(f"release {quote(lease)}\n" for lease in leases)
