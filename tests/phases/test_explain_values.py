"""explain: a thing on a page, a value in a paragraph; and nothing of the cluster without an explanation."""

import json
import re
from collections.abc import Iterator

import pytest
import yaml
from phase_models import LAB, MODEL, model, overlaid
from shapes import every_shape

from hardway import data
from hardway.declare.declaration import declare
from hardway.declare.phases import PHASE_NAMES
from hardway.declare.resources import Certificate, OwnCertificate
from hardway.errors import UsageError
from hardway.explain.book import Book, pattern
from hardway.explain.chapter import Next, chapter_page
from hardway.explain.find import Page, TermPage, answer, names
from hardway.explain.pages import told
from hardway.explain.prose import chapter_prose, gains, sidecar
from hardway.explain.thing import ThingPage, cited
from hardway.explain.value import ValuePage, value_page
from hardway.inventory.schema import json_schema

BOOK = Book(MODEL, declare(MODEL))
ADDRESS = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?:/\d+)?(?![\w.])")
ASKED = """\
10.32.0.1 10250 6443 anonymous-auth maxPods NoNewPrivileges 10.200.1.0/24 worker-1 system:node:worker-0
kubernetes.default.svc net.ipv4.ip_forward service_cidr cluster.local 10.240.0.30 certs/kube-apiserver
etcd/etcd.service /etc/kubernetes/admin.conf kubelet pki/ca.crt secrets/encryption-key certs/kubelet-worker-1
--etcd-servers authentication.anonymous.enabled SAN network.proxy_mode 10.200.1.7 system:masters 2380
""".split()  # noqa: SIM905


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> list[Book]:
    models = [model(one) for one in every_shape(tmp_path_factory.mktemp("shapes"))]
    return [Book(one, declare(one)) for one in models]


def page(what: str) -> Page:
    return answer(BOOK, what)


def value(what: str) -> ValuePage:
    found = page(what)
    assert isinstance(found, ValuePage)
    return found


def thing(what: str) -> ThingPage:
    found = page(what)
    assert isinstance(found, ThingPage)
    return found


# --- coverage, both ways --------------------------------------------------------------------------------------------


def test_every_flag_directive_and_key_of_a_file_has_its_why(books: list[Book]) -> None:
    missing = {
        (fact.thing, fact.name)
        for book in books
        for fact in book.facts
        if fact.kind in ("flag", "directive", "key") and not is_of_an_object(fact.of)
        if not fact.why and not book.about(fact.name)
    }
    assert missing == set()


def is_of_an_object(of: str) -> bool:
    return "/" in of and of[0] != "/" and of[0].isupper()


def own_sidecars() -> Iterator[tuple[str, str]]:
    named = {entry.sidecar for name in PHASE_NAMES for entry in chapter_prose(MODEL, name).things if entry.sidecar}
    for name in sorted(named | {"prose/units"}):
        for setting in sidecar(name):
            yield name, setting


def test_every_why_is_about_something_that_is_declared(books: list[Book]) -> None:
    named = {(fact.kind, fact.name) for book in books for fact in book.facts}
    settings = {name for _, name in named}
    # The tutorial's variants of a flag are all there in one shape or another.
    assert {one for one in own_sidecars() if one[1] not in settings} == set()


def test_every_sidecar_is_some_things() -> None:
    templates = data.folder("templates")
    there = {str(path.relative_to(templates)).removesuffix(".why.yaml") for path in templates.rglob("*.why.yaml")}
    assert there == {name for name, _ in own_sidecars()} | {"units/systemd"}


def test_every_name_in_a_certificate_has_its_reason(books: list[Book]) -> None:
    for book in books:
        named = {
            name
            for _, local in book.declaration.local
            if isinstance(local, Certificate) and not isinstance(local, OwnCertificate)
            for name in (
                local.spec.common_name,
                *local.spec.organizations,
                *local.spec.dns_names,
                *local.spec.addresses,
            )
        }
        extra = set(book.model.cluster.certs.extra_sans)
        assert named - book.titles.keys() - extra == set(), book.model.cluster.name


def test_every_address_and_range_of_the_cluster_is_known(books: list[Book]) -> None:
    for book in books:
        stated = {found for fact in book.facts for found in ADDRESS.findall(f"{fact.name} {fact.value}")}
        extra = set(book.model.cluster.certs.extra_sans)
        assert stated - book.titles.keys() - extra == set(), book.model.cluster.name


BELOW = {"machines": "machines.NAME.", "files": "files.PATH.", "hooks": "hooks.WHEN."}
"""Keys of the inventory below which an operator gives names."""


def inventory_keys() -> set[str]:
    schema = json_schema()
    keys: set[str] = set()

    def walk(node: dict[str, object], path: str) -> None:
        properties = node.get("properties")
        for name, body in (properties if isinstance(properties, dict) else {}).items():
            found = re.search(r"#/\$defs/(\w+)", json.dumps(body)) if name not in ("roles", "authorities") else None
            below = schema["$defs"].get(found[1]) if found else None
            if isinstance(below, dict) and "properties" in below and name != "endpoint":
                walk(below, path + BELOW.get(name, f"{name}."))
            else:
                keys.add(f"{path}{name}")

    walk(schema, "")
    return keys


def test_every_key_of_the_inventory_is_explained(books: list[Book]) -> None:
    machines = "|".join(machine.name for book in books for machine in book.model.cluster.machines)
    known = {re.sub(rf"^machines\.({machines})\.", "machines.NAME.", one.key) for book in books for one in book.known}
    # What a machine's own ssh shares with the cluster's is explained once.
    wanted = {re.sub(r"^machines\.NAME\.ssh\.(?!host$)", "ssh.", key) for key in inventory_keys()}
    assert "network.service_cidr" in wanted and "machines.NAME.address" in wanted
    assert wanted - known == set()


def test_what_is_said_to_be_left_to_its_default_is_not_declared() -> None:
    said = {fact.name.rpartition(".")[2] for fact in BOOK.facts}
    raw = yaml.safe_load(data.read("templates/prose/values.yaml"))
    defaults = {
        key
        for one in raw
        if "keys" in one and not one["value"] and not one.keys() & {"key", "fault"}
        for key in one["keys"]
    }
    assert "maxPods" in defaults and defaults & said == set()


def test_whatever_is_pointed_to_can_be_asked(books: list[Book]) -> None:
    for book in books:
        pages = [chapter_page(book.model, book.declaration, name) for name in PHASE_NAMES]
        pointed = {one.command for found in pages for one in found.more}
        pointed |= {one.command for known in book.known if known.value for one in asked_on(book, known.value)}
        pointed |= {f"hardway explain {one}" for term in book.terms for one in book.there(term.see)}
        there = set(names(book))
        for command in pointed:
            what = command.removeprefix("hardway explain ")
            assert what in there or answer(book, what), (book.model.cluster.name, what)


def asked_on(book: Book, what: str) -> tuple[Next, ...]:
    found = value_page(book, what)
    assert found is not None
    return found.more


def test_every_thing_that_is_pointed_to_is_written_about() -> None:
    written = {f"{name}/{entry.name}" for name in PHASE_NAMES for entry in chapter_prose(MODEL, name).things}
    pointed = {one for known in BOOK.known for one in known.see} | {one for term in BOOK.terms for one in term.see}
    assert {one for one in pointed if one.partition("/")[0] in PHASE_NAMES and "/" in one} <= written


def test_every_name_that_is_completed_can_be_asked() -> None:
    # All of them take half a minute.
    for name in sorted(set(names(BOOK)))[::9]:
        answer(BOOK, name)


def test_with_a_plugin_of_ones_own_nothing_is_said_of_a_bridge_or_routes_that_are_not_there(books: list[Book]) -> None:
    [book] = [one for one in books if one.model.cluster.name == "own-network"]
    absent = re.compile(r"\bbridge's|\bcni0\b|hardway-pods|has the route|gets a route|next hop")
    for what in ("10.200.0.0/16", "10.200.0.0/24", "10.200.0.7", "10.0.8.21", "workers"):
        said = " ".join(lines_of(book, what))
        assert absent.search(said) is None, said
    assert "is on w1" not in " ".join(lines_of(book, "routes"))
    for what in ("cni0", "hardway-pods"):
        with pytest.raises(UsageError):
            answer(book, what)
    assert "nobody's bridge or route has it" in " ".join(lines_of(book, "10.200.0.0/24"))
    assert "has the route 10.200.0.0/24 via" in " ".join(lines_of(BOOK, "10.200.0.0/24"))


def lines_of(book: Book, what: str) -> list[str]:
    return [line.strip() for line in told(answer(book, what), "text", width=100, verbose=True)]


# --- pages ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ASKED)
@pytest.mark.parametrize("verbose", [False, True], ids=["short", "long"])
def test_a_page_stays_within_its_width(what: str, verbose: bool) -> None:
    found = page(what)
    lines = told(found, "text", width=80, verbose=verbose)
    # What is one word is not cut: it may have to be typed.
    assert [line for line in lines if len(line) > 80 and len(line.split()) > 4] == []
    assert told(found, "markdown", width=80, verbose=verbose)[0].startswith("# ")


def test_json_holds_the_values_of_the_page() -> None:
    document = json.loads("\n".join(told(page("10.32.0.1"), "json", width=80, verbose=False)))
    assert (document["kind"], document["asked"]) == ("value", "10.32.0.1")
    assert document["uses"][0]["by"] == "SAN of certs/kube-apiserver"
    kinds = {json.loads("\n".join(told(page(what), "json", width=80, verbose=False)))["kind"] for what in
             ("certs", "etcd.service", "SAN", "6443")}  # fmt: skip
    assert kinds == {"chapter", "thing", "term", "value"}


def test_the_first_service_address_is_told_whole() -> None:
    found = value("10.32.0.1")
    assert found.title == "first address of service_cidr 10.32.0.0/24"
    assert found.place == f"lab.yaml:{LAB.places['network.service_cidr']}"
    assert [(one.by, one.on) for one in found.uses] == [("SAN of certs/kube-apiserver", "controllers")]
    assert "lb-0 (10.240.0.30)" in found.not_used and "x509" in found.without
    assert "Service kubernetes has the first service address" in {one.name for one in found.proofs}


DERIVED = {
    "--service-cluster-ip-range": "network.service_cidr, lab.yaml:24:17; fixed once the cluster exists",
    "--cluster-cidr": "network.pod_cidr, lab.yaml:26:13; fixed once the cluster exists",
    "clusterDomain": "network.cluster_domain, not in lab.yaml: its default; fixed once the cluster exists",
    "--encryption-provider-config": "encryption.provider, not in lab.yaml: its default; fixed once the cluster exists",
    "clusterDNS": "network.dns_address, lab.yaml:25:16",
    "--advertise-address": "machines.controller-0.address, lab.yaml:38:45",
    "--listen-peer-urls": "machines.controller-0.address, lab.yaml:38:45",
    "--etcd-servers": "machines of role controller: all of them are named there",
    "--data-dir": "no setting: mount another disk at /var/lib/etcd",
    "--tls-cert-file": "certs, which says how hardway makes the file that it names",
    "frontend.bind": "endpoint, lab.yaml:20:11",
}


@pytest.mark.parametrize(("asked", "change"), DERIVED.items(), ids=DERIVED)
def test_what_follows_from_the_inventory_is_changed_there_and_not_by_an_override(asked: str, change: str) -> None:
    assert value(asked).stated[0].change == change


def test_a_flag_has_its_value_its_why_and_how_to_change_it() -> None:
    stated = value("--anonymous-auth").stated
    assert [(one.by, one.value, one.on) for one in stated] == [
        ("kube-apiserver --anonymous-auth", "false", "controllers")
    ]
    assert stated[0].change == "settings: {kube-apiserver: {anonymous-auth: …}}"
    assert value("cacheTTL").stated[0].change == "settings: {kubelet: {authentication: {webhook: {cacheTTL: …}}}}"


def test_a_setting_that_is_not_said_tells_the_default_and_one_that_is_its_value() -> None:
    assert "110" in value("maxPods").title and value("maxPods").stated == ()
    changed = overlaid({"kubelet": {"maxPods": 60}})
    found = answer(Book(changed, declare(changed)), "maxPods")
    assert isinstance(found, ValuePage)
    assert [one.value for one in found.stated] == ["60"]


def test_a_directive_is_told_once_for_all_units_that_have_it() -> None:
    (stated,) = value("NoNewPrivileges").stated
    assert (stated.by, stated.value) == ("NoNewPrivileges=", "yes")
    assert stated.on.startswith("etcd.service, kube-apiserver.service") and "kube-proxy.service" in stated.on


def test_keys_of_one_file_are_told_together_and_copies_in_the_workspace_not_at_all() -> None:
    uses = {one.by: one.on for one in value("system:node:worker-1").uses}
    assert uses == {
        "CN of certs/kubelet": "worker-1",
        "users.name and 3 more in /etc/kubernetes/kubelet.conf": "worker-1",
    }


def test_a_key_of_the_inventory_leads_to_its_value() -> None:
    found = value("service_cidr")
    assert found.asked == "service_cidr: 10.32.0.0/24"
    assert "kube-apiserver --service-cluster-ip-range" in {one.by for one in found.uses}


def test_what_the_inventory_does_not_say_is_called_a_default() -> None:
    assert value("cluster.local").place == "not in lab.yaml: its default"


def test_an_address_that_nobody_states_is_placed_in_its_range() -> None:
    assert value("10.200.1.7").title == "an address of 10.200.1.0/24: the pods of worker-1"
    with pytest.raises(UsageError):
        page("192.0.2.1")


@pytest.mark.parametrize(
    ("what", "name"),
    [
        ("etcd/etcd.service", "etcd/etcd.service"),
        ("etcd.service", "etcd/etcd.service"),
        ("kubelet", "workers/kubelet.service"),
        ("/etc/systemd/system/kubelet.service", "workers/kubelet.service"),
        ("/etc/kubernetes/admin.conf", "kubeconfigs/admin.conf"),
        ("/etc/etcd/pki/peer.crt", "certs/etcd-peer"),
        ("pki/etcd/peer-controller-1.crt", "certs/etcd-peer"),
        ("certs/kubelet-worker-1", "certs/kubelet"),
        ("secrets/encryption-key", "encryption/encryption-key"),
        ("/var/lib/etcd", "etcd/var/lib/etcd"),
    ],
)
def test_a_thing_is_found_by_any_of_its_names(what: str, name: str) -> None:
    assert thing(what).name.replace("//", "/") == name


def test_one_of_several_alike_is_shown_when_it_is_asked_for() -> None:
    def common_name(what: str) -> str:
        return next(one.value for one in thing(what).fields if one.name == "CN")

    assert common_name("certs/kubelet-worker-1") == "system:node:worker-1"
    assert common_name("pki/kubelet-worker-2.crt") == "system:node:worker-2"
    assert common_name("pki/etcd/server-controller-1.crt") == "controller-1"


def test_a_thing_knows_its_readers_and_what_a_change_needs() -> None:
    readers = {(one.by, one.needs) for one in thing("/etc/kubernetes/encryption-config.yaml").readers}
    assert readers == {("kube-apiserver --encryption-provider-config", "nothing")}
    assert ("kube-apiserver-lb.service ExecStart=", "reload") in {
        (one.by, one.needs) for one in thing("haproxy.cfg").readers
    }


def test_secrets_are_named_and_never_shown() -> None:
    fields = {one.name: one.value for one in thing("encryption-config.yaml").fields}
    assert fields["resources.providers.secretbox.keys.secret"] == "(secret: secrets/encryption-key)"


def test_a_word_of_the_field_is_answered() -> None:
    found = page("subject alternative name")
    assert isinstance(found, TermPage) and found.asked == "SAN"


def test_what_is_unknown_is_answered_with_the_nearest_names() -> None:
    with pytest.raises(UsageError) as error:
        page("servise_cidr")
    assert "service_cidr" in str(error.value.hint)


@pytest.mark.parametrize(
    ("what", "text", "found"),
    [
        ("10.32.0.1", "10.32.0.10", False),
        ("10.32.0.1", "https://10.32.0.1:443", True),
        ("10.240.0.1", "10.240.0.0/24,10.240.0.10", False),
        ("10.32.0.0", "10.32.0.0/24", False),
        ("worker-1", "system:node:worker-1", True),
        ("worker-1", "worker-10", False),
        ("kubernetes", "controller-0.kubernetes.local", False),
        ("kubernetes", "/etc/kubernetes/pki/ca.crt", False),
        ("kubernetes", "check verifyhost kubernetes on-marked-down", True),
        ("cluster.local", "kubernetes.default.svc.cluster.local", True),
        ("6443", "https://10.240.0.30:6443", True),
        ("6443", "16443", False),
        ("22", "10.240.0.22", False),
        ("24", "10.200.0.0/24", False),
        ("24", "https://24:1", True),
        ("/etc/kubernetes/pki/ca.crt", "--root-ca-file=/etc/kubernetes/pki/ca.crt", True),
        ("/etc/kubernetes/pki/ca.crt", "/etc/kubernetes/pki/ca.crts", False),
    ],
)
def test_a_value_is_found_as_a_whole_word(what: str, text: str, found: bool) -> None:
    assert bool(pattern(what).search(text)) is found


def test_a_proof_is_cited_for_a_whole_address_and_not_for_a_number_within_one() -> None:
    routes = [proof for _, proof in BOOK.proofs if proof.name == "one route for each other worker"]
    address = next(machine.address for machine in BOOK.model.cluster.workers)
    last = str(address).rpartition(".")[2]
    assert [proof for proof in routes if f"[.]{last} " in proof.query]
    assert list(cited(BOOK, [pattern(str(address))]))
    assert routes[0].name in {one.name for one in cited(BOOK, [pattern(str(address))])}
    assert routes[0].name not in {one.name for one in cited(BOOK, [pattern(last)])}


def test_every_fault_that_is_cited_can_be_made() -> None:
    from hardway.lab.faults import FAULTS

    cited = {one.fault for one in BOOK.known} | {
        one.fault for name in PHASE_NAMES for one in chapter_prose(MODEL, name).wrong
    }
    assert {"service-ip-san", "lost-route"} < cited - {""} <= {one.name for one in FAULTS}


def test_a_fault_is_cited_only_where_there_is_a_lab_to_break(books: list[Book]) -> None:
    by_name = {book.model.cluster.name: book for book in books}
    for name, fault in (("lab-small", "service-ip-san"), ("vagrant", "")):
        found = answer(by_name[name], "10.32.0.1")
        assert isinstance(found, ValuePage) and found.fault == fault


def test_every_chapter_says_what_is_possible_after_it() -> None:
    written = [gain.phase for gain in gains(MODEL)]
    assert set(written) == {"preflight", *PHASE_NAMES}
    assert all(gain.text for gain in gains(MODEL))
