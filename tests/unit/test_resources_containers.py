"""Images and API objects: seen, unknown, and what the server itself would change."""

import json
from typing import Any

from hardway.declare.resources import Absent, ApiObjects, Context, Image, Observed, Present, Unknown
from hardway.values import Placeholder

PAUSE = Image("registry.k8s.io/pause:3.10", "image/pause", "3.10")
ACCEPTED = Context("m", accepted={("image/pause", "3.10"): frozenset(("aa",))})
MANIFEST = """\
kind: Namespace
metadata:
  name: a
---
kind: Service
metadata:
  name: dns
  namespace: a
spec: {clusterIP: 10.32.0.10}
"""
OBJECTS = ApiObjects("coredns", MANIFEST, "/etc/kubernetes/admin.conf")


def test_an_image_that_containerd_lists_is_there() -> None:
    assert Image.parse([PAUSE], "registry.k8s.io/pause:3.10\n") == {PAUSE.key: Present()}
    assert Image.parse([PAUSE], "sha256:abc\n") == {PAUSE.key: Absent()}
    assert Image.parse([PAUSE], "unknown\n") == {PAUSE.key: Unknown("containerd does not answer")}


def test_an_image_without_an_accepted_archive_is_the_kubelets_to_pull() -> None:
    assert PAUSE.diff(Absent(), Context("m")) is None
    difference = PAUSE.diff(Absent(), ACCEPTED)
    assert difference is not None
    assert difference.verb == "create"
    assert PAUSE.diff(Unknown("no"), ACCEPTED) is None
    assert PAUSE.diff(Present(), ACCEPTED) is None


def namespace(**metadata: Any) -> dict[str, Any]:
    return {"kind": "Namespace", "metadata": {"name": "a", **metadata}}


def service(address: str, **metadata: Any) -> dict[str, Any]:
    return {"kind": "Service", "metadata": {"name": "dns", "namespace": "a", **metadata}, "spec": {"ip": address}}


def answer(live: list[dict[str, Any]], dry: list[dict[str, Any]]) -> str:
    def listed(items: list[dict[str, Any]]) -> str:
        return json.dumps({"kind": "List", "items": items})

    return f"{listed(live) if live else ''}\n@dry\n{listed(dry)}\n"


def parsed(output: str, objects: ApiObjects = OBJECTS) -> Observed:
    return ApiObjects.parse([objects], output)[objects.key]


def test_what_the_servers_dry_run_leaves_as_it_is_does_not_differ() -> None:
    live = [namespace(uid="1", resourceVersion="5"), service("10.32.0.10", managedFields=[1])]
    dry = [namespace(uid="2", resourceVersion="6"), service("10.32.0.10", managedFields=[2])]
    assert parsed(answer(live, dry)) == Present([])
    assert OBJECTS.diff(parsed(answer(live, dry)), Context("m")) is None


def test_what_it_would_change_or_make_is_named() -> None:
    difference = OBJECTS.diff(parsed(answer([service("10.32.0.99")], [namespace(), service("10.32.0.10")])), ACCEPTED)
    assert difference is not None
    assert (difference.verb, difference.why) == ("update", "Namespace/a, Service/a/dns")


def test_what_others_add_is_no_drift() -> None:
    labelled = namespace(labels={"theirs": "1"})
    assert parsed(answer([labelled, service("x")], [labelled, service("x")])) == Present([])


def test_what_the_server_says_of_itself_is_no_drift() -> None:
    live = [namespace(), {**service("x"), "status": {"ready": 1}}]
    assert parsed(answer(live, [namespace(), service("x")])) == Present([])


def test_a_single_object_comes_without_a_list() -> None:
    one = ApiObjects("one", "kind: Namespace\nmetadata: {name: a}\n", "/conf")
    text = json.dumps(namespace())
    assert parsed(f"{text}\n@dry\n{text}\n", one) == Present([])


def test_before_there_is_an_api_everything_is_absent() -> None:
    assert parsed("@none\n") == Absent()
    difference = OBJECTS.diff(Absent(), Context("m"))
    assert difference is not None
    assert difference.verb == "create"


def test_an_api_that_does_not_answer_leaves_its_objects_unknown() -> None:
    said = "The connection to the server 127.0.0.1:6443 was refused"
    assert parsed(f"{said}\n\n@dry\n{said}\n") == Unknown(said)
    assert OBJECTS.diff(Unknown(said), Context("m")) is None


def test_who_may_not_look_yet_is_answered_by_an_api_that_works() -> None:
    said = "Error from server (Forbidden): namespaces is forbidden"
    assert parsed(f"{said}\n\n@dry\n{said}\n") == Absent()


def test_the_bootstrap_kubeconfig_is_staged_for_the_apply_alone() -> None:
    rbac = ApiObjects("rbac", MANIFEST, "/conf", bootstrap_kubeconfig=f"key: {Placeholder('pki/a.key', secret=True)}")
    staged = rbac.staged(Context("m", {"pki/a.key": b"secret"}))
    assert sorted(staged.values()) == sorted([MANIFEST.encode(), b"key: secret"])
    difference = rbac.diff(Absent(), ACCEPTED)
    assert difference is not None
    steps = rbac.steps(difference, ACCEPTED)
    assert "secret" not in steps
    (name,) = [name for name, content in staged.items() if content == b"key: secret"]
    assert f"rm -f -- /var/lib/hardway/stage/{name}" in steps
