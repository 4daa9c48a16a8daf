"""CAs that the operator brings: what is wrong with a file, what a run makes of a good one, what it never touches."""

import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID
from fake.authorities import Company, company
from fake.cluster import PAIR, FakeCluster
from refusing import kinds, refused

from hardway.declare import authority, pki
from hardway.declare.phases import PHASE_NAMES
from hardway.declare.resources import Chain, WorkspaceFile
from hardway.engine.plan import Selection, observe_and_plan
from hardway.operations.etcd_bootstrap import BOOTSTRAP
from hardway.preview.plan import preview
from hardway.status.status import status
from hardway.values import OPERATOR, Placeholder

NewCluster = Callable[[str], FakeCluster]
ROOT = company("Root")
ISSUING = company("Issuing", ROOT)
THIRD = company("Third", ISSUING)
STRANGER = company("Stranger")
NOW = datetime.now(UTC)


NARROW = company("Narrow", pathlen=0)
SOLD = company("Sold", days=-0.5, begins=-3)
COMING = company("Coming", begins=2)
SERVERS = company("Servers", ROOT, usages=(ExtendedKeyUsageOID.SERVER_AUTH,))
LEAF = company("Leaf", ROOT, is_ca=False, signs=False)
QUIET = company("Quiet", ROOT, signs=False)
DER = ROOT.certificate.public_bytes(serialization.Encoding.DER)

GOOD = {
    "a root": (ROOT, ROOT.crt),
    "an intermediate with its root": (ISSUING, ISSUING.crt + ROOT.crt),
    "with text between": (
        ISSUING,
        b"subject=Issuing\r\n" + ISSUING.crt.replace(b"\n", b"\r\n") + b"\n# root\n" + ROOT.crt,
    ),
}
WRONG: Mapping[str, tuple[bytes, list[str]]] = {
    "empty": (b"", ["is empty"]),
    "DER": (
        DER, ["holds no certificate: it is not PEM; if it is DER: openssl x509 -inform der -in FILE -out FILE.pem"],
    ),
    "damaged": (
        b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
        ["certificate 1 in it is damaged"],
    ),
    "no CA": (
        LEAF.crt + ROOT.crt,
        ["CN=Leaf,O=Corp is no CA (basicConstraints without CA:TRUE); the issuing CA's certificate comes first"],
    ),
    "no keyCertSign": (
        QUIET.crt + ROOT.crt,
        ["CN=Quiet,O=Corp may not sign certificates: its keyUsage lacks keyCertSign"],
    ),
    "for servers only": (
        SERVERS.crt + ROOT.crt,
        ["CN=Servers,O=Corp may not issue for clientAuth: its extendedKeyUsage lacks it, and that binds what it signs"],
    ),
    "the root first": (
        ROOT.crt + ISSUING.crt,
        ["CN=Issuing,O=Corp stands after CN=Root,O=Corp and did not issue it; "
         "the order is: the issuing CA, who issued that, …, the root"],
    ),
    "another's root": (
        ISSUING.crt + STRANGER.crt,
        ["CN=Stranger,O=Corp stands after CN=Issuing,O=Corp and did not issue it; "
         "its issuer is not in the file: add it"],
    ),
    "without the root": (
        ISSUING.crt,
        ["the chain ends at CN=Issuing,O=Corp, issued by CN=Root,O=Corp; add that one's certificate: programs with "
         "OpenSSL believe nothing without the root"],
    ),
    "a root that allows none below": (
        company("Below", NARROW).crt + NARROW.crt,
        ["CN=Narrow,O=Corp allows 0 CAs below it (pathlen), and there are 1: nobody would believe what they sign"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("ca", "text"), GOOD.values(), ids=GOOD)
def test_a_good_file_is_taken_apart(ca: Company, text: bytes) -> None:
    assert authority.problems(text, ca.pem_key, NOW) == []
    assert authority.issuing(text) == ca.crt
    is_root = ca is ROOT
    assert authority.above(text) == (b"" if is_root else ROOT.crt)
    assert authority.served(text) == (b"" if is_root else ca.crt)


@pytest.mark.parametrize("text", [ROOT.crt, ISSUING.crt + ROOT.crt, THIRD.crt + ISSUING.crt + ROOT.crt], ids=range(3))
@pytest.mark.parametrize("served", [True, False])
def test_what_a_person_would_type_takes_the_same_out_of_it(text: bytes, served: bool, tmp_path: Path) -> None:
    (tmp_path / "my ca.crt").write_bytes(text)
    chain = Chain("out.crt", "given/kubernetes.crt", str(tmp_path / "my ca.crt"), served=served)
    subprocess.run(["sh", "-ec", chain.manual_step({}).command], cwd=tmp_path, check=True)
    assert (tmp_path / "out.crt").read_bytes() == chain.make({chain.given: text}, NOW)


def test_a_bundle_is_put_together_by_hand_with_its_line_breaks(tmp_path: Path) -> None:
    for name, content in (("ca.crt", ISSUING.crt), ("above.crt", ROOT.crt)):
        (tmp_path / name).write_bytes(content)
    bundle = WorkspaceFile("bundle.crt", f"{Placeholder('ca.crt')}{Placeholder('above.crt')}", mode=0o644)
    step = bundle.manual_step({})
    assert step.text == ""
    subprocess.run(["sh", "-ec", step.command], cwd=tmp_path, check=True)
    assert (tmp_path / "bundle.crt").read_bytes() == ISSUING.crt + ROOT.crt


@pytest.mark.parametrize(("text", "said"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_with_a_file_is_said(text: bytes, said: list[str]) -> None:
    assert authority.problems(text, None, NOW) == said


def test_expired_not_yet_valid_and_of_another_key() -> None:
    assert "expired on" in authority.problems(SOLD.crt, None, NOW)[0]
    assert "is not valid before" in authority.problems(COMING.crt, None, NOW)[0]
    assert authority.problems(ROOT.crt, STRANGER.pem_key, NOW) == ["its key is not the key of CN=Root,O=Corp"]


CONSTRAINED = company(
    "Constrained",
    ROOT,
    more=x509.NameConstraints([x509.DNSName("corp.example"), x509.IPAddress(IPv4Network("10.0.0.0/8"))], None),
)
EXCLUDING = company("Excluding", more=x509.NameConstraints(None, [x509.DNSName(".cluster.local")]))


def test_names_that_a_ca_may_not_issue_for_are_found() -> None:
    names, addresses = ["api.corp.example", "kubernetes.default.svc.cluster.local"], ["10.32.0.1", "127.0.0.1"]
    assert authority.forbidden(ISSUING.crt, names, addresses) == []
    assert authority.forbidden(CONSTRAINED.crt + ROOT.crt, names, addresses) == [
        "CN=Constrained,O=Corp allows no certificate for kubernetes.default.svc.cluster.local (name constraints)",
        "CN=Constrained,O=Corp allows no certificate for 127.0.0.1 (name constraints)",
    ]
    assert authority.forbidden(EXCLUDING.crt, names, addresses) == [
        "CN=Excluding,O=Corp allows no certificate for kubernetes.default.svc.cluster.local (name constraints)"
    ]


# -- runs ---------------------------------------------------------------------


OWN = "certs: {authorities: {kubernetes: {certificate: my.crt, key: keys/my.key}}}\n"


@dataclass
class Site:
    made: FakeCluster

    def put(self, name: str, content: bytes) -> None:
        path = self.made.root / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(content)

    def pki(self, name: str) -> Path:
        return self.made.workspace().root / "pki" / name


@pytest.fixture
def bare(new_cluster: NewCluster) -> Site:
    return Site(new_cluster(PAIR))


@pytest.fixture
def own(new_cluster: NewCluster) -> Site:
    site = Site(new_cluster(OWN + PAIR))
    site.put("my.crt", ISSUING.crt + ROOT.crt)
    site.put("keys/my.key", ISSUING.pem_key)
    return site


def test_a_ca_that_the_operator_put_there_is_never_written_over(bare: Site) -> None:
    bare.put(".hardway/pair/pki/ca.crt", ISSUING.crt + ROOT.crt)
    bare.put(".hardway/pair/pki/ca.key", pki.plain_key(ISSUING.pem_key))
    error = refused(bare.made)
    assert kinds(error) == [("foreign-certificate", "")]
    assert "pki/ca.crt was not made by hardway (Issuing, issued by CN=Root,O=Corp)" in error.what
    assert "certs: {authorities: {kubernetes: {certificate: ca.crt, key: ca.key}}}" in (error.hint or "")
    # What it says to do is what works.
    *moves, key = [line.strip() for line in (error.hint or "").splitlines()[1:]]
    subprocess.run(["sh", "-ec", "\n".join(moves)], check=True)
    bare.made.rewrite("cluster: pair", f"{key}\ncluster: pair")
    bare.made.init()
    assert bare.pki("ca.crt").read_bytes() == ISSUING.crt


@pytest.mark.parametrize("name", ["etcd/ca", "front-proxy-ca"])
def test_neither_are_the_other_two(bare: Site, name: str) -> None:
    bare.put(f".hardway/pair/pki/{name}.crt", ROOT.crt)
    bare.put(f".hardway/pair/pki/{name}.key", pki.plain_key(ROOT.pem_key))
    assert kinds(refused(bare.made)) == [("foreign-certificate", "")]


def test_nor_a_certificate_that_another_ca_signed(bare: Site) -> None:
    bare.put(".hardway/pair/pki/kube-apiserver.crt", LEAF.crt)
    bare.put(".hardway/pair/pki/kube-apiserver.key", pki.plain_key(LEAF.pem_key))
    assert kinds(refused(bare.made)) == [("foreign-certificate", "")]


def test_nor_a_ca_in_a_form_that_hardway_does_not_read(bare: Site) -> None:
    bare.put(".hardway/pair/pki/ca.crt", DER)
    assert ("foreign-certificate", "") in kinds(refused(bare.made))


def test_the_operators_intermediate_signs_and_each_end_is_told_what_it_needs(own: Site) -> None:
    own.made.init()
    head, hand = own.made.machines["head"], own.made.machines["hand"]
    assert own.pki("ca.crt").read_bytes() == ISSUING.crt
    assert pki.public_key_pem(own.pki("ca.key").read_bytes()) == pki.public_key_pem(ISSUING.pem_key)
    assert pki.is_issued_by(own.pki("kube-apiserver.crt").read_bytes(), ISSUING.crt)
    # Who checks clients trusts the issuing CA alone; pods check servers, and OpenSSL asks for the root.
    assert head.read("/etc/kubernetes/pki/ca.crt").encode() == ISSUING.crt
    assert hand.read("/etc/kubernetes/pki/ca.crt").encode() == ISSUING.crt
    assert head.read("/etc/kubernetes/pki/ca-bundle.crt").encode() == ISSUING.crt + ROOT.crt
    assert "--root-ca-file=/etc/kubernetes/pki/ca-bundle.crt" in head.read(
        "/etc/systemd/system/kube-controller-manager.service"
    )
    assert head.read("/etc/kubernetes/pki/kube-apiserver.crt").encode() == (
        own.pki("kube-apiserver.crt").read_bytes() + ISSUING.crt
    )
    assert head.read("/etc/kubernetes/pki/ca-signing.crt").encode() == ISSUING.crt
    # The others are hardway's own, and a second run changes nothing, also when the files are somewhere else by then.
    assert pki.read(own.pki("etcd/ca.crt").read_bytes()).common_name == "etcd-ca"
    assert own.made.init().changes == []
    (own.made.root / "my.crt").unlink()
    (own.made.root / "keys/my.key").unlink()
    again = own.made.init()
    assert (again.changes, again.made) == ([], [])


def test_a_root_of_the_operators_has_nothing_above_it(own: Site) -> None:
    own.put("my.crt", ROOT.crt)
    own.put("keys/my.key", ROOT.pem_key)
    own.made.init()
    head = own.made.machines["head"]
    assert head.read("/etc/kubernetes/pki/ca-bundle.crt").encode() == ROOT.crt
    assert head.read("/etc/kubernetes/pki/kube-apiserver.crt").encode() == own.pki("kube-apiserver.crt").read_bytes()
    made = own.made
    session, selection = made.session(), Selection(PHASE_NAMES, frozenset(made.machines), BOOTSTRAP)
    plan = observe_and_plan(session, made.state(), selection, made.resolver(), {})
    found = status(session, plan, preview(session, plan, list(made.machines), ()))
    told = {one.path: one.name for one in found.certificates if one.machine == OPERATOR}
    assert told["pki/ca.crt"] == "Root"
    assert not any("above" in path or "served" in path or "given" in path for path in told)


def test_a_file_that_is_wrong_stops_before_anything_changes(own: Site) -> None:
    own.put("my.crt", ISSUING.crt)
    own.put("keys/my.key", STRANGER.pem_key)
    error = refused(own.made)
    assert kinds(error) == [("authority", ""), ("authority", "")]
    assert f"{own.made.root}/my.crt: the chain ends at CN=Issuing,O=Corp" in error.said
    assert f"{own.made.root}/my.crt: its key is not the key of CN=Issuing,O=Corp" in error.said


def test_a_key_with_a_passphrase_is_said_of_its_file(own: Site) -> None:
    locked = ISSUING.key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"x"),
    )
    own.put("keys/my.key", locked)
    error = refused(own.made)
    assert kinds(error) == [("authority", "")]
    assert (
        error.what == f"{own.made.root}/keys/my.key: the private key has a passphrase; components need it without one"
    )


def test_a_ca_that_may_not_issue_for_this_cluster_is_refused(own: Site) -> None:
    own.put("my.crt", CONSTRAINED.crt + ROOT.crt)
    own.put("keys/my.key", CONSTRAINED.pem_key)
    error = refused(own.made)
    assert {one.kind for one in error.blockers} == {"authority"}
    assert "allows no certificate for kubernetes.default.svc (name constraints)" in (error.said or "")


def test_a_ca_without_its_key_in_the_workspace_is_named_with_what_to_write(bare: Site) -> None:
    """As kubeadm has it for a CA whose key is elsewhere."""
    bare.put(".hardway/pair/pki/ca.crt", ROOT.crt)
    error = refused(bare.made)
    assert kinds(error) == [("foreign-certificate", "")]
    assert "certs: {authorities: {kubernetes: {certificate: ca.crt}}}" in (error.hint or "")


def test_a_chapter_that_needs_no_certificate_asks_for_none(own: Site) -> None:
    (own.made.root / "my.crt").unlink()
    own.made.init(["hosts"])
    assert not own.pki("ca.crt").exists()


def test_files_that_are_not_there_are_named(own: Site) -> None:
    (own.made.root / "my.crt").unlink()
    (own.made.root / "keys/my.key").unlink()
    error = refused(own.made)
    assert [one.subjects for one in error.blockers] == [
        (f"{own.made.root}/my.crt",),
        (f"{own.made.root}/keys/my.key",),
    ]


def test_one_that_ends_soon_begins_no_cluster(own: Site) -> None:
    own.put("my.crt", company("Issuing", ROOT, days=20, key=ISSUING.key).crt + ROOT.crt)
    error = refused(own.made)
    ends = f"{datetime.now(UTC) + timedelta(days=20):%Y-%m-%d}"
    assert error.what == f"{own.made.root}/my.crt: ends on {ends}, and so would every certificate of this cluster"


def test_one_ca_for_two_purposes_is_refused(own: Site) -> None:
    own.made.rewrite("keys/my.key}", "keys/my.key}, etcd: {certificate: my.crt, key: keys/my.key}")
    error = refused(own.made)
    assert kinds(error) == [("authority", "")]
    assert "is the CA of pki/ca.crt and of pki/etcd/ca.crt" in error.what


def test_a_cas_of_ones_own_replaces_hardways_while_there_is_no_cluster(new_cluster: NewCluster) -> None:
    site = Site(new_cluster(PAIR))
    site.made.init(["certs"])
    site.put("my.crt", ISSUING.crt + ROOT.crt)
    site.put("keys/my.key", ISSUING.pem_key)
    site.made.rewrite("cluster: pair", OWN + "cluster: pair")
    site.made.init()
    assert site.pki("ca.crt").read_bytes() == ISSUING.crt
    assert site.made.init().changes == []


def test_a_running_cluster_keeps_its_ca(own: Site) -> None:
    own.made.init()
    other = company("Other", ROOT)
    own.put("my.crt", other.crt + ROOT.crt)
    own.put("keys/my.key", other.pem_key)
    error = refused(own.made)
    assert ("other-ca", "") in kinds(error)
    assert "the cluster's CA is CN=Issuing,O=Corp" in str(error.what) + str(error.said)
    assert "has CN=Other,O=Corp" in str(error.what) + str(error.said)
    assert "hardway certs rotate-ca kubernetes" in str(error)


def test_a_running_clusters_ca_is_not_replaced_by_taking_it_out_of_the_inventory(own: Site) -> None:
    own.made.init()
    own.made.rewrite(OWN, "")
    error = refused(own.made)
    assert kinds(error) == [("pending:authority", "")]
    assert "hardway certs rotate-ca kubernetes" in (error.hint or "")


def test_a_ca_that_was_renewed_with_its_key_is_taken(own: Site) -> None:
    own.made.init()
    renewed = company("Issuing", ROOT, days=5000, key=ISSUING.key)
    own.put("my.crt", renewed.crt + ROOT.crt)
    own.made.init()
    assert own.pki("ca.crt").read_bytes() == renewed.crt
    assert own.made.machines["hand"].read("/etc/kubernetes/pki/ca.crt").encode() == renewed.crt
    assert own.made.init().changes == []


def test_a_key_that_others_can_read_is_a_warning_wherever_it_is(own: Site) -> None:
    own.made.init()
    (own.made.root / "keys/my.key").chmod(0o644)
    [found] = [one for one in own.made.plan().findings if one.rule == "workspace-mode"]
    assert found.fix == f"chmod 600 {own.made.root}/keys/my.key"


def test_one_that_ends_soon_is_a_warning_of_a_running_cluster(own: Site) -> None:
    own.made.init()
    own.put("my.crt", company("Issuing", ROOT, days=20, key=ISSUING.key).crt + ROOT.crt)
    assert "authority-ends" in [one.rule for one in own.made.plan().findings]
