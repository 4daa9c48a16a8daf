"""Whatever a chapter declares may be taken away again, and what a folder holds only where that is declared, too."""

from dataclasses import replace
from typing import Literal

import pytest
from phase_models import cluster, model

from hardway.declare.declaration import declare
from hardway.declare.resources import Directory
from hardway.declare.undo import DATA_FOLDERS, is_ours


@pytest.mark.parametrize("name", ["lab", "lab-small", "single", "vagrant"])
@pytest.mark.parametrize("mode", ["nftables", "iptables"])
def test_all_that_is_declared_is_ours(name: str, mode: Literal["nftables", "iptables"]) -> None:
    given = cluster(name)
    network = replace(given.network, proxy_mode=mode)
    given = replace(given, network=network, proxy="http://proxy.example:3128")
    resources = [one.resource for one in declare(model(given)).placed]
    assert [one.key for one in resources if not is_ours(one.key)] == []
    folders = [one for one in resources if isinstance(one, Directory)]
    assert {one.path for one in folders if one.data} <= set(DATA_FOLDERS)
    assert {one.path for one in folders if not one.data} & set(DATA_FOLDERS) == set()
