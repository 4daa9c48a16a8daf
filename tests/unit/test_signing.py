"""CAs whose key is elsewhere: requests go out, answers come back and are held against what was asked for."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from fake.authorities import company, pem, signed
from fake.cluster import PAIR, FakeCluster
from in_process import ran
from refusing import kinds, refused

NewCluster = Callable[[str], FakeCluster]
Hardway = Callable[..., tuple[int, str, str]]
ROOT = company("Root")
ISSUING = company("Issuing", ROOT)
ETCD = company("Etcd", ROOT)
FRONT = company("Front", ROOT)
CAS = {"kubernetes": ISSUING, "etcd": ETCD, "front-proxy": FRONT}
AUTHORITIES = ", ".join(f"{name}: {{certificate: {name}.crt}}" for name in CAS)
EXTERNAL = f"certs: {{authorities: {{{AUTHORITIES}}}}}\n"


@pytest.fixture
def made(new_cluster: NewCluster) -> FakeCluster:
    """A bare cluster of which no CA's key is here."""
    cluster = new_cluster(EXTERNAL + PAIR)
    for name, ca in CAS.items():
        (cluster.root / f"{name}.crt").write_bytes(ca.crt + ROOT.crt)
    return cluster


@pytest.fixture
def hardway(
    made: FakeCluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Hardway:  # fmt: skip
    monkeypatch.chdir(made.root)

    def run(*words: str) -> tuple[int, str, str]:
        """An error is wrapped for the terminal: here its words count."""
        code, said, error = ran(monkeypatch, capsys, *words)
        return code, said, " ".join(error.split())

    return run


def answer(made: FakeCluster, *, only: str = "", **how: Any) -> Path:
    """Signs the requests as the company would, each by the CA that it is for."""
    folder = made.root / "answers"
    folder.mkdir(exist_ok=True)
    by = {"etcd": ETCD, "apiserver-etcd-client": ETCD, "front-proxy-client": FRONT}
    for path in sorted((made.root / "requests").glob(f"{only or '*'}.csr")):
        ca = by.get(path.stem, ETCD if path.stem.startswith("etcd-") else ISSUING)
        (folder / f"{path.stem}.crt").write_bytes(pem(signed(path.read_bytes(), ca, **how)))
    return folder


def test_a_run_that_needs_a_certificate_which_nobody_can_sign_says_what_to_do(made: FakeCluster) -> None:
    error = refused(made)
    assert kinds(error) == [("unsigned", "")]
    assert error.blockers[0].command == "hardway certs csr requests"
    assert "pki/kube-apiserver.crt: is not there" in (error.said or "")
    assert "hardway certs import answers" in (error.hint or "")


def test_requests_go_out_answers_come_back_and_the_cluster_is_built(made: FakeCluster, hardway: Hardway) -> None:
    code, said, _ = hardway("certs", "csr", "requests")
    assert code == 0
    root = made.workspace().root
    assert not list(root.rglob("ca*.key")) and not list(root.rglob("front-proxy-ca.key"))
    names = {path.name for path in (made.root / "requests").iterdir()}
    assert {"kube-apiserver.csr", "kubelet-hand.csr", "etcd-peer-head.csr", "requests.txt"} <= names
    table = (made.root / "requests/requests.txt").read_text()
    [row] = [line for line in table.splitlines() if line.startswith("kubelet-hand.csr")]
    assert "/O=system:nodes/CN=system:node:hand" in row
    assert "10.240.0.20" in row and "serverAuth clientAuth" in row and "CN=Issuing,O=Corp" in row
    asked = x509.load_pem_x509_csr((made.root / "requests/kubelet-hand.csr").read_bytes())
    assert asked.is_signature_valid
    assert asked.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    assert "hardway certs import answers" in said
    code, said, error = hardway("certs", "import", str(answer(made)))
    assert (code, error) == (0, "")
    assert "All certificates are there. Next: hardway init" in said
    made.init()
    head, hand = made.machines["head"], made.machines["hand"]
    unit = head.read("/etc/systemd/system/kube-controller-manager.service")
    assert "--cluster-signing" not in unit
    assert not (head.root / "etc/kubernetes/pki/ca-signing.key").exists()
    assert "rotateCertificates: false" in hand.read("/var/lib/kubelet/config.yaml")
    assert head.read("/etc/kubernetes/pki/etcd/ca.crt").encode() == ETCD.crt
    again = made.init()
    assert (again.changes, again.made) == ([], [])


def test_keys_are_made_once(made: FakeCluster, hardway: Hardway) -> None:
    hardway("certs", "csr", "requests")
    before = (made.workspace().root / "pki/kube-apiserver.key").read_bytes()
    hardway("certs", "csr", "requests")
    assert (made.workspace().root / "pki/kube-apiserver.key").read_bytes() == before
    answer(made)
    assert hardway("certs", "import", "answers")[0] == 0
    assert hardway("certs", "csr", "requests")[1].startswith("All ")


def test_one_missing_answer_is_named_and_the_others_are_taken(made: FakeCluster, hardway: Hardway) -> None:
    hardway("certs", "csr", "requests")
    (answer(made) / "kube-proxy.crt").unlink()
    code, said, _ = hardway("certs", "import", "answers")
    assert code == 0
    assert "1 are still to come: pki/kube-proxy.crt" in said
    error = refused(made)
    assert error.blockers[0].subjects == ("pki/kube-proxy.crt",)
    code, said, _ = hardway("certs", "csr", "again", "-o", "json")
    assert [one["file"] for one in json.loads(said)["requests"]] == ["kube-proxy.csr"]


def _other_subject(*parts: tuple[x509.ObjectIdentifier, str]) -> dict[str, Any]:
    return {"subject": x509.Name([x509.NameAttribute(oid, text) for oid, text in parts])}


SERVER_ONLY = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
MORE_NAMES = x509.SubjectAlternativeName([x509.DNSName("elsewhere.example")])
WRONG: Mapping[str, tuple[dict[str, Any], list[str]]] = {
    "another key": (
        {"key": ec.generate_private_key(ec.SECP256R1())},
        ["is for another key than pki/kubelet-hand.key: it answers another request than the last one"],
    ),
    "another user": (
        _other_subject((NameOID.ORGANIZATION_NAME, "system:nodes"), (NameOID.COMMON_NAME, "hand.corp.example")),
        ["CN is hand.corp.example, should be system:node:hand"],
    ),
    "the company for a group": (
        _other_subject((NameOID.ORGANIZATION_NAME, "Corp"), (NameOID.COMMON_NAME, "system:node:hand")),
        ["O system:nodes is missing", "unexpected O: Corp"],
    ),
    "no names": (
        {"without": (x509.SubjectAlternativeName,)},
        ["lacks the DNS name hand", "lacks the DNS name hand.kubernetes.local", "lacks the address 10.240.0.20"],
    ),
    "other names": (
        {"without": (x509.SubjectAlternativeName,), "more": (MORE_NAMES,)},
        ["lacks the DNS name hand", "lacks the DNS name hand.kubernetes.local", "lacks the address 10.240.0.20"],
    ),
    "for servers only": (
        {"without": (x509.ExtendedKeyUsage,), "more": (SERVER_ONLY,)},
        ["lacks the extended usage clientAuth"],
    ),
    "expired": ({"days": -0.5}, ["expired on"]),
    "not yet valid": ({"begins": 1}, ["is not valid before"]),
}  # fmt: skip


@pytest.mark.parametrize(("how", "wrong"), WRONG.values(), ids=WRONG)
def test_a_wrong_answer_is_said_of_its_file_and_nothing_is_taken(
    made: FakeCluster, hardway: Hardway, how: dict[str, Any], wrong: list[str]
) -> None:
    hardway("certs", "csr", "requests")
    answer(made)
    answer(made, only="kubelet-hand", **how)
    code, _, error = hardway("certs", "import", "answers")
    assert code == 1
    for line in wrong:
        assert f"answers/kubelet-hand.crt: {line}" in error
    assert "none was taken" in error
    assert not list(made.workspace().root.rglob("kube*.crt"))


def test_an_answer_of_another_ca_is_refused(made: FakeCluster, hardway: Hardway) -> None:
    hardway("certs", "csr", "requests")
    folder = answer(made)
    path = made.root / "requests/kube-proxy.csr"
    (folder / "kube-proxy.crt").write_bytes(pem(signed(path.read_bytes(), ROOT)))
    error = hardway("certs", "import", "answers")[2]
    assert "answers/kube-proxy.crt: was issued by CN=Root,O=Corp, and the inventory names CN=Issuing,O=Corp" in error


def test_what_is_no_certificate_is_said_of_its_file(made: FakeCluster, hardway: Hardway) -> None:
    hardway("certs", "csr", "requests")
    (answer(made) / "readme.md").write_text("as agreed\n")
    assert "answers/readme.md: holds no certificate in PEM, DER or PKCS #7" in hardway("certs", "import", "answers")[2]


def test_an_empty_folder_and_one_that_is_not_there(made: FakeCluster, hardway: Hardway) -> None:
    (made.root / "answers").mkdir()
    assert "answers holds no certificate that was asked for" in hardway("certs", "import", "answers")[2]
    assert "nowhere cannot be read: No such file or directory" in hardway("certs", "import", "nowhere")[2]


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def p7b(encoding: serialization.Encoding) -> Callable[[x509.Certificate], bytes]:
    return lambda one: pkcs7.serialize_certificates([ISSUING.certificate, one, ROOT.certificate], encoding)


FORMS: Mapping[str, Callable[[x509.Certificate], bytes]] = {
    "certnew.cer": der,
    "certnew.p7b": p7b(serialization.Encoding.DER),
    "4711.p7b": p7b(serialization.Encoding.PEM),
    "chain.pem": lambda one: b"subject=x\n" + pem(one, ISSUING.certificate, ROOT.certificate),
    "more-usages.pem": pem,
}


@pytest.mark.parametrize(("name", "form"), FORMS.items(), ids=FORMS)
def test_answers_are_found_by_their_key_in_any_form(
    made: FakeCluster, hardway: Hardway, name: str, form: Callable[[x509.Certificate], bytes]
) -> None:
    """Many CAs name files by number, add their chain, or a usage and the CN as a name."""
    hardway("certs", "csr", "requests")
    folder = answer(made)
    (folder / "kube-proxy.crt").unlink()
    usages = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.EMAIL_PROTECTION])
    request = (made.root / "requests/kube-proxy.csr").read_bytes()
    one = signed(request, ISSUING, without=(x509.ExtendedKeyUsage,), more=(usages,))
    (folder / name).write_bytes(form(one))
    code, _, error = hardway("certs", "import", "answers")
    assert (code, error) == (0, "")
    assert (made.workspace().root / "pki/kube-proxy.crt").read_bytes() == pem(one)
    made.init()


def test_two_answers_to_one_request_are_refused(made: FakeCluster, hardway: Hardway) -> None:
    hardway("certs", "csr", "requests")
    request = (made.root / "requests/kube-proxy.csr").read_bytes()
    (answer(made) / "older.crt").write_bytes(pem(signed(request, ISSUING, days=300)))
    assert "is another certificate for the same request" in hardway("certs", "import", "answers")[2]


def test_what_ends_soon_is_a_warning_and_asked_for_again(made: FakeCluster, hardway: Hardway) -> None:
    hardway("certs", "csr", "requests")
    answer(made)
    # Two thirds of the one's life are over; the other's was short from the beginning.
    answer(made, only="kube-proxy", days=3.5, begins=-30)
    answer(made, only="admin", days=3.5, begins=-0.1)
    hardway("certs", "import", "answers")
    made.init()
    assert "certificate-ends" in {one.rule for one in made.plan().findings}
    assert made.init().changes == []
    asked = json.loads(hardway("certs", "csr", "again", "-o", "json")[1])["requests"]
    assert [(one["certificate"], one["why"]) for one in asked] == [("pki/kube-proxy.crt", "ends in 3 days")]
    (made.root / "requests/kube-proxy.csr").write_bytes((made.root / "again/kube-proxy.csr").read_bytes())
    answer(made, only="kube-proxy")
    assert hardway("certs", "import", "answers")[0] == 0
    assert made.init().changes != []
    assert made.plan().findings == ()


def test_where_hardway_signs_there_is_nothing_to_ask_for(
    new_cluster: NewCluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(new_cluster(PAIR).root)
    code, _, error = ran(monkeypatch, capsys, "certs", "csr", "requests")
    assert code == 2
    assert "hardway signs all certificates of this cluster itself" in error
