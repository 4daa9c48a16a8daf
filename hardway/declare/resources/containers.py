"""Container images in containerd's own store, and objects in the Kubernetes API."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from hardway import yaml_text
from hardway.declare.resources.base import (
    STAGE,
    Absent,
    Context,
    Difference,
    ManualStep,
    Observed,
    Present,
    Resource,
    Unknown,
    quote,
    staged_name,
)
from hardway.declare.resources.files import binary
from hardway.values import fill

CTR = "/usr/local/bin/ctr --namespace k8s.io"
BOOTSTRAP = "/run/bootstrap.conf"
"""Where a person lends a machine the kubeconfig of the first apply; it is gone after a reboot at the latest."""


@dataclass(frozen=True)
class Image(Resource):
    """An image imported from an archive, for machines that reach no registry.

    `file` and `version` name the archive in the catalogue. It is imported with the label that
    keeps the kubelet's garbage collection away from it. Where no archive is accepted (images come
    from a registry there), there is nothing to do: the kubelet pulls it.
    """

    kind: ClassVar[str] = "image"
    reference: str
    file: str
    version: str

    @property
    def name(self) -> str:
        return self.reference

    @classmethod
    def probe(cls, wanted: Sequence[Self]) -> str:
        return (
            "if [ -S /run/containerd/containerd.sock ] && [ -x /usr/local/bin/ctr ]; then\n"
            f"  {CTR} images ls -q || echo unknown\nfi"
        )

    @classmethod
    def parse(cls, wanted: Sequence[Self], output: str) -> dict[str, Observed]:
        seen = set(output.split())
        if "unknown" in seen:
            return {one.key: Unknown("containerd does not answer") for one in wanted}
        return {one.key: Present() if one.reference in seen else Absent() for one in wanted}

    def diff(self, observed: Observed, context: Context) -> Difference | None:
        if not context.accepted.get((self.file, self.version)) or not isinstance(observed, Absent):
            return None
        return Difference("create", "is not imported")

    def steps(self, difference: Difference, context: Context) -> str:
        archive = quote(f"{STAGE}/bin/{self.file.replace('/', '-')}-{self.version}")
        return (
            # --local: else ctr hands the archive on in messages, and containerd takes it apart, for twice the CPU.
            f"{CTR} images import --local --label io.cri-containerd.pinned=pinned {archive} >/dev/null\n"
            f"{CTR} images ls -q | grep -qxF {quote(self.reference)}"
        )

    def manual_steps(self) -> tuple[ManualStep, ...]:
        pinned = "--label io.cri-containerd.pinned=pinned"
        return (ManualStep(f"ctr -n k8s.io images import {pinned} - >/dev/null", source=f"{binary(self.file)}.tar"),)


@dataclass(frozen=True)
class ApiObjects(Resource):
    """Objects of one manifest, applied on the server's side with the field manager `hardway`.

    What differs is the server's own dry run against what it holds, so fields that others add are
    no drift. `kubeconfig` is a path on the machine that asks. Where its user has rights only through
    these very objects, `bootstrap_kubeconfig` is the text (with placeholders) of another one, staged for the
    apply alone and removed with it. `settled` is sh that waits until every API server knows the objects.
    """

    kind: ClassVar[str] = "objects"
    title: str
    manifest: str
    kubeconfig: str
    bootstrap_kubeconfig: str = ""
    settled: str = ""

    @property
    def name(self) -> str:
        return self.title

    @property
    def kubectl(self) -> str:
        return _kubectl(self.kubeconfig)

    @classmethod
    def probe(cls, wanted: Sequence[Self]) -> str:
        """One dry run for all manifests: they are one stream to one kubectl."""
        first = wanted[0]
        stream = "---\n".join(one.manifest for one in wanted)
        dry_run = "apply --server-side --dry-run=server --field-manager=hardway --force-conflicts"
        return (
            f"if [ -x /usr/local/bin/kubectl ] && [ -s {first.kubeconfig} ]; then\n"
            "manifest=$(cat <<'HARDWAY_MANIFEST'\n"
            f"{stream}\nHARDWAY_MANIFEST\n)\n"
            # Each of kubectl's many questions has a limit of its own: a server that hangs must not hold all up.
            "{ printf '%s\\n' \"$manifest\" | " + f"timeout 15 {first.kubectl} get --ignore-not-found -f - -o json && "
            "{ echo; echo @dry; printf '%s\\n' \"$manifest\" | "
            f"timeout 15 {first.kubectl} {dry_run} -f - -o json; }}; }} 2>&1 || true\nelse echo @none; fi"
        )

    @classmethod
    def parse(cls, wanted: Sequence[Self], output: str) -> dict[str, Observed]:
        if output.strip() == "@none":
            return {one.key: Absent() for one in wanted}
        live_text, _, dry_text = output.partition("\n@dry\n")
        try:
            live = _by_identity(json.loads(live_text)) if live_text.strip() else {}
            dry = _by_identity(json.loads(dry_text))
        except ValueError:
            why = (dry_text or live_text).strip().splitlines()
            if any("(Forbidden)" in line for line in why):
                # The API answers; who asks has no rights before the first objects are applied.
                return {one.key: Absent() for one in wanted}
            return {one.key: Unknown(why[-1] if why else "the API did not answer") for one in wanted}
        return {one.key: Present(_differing(one.manifest, live, dry)) for one in wanted}

    def diff(self, observed: Observed, context: Context) -> Difference | None:
        if isinstance(observed, Unknown):
            return None
        if isinstance(observed, Absent):
            return Difference("create", "known after the API answers")
        differing: list[str] = observed.value
        if not differing:
            return None
        return Difference("update", ", ".join(differing))

    def staged(self, context: Context) -> Mapping[str, bytes]:
        files = {staged_name(self.key): self.manifest.encode()}
        if self.bootstrap_kubeconfig and (content := fill(self.bootstrap_kubeconfig, context.values)) is not None:
            files[self._bootstrap_name] = content
        return files

    def steps(self, difference: Difference, context: Context) -> str:
        path = quote(f"{STAGE}/{staged_name(self.key)}")
        apply = f"apply --server-side --field-manager=hardway --force-conflicts -f {path} >/dev/null"
        lines = [f"{_kubectl(self.kubeconfig)} {apply}"]
        if self.bootstrap_kubeconfig:
            bootstrap = quote(f"{STAGE}/{self._bootstrap_name}")
            lines = [
                # Where an earlier try removed it, it had been used.
                f"kubeconfig={bootstrap}; [ -e {bootstrap} ] || kubeconfig={quote(self.kubeconfig)}",
                f"{_kubectl('$kubeconfig')} {apply} || {{ rm -f -- {bootstrap}; false; }}",
                f"rm -f -- {bootstrap}",
            ]
        return "\n".join(filter(None, (*lines, self.settled)))

    def manual_steps(self) -> tuple[ManualStep, ...]:
        kubeconfig = BOOTSTRAP if self.bootstrap_kubeconfig else self.kubeconfig
        flags = "apply --server-side --field-manager=hardway --force-conflicts -f -"
        apply = ManualStep(f"kubectl --kubeconfig={kubeconfig} {flags}", self.manifest)
        settled = (ManualStep(self.settled),) if self.settled else ()
        if not self.bootstrap_kubeconfig:
            return (apply, *settled)
        lend = ManualStep(f"install -m 600 /dev/stdin {BOOTSTRAP}", self.bootstrap_kubeconfig)
        return (lend, apply, ManualStep(f"rm {BOOTSTRAP}"), *settled)

    @property
    def _bootstrap_name(self) -> str:
        return staged_name(f"{self.key}/kubeconfig")


def _kubectl(kubeconfig: str) -> str:
    return f"/usr/local/bin/kubectl --kubeconfig={kubeconfig} --request-timeout=10s"


def _identity(thing: Mapping[str, Any]) -> str:
    meta = thing.get("metadata", {})
    return "/".join(filter(None, (thing.get("kind"), meta.get("namespace"), meta.get("name"))))


def _by_identity(answer: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    things = answer["items"] if answer.get("kind") == "List" else [answer]
    return {_identity(thing): thing for thing in things}


def _differing(manifest: str, live: Mapping[str, Any], dry: Mapping[str, Any]) -> list[str]:

    wanted = [_identity(document) for document in yaml_text.documents(manifest)]
    return [name for name in wanted if _substance(live.get(name)) != _substance(dry.get(name))]


def _substance(thing: Mapping[str, Any] | None) -> Any:
    """An object without what the server counts and stamps by itself."""
    if thing is None:
        return None
    substance = {**thing, "metadata": dict(thing.get("metadata", {}))}
    substance.pop("status", None)
    for key in ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp"):
        substance["metadata"].pop(key, None)
    return substance
