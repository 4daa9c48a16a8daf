"""The proof that `explain` tells the truth: what it says a person would type makes a cluster, without hardway.

And that cluster is one that hardway finds as declared, says is not its own, and takes over when told to.
"""

import json
import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from driving import Site, renamed

pytestmark = pytest.mark.lab

ARCH = {"aarch64": "arm64"}.get(platform.machine(), "amd64")
NewSite = Callable[[str, str], Site]


def has_binaries(site: Site) -> None:
    """The components' files lie where the script looks for them, as with somebody who got them before."""
    site.hardway("artifacts", "get", "--yes", timeout=1500)
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"), "hardway/blobs/sha256")
    folder = site.workspace / "bin" / ARCH
    folder.mkdir(parents=True)
    for row in json.loads(site.hardway("artifacts", "--arch", ARCH, "-o", "json").out):
        name = row["name"].replace("/", "-") + (".tar" if row["name"].startswith("image/") else "")
        shutil.copyfile(cache / row["digest"], folder / name)
        (folder / name).chmod(0o755)


def typed(site: Site) -> None:
    """Runs the script as it was printed, in a shell that knows nothing of hardway."""
    script = site.folder / "all.sh"
    script.write_text(site.hardway("explain", "--all", "-o", "shell").out)
    environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
    done = subprocess.run(
        ["bash", str(script)],
        cwd="/",
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]


def seen(site: Site, *words: str, code: int = 0) -> dict[str, Any]:
    """What a read-only command found; it must find no difference."""
    found: dict[str, Any] = json.loads(site.hardway(*words, "-o", "json", code=code).out)
    return found


def is_as_declared_and_unmanaged(site: Site) -> None:
    """Nothing differs; the one blocker is that hardway did not make the cluster, and `--adopt` lifts it."""
    plan = seen(site, "plan", code=1)
    assert (plan["items"], [one["kind"] for one in plan["blockers"]]) == ([], ["unmanaged-cluster"])
    assert set(plan["unmanaged"]) == set(site.machines)
    verified = seen(site, "verify")
    assert [one for one in verified["proofs"] if not one["holds"]] == []


def is_taken_over(site: Site) -> None:
    before = site.processes()
    ran = site.hardway("apply", "--adopt", "--yes", "-o", "json")
    assert ran.changes == []
    assert site.processes() == before
    plan = seen(site, "plan")
    assert (plan["items"], plan["unmanaged"]) == ([], {})


@pytest.mark.in_turn("typing")
def test_a_person_types_three_machines_and_hardway_takes_them_over(new_site: NewSite) -> None:
    site = new_site("hwtest-hand", renamed("lab-small.yaml", "hwtest-hand"))
    bare = site.traces()
    has_binaries(site)
    typed(site)

    before = site.writings()
    is_as_declared_and_unmanaged(site)
    assert site.writings() == before
    for command in (("init", "--yes"), ("apply", "--yes"), ("preflight",)):
        refused = site.hardway(*command, code=1)
        assert "hardway apply --adopt" in refused.out, refused.out
    assert site.writings() == before
    assert not (site.workspace / "state.json").exists()

    is_taken_over(site)
    site.init()  # with the smoke test
    site.unchanged("init")

    # A journal that gets lost is known for what it is, and taken up again.
    site.on("node-0", "rm -r /var/lib/hardway")
    assert "has no journal" in site.hardway("init", "--yes", code=1).out
    is_taken_over(site)

    site.hardway("reset", "--yes")
    left = site.traces()
    for machine, had in bare.items():
        for what, lines in left[machine].items():
            # A person's kubectl keeps what it learns of an API in that person's home.
            more = {line for line in lines - had[what] if not line.startswith("/root/.kube")}
            assert more == set(), f"{machine}: {what}"


@pytest.mark.in_turn("typing")
def test_a_person_types_seven_machines(new_site: NewSite) -> None:
    site = new_site("hwtest-hand7", renamed("lab.yaml", "hwtest-hand7"))
    has_binaries(site)
    typed(site)
    is_as_declared_and_unmanaged(site)
    assert site.etcd_cluster_id("controller-0") == site.etcd_cluster_id("controller-2")
    is_taken_over(site)
