"""A group goes on serving while its members are restarted, whatever else is wrong with it."""

import pytest
from driving import Site
from rolls import settings

pytestmark = pytest.mark.lab

LISTEN = """\
rm -f /run/asked
setsid sh -c 'while [ ! -e /run/asked.stop ]; do
  if timeout 5 {etcdctl} get nothing >/dev/null 2>&1; then echo ok; else echo failed; fi >>/run/asked
  sleep 0.2
done' </dev/null >/dev/null 2>&1 8>&- &
"""
ETCDCTL = (
    "/usr/local/bin/etcdctl --cacert=/etc/etcd/pki/ca.crt --cert=/etc/etcd/pki/healthcheck-client.crt "
    "--key=/etc/etcd/pki/healthcheck-client.key --endpoints=https://{}:2379"
)


def started(site: Site, machine: str, unit: str) -> float:
    """Seconds since boot; the lab's machines share one clock."""
    return int(site.on(machine, f"systemctl show -p ExecMainStartTimestampMonotonic --value {unit}")) / 1e6


@pytest.mark.in_turn("rolls")
def test_a_sick_member_and_a_limit_take_no_two_members_at_once(seven: Site) -> None:
    seven.on("controller-0", "systemctl stop etcd")
    listen = LISTEN.format(etcdctl=ETCDCTL.format("10.245.0.12"))
    seven.on("controller-2", f"rm -f /run/asked.stop; {listen}")
    with settings(seven, "{etcd: {snapshot-count: 20000}}"):
        seven.hardway("apply", "etcd", "-l", "controller-0,controller-1", "--yes")
        seven.on("controller-2", "touch /run/asked.stop")
        asked = seven.on("controller-2", "cat /run/asked").split()
        assert started(seven, "controller-0", "etcd") < started(seven, "controller-1", "etcd")
    assert len(asked) > 10
    assert asked.count("failed") <= 1  # what was under way when the leader moved


@pytest.mark.in_turn("rolls")
def test_a_member_is_not_taken_while_another_one_is_away(seven: Site) -> None:
    seven.on("controller-2", "systemctl stop etcd")
    before = started(seven, "controller-0", "etcd")
    with settings(seven, "{etcd: {snapshot-count: 20000}}"):
        said = " ".join(seven.hardway("apply", "etcd", "-l", "controller-0,controller-1", "--yes", code=1).out.split())
        assert "controller-2: down" in said
        assert started(seven, "controller-0", "etcd") == before
        # What it says helps: the member comes back, and the same command goes through.
        seven.on("controller-2", "systemctl start etcd")
        seven.hardway("apply", "etcd", "-l", "controller-0,controller-1", "--yes")


@pytest.mark.in_turn("rolls")
def test_raising_the_quota_under_an_alarm_takes_members_one_by_one(seven: Site) -> None:
    seven.hardway("lab", "break", "etcd-alarm")
    controllers = ("controller-0", "controller-1", "controller-2")
    with settings(seven, "{etcd: {quota-backend-bytes: 4294967296}}"):
        # The members are restarted; the alarm is still there, and the proofs say so.
        said = seven.hardway("apply", "etcd", "--yes", code=1).out
        assert "NOSPACE" in said
        assert "hardway doctor" in said
        times = sorted(started(seven, name, "etcd") for name in controllers)
        assert times[1] - times[0] > 0.5
        assert times[2] - times[1] > 0.5
        for line in seven.hardway("doctor", code=None).out.splitlines():
            if "etcd alarm --clear" in line:
                seven.hardway(*line[line.index("etcd") :].split(), "--yes")
        seven.hardway("etcd")


def test_a_member_is_not_taken_while_somebody_works_on_another_one(seven: Site) -> None:
    """The other one has a limit that spares this machine, so the two meet nowhere else."""
    hold = (
        "echo 'ann@elsewhere (pid 1, since today): hardway apply' >/run/hardway.lock; "
        "setsid flock /run/hardway.lock sleep 600 </dev/null >/dev/null 2>&1 8>&- & echo $!"
    )
    holder = seven.on("controller-2", hold).strip()
    before = seven.processes()
    try:
        with settings(seven, "{etcd: {snapshot-count: 20000}}", back=False):
            said = " ".join(seven.hardway("apply", "etcd", "-l", "controller-1", "--yes", code=4).out.split())
        assert "locked by ann@elsewhere" in said
        assert "this run would restart etcd on controller-1" in said
        assert seven.processes() == before
    finally:
        seven.on("controller-2", f"kill -- -{holder} || pkill -f 'sleep 600'")
