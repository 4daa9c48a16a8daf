"""What an operator reads when an inventory is wrong: place, what is wrong, what would be right."""

from contextlib import nullcontext
from pathlib import Path

import pytest

import hardway
from hardway.errors import USAGE, InventoryError
from hardway.inventory import words
from hardway.inventory.load import load

NAME = "is not an RFC 1123 name; right: 1 to 63 of a-z, 0-9 and -, no - at either end"
TAG = "an inventory has no tags, take it out"


def mistakes(folder: Path, content: str | bytes) -> list[str]:
    path = folder / "hardway.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(InventoryError) as caught:
        load(path)
    return [problem.removeprefix(f"{path}:").strip() for problem in caught.value.problems]


UNREADABLE = {
    "empty": ("", "1:1: holds no mapping; it must begin like 'cluster: prod'"),
    "a list": ("- a", "1:1: holds no mapping; it must begin like 'cluster: prod'"),
    "two documents": (
        "cluster: a\n---\ncluster: b\n",
        "2:1: not YAML: expected a single document in the stream;"
        " an inventory is one document: take out the '---' between them",
    ),
    "a tab": (
        "cluster: a\nssh:\n\tuser: b\n",
        "3:1: not YAML: found character '\\t' that cannot start any token; YAML indents with spaces, not tabs",
    ),
    "a colon too many": (
        "cluster: a: b\n",
        "1:11: not YAML: mapping values are not allowed here;"
        " is the indentation right, or does a text with ': ' want quotes?",
    ),
    "an unknown alias": (
        "cluster: *prod\n",
        "1:10: not YAML: found undefined alias 'prod';"
        " an '*alias' must come after its '&anchor'; a text that begins with * wants quotes",
    ),
    "a control character": ("cluster: a\x07b\n", "1:11: holds the control character U+0007; take it out"),
    "another encoding": (b"cluster: a\n# \xe9\n", "2:3: is not UTF-8; save the file in that encoding"),
    "too large": (
        "#" * (2 << 20),
        "is larger than 1 MiB; an inventory is a few kilobytes, is this the right file?",
    ),
    "nested too deep": ("a: " + "[" * 5000, "1:35: not YAML: nested deeper than 32 levels"),
    "an alias bomb": (
        "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10)),
        "1:13: aliases repeat more than 10000 values; write them out",
    ),
    "an alias within itself": ("a: &a {b: *a}\n", "1:4: an alias makes this hold itself; write it out"),
}


@pytest.mark.parametrize(("content", "message"), UNREADABLE.values(), ids=UNREADABLE)
def test_what_cannot_be_read_is_refused_whole(tmp_path: Path, content: str | bytes, message: str) -> None:
    assert mistakes(tmp_path, content) == [message]


ONE = "machines: {k1: {role: [controller, worker], address: 10.0.0.1}}"
WRONG = {
    "a python tag": (
        f"cluster: !!python/object/apply:os.system [reboot]\n{ONE}",
        [f"1:10: cluster: has the tag !!python/object/apply:os.system; {TAG}"],
    ),
    "a tag of one's own": (f"cluster: !vault x\n{ONE}", [f"1:10: cluster: has the tag !vault; {TAG}"]),
    "a duplicate key": (
        f"cluster: a\ncluster: b\n{ONE}",
        ["2:1: cluster: is given again, first at 1:1; keep one of them"],
    ),
    "a machine given twice": (
        "cluster: a\nmachines:\n  k1: [controller, worker]\n  k1: worker\n",
        ["4:3: machines.k1: is given again, first at 3:3; keep one of them"],
    ),
    "a merge key": (
        f"cluster: a\n<<: {{}}\n{ONE}",
        [
            '2:1: "<<": unknown key; known are: artifacts, certs, cluster, dns, domain, encryption, '
            "endpoint, files, hardway, hooks, hosts, kubernetes, lab, machines, network, proxy, roles, settings, ssh"
        ],
    ),
    "a misspelt key": (
        f"cluster: a\nnetwrok: {{}}\n{ONE}",
        ["2:1: netwrok: unknown key; did you mean network?"],
    ),
    "a misspelt key of a machine": (
        "cluster: a\nmachines: {k1: {role: [controller, worker], adress: 10.0.0.1}}",
        ["2:45: machines.k1.adress: unknown key; did you mean address?"],
    ),
    "a misspelt component": (
        f"cluster: a\nsettings: {{kublet: {{}}}}\n{ONE}",
        ["2:12: settings.kublet: unknown key; did you mean kubelet?"],
    ),
    "what etcd gets at its first start": (
        f"cluster: a\nsettings: {{etcd: {{initial-cluster-token: mine}}}}\n{ONE}",
        [
            "2:19: settings.etcd.initial-cluster-token: hardway gives it to etcd at a member's first start, "
            "and etcd stops where it is given twice; leave it out"
        ],
    ),
    "a misspelt choice": (
        f"cluster: a\nhosts: {{hostname: keeep}}\n{ONE}",
        ['2:19: hosts.hostname: "keeep" is unknown; right: keep, set; did you mean keep?'],
    ),
    "a misspelt role, and nothing that follows from it": (
        "cluster: a\nmachines: {k1: controler, k2: worker}",
        [
            '2:16: machines.k1.role: "controler" is unknown; right: controller, worker, load-balancer;'
            " did you mean controller?"
        ],
    ),
    "no cluster": (ONE, ["1:1: cluster: is missing; name it, such as cluster: prod"]),
    "no machines": (
        "cluster: a",
        ["1:1: machines: is missing; add them, such as machines: {k1: controller, k2: worker}"],
    ),
    "an empty section": (
        f"cluster: a\ncerts:\n{ONE}",
        ["2:7: certs: is empty; give it a value or take the key out"],
    ),
    "a section that is a text": (
        f"cluster: a\nnetwork: bridge\n{ONE}",
        ['2:10: network: should be a mapping of keys to values, and is "bridge"'],
    ),
    "a command for a name": (
        f'cluster: "a; reboot"\n{ONE}',
        [f'1:10: cluster: "a; reboot" {NAME}'],
    ),
    "a path for a machine": (
        "cluster: a\nmachines: {k1: [controller, worker], ../../etc: worker}",
        [f'2:38: machines."../../etc": "../../etc" {NAME}'],
    ),
    "a newline in a name": (
        f'cluster: "a\\nb"\n{ONE}',
        ['1:10: cluster: "a\\nb" holds a line break; write it on one line'],
    ),
    "a placeholder's mark": (
        f"cluster: a\nsettings: {{kubelet: {{x: ⟦pki/ca.key|plain|open⟧}}}}\n{ONE}",
        [
            '2:25: settings.kubelet.x: "\\u27e6pki/ca.key|plain|open\\u27e7" holds ⟦ or ⟧,'
            " which hardway keeps for itself; take it out"
        ],
    ),
    "a space at the end": (
        f"cluster: 'a '\n{ONE}",
        ['1:10: cluster: "a " begins or ends with a space; take it out'],
    ),
    "an invisible character": (
        f"cluster: a\u200bb\n{ONE}",
        ['1:10: cluster: "a\\u200bb" holds the invisible character U+200B; take it out'],
    ),
    "a role's name for a machine": (
        "cluster: a\nmachines: {worker: [controller, worker]}",
        ["2:12: machines.worker: is a role's name; give the machine a name of its own"],
    ),
    "the operator's name for a machine": (
        "cluster: a\nmachines: {operator: [controller, worker]}",
        ["2:12: machines.operator: stands for this computer; give the machine a name of its own"],
    ),
    "digits for a name": (
        "cluster: a\nmachines: {10: [controller, worker]}",
        ['2:12: machines.10: "10" would be read as an address; a name needs a letter'],
    ),
    "a name that no certificate can hold": (
        f"cluster: a\nmachines: {{{'k' * 53}: [controller, worker]}}",
        [f"2:12: machines.{'k' * 53}: is longer than 52 characters, which is what a node's certificate can hold"],
    ),
    "a version with a v": (
        f"cluster: a\nkubernetes: v1.36.4\n{ONE}",
        ['2:13: kubernetes: "v1.36.4" is no Kubernetes version; right: 1.36.4'],
    ),
    "a version without its patch": (
        f"cluster: a\nkubernetes: 1.36\n{ONE}",
        ['2:13: kubernetes: "1.36" is no Kubernetes version; right: three numbers such as 1.36.4'],
    ),
    "an image for a machine that no lab boots": (
        "cluster: a\nmachines: {k1: {role: [controller, worker], image: debian-13}}",
        [
            "2:52: machines.k1.image: k1 is no machine of a lab, so nothing boots it from an image; "
            "take it out, or add lab:"
        ],
    ),
    "a number for a label": (
        "cluster: a\nmachines: {k1: {role: [controller, worker], labels: {rack: 12}}}",
        ["2:60: machines.k1.labels.rack: 12 is not a text for YAML; put it in quotes"],
    ),
    "a label that Kubernetes refuses": (
        "cluster: a\nmachines: {k1: {role: [controller, worker], labels: {a b: c}}}",
        [
            '2:54: machines.k1.labels."a b": "a b" is not a label; '
            "right: [prefix/]name, such as disk or example.net/disk"
        ],
    ),
    "an option for an SSH user": (
        f"cluster: a\nssh: {{user: -oProxyCommand=reboot}}\n{ONE}",
        ['2:13: ssh.user: "-oProxyCommand=reboot" is not a user name; right: a name such as ops'],
    ),
    "a home of nobody": (
        f"cluster: a\nssh: {{key: ~nobody-here/key}}\n{ONE}",
        ['2:12: ssh.key: "~nobody-here/key" names the home of a user that does not exist here; right: ~/ or a path'],
    ),
    "a port that is none": (
        f"cluster: a\nssh: {{port: 70000}}\n{ONE}",
        ["2:13: ssh.port: 70000 is more than 65535"],
    ),
    "a URL for an endpoint": (
        f"cluster: a\nendpoint: https://api\n{ONE}",
        ['2:11: endpoint: "https://api" is a URL; right: HOST or HOST:PORT, such as api.example.net:6443'],
    ),
    "a mirror with a password, which is not repeated": (
        f"cluster: a\nartifacts: {{mirror: 'https://me:canary@example.net'}}\n{ONE}",
        ["2:21: artifacts.mirror: holds a user or password; right: the plain URL, and those in ~/.netrc"],
    ),
    "a mirror that is not named": (
        f"cluster: a\nartifacts: {{source: mirror}}\n{ONE}",
        ["2:12: artifacts.mirror: is missing, with source: mirror; right: a folder or base URL"],
    ),
    "machines that download what is built": (
        f"cluster: a\nartifacts: {{source: build, fetch: machines}}\n{ONE}",
        [
            "2:35: artifacts.fetch: what is built here has no URL that machines could download from; right: "
            "fetch: operator, or source: mirror with the URL of one"
        ],
    ),
    "machines that download from a folder": (
        f"cluster: a\nartifacts: {{source: mirror, mirror: /srv/mirror, fetch: machines}}\n{ONE}",
        [
            "2:57: artifacts.fetch: machines cannot download from a mirror that is a folder of this computer; right: "
            "fetch: operator, or source: mirror with the URL of one"
        ],
    ),
    "a version of a component that is none": (
        f"cluster: a\nartifacts: {{versions: {{etcd: v3.6.15}}}}\n{ONE}",
        ['2:30: artifacts.versions.etcd: "v3.6.15" is no version; right: 3.6.15'],
    ),
    "a version of what has no files": (
        f"cluster: a\nartifacts: {{versions: {{coredns: 1.14.7}}}}\n{ONE}",
        ["2:24: artifacts.versions.coredns: unknown key; known are: etcd, containerd, runc, cni-plugins, cri-tools"],
    ),
    "a proxy with a password, which is not repeated": (
        f"cluster: a\nproxy: 'http://me:canary@proxy:3128'\n{ONE}",
        ["2:8: proxy: holds a user or password, and every machine would be told; right: a proxy that asks for none"],
    ),
    "a proxy that is no URL": (
        f"cluster: a\nproxy: proxy.example.net:3128\n{ONE}",
        ["2:8: proxy: is not a proxy URL; right: http://HOST:PORT, such as http://proxy.example.net:3128"],
    ),
    "a certificate that outlives its CA": (
        f"cluster: a\ncerts: {{ca_days: 30, leaf_days: 90}}\n{ONE}",
        ["2:33: certs.leaf_days: 90 days are longer than the CA's own 30; right: fewer"],
    ),
    "a wildcard without quotes": (
        f"cluster: a\ncerts: {{extra_sans: [*.example.net]}}\n{ONE}",
        [
            "2:23: not YAML: expected alphabetic or numeric character, but found '.'; "
            "a text that begins with * or & wants quotes, such as '*.example.net'"
        ],
    ),
    "an IPv6 address without quotes": (
        f"cluster: a\ncerts: {{extra_sans: [::1]}}\n{ONE}",
        [
            "2:22: not YAML: expected the node content, but found ':'; "
            "a text that begins with a colon wants quotes, such as '::1'"
        ],
    ),
    "a taint as Kubernetes writes it": (
        "cluster: a\nmachines: {k1: {role: [controller, worker], taints: [{key: a, effect: NoSchedule}]}, k2: worker}",
        ["2:54: machines.k1.taints.0: is a mapping; right: key=value:Effect, such as dedicated=gpu:NoSchedule"],
    ),
    "a machine's full name, in upper case": (
        "cluster: a\nmachines: {K1.Example.net: [controller, worker]}",
        [
            '2:12: machines."K1.Example.net": is a full name; right: k1, and domain: example.net, which is '
            "that of all machines"
        ],
    ),
    "a machine's full name": (
        "cluster: a\nmachines: {k1.example.net: [controller, worker]}",
        [
            '2:12: machines."k1.example.net": is a full name; right: k1, and domain: example.net, which is '
            "that of all machines"
        ],
    ),
    "a machine's full name, with its domain": (
        "cluster: a\ndomain: example.net\nmachines: {k1.example.net: [controller, worker]}",
        ['3:12: machines."k1.example.net": is a full name; right: k1, and the domain is said already'],
    ),
    "settings for what does not run there": (
        "cluster: a\nmachines: {k1: {role: controller, settings: {kubelet: {a: 1}}}, k2: worker}",
        [
            "2:46: machines.k1.settings.kubelet: kubelet does not run on k1;"
            " right: under the cluster's settings, or a worker"
        ],
    ),
    "a domain that CoreDNS answers for": (
        f"cluster: a\ndomain: hosts.cluster.local\n{ONE}",
        [
            "2:9: domain: hosts.cluster.local is inside cluster_domain cluster.local,"
            " which CoreDNS answers for; take another"
        ],
    ),
}


@pytest.mark.parametrize(("content", "messages"), WRONG.values(), ids=WRONG)
def test_a_mistake_is_told_at_its_place(tmp_path: Path, content: str, messages: list[str]) -> None:
    assert mistakes(tmp_path, content) == messages


@pytest.mark.parametrize(
    ("version", "wanted", "fits"),
    [
        ("0.1.0", ">=0.1", True),
        ("0.1.0", ">=0.1,<1", True),
        ("0.1.0", ">=0.2", False),
        ("0.1.0", "==0.1.*", True),
        ("1.0.0", ">=0.1,<1", False),
        ("0.2.0rc1", ">=0.2", False),
        ("0.2.0rc1", ">=0.1", True),
        # Between releases: after the one before, and not yet the next one.
        ("0.1.0.post1.dev5+g0bba921e9", ">=0.1.0", True),
        ("0.1.0.post1.dev5+g0bba921e9.d20261121", "~=0.1.0", True),
        ("0.1.0.post1.dev5+g0bba921e9", ">=0.1.1", False),
        # No release is known that these come after.
        ("0+unknown", ">=0.2", True),
        ("0.0", ">=0.2", True),
        ("0.post1.dev192+unknown.g3781107cc", ">=0.2", True),
    ],
)
def test_a_pin_holds_for_releases_and_for_what_lies_between_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, wanted: str, fits: bool
) -> None:
    monkeypatch.setattr(hardway, "__version__", version, raising=False)
    path = tmp_path / "hardway.yaml"
    path.write_text(f"hardway: '{wanted}'\ncluster: a\n{ONE}")
    with nullcontext() if fits else pytest.raises(InventoryError) as caught:
        load(path)
    if caught:
        told = f"1:10: hardway: this is hardway {version}, and the cluster wants {wanted}; install one of those"
        assert caught.value.problems == (f"{path}:{told}",)


SANS = {
    "203.0.113.7": None,
    "127.0.0.2": None,
    "2001:db8::7": None,
    "::1": None,
    "api.example.net": None,
    "*.example.net": None,
    "*.a.example.net": None,
    "[2001:db8::7]": "has brackets, which belong to URLs; right: 2001:db8::7",
    "fe80::1%eth0": "has a zone, which no certificate can hold; right: fe80::1",
    "::ffff:203.0.113.7": "is an IPv4 address for every client; right: 203.0.113.7",
    "2001:db8::/32": "is a range or a path; right: one address or name, such as 2001:db8::",
    "203.0.113.0/24": "is a range or a path; right: one address or name, such as 203.0.113.0",
    "203.0.113": "is not an IPv4 address; right: such as 203.0.113.7",
    "203.0.113.7:6443": "has a port, which no certificate holds; right: 203.0.113.7",
    "[2001:db8::7]:6443": "has a port, which no certificate holds; right: [2001:db8::7]",
    "api.example.net:443": "has a port, which no certificate holds; right: api.example.net",
    "https://api.example.net:6443": "is a URL; right: its host alone, such as api.example.net",
    "api.example.net, b.example.net": "is several in one text; right: a list such as [api.example.net, 203.0.113.7]",
    "DNS:api.example.net": "is in openssl's words; right: api.example.net",
    "IP:203.0.113.7": "is in openssl's words; right: 203.0.113.7",
    "ops@example.net": "is an e-mail address, and nobody dials one; right: api.example.net",
    "API.example.net": "has upper case; right: api.example.net",
    "api.example.net.": "ends with a dot; right: api.example.net",
    "bücher.example": "is not ASCII; right: xn--bcher-kva.example",
    "*": "is no wildcard that clients know; right: * for the whole first label, such as *.example.net",
    "*.net": "is a wildcard too wide for OpenSSL; right: such as *.example.net",
    "a*.example.net": "is no wildcard that clients know; right: * for the whole first label, such as *.example.net",
    "api.*.net": "is no wildcard that clients know; right: * for the whole first label, such as *.example.net",
    "0.0.0.0": "is nothing that a client can dial; right: an address of the API",
    "a_b.example.net": "is not a DNS name; right: a name such as example.net, in lower case",
}


@pytest.mark.parametrize(("text", "wrong"), SANS.items(), ids=SANS)
def test_an_extra_name_is_taken_or_refused_with_what_would_be_right(text: str, wrong: str | None) -> None:
    if wrong is None:
        assert words.san(text) == text
        return
    with pytest.raises(ValueError) as caught:
        words.san(text)
    assert str(caught.value).endswith(wrong)


TAINTS = {
    "dedicated=gpu:NoSchedule": "dedicated=gpu:NoSchedule",
    "example.net/spot:PreferNoSchedule": "example.net/spot=:PreferNoSchedule",
    "spot=:NoExecute": "spot=:NoExecute",
}
NO_TAINTS = {
    "dedicated=gpu": '"dedicated=gpu" has no effect; right: key=value:Effect, such as dedicated=gpu:NoSchedule',
    "a=b:NoSched": '"NoSched" is no effect of a taint; right: NoSchedule, PreferNoSchedule, NoExecute',
    "a=b:noexecute": (
        '"noexecute" is no effect of a taint; right: NoSchedule, PreferNoSchedule, NoExecute; did you mean NoExecute?'
    ),
    "a=b:NoSchedule-": '"a=b:NoSchedule-" takes a taint away; right: leave it out here, and hardway takes it away',
    "a b=c:NoSchedule": '"a b" is not a label; right: [prefix/]name, such as disk or example.net/disk',
    "a=b c:NoSchedule": (
        '"b c" is not a label value; right: up to 63 of letters, digits, -, _ and ., a letter or digit at both ends'
    ),
    "node.kubernetes.io/unschedulable:NoSchedule": (
        '"node.kubernetes.io/unschedulable" is a taint that Kubernetes sets and takes away itself; '
        "right: a key of your own"
    ),
}


@pytest.mark.parametrize(("text", "taint"), TAINTS.items(), ids=TAINTS)
def test_a_taint_is_taken_as_kubectl_takes_it(text: str, taint: str) -> None:
    assert words.taint(text) == taint


@pytest.mark.parametrize(("text", "wrong"), NO_TAINTS.items(), ids=NO_TAINTS)
def test_what_is_no_taint_is_refused(text: str, wrong: str) -> None:
    with pytest.raises(ValueError) as caught:
        words.taint(text)
    assert str(caught.value) == wrong


def test_taints_that_leave_no_node_or_contradict_each_other(tmp_path: Path) -> None:
    one = (
        "cluster: a\nmachines:\n  k1: controller\n  k2: {role: worker, taints: ['a=b:NoSchedule', 'a=c:NoSchedule']}\n"
    )
    assert mistakes(tmp_path, one) == [
        "4:22: machines.k2.taints: no worker takes ordinary pods: CoreDNS and the smoke test would find no node; "
        "leave one without",
        "4:49: machines.k2.taints.1: a is given again for NoSchedule; keep one of them",
    ]


def test_an_ipv6_address_is_written_in_its_one_form() -> None:
    assert words.san("2001:0DB8:0:0:0:0:0:7") == "2001:db8::7"


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = (
        "machines:\n"
        "  k1: {role: controller, address: 10.0.0.1}\n"
        "  k2: {role: worker, address: 10.0.0.1}\n"
        "  k3: {role: worker, address: 10.0.0.300}\n"
        "colour: red\n"
        "cluster: A\n"
        "network: {pod_cidr: 10.200.0.1/16, service_cidr: 10.0.0.0/24}\n"
    )
    assert [line.split(": ")[0:2] for line in mistakes(tmp_path, text)] == [
        ["3:31", "machines.k2.address"],
        ["4:31", "machines.k3.address"],
        ["5:1", "colour"],
        ["6:10", "cluster"],
        ["7:21", "network.pod_cidr"],
    ]


def test_a_file_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(InventoryError) as caught:
        load(tmp_path / "none.yaml")
    assert str(caught.value) == f"{tmp_path}/none.yaml: cannot be read: No such file or directory"
    assert caught.value.exit_code == USAGE


@pytest.mark.parametrize(
    "proxy",
    [
        "http://proxy.example.net:31x28",
        "http://proxy:99999",
        "http://proxy:0",
        "http://proxy:",
        "http://pro xy:3128",
        "http://p%41:3128",
        "http://p;id:3128",
        "http://proxy:3128#x",
        "http://proxy:3128?x",
        "http://proxy:3128/path",
        "http://$(id):3128",
        "http://[::1:3128",
        "http://:3128",
        "http://[:::]:3128",
        "http://a..b:3128",
        "http://10.0.0.999:3128",
        "ftp://proxy:3128",
    ],
)
def test_a_proxy_that_would_not_do_is_no_proxy(proxy: str) -> None:
    with pytest.raises(ValueError, match=r"^is not a proxy URL; right: http://HOST:PORT"):
        words.proxy(proxy)


@pytest.mark.parametrize(
    "proxy", ["http://proxy", "https://10.0.0.1:3128", "http://[fd00::1]:8080", "http://p-1.net:1/"]
)
def test_a_proxy_is_taken_as_it_is(proxy: str) -> None:
    assert words.proxy(proxy) == proxy.rstrip("/")
