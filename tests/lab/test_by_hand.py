"""verify --by-hand: what somebody set up with the tutorial's names is judged by the same rules, and left as it is."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from driving import Labs, Site, renamed

pytestmark = pytest.mark.lab

TUTORIAL = r"""
set -eu
cd /etc/kubernetes/pki; to=/var/lib/kubernetes; mkdir -p $to
mv ca.crt $to/ca.pem; mv ca-signing.key $to/ca-key.pem; rm ca-signing.crt
mv sa.pub $to/service-account.pem; mv sa.key $to/service-account-key.pem
mv kube-apiserver.crt $to/kubernetes.pem; mv kube-apiserver.key $to/kubernetes-key.pem
sed -i -e "s#$PWD/ca.crt#$to/ca.pem#; s#$PWD/ca-signing.crt#$to/ca.pem#; s#$PWD/ca-signing.key#$to/ca-key.pem#" \
  -e "s#$PWD/sa.pub#$to/service-account.pem#" \
  -e "s#$PWD/sa.key#$to/service-account-key.pem#" -e "s#$PWD/kube-apiserver.crt#$to/kubernetes.pem#" \
  -e "s#--tls-private-key-file=.* #--tls-private-key-file $to/kubernetes-key.pem #" /etc/systemd/system/kube-*.service
systemctl daemon-reload; systemctl restart kube-apiserver kube-controller-manager
"""
WITHOUT_SERVICE_ADDRESS = r"""
set -eu
cd /var/lib/kubernetes
names=$(openssl x509 -in kubernetes.pem -noout -ext subjectAltName | tail -n 1 |
  sed 's/IP Address:/IP:/g; s/IP:10.32.0.1,//; s/ //g')
printf 'extendedKeyUsage=serverAuth\nsubjectAltName=%s\n' "$names" >/tmp/extensions
openssl req -new -key kubernetes-key.pem -subj /CN=kubernetes/O=Kubernetes |
  openssl x509 -req -CA ca.pem -CAkey ca-key.pem -days 365 -set_serial 66 -extfile /tmp/extensions -out kubernetes.pem
systemctl restart kube-apiserver
"""
CERTIFICATES_ONLY = r"""
set -eu
systemctl disable --now kubelet kube-proxy
rm -f /etc/systemd/system/kubelet.service /etc/systemd/system/kube-proxy.service
rm -rf /etc/kubernetes /var/lib/kube-proxy /var/lib/kubelet/config.yaml
cd /root
openssl req -x509 -newkey rsa:2048 -nodes -keyout node-1-key.pem -subj /CN=system:node:node-1 -days 365 -out node-1.pem
"""


@pytest.fixture(scope="module")
def by_hand(labs: Labs) -> Site:
    """A cluster that runs, without anything by which hardway knows its own."""
    site = labs.fresh(labs.make("hwtest-typed", renamed("lab-small.yaml", "hwtest-typed")))
    site.hardway("init", "--yes", "--to", "routes")
    site.everywhere("rm -rf /var/lib/hardway")
    return site


def judged(site: Site, code: int, *words: str) -> dict[str, Any]:
    """What it says with a workspace that holds nothing but the way to the machines."""
    empty = site.folder / "empty"
    shutil.rmtree(empty, ignore_errors=True)
    (empty / "lab").mkdir(parents=True)
    shutil.copy(site.workspace / "known_hosts", empty)
    shutil.copy(site.workspace / "lab" / "id_ed25519", empty / "lab")
    told: dict[str, Any] = json.loads(
        site.hardway("verify", "--by-hand", "--workspace", str(empty), "-o", "json", *words, code=code).out
    )
    assert sorted(str(path.relative_to(empty)) for path in empty.rglob("*")) == ["known_hosts", "lab", "lab/id_ed25519"]
    return told


def test_a_good_cluster_with_the_tutorials_names_is_found_good(by_hand: Site) -> None:
    by_hand.on("server", TUTORIAL)
    before = by_hand.writings()
    told = judged(by_hand, 0)
    assert (told["findings"], told["unknown"], told["unobserved"]) == ([], [], [])
    assert "kube-apiserver" in told["saw"]["server"]
    assert by_hand.writings() == before


def test_a_missing_san_is_found_with_where_it_would_be_met(by_hand: Site) -> None:
    by_hand.on("server", WITHOUT_SERVICE_ADDRESS)
    [finding] = judged(by_hand, 3)["findings"]
    assert (finding["machine"], finding["rule"], finding["what"]) == (
        "server",
        "api-server-names",
        "/var/lib/kubernetes/kubernetes.pem, what kube-apiserver shows, lacks 10.32.0.1",
    )
    assert finding["symptom"] == "dns: x509: certificate is valid for 127.0.0.1, 10.245.4.10, not 10.32.0.1"


def test_a_machine_that_has_only_certificates_is_judged_by_them(by_hand: Site) -> None:
    by_hand.on("node-1", CERTIFICATES_ONLY)
    told = judged(by_hand, 3, "-l", "node-1")
    assert [(one["rule"], one["what"]) for one in told["findings"]] == [
        ("node-name", "/root/node-1.pem has no O at all, not O system:nodes")
    ]
    # Beside it lie those that the kubelet was given earlier.
    assert told["saw"]["node-1"].startswith("containerd; ")


def test_certificates_on_this_computer_are_judged_without_any_machine(by_hand: Site, tmp_path: Path) -> None:
    pem = by_hand.on("server", "cat /var/lib/kubernetes/kubernetes.pem")
    (tmp_path / "kubernetes.pem").write_text(pem)
    told = judged(by_hand, 3, "--offline", "--folder", str(tmp_path))
    assert [(one["machine"], one["rule"]) for one in told["findings"]] == [("operator", "api-server-names")]
