"""How a person gets the components' files: published ones checked against their digests, or built by Go."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from hardway import data
from hardway.artifacts.build import Build, output_name
from hardway.artifacts.catalogue import ARCHES, IMAGES, PublishedFile, Release, releases_for
from hardway.artifacts.release import Image as ImageRelease
from hardway.declare.resources import Binary, Image, Resource
from hardway.inventory.model import Artifacts, Cluster

GET = r"""
# get URL DIGEST: into bin/download, unless it is another file than the one meant
get() {
  mkdir -p bin/download
  curl -fsSL --retry 3 -o "bin/download/${1##*/}" "$1"
  echo "$2  bin/download/${1##*/}" | sha256sum -c --quiet
}

# stated URL URL-OF-DIGESTS: get, with the digest that the publisher states for the file
stated() {
  get "$1" "$(curl -fsSL "$2" | awk -v f="${1##*/}" 'NF == 1 || $2 == f || $2 == "*" f { print $1; exit }')"
}"""

ARCHIVE = r"""
# archive REFERENCE CONTENT USER ARGUMENTS…: an image of a static program (and empty folders), as ctr imports it
archive() {
  local folder reference=$1 content layer config command
  read -ra content <<<"$2"
  folder=$(mktemp -d)
  tar cf "$folder/layer.tar" --owner=0 --group=0 -C bin/build "${content[@]}"
  layer=$(sha256sum <"$folder/layer.tar" | cut -d' ' -f1)
  command=$([ $# = 3 ] || printf '"%s",' "${@:4}")
  cat >"$folder/config" <<EOF
{"architecture": "$arch", "os": "linux", "rootfs": {"type": "layers", "diff_ids": ["sha256:$layer"]},
 "config": {"Entrypoint": ["/${content[0]}"], "WorkingDir": "/", "User": "$3", "Cmd": [${command%,}]}}
EOF
  config=$(sha256sum <"$folder/config" | cut -d' ' -f1).json
  mv "$folder/config" "$folder/$config"
  printf '[{"Config": "%s", "RepoTags": ["%s"], "Layers": ["layer.tar"]}]' "$config" "$reference" \
    >"$folder/manifest.json"
  tar cf - -C "$folder" manifest.json "$config" layer.tar
  rm -r "$folder"
}"""


def artifact_lines(cluster: Cluster, resources: Iterable[Resource]) -> list[str]:
    """Everything that these resources need in bin/ARCHITECTURE, unless it is there."""
    wanted = list(dict.fromkeys(one.file for one in resources if isinstance(one, Binary | Image)))
    if not wanted:
        return []
    releases = releases_for(cluster.kubernetes, cluster.artifacts.versions).values()
    images = [IMAGES[name] for name in wanted if name in IMAGES]
    build = cluster.artifacts.source == "build"
    names = [machine.name for machine in cluster.machines]
    asked = f'for machine in {" ".join(names)}; do arch_of "$machine"; done | sort -u'
    lines = [
        "",
        "# The components' files, in a folder for each architecture; what is there already is taken as it is",
        f"for arch in $({asked if len(names) > 1 else f'arch_of {names[0]}'}); do",
        '  mkdir -p "bin/$arch"',
    ]
    for release in releases:
        binaries = [name for name in release.binaries if name in wanted]
        if release.files and binaries:
            lines += _built(release, binaries) if build else _downloaded(release, binaries, cluster.artifacts)
    if build:
        by_component = {one.component: one for one in releases}
        for image in images:
            lines += _imaged(image, by_component[image.component])
    return [(GET if not build else ARCHIVE if images else ""), *lines, "done"]


def _downloaded(release: Release, names: Sequence[str], artifacts: Artifacts) -> Iterator[str]:
    for file in release.files:
        members = {name: inside for name, inside in file.members if name in names}
        if not members:
            continue
        url = _address(file.url, release, artifacts)
        archive = f'"bin/download/{url.rpartition("/")[2]}"'
        yield f'  [ -e "bin/$arch/{next(iter(members))}" ] || {{  # {release.component} {release.version}'
        yield from _got(file, url, _address(file.checksums, release, artifacts))
        for name, inside in members.items():
            if inside is None:
                yield f'    cp {archive} "bin/$arch/{name}"'
            else:
                inside = inside.format(version=release.version, arch="$arch")
                yield f'    tar xOf {archive} --wildcards "*{inside}" >"bin/$arch/{name}"'
        yield "    chmod 755 " + " ".join(f'"bin/$arch/{name}"' for name in members)
        yield "  }"


def _got(file: PublishedFile, url: str, sums: str) -> Iterator[str]:
    """By the digest that is pinned, or else by the one that its publisher states."""
    pins = {arch: pin for arch in ARCHES if (pin := file.pin(arch))}
    if len(pins) < len(ARCHES):
        yield f'    stated "{url}" \\'
        yield f'      "{sums}"'
        return
    yield "    case $arch in"
    for arch, pin in pins.items():
        yield f"      {arch}) digest={pin} ;;"
    yield "    esac"
    yield f'    get "{url}" \\'
    yield '      "$digest"'


def _address(text: str, release: Release, artifacts: Artifacts) -> str:
    url = text.format(version=release.version, arch="$arch")
    if artifacts.source != "mirror" or artifacts.mirror is None:
        return url
    base = artifacts.mirror if "://" in artifacts.mirror else Path(artifacts.mirror).expanduser().resolve().as_uri()
    return f"{base.rstrip('/')}/{url.partition('://')[2]}"


def _go(release: Release) -> tuple[str, str]:
    """The folder, and the command up to `-o`; a build for another architecture than this computer's is Go's own."""
    build = Build(release, "amd64", data.folder("components") / release.recipe.module, "")
    settings = {**build.environment, "GOARCH": '"$arch"'}
    words: list[str] = []
    for name, value in settings.items():
        if value and name not in ("CC", "PKG_CONFIG_LIBDIR"):
            words.append(f"{name}={value}")
    return str(build.folder), f"{' '.join(words)} {shlex.join(build.command)}"


def _built(release: Release, names: Sequence[str]) -> Iterator[str]:
    folder, command = _go(release)
    packages = {name: package for name, package in release.recipe.packages if name in names}
    yield f'  [ -e "bin/$arch/{names[0]}" ] || (  # {release.component} {release.version}'
    yield '    into="$PWD/bin/$arch"'
    yield f"    cd {shlex.quote(folder)}"
    yield f"    {command} \\"
    yield f'      -o "$into/" {" ".join(packages.values())}'
    for name, package in packages.items():
        if output_name(package) != name:
            yield f'    mv "$into/{output_name(package)}" "$into/{name}"'
    yield "  )"


def _imaged(image: ImageRelease, release: Release) -> Iterator[str]:
    folder, command = _go(release)
    package = dict(release.recipe.packages)[image.binary]
    target = f'"bin/$arch/{image.name.replace("/", "-")}.tar"'
    yield f"  [ -e {target} ] || {{  # {release.component} {release.version}"
    yield "    mkdir -p bin/build"
    yield '    into="$PWD/bin/build"'
    yield f"    (cd {shlex.quote(folder)} && {command} \\"
    yield f'      -o "$into/" {package})'
    yield f"    chmod 755 bin/build/{image.binary}"
    if image.folders:
        yield f"    install -d -m 1777 {' '.join(f'bin/build/{one}' for one in image.folders)}"
    content = " ".join((image.binary, *image.folders))
    words = [image.ref, shlex.quote(content), shlex.quote(image.user), *map(shlex.quote, image.arguments)]
    yield f"    archive {' '.join(words)} >{target}"
    yield "  }"
