"""A real API server and etcd: what is encrypted, and with which key, after each stage of `encryption rotate`."""

import json
import subprocess
import time
import urllib.error
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from etcd_life import real_programs
from real_api import LIMIT, RealApi, real_api

from hardway.declare.phases.base import Model
from hardway.declare.phases.encryption import encryption_config
from hardway.declare.phases.etcd import OWN
from hardway.declare.phases.paths import ADMIN_CONF, KUBECTL, PKI
from hardway.inventory.load import load
from hardway.inventory.model import Encryption
from hardway.operations import rotate_encryption
from hardway.state import State, fixed_values
from hardway.values import fill

ETCD, KUBERNETES = real_programs(), real_programs("kubernetes")
CLUSTER = load(Path(__file__).parents[2] / "inventories/lab.yaml")
WIDGETS = "widgets.example.org"
SECRETS, OTHERS = 100, 10
CRD = {
    "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": WIDGETS},
    "spec": {
        "group": "example.org", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"},
        "versions": [
            {"name": "v1", "served": True, "storage": True, "schema": {
                "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}},
        ],
    },
}  # fmt: skip


class Controller:
    """Scripts for a controller run here, against the server on loopback."""

    def __init__(self, api: RealApi, folder: Path) -> None:
        assert ETCD and KUBERNETES
        config = json.loads(api.kubeconfig.read_text())
        (folder / "admin.conf").write_text(yaml.safe_dump(config, width=1 << 20))
        self._here = {
            OWN: f"{ETCD['etcdctl']} --endpoints={api.etcd}",
            KUBECTL: f"{KUBERNETES['kubectl']} --kubeconfig={folder}/admin.conf",
            ADMIN_CONF: f"{folder}/admin.conf",
            f"{PKI}/ca.crt": f"{folder}/ca.crt",
            "127.0.0.1:6443": api.address,
        }

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        for there, here in self._here.items():
            script = script.replace(there, here)
        return subprocess.run(["sh", "-euc", script], capture_output=True, text=True, check=False, timeout=300)

    def holds(self, model: Model) -> list[bool]:
        return [self.run(proof.query).returncode == 0 for proof in rotate_encryption._rewritten(model)]


def config(model: Model, folder: Path) -> None:
    values = {f"secrets/encryption-key{end}": b"12345678" * 4 for end in ("", "-key2", "-key3")}
    text = fill(encryption_config(model), values)
    assert text
    (folder / "encryption.yaml").write_bytes(text)


def written(api: RealApi, path: str, kind: str, number: int) -> None:
    for count in range(number):
        name = f"one-{count}"
        text = {"name": name, "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}}
        version = "example.org/v1" if kind == "Widget" else "v1"
        api.ask(path, "POST", {"apiVersion": version, "kind": kind, "metadata": text})


@pytest.mark.skipif(not (ETCD and KUBERNETES), reason="run hardway artifacts get first")
def test_everything_is_written_again_and_nothing_changes_for_who_reads_it(tmp_path: Path) -> None:
    assert ETCD and KUBERNETES
    model = Model(CLUSTER, State("lab", "id", fixed=fixed_values(CLUSTER)), {})
    config(model, tmp_path)
    with real_api({**ETCD, **KUBERNETES}, tmp_path) as api:
        here = Controller(api, tmp_path)
        api.settings = {"encryption-provider-config": f"{tmp_path}/encryption.yaml"}

        def become(state: State) -> Model:
            config(replace(model, state=state), tmp_path)
            api.kill()
            api.start()
            return replace(model, state=state)

        model = become(model.state)
        api.ask("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", "POST", CRD)
        here.run(f"{KUBECTL} wait --for=condition=Established crd/{WIDGETS} --timeout=30s")
        written(api, "/api/v1/namespaces/default/secrets", "Secret", SECRETS)
        written(api, "/apis/example.org/v1/namespaces/default/widgets", "Widget", OTHERS)
        before = contents(api)

        for wanted in (Encryption("aesgcm", ("secrets", WIDGETS)), Encryption("aescbc", ("secrets",))):
            read, write, rewrite, retire = rotate_encryption.operation(wanted).stages
            model = become(read.edit(model.state))
            model = become(write.edit(model.state))
            assert here.holds(model) == [False, False]
            began = time.monotonic()
            done = here.run(rotate_encryption.rewrite(model, "secrets"))
            assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr
            print(f"{SECRETS / (time.monotonic() - began):.0f} Secrets a second")
            assert here.holds(model) == [True, False]
            done = here.run(rotate_encryption.rewrite(model, WIDGETS))
            assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr
            assert here.holds(model) == [True, True]
            model = become(retire.edit(rewrite.edit(model.state)))
            assert contents(api) == before


def contents(api: RealApi) -> list[object]:
    """All objects without what every write changes."""
    found = []
    for path in ("/api/v1/secrets", "/apis/example.org/v1/widgets"):
        for one in json.loads(listed(api, path))["items"]:
            del one["metadata"]["resourceVersion"]
            found.append(one)
    return found


def listed(api: RealApi, path: str) -> bytes:
    """A server that has just started answers 429 until it has read all objects of a kind."""
    deadline = time.monotonic() + LIMIT
    while True:
        try:
            return api.ask(path)
        except urllib.error.HTTPError as error:
            assert error.code == 429 and time.monotonic() < deadline, error
            time.sleep(0.2)
