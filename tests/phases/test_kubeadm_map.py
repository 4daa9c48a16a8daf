"""The map from kubeadm to hardway: what it names is there, and nothing of kubeadm's is left out."""

from phase_models import MODEL
from proposed import missing

from hardway.declare.declaration import declare
from hardway.declare.phases import PHASE_NAMES
from hardway.explain import Book
from hardway.explain.kubeadm import counterpart_lines, counterparts

BOOK = Book(MODEL, declare(MODEL))
INIT = [
    "preflight",
    "certs",
    "kubeconfig",
    "etcd/local",
    "control-plane",
    "kubelet-start",
    "wait-control-plane",
    "upload-config",
    "upload-certs",
    "mark-control-plane",
    "bootstrap-token",
    "kubelet-finalize",
    "addon/coredns",
    "addon/kube-proxy",
    "show-join-command",
]
JOIN = [
    "control-plane-prepare",
    "check-etcd",
    "kubelet-start",
    "etcd-join",
    "kubelet-wait-bootstrap",
    "control-plane-join",
]
PKI = [
    "ca.crt",
    "ca.key",
    "apiserver.crt",
    "apiserver-kubelet-client.crt",
    "apiserver-etcd-client.crt",
    "front-proxy-ca.crt",
    "front-proxy-client.crt",
    "etcd/ca.crt",
    "etcd/server.crt",
    "etcd/peer.crt",
    "etcd/healthcheck-client.crt",
    "sa.key",
    "sa.pub",
]


def test_every_phase_and_file_of_kubeadm_is_in_it() -> None:
    theirs = {one.theirs for one in counterparts()}
    assert {*INIT, *JOIN} - theirs == set()
    assert {f"/etc/kubernetes/pki/{name}" for name in PKI} - theirs == set()


def test_everything_of_ours_is_there() -> None:
    paths = {one.name for one in BOOK.declaration.resources}
    local = {f"workspace: {one.path}" for _, one in BOOK.declaration.local}
    for one in counterparts():
        if one.ours.startswith("hardway ") and one.ours != "hardway --version":
            assert list(missing(BOOK, PHASE_NAMES, one.ours)) == [], one
        elif one.ours and one.ours != "hardway --version":
            assert one.ours in paths | local, one


def test_what_has_no_counterpart_says_why() -> None:
    assert [one.theirs for one in counterparts() if not one.ours and not one.note] == ["show-join-command"]


def test_a_word_leaves_the_rows_in_which_it_stands() -> None:
    assert {one.theirs for one in counterparts("JOIN")} >= {"kubeadm join", "etcd-join", "show-join-command"}
    assert counterparts("no such thing") == []


def test_no_line_is_wider_than_the_page_but_for_what_is_to_be_typed() -> None:
    lines = counterpart_lines(counterparts(), 100)
    assert lines[0].split() == ["COMMANDS", "HARDWAY"]
    assert [line for line in lines if len(line) > 100 and "/" not in line] == []
