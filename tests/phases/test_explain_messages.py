"""Error messages: each is found as components print it, and each cause can be looked at by a command that there is."""

from pathlib import Path

import pytest
import yaml
from phase_models import MODEL, model
from proposed import missing
from shapes import every_shape

from hardway.declare.declaration import declare
from hardway.declare.phases import PHASE_NAMES
from hardway.errors import UsageError
from hardway.explain import Book, ChapterPage, MessagePage, TermPage, ThingPage, answer
from hardway.explain.message import find_message
from hardway.explain.things_page import message_lines

BOOK = Book(MODEL, declare(MODEL))
PRINTED = {
    line: message
    for message, lines in yaml.safe_load(Path(__file__).with_name("printed.yaml").read_text()).items()
    for line in lines
}
"""Lines as somebody copies them, and the beginning of the message that answers."""
SHORT = [
    "x509", "connection refused", "i/o timeout", "timeout", "no such host", "NotReady", "not ready", "CrashLoopBackOff",
    "ImagePullBackOff", "ErrImagePull", "Forbidden", "Unauthorized", "certificate has expired", "unknown authority",
    "signed by unknown authority", "Pending", "OOMKilled", "Evicted", "ContainerCreating", "Terminating",
    "no route to host", "connection reset by peer", "EOF", "exit code 137", "crash loop", "DiskPressure",
]  # fmt: skip


@pytest.mark.parametrize("line", PRINTED)
def test_a_line_is_answered_as_it_was_copied(line: str) -> None:
    page = answer(BOOK, line)
    assert isinstance(page, MessagePage)
    assert page.message.startswith(PRINTED[line])


@pytest.mark.parametrize("asked", SHORT)
def test_a_part_of_a_message_is_enough(asked: str) -> None:
    assert isinstance(answer(BOOK, asked), MessagePage)
    assert answer(BOOK, asked.upper()).more == answer(BOOK, asked).more


def test_each_text_leads_to_its_own_message() -> None:
    assert len(BOOK.messages) >= 40
    for one in BOOK.messages:
        for text in (one.message, *one.prints):
            assert find_message(BOOK.messages, text) is one, text


def test_every_cause_is_told_apart_by_a_command_that_can_be_typed(tmp_path: Path) -> None:
    for cluster in every_shape(tmp_path):
        wanted = model(cluster)
        book = Book(wanted, declare(wanted))
        further: set[str] = set()
        for one in book.messages:
            assert one.causes, one.message
            assert {*one.chapters} <= {*PHASE_NAMES}
            for cause in one.causes:
                assert list(missing(book, PHASE_NAMES, cause.ask)) == [], f"{cluster.name}: {one.message}: {cause.ask}"
            further |= set(book.there((*one.see, *one.chapters)))
        for what in further:
            answer(book, what)


def test_a_page_has_each_cause_in_order_with_its_command() -> None:
    page = answer(BOOK, "connection refused")
    assert isinstance(page, MessagePage)
    lines = message_lines(page, 80)
    assert lines[0] == "connection refused"
    assert [line.strip() for line in lines if line.startswith("      hardway")] == [one.ask for one in page.causes]
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("asked", ["not", "node x", "is not", "xyzzy", "certificate of a mayor"])
def test_what_is_no_message_is_not_taken_for_one(asked: str) -> None:
    with pytest.raises(UsageError):
        answer(BOOK, asked)


@pytest.mark.parametrize(
    ("asked", "word"),
    [
        ("service account token", "ServiceAccount"), ("service-accounts", "ServiceAccount"),
        ("tolerations", "taint"), ("CSRs", "CSR"), ("cluster ip", "ClusterIP"), ("certificates", "certificate"),
        ("Role Bindings", "RBAC"), ("nodes", "node"), ("ReplicaSets", "Deployment"), ("webhooks", "webhook"),
        ("errors", "error message"), ("api server", "API server"), ("heartbeats", "lease"),
    ],
)  # fmt: skip
def test_plurals_and_synonyms_lead_to_the_word(asked: str, word: str) -> None:
    page = answer(BOOK, asked)
    assert isinstance(page, TermPage)
    assert page.asked == word


@pytest.mark.parametrize(
    ("asked", "name"),
    [("load balancers", "load-balancer"), ("control plane", "control-plane"), ("smoke test", "smoke-test")],
)
def test_a_chapter_is_found_as_people_write_it(asked: str, name: str) -> None:
    page = answer(BOOK, asked)
    assert isinstance(page, ChapterPage)
    assert page.name == name


def test_a_thing_is_found_as_people_write_it() -> None:
    page = answer(BOOK, "kube proxy")
    assert isinstance(page, ThingPage)
    assert page.name == "workers/kube-proxy.service"


NOT_HERE = [
    "ingress", "Ingresses", "flannel", "calico", "Helm", "metrics-server", "HPA", "docker", "PVCs", "MetalLB",
    "cert-manager", "network policies", "dual-stack", "bootstrap tokens", "kubeadm",
]  # fmt: skip


@pytest.mark.parametrize("asked", NOT_HERE)
def test_what_is_not_there_is_said_to_be_not_there(asked: str) -> None:
    page = answer(BOOK, asked)
    assert isinstance(page, TermPage)
    assert page.asked == asked
    assert page.text.startswith(("Not part of this cluster", "Not enforced"))


def test_with_a_plugin_of_ones_own_it_is_not_said_to_be_missing(tmp_path: Path) -> None:
    [own] = [one for one in every_shape(tmp_path) if one.network.plugin == "none"]
    wanted = model(own)
    page = answer(Book(wanted, declare(wanted)), "cilium")
    assert isinstance(page, TermPage)
    assert page.text.startswith("Not installed by hardway. With network.plugin none")
