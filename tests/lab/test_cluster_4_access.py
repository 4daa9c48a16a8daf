"""Somebody is given a kubeconfig, may what a role allows, and loses that again."""

import os
import subprocess
from pathlib import Path

import pytest
from driving import Site

pytestmark = pytest.mark.lab


def test_somebody_is_let_in_and_loses_what_a_role_allowed(seven: Site, tmp_path: Path) -> None:
    theirs = tmp_path / "ann.kubeconfig"
    told = seven.hardway("access", "user", "add", "ann", "--group", "dev", "--ttl", "20m", "--to", str(theirs)).out
    assert "for ann of dev, until " in told
    assert theirs.stat().st_mode & 0o777 == 0o600

    def said(*words: str) -> str:
        program, environment = seven.own_kubectl()
        argv = [*program, f"--kubeconfig={theirs}", *words]
        done = subprocess.run(argv, capture_output=True, text=True, env=dict(os.environ) | environment, check=False)
        return done.stdout + done.stderr

    who = said("auth", "whoami", "-o", "jsonpath={.status.userInfo.username} {.status.userInfo.groups}")
    assert who.startswith("ann ")
    assert '"dev"' in who
    assert said("auth", "can-i", "list", "pods").strip() == "no"
    seven.kubectl("create", "clusterrolebinding", "ann-views", "--clusterrole=view", "--user=ann", "--user=bob")
    seven.kubectl("create", "rolebinding", "dev-edits", "-n", "default", "--clusterrole=edit", "--group=dev")
    try:
        assert said("auth", "can-i", "list", "pods", "-n", "kube-system").strip() == "yes"
        told = seven.hardway("access", "user", "revoke", "ann").out
        assert "taken out of ClusterRoleBinding ann-views (ClusterRole view)" in told
        assert "still there for the groups of ann: RoleBinding dev-edits in default (ClusterRole edit)" in told
        assert said("auth", "can-i", "list", "pods", "-n", "kube-system").strip() == "no"
        left = seven.kubectl("get", "clusterrolebinding", "ann-views", "-o", "jsonpath={.subjects[*].name}")
        assert left == "bob"
        assert "revoked" in seven.hardway("access", "user", "list").out
    finally:
        seven.kubectl("delete", "clusterrolebinding", "ann-views")
        seven.kubectl("delete", "rolebinding", "dev-edits", "-n", "default")
