"""What is declared while CAs and keys are being replaced: State has the generations, the chapters follow."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

import pytest
import yaml
from phase_models import LAB, MODEL, file, on

from hardway.declare.declaration import declare
from hardway.declare.phases import certs, control_plane, encryption
from hardway.declare.phases.base import Model
from hardway.declare.resources import Certificate, Context, File, Key, Local, RandomKey, Service, WorkspaceFile
from hardway.lint import rules
from hardway.lint.declared import declared_setup
from hardway.map.drawn import drawn
from hardway.rules import Evidence, examine
from hardway.state import Generations, State
from hardway.values import fill, placeholders

NOW = datetime(2026, 11, 21, tzinfo=UTC)
CONTROLLER = LAB.controllers[0]
KUBERNETES, ETCD, API_ETCD = "/etc/kubernetes/pki/ca.crt", "/etc/etcd/pki/ca.crt", "/etc/kubernetes/pki/etcd/ca.crt"
BOTH = Generations(trusted=(1, 2), signing=1)
TURNED = Generations(trusted=(1, 2), signing=2)


def rotating(**changes: object) -> Model:
    return replace(MODEL, state=replace(MODEL.state, **changes))  # type: ignore[arg-type]


def names(of: Model, machine: str, path: str) -> list[str]:
    return [placeholder.name for placeholder in placeholders(file(of, machine, path).text)]


def issuers(of: Model) -> Mapping[str, str]:
    return {issued.path: issued.ca for issued in certs.certificates(of)}


def local(of: Model, kind: type[Local]) -> list[str]:
    return [one.path for _, one in declare(of).local if isinstance(one, kind)]


def test_one_generation_is_trusted_and_signs_where_nothing_was_rotated() -> None:
    assert file(MODEL, CONTROLLER.name, KUBERNETES).text == "⟦pki/ca.crt|plain|open⟧"
    assert names(MODEL, CONTROLLER.name, "/etc/kubernetes/pki/ca-signing.crt") == ["pki/ca.crt"]
    assert names(MODEL, CONTROLLER.name, "/etc/kubernetes/pki/ca-signing.key") == ["pki/ca.key"]
    assert not [path for path in local(MODEL, WorkspaceFile) if path.endswith(".crt")]


@pytest.mark.parametrize(
    ("ca", "stem", "paths"),
    [
        ("kubernetes", "pki/ca", [KUBERNETES]),
        ("etcd", "pki/etcd/ca", [ETCD, API_ETCD]),
        ("front-proxy", "pki/front-proxy-ca", ["/etc/kubernetes/pki/front-proxy-ca.crt"]),
    ],
)
def test_trust_is_all_generations_in_order_and_one_of_them_signs(ca: str, stem: str, paths: list[str]) -> None:
    of, turned = rotating(authorities={ca: BOTH}), rotating(authorities={ca: TURNED})
    for path in paths:
        assert names(of, CONTROLLER.name, path) == [f"{stem}.crt", f"{stem}-2.crt"]
    before, after = set(issuers(of).values()), set(issuers(turned).values())
    assert (stem in before, f"{stem}-2" in before) == (True, False)
    assert (stem in after, f"{stem}-2" in after) == (False, True)
    assert {f"{stem}.key", f"{stem}-2.key"} <= set(local(of, Key))
    made = {one.path: one.spec.common_name for _, one in declare(of).local if isinstance(one, Certificate)}
    assert made[f"{stem}-2.crt"] == f"{made[f'{stem}.crt']}-2"


def test_the_controller_manager_signs_with_one_certificate_while_two_are_trusted() -> None:
    for authority, signer in ((BOTH, "pki/ca"), (TURNED, "pki/ca-2")):
        of = rotating(authorities={"kubernetes": authority})
        assert names(of, CONTROLLER.name, "/etc/kubernetes/pki/ca-signing.crt") == [f"{signer}.crt"]
        assert names(of, CONTROLLER.name, "/etc/kubernetes/pki/ca-signing.key") == [f"{signer}.key"]


def test_every_worker_and_every_kubeconfig_trusts_both() -> None:
    of = rotating(authorities={"kubernetes": BOTH})
    for machine in LAB.machines:
        assert names(of, machine.name, KUBERNETES) == ["pki/ca.crt", "pki/ca-2.crt"]
    [bundle] = [one for _, one in declare(of).local if isinstance(one, WorkspaceFile) and one.path.endswith(".crt")]
    values = {"pki/ca.crt": b"one\n", "pki/ca-2.crt": b"two\n"}
    assert bundle.make(values, NOW) == b"one\ntwo\n"
    texts = [one.text for _, one in declare(of).local if isinstance(one, WorkspaceFile)]
    clusters = [yaml.safe_load(text)["clusters"][0]["cluster"] for text in texts if "kind: Config" in text]
    assert {one["certificate-authority-data"] for one in clusters} == {f"⟦{bundle.path}|base64|open⟧"}


def test_a_bundle_is_made_before_what_holds_it() -> None:
    of = rotating(authorities={"kubernetes": BOTH})
    paths = [one.path for _, one in declare(of).local]
    assert paths.index("pki/ca-2.crt") < paths.index("pki/ca-bundle.crt") < paths.index("kubeconfigs/admin.conf")


def test_a_retired_generation_is_declared_no_more() -> None:
    of = rotating(authorities={"kubernetes": Generations(trusted=(2,), signing=2)})
    assert names(of, CONTROLLER.name, KUBERNETES) == ["pki/ca-2.crt"]
    assert "pki/ca.key" not in local(of, Key)
    assert "pki/ca-2.crt" in names(of, CONTROLLER.name, "/etc/kubernetes/admin.conf")


def test_tokens_of_both_keys_are_believed_and_one_signs() -> None:
    of = rotating(service_account_keys=Generations(trusted=(1, 2), signing=2))
    unit = control_plane.unit(of, CONTROLLER, "kube-apiserver")
    pki = "/etc/kubernetes/pki"
    assert [line.strip(" \\") for line in unit.splitlines() if "--service-account-key-file" in line] == [
        f"--service-account-key-file={pki}/sa.pub", f"--service-account-key-file={pki}/sa-2.pub",
    ]  # fmt: skip
    assert f"--service-account-signing-key-file={pki}/sa-2.key" in unit
    manager = control_plane.unit(of, CONTROLLER, "kube-controller-manager")
    assert f"--service-account-private-key-file={pki}/sa-2.key" in manager
    assert names(of, CONTROLLER.name, f"{pki}/sa-2.key") == ["pki/sa-2.key"]
    there = {one.name for one in on(of, CONTROLLER.name, File)}
    assert {f"{pki}/sa.pub", f"{pki}/sa-2.pub"} <= there
    assert f"{pki}/sa.key" not in there
    inputs = {one.name: one.inputs for one in on(of, CONTROLLER.name, Service) if isinstance(one, Service)}
    assert {f"{pki}/sa.pub", f"{pki}/sa-2.pub", f"{pki}/sa-2.key"} <= {*inputs["kube-apiserver.service"]}
    assert f"{pki}/sa-2.key" in inputs["kube-controller-manager.service"]


def test_a_setting_takes_the_place_of_all_keys_of_tokens() -> None:
    of = rotating(service_account_keys=Generations(trusted=(1, 2)))
    settings = {"kube-apiserver": {"service-account-key-file": "/root/own.pub"}}
    own = control_plane.unit(replace(of, cluster=replace(LAB, settings=settings)), CONTROLLER, "kube-apiserver")
    assert [line for line in own.splitlines() if "service-account-key-file" in line] == [
        "  --service-account-key-file=/root/own.pub \\"
    ]


def test_the_first_encryption_key_writes_and_all_read() -> None:
    of = rotating(encryption_keys=("key2", "key1"))
    assert local(of, RandomKey) == ["secrets/encryption-key-key2", "secrets/encryption-key"]
    values = {"secrets/encryption-key-key2": b"2" * 32, "secrets/encryption-key": b"1" * 32}
    filled = fill(encryption.encryption_config(of), values)
    assert filled is not None
    [provider] = yaml.safe_load(filled)["resources"][0]["providers"]
    assert [key["name"] for key in provider["secretbox"]["keys"]] == ["key2", "key1"]
    assert File("/x", encryption.encryption_config(of)).content(Context("c", values)) == filled


@pytest.mark.parametrize("authority", [BOTH, TURNED])
def test_rules_and_the_map_know_a_cluster_under_rotation(authority: Generations) -> None:
    of = rotating(
        authorities={"kubernetes": authority, "etcd": authority, "front-proxy": authority},
        service_account_keys=Generations(trusted=(1, 2), signing=authority.signing),
        encryption_keys=("key1", "key2"),
    )
    setup = declared_setup(LAB, declare(of), {}, NOW)
    assert examine(rules.RULES, Evidence(LAB, setup=setup)) == []
    assert len(drawn(LAB, declare(of)).authorities) == 6


def test_generations_outlive_the_file() -> None:
    state = replace(
        MODEL.state, authorities={"etcd": TURNED}, service_account_keys=Generations((1, 2), 1),
        encryption_keys=("key1", "key2"),
    )  # fmt: skip
    assert State.from_json(state.to_json(), "state.json") == state
    assert (state.authority("etcd"), state.authority("kubernetes")) == (TURNED, Generations())
