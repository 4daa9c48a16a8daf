"""What is full of data, and what only has a large file."""

import pytest

from hardway.errors import HardwayError, NotSettled
from hardway.operations import etcd_defrag
from hardway.probe.control import MemberStatus

QUOTA = 1000


@pytest.mark.parametrize(
    ("size", "in_use", "error", "said"),
    [
        (950, 950, HardwayError, "etcd is full: 950 B of 1 kB are in use"),
        # Something was written while it was defragmented.
        (950, 100, NotSettled, "etcd's file on c0 has 950 B of 1 kB again, 100 B in use"),
    ],
)
def test_only_what_is_in_use_makes_etcd_full(
    monkeypatch: pytest.MonkeyPatch, size: int, in_use: int, error: type[HardwayError], said: str
) -> None:
    status = MemberStatus("1", "1", size=size, in_use=in_use)
    monkeypatch.setattr(etcd_defrag, "_all_serving", lambda session: {"c0": status})
    monkeypatch.setattr(etcd_defrag, "_quotas", lambda session: {"c0": QUOTA})
    monkeypatch.setattr(etcd_defrag, "_most", lambda session, name: "9 events")
    with pytest.raises(error, match=said) as raised:
        etcd_defrag._require_room(None)  # type: ignore[arg-type]
    assert type(raised.value) is error
