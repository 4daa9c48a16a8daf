"""A rendered tree has every artifact, the same bytes each time, and no secret that nobody asked for."""

from dataclasses import replace
from pathlib import Path

import pytest

from hardway.declare.declaration import Declaration
from hardway.declare.phases.base import Placed
from hardway.declare.resources import ApiObjects, Block, Directory, File, WorkspaceFile
from hardway.errors import UsageError
from hardway.preview.tree import INDEX, tree, write_tree
from hardway.values import Placeholder

SECRET, OPEN, FACT = (
    Placeholder("pki/ca.key", secret=True),
    Placeholder("pki/ca.crt", "base64"),
    Placeholder("fact/cgroup-driver"),
)
VALUES = {"pki/ca.key": b"hush", "pki/ca.crt": b"CERT"}


def placed(*resources: object) -> tuple[Placed, ...]:
    return tuple(Placed("c0", "certs", one) for one in resources)  # type: ignore[arg-type]


DECLARED = Declaration(
    placed(
        Directory("/etc/kubernetes"),
        File("/etc/kubernetes/ca.key", str(SECRET), 0o600),
        File("/etc/kubernetes/conf", f"ca: {OPEN}\ndriver: {FACT}\n"),
        Block("/etc/hosts", "10.0.0.1 c0\n"),
        ApiObjects("rbac", "kind: Role\n", "/etc/kubernetes/admin.conf"),
    ),
    (("access", WorkspaceFile("kubeconfig", f"key: {SECRET}\n")),),
)


def files(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): path.read_text() for path in sorted(root.rglob("*")) if path.is_file()}


def test_every_artifact_has_its_place_and_placeholders_stand_there_by_name(tmp_path: Path) -> None:
    write_tree(tmp_path / "tree", tree(DECLARED, VALUES, with_secrets=False))
    written = files(tmp_path / "tree")
    index = written.pop(INDEX)
    assert written == {
        "api-objects/rbac.yaml": "kind: Role\n",
        "c0/etc/hosts": "# BEGIN hardway\n10.0.0.1 c0\n# END hardway\n",
        "c0/etc/kubernetes/ca.key": str(SECRET),
        "c0/etc/kubernetes/conf": f"ca: Q0VSVA==\ndriver: {FACT}\n",
        "operator/kubeconfig": f"key: {SECRET}\n",
    }
    assert "certs c0/etc/kubernetes/conf  fact/cgroup-driver\n" in index


def test_secrets_come_only_when_asked_for_and_as_private_as_they_are(tmp_path: Path) -> None:
    write_tree(tmp_path, tree(DECLARED, VALUES, with_secrets=True))
    assert (tmp_path / "c0/etc/kubernetes/ca.key").read_text() == "hush"
    assert (tmp_path / "c0/etc/kubernetes/ca.key").stat().st_mode & 0o777 == 0o600
    write_tree(tmp_path, tree(DECLARED, VALUES, with_secrets=False))
    assert "hush" not in "".join(files(tmp_path).values())


def test_twice_gives_the_same_bytes_and_what_is_no_longer_declared_goes(tmp_path: Path) -> None:
    write_tree(tmp_path, tree(DECLARED, VALUES, with_secrets=False))
    first = files(tmp_path)
    write_tree(tmp_path, tree(DECLARED, VALUES, with_secrets=False))
    assert files(tmp_path) == first
    (tmp_path / "c0/etc/notes").write_text("mine")
    write_tree(tmp_path, tree(replace(DECLARED, placed=()), VALUES, with_secrets=False))
    assert sorted(files(tmp_path)) == [INDEX, "c0/etc/notes", "operator/kubeconfig"]
    assert not (tmp_path / "c0/etc/kubernetes").exists()


def test_a_folder_that_holds_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis").write_text("words")
    with pytest.raises(UsageError, match="not a tree of hardway's"):
        write_tree(tmp_path, tree(DECLARED, VALUES, with_secrets=False))
    assert files(tmp_path) == {"thesis": "words"}


def test_an_index_that_was_tampered_with_deletes_nothing_outside(tmp_path: Path) -> None:
    outside = tmp_path / "precious"
    outside.write_text("words")
    root = tmp_path / "tree"
    write_tree(root, tree(DECLARED, VALUES, with_secrets=False))
    with (root / INDEX).open("a") as index:
        index.write("0644 - 0 certs ../precious\n")
    write_tree(root, tree(DECLARED, VALUES, with_secrets=False))
    assert outside.read_text() == "words"
