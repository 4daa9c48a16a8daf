"""`artifacts`: the cluster's binaries and images; what there is, getting it, and taking it where no network is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from hardway.artifacts.build import host_arch
from hardway.artifacts.bundle import System, refuse_place, write
from hardway.artifacts.catalogue import ARCHES, Arch
from hardway.artifacts.get import names_of, publisher
from hardway.artifacts.get import table as rows_of
from hardway.artifacts.packages import fetch, refuse_without_tools
from hardway.artifacts.recording import record
from hardway.artifacts.stock import stock
from hardway.artifacts.store import Blob, default_store
from hardway.cli import options as opt
from hardway.cli.options import Options, flags
from hardway.cli.running import resolver, shown
from hardway.cli.site import inventory
from hardway.console.printing import print_json, print_text
from hardway.console.tables import table
from hardway.debian import SUITES
from hardway.declare.phases.base import Model
from hardway.declare.phases.hosts import packages
from hardway.engine.guards import first_state
from hardway.engine.resolver import Resolver
from hardway.errors import UsageError
from hardway.events import Note, discard
from hardway.inventory.model import Cluster

app = typer.Typer(add_completion=False, invoke_without_command=True)


@app.callback()
@flags(*opt.EVERY, "source", "mirror")
def _table(
    options: Options,
    context: typer.Context,
    arch: Annotated[Literal["amd64", "arm64"] | None, typer.Option("--arch", help="Default: both")] = None,
) -> None:
    """Every component: version, architecture, source, digest, size, state."""
    if context.invoked_subcommand:
        return
    cluster = inventory(options)
    wanted = resolver(options, cluster, default_store(), discard)
    needs = wanted.all_needs([one for one in ARCHES if arch in (None, one)])
    rows = rows_of(needs, source=wanted.source, store=wanted.store, lock=wanted.lock)
    if options.output == "json":
        print_json([asdict(stock(one)) for one in rows])
        return
    lines = [
        (r.need.name, r.need.version, r.need.arch, r.source or wanted.source, r.digest[:8] or "-",
         f"{r.size / 2**20:.0f} MB" if r.size else "-", r.state)
        for r in rows
    ]  # fmt: skip
    print_text(table(("NAME", "VERSION", "ARCH", "SOURCE", "SHA256", "SIZE", "STATE"), lines))


@app.command("get")
@flags("yes", *opt.EVERY, *opt.GETTING)
def _get(
    options: Options,
    arch: Annotated[Literal["amd64", "arm64"] | None, typer.Option("--arch", help="Default: this computer's")] = None,
) -> None:
    """Get everything now, so that init finds it in the cache."""
    cluster, arches = inventory(options), _arches(arch)
    with shown(options) as events:
        wanted = resolver(options, cluster, default_store(), events)
        have = wanted.everything(arches)
        size = sum(blob.size for blob, _ in have.values())
        told = f"{len(have)} of {len(names_of(cluster.kubernetes))} files in the cache, {size / 2**20:.0f} MB."
        if options.output == "json":
            events(Note(told))
    if options.output == "text":
        print_text(told)


@app.command("bundle")
@flags("yes", *opt.EVERY, "source", "mirror", "require_pinned")
def _bundle(
    options: Options,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Such as site.tar.zst")],
    arch: Annotated[
        str | None,
        typer.Option("--arch", metavar="ARCH,…", help="The machines': amd64, arm64. Default: this computer's"),
    ] = None,
    packages: Annotated[
        str | None,
        typer.Option("--packages", metavar="SYSTEM,…", help="debian-12, debian-13; or none. Default: the lab's image"),
    ] = None,
) -> None:
    """Binaries, images and the distribution's packages in one file: init --bundle FILE needs no network."""
    cluster = inventory(options)
    systems, arches = _systems(cluster, packages), _arches(arch)
    # What comes before it takes minutes.
    refuse_place(file)
    if systems:
        refuse_without_tools()
    with shown(options) as events:
        wanted = resolver(options, cluster, default_store(), events)
        files = wanted.everything(arches, with_images=True)
        if systems:
            events(Note(f"getting packages of {', '.join(systems)} with apt"))
        names = _packages(cluster, wanted)
        debs: dict[System, Mapping[str, Blob]] = {}
        for name in systems:
            for arch in arches:
                debs[name, arch] = fetch(name, arch, names, wanted.store)
        digest = write(file, cluster.kubernetes, files, debs, events)
        told = [
            f"{file}: {file.stat().st_size / 2**20:.0f} MB, sha256 {digest}",
            f"{len(files)} binaries and images of Kubernetes {cluster.kubernetes} for {' and '.join(arches)}; "
            + (f"packages of {', '.join(systems)}." if systems else "no packages of any distribution."),
        ]
        if options.output == "json":
            for line in told:
                events(Note(line))
    if options.output == "text":
        print_text("\n".join(told))


@app.command("lock")
@flags(*opt.EVERY, "source", "mirror", "require_pinned")
def _lock(
    options: Options,
    arch: Annotated[str | None, typer.Option("--arch", metavar="ARCH,…", help="amd64, arm64. Default: both")] = None,
) -> None:
    """Record every file's digest in artifacts.lock, without the files: for versions beyond the catalogue, too."""
    cluster = inventory(options)
    with shown(options) as events:
        wanted = resolver(options, cluster, default_store(), events)
        if wanted.source == "build":
            raise UsageError("what is built here has no publisher's digest", hint="--source download, or a mirror")
        before, arches = len(wanted.lock.entries()), _arches(arch or ",".join(ARCHES))
        source = publisher("mirror" if wanted.source == "mirror" else "download", wanted.mirror)
        found = record(wanted.releases.values(), arches, source, wanted.lock, wanted.require_pinned, events)
        new = len(wanted.lock.entries()) - before
        told = f"{len(found)} digests for {' and '.join(arches)} in {wanted.lock.path}, {new} of them new."
        if options.output == "json":
            events(Note(told))
    if options.output == "text":
        print_text(told)


def _arches(given: str | None) -> list[Arch]:
    named = [host_arch()] if given is None else given.split(",")
    if unknown := [one for one in named if one not in ARCHES]:
        raise UsageError(f"there are no components for {', '.join(unknown)}", hint=f"--arch {','.join(ARCHES)}")
    return [one for one in ARCHES if one in named]


def _systems(cluster: Cluster, given: str | None) -> list[str]:
    """The distributions whose packages are asked for; a lab's images say which they are."""
    if given is None and cluster.lab is not None:
        images = (machine.image or cluster.lab.image for machine in cluster.machines)
        given = ",".join(sorted({image.removesuffix("-minimal") for image in images}))
    if given is None:
        raise UsageError(
            "which distribution's packages the machines may lack is not said",
            hint=f"--packages {','.join(SUITES)} (those that they have), or --packages none",
        )
    systems = [] if given == "none" else list(dict.fromkeys(given.split(",")))
    if unknown := [one for one in systems if one not in SUITES]:
        raise UsageError(
            f"no packages can be got for {', '.join(unknown)}",
            hint=f"one of {', '.join(SUITES)}; on other machines, install them by hand: --packages none",
        )
    return systems


def _packages(cluster: Cluster, resolver: Resolver) -> set[str]:
    """What chapter `hosts` would install on one machine or another."""
    model = Model(cluster, first_state(cluster), resolver.versions)
    names: set[str] = set()
    for machine in cluster.machines:
        names.update(one.package for one in packages(model, machine))
    return names
