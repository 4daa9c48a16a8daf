"""Fixes as they are printed: they work for whoever the inventory lets in."""

import shlex

import pytest

from hardway.doctor.remedies import on
from hardway.inventory.model import Machine, Ssh


def fix(script: str, ssh: Ssh) -> str:
    return on(Machine("k1", frozenset({"worker"}), None, ssh), script)


@pytest.mark.parametrize(
    ("ssh", "words"),
    [
        (Ssh(), "sudo swapoff -a"),  # ssh_config may name anybody
        (Ssh(user="ops"), "sudo swapoff -a"),
        (Ssh(user="root"), "swapoff -a"),
        (Ssh(user="root", become="sudo"), "sudo swapoff -a"),
        (Ssh(user="ops", become="none"), "swapoff -a"),
    ],
)
def test_sudo_is_said_unless_it_is_known_that_root_logs_in(ssh: Ssh, words: str) -> None:
    assert fix("swapoff -a", ssh) == f"hardway ssh k1 -- {words}"


@pytest.mark.parametrize("script", ["rm /a && reboot", "echo '\"$HOME\"' >/a"])
def test_a_script_comes_whole_through_both_shells(script: str) -> None:
    for ssh in (Ssh(), Ssh(user="root")):
        *_, typed = fix(script, ssh).partition(" -- ")
        there = " ".join(shlex.split(typed))  # as ssh joins its words
        assert (shlex.split(there)[-1] if ssh == Ssh() else there) == script


def test_a_script_is_quoted_as_a_person_would() -> None:
    assert fix("rm /a && reboot", Ssh()) == """hardway ssh k1 -- sudo sh -c "'rm /a && reboot'\""""
