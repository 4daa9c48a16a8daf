"""Any inventory that the model accepts renders and plans."""

import tempfile
from pathlib import Path

import yaml
from hypothesis import HealthCheck, given, settings
from strategies import inventories

from hardway.artifacts.catalogue import releases_for
from hardway.declare.declaration import declare
from hardway.declare.phases import PHASE_NAMES
from hardway.declare.phases.base import Model
from hardway.declare.resources import ApiObjects, Context, File
from hardway.engine.changes import differences
from hardway.engine.observe import questions, read_answer
from hardway.engine.scripts import activation_script, begin
from hardway.facts import SCRIPT, parse
from hardway.inventory.allot import allot_pod_cidrs
from hardway.inventory.load import load
from hardway.inventory.model import Cluster
from hardway.probe.script import Answers, script
from hardway.state import State
from hardway.values import placeholders

BARE = parse("machine=x86_64\ncgroup=2\ninit=systemd\n")


def loaded(text: str) -> Cluster:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hardway.yaml"
        path.write_text(text)
        return allot_pod_cidrs(load(path), {})


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(inventories())
def test_any_right_inventory_plans_every_machine_from_bare_to_whole(text: str) -> None:
    cluster = loaded(text)
    versions = {name: one.version for name, one in releases_for(cluster.kubernetes).items()}
    declaration = declare(Model(cluster, State(cluster.name, "id", etcd="bootstrapping", etcd_token="t"), versions))
    made = {local.path for _, local in declaration.local}
    assert {one.machine for one in declaration.placed} == {machine.name for machine in cluster.machines}
    for machine in cluster.machines:
        wanted = declaration.on(machine.name)
        resources = [one.resource for one in wanted]
        assert SCRIPT in script(questions(resources), "n")
        view = read_answer(resources, Answers())
        values = {**dict.fromkeys([*made, "workspace/path"], b"x"), **BARE.placeholders}
        context = Context(machine.name, values, {})
        for resource in resources:
            if isinstance(resource, File):
                unknown = {placeholder.name for placeholder in placeholders(resource.text)} - values.keys()
                assert not unknown, resource.path
                assert resource.content(context) is not None
                if resource.path.endswith((".yaml", ".conflist")):
                    assert yaml.safe_load(resource.content(context) or b"")
            if isinstance(resource, ApiObjects):
                assert all(document["kind"] for document in yaml.safe_load_all(resource.manifest))
        changes = differences(wanted, view, context)
        assert [one.key for one in changes if one.phase not in PHASE_NAMES] == []
        intents = begin("{}\n", changes, wanted, view, context)
        assert [one.key for one in changes if f'"key":"{one.key}"' not in intents] == []
        assert activation_script(changes, view, context)
    for proof in declaration.proofs:
        assert proof[1].machine in {machine.name for machine in cluster.machines}
