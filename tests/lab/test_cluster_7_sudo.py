"""Debian's own sudo, on a machine of the lab: with NOPASSWD, with a password, with a wrong one."""

from collections.abc import Callable, Iterator

import pytest
from driving import Site

from hardway.errors import SudoRefused
from hardway.remote import AskSecret, Fleet, Machine, Target

PASSWORD = "hardway"

pytestmark = pytest.mark.lab

Login = Callable[[str, AskSecret], Machine]


@pytest.fixture
def login(seven: Site) -> Iterator[Login]:
    fleets: list[Fleet] = []

    def connect(user: str, ask: AskSecret) -> Machine:
        fleets.append(Fleet(accept_new_host_keys=False, ask_secret=ask))
        return fleets[-1].connect(
            Target(
                "worker-0",
                seven.machines["worker-0"],
                user=user,
                key=seven.workspace / "lab" / "id_ed25519",
                known_hosts=seven.workspace / "known_hosts",
            )
        )

    yield connect
    for fleet in fleets:
        fleet.close()


def test_ops_becomes_root_without_being_asked(login: Login) -> None:
    machine = login("ops", None)
    assert machine.run("id -un", timeout=10, what="a test").text == "root"
    assert machine.stream([b"one"], "cat; id -u", what="a test").stdout == b"one0\n"


def test_guarded_becomes_root_by_a_password_asked_once(login: Login) -> None:
    prompts: list[str] = []

    def ask(prompt: str) -> str:
        prompts.append(prompt)
        return PASSWORD

    machine = login("guarded", ask)
    assert machine.run("id -un", timeout=10, what="a test").text == "root"
    assert machine.stream([b"one"], "cat; id -u", what="a test").stdout == b"one0\n"
    machine.reconnect()
    assert machine.run("id -un", timeout=10, what="a test").text == "root"
    assert prompts == ["sudo password of guarded"]


def test_a_wrong_password_is_refused_and_not_repeated(login: Login) -> None:
    with pytest.raises(SudoRefused, match="worker-0: sudo did not take the password of guarded") as caught:
        login("guarded", lambda prompt: "sesame")
    assert "sesame" not in str(caught.value)


def test_guarded_without_a_password_is_told(login: Login) -> None:
    with pytest.raises(SudoRefused, match="sudo asks guarded for a password, and none was given"):
        login("guarded", None)
