"""Chapter etcd: the members that remember everything, with TLS on every connection."""

from collections.abc import Iterator, Sequence

from hardway.declare import trials
from hardway.declare.phases import handover
from hardway.declare.phases.base import Declared, Model, Phase, Proof
from hardway.declare.phases.paths import BIN, ETCD_PKI, TLS_CIPHERS, unit_inputs, unit_path
from hardway.declare.render import merge_flags, render
from hardway.declare.resources import Binary, Check, Directory, File, Group, Service
from hardway.declare.resources.base import quote
from hardway.inventory.model import Cluster, Machine
from hardway.values import Placeholder, host_port, majority

UNIT = "etcd.service"
TOKEN = str(Placeholder("etcd/initial-cluster-token"))
"""Stands for what is drawn when etcd begins: two plans of the same bare machines are alike."""
FIRST_START = "/run/etcd/first-start.env"
ETCDCTL = (
    f"{BIN}/etcdctl --cacert={ETCD_PKI}/ca.crt --cert={ETCD_PKI}/healthcheck-client.crt "
    f"--key={ETCD_PKI}/healthcheck-client.key --command-timeout=5s"
)
OWN = f"{ETCDCTL} --endpoints=https://127.0.0.1:2379"
"""Asks the member on the machine itself."""
READY = f"""\
case $({OWN} endpoint status -w json 2>/dev/null) in
# A learner answers no reads of which a majority must know.
*'"isLearner":true'*'"leader":'[1-9]*|*'"leader":'[1-9]*'"isLearner":true'*) ;;
*) {OWN} get hardway-ready 2>&1 ;;
esac"""
"""`endpoint health` would not do: it fails under any alarm, and one that is out of space must be able to restart."""


def unit(model: Model, machine: Machine) -> str:
    text = render(
        "units/etcd.service",
        name=machine.name,
        advertised=client_url(machine),
        peer_url=peer_url(machine),
        client_urls=",".join(_listens_at(model, machine)),
        cipher_suites=",".join(TLS_CIPHERS),
    )
    return merge_flags(text, "etcd", model.overrides("etcd", machine))


def _listens_at(model: Model, machine: Machine) -> Iterator[str]:
    # API servers know the address of a member that joins again, and would send it every third write: a learner refuses
    # them all, and such a write is not tried elsewhere (client/v3 retry.go).
    if model.control(machine) != "replacing":
        yield client_url(machine)
    yield "https://127.0.0.1:2379"


def first_start(model: Model) -> str:
    """What etcd reads only while its data folder is empty: that it begins a cluster, with whom, and under which token.

    None of it is in the unit, so a member more or less rewrites and restarts no other.
    """
    token = TOKEN if model.state.etcd == "absent" else model.state.etcd_token
    return render("configs/etcd-first-start.env", initial_cluster=initial_cluster(model.cluster), token=token)


def initial_cluster(cluster: Cluster) -> str:
    """All members with their peer URLs, as a member without data must be told."""
    return ",".join(f"{machine.name}={peer_url(machine)}" for machine in cluster.controllers)


def client_url(machine: Machine) -> str:
    """Where the member on a machine answers those who ask from elsewhere."""
    return f"https://{host_port(machine.ip, 2379)}"


def peer_url(machine: Machine) -> str:
    return f"https://{host_port(machine.ip, 2380)}"


def group(members: Sequence[Machine]) -> Group:
    """A majority must serve. The leader comes last, and hands over to the member that is furthest."""
    urls = {one.name: client_url(one) for one in members}
    if len(urls) == 1:
        return Group("etcd", keep=1)
    asked = "".join(f"ask {quote(name, url)} &\n" for name, url in urls.items())
    return Group(
        "etcd",
        keep=majority(len(urls)),
        standing=f"{_ASK}{asked}wait\n",
        leads=f"{_LEADS}leads\n",
        successor=f"endpoints={quote(','.join(urls.values()))}\n{_SUCCESSOR}",
        hand_over=f'{OWN} move-leader "$1"\n',
        still=handover.frozen(tuple(urls)),
    )


# A connection that is refused says that nobody listens there.
_ASK = f"""\
ask() {{
  said=$({ETCDCTL} --endpoints="$2" --command-timeout=3s endpoint status -w json 2>&1) || :
  case $said in
  *'"isLearner":true'*) echo "$1 learner" ;;
  *'"leader":'[1-9]*) echo "$1 serves" ;;
  *'"member_id":'*) echo "$1 leaderless" ;;
  *'connection refused'*) echo "$1 down" ;;
  # Of the asker's own certificate the same would be said.
  *'tls: expired certificate'*)
    if openssl x509 -noout -checkend 0 -in {ETCD_PKI}/healthcheck-client.crt >/dev/null 2>&1; then echo "$1 expired"
    else echo "$1 unknown"; fi ;;
  *) echo "$1 unknown" ;;
  esac
}}
"""

_LEADS = f"""\
leads() {{
  said=$({OWN} endpoint status -w json 2>/dev/null) || return 1
  own=${{said#*'"member_id":'}} leader=${{said#*'"leader":'}}
  [ "${{own%%[!0-9]*}}" = "${{leader%%[!0-9]*}}" ]
}}
"""

# Of what etcdctl prints: 2 is the ID, 9 whether it leads, 10 whether it is a learner, 13 the applied index.
_SUCCESSOR = f"""\
{ETCDCTL} --endpoints="$endpoints" --command-timeout=3s endpoint status 2>/dev/null |
  awk -F', *' '$9 == "false" && $10 == "false" && $13 >= most {{ most = $13; id = $2 }} END {{ print id }}'
"""


def resources(model: Model) -> Iterator[Declared]:
    for machine in model.cluster.controllers:
        for resource in _member(model, machine):
            yield machine.name, resource


def _member(model: Model, machine: Machine) -> Iterator[Binary | Directory | File | Service]:
    for name in ("etcd", "etcdctl", "etcdutl"):
        yield Binary(f"{BIN}/{name}", name, model.versions["etcd"])
    yield Directory("/var/lib/etcd", 0o700, "etcd", "etcd", data=True)
    yield File(unit_path("etcd"), unit(model, machine), mode=0o600)
    if model.state.etcd != "initialized":
        yield File(FIRST_START, first_start(model))
    if model.control(machine) in ("prepared", "replacing"):
        return
    yield Service(
        UNIT,
        # Server and peer certificates are read again at each handshake; a CA only at the start.
        inputs=unit_inputs("etcd", f"{BIN}/etcd", f"{ETCD_PKI}/ca.crt"),
        group=group(model.members),
        trial=trials.etcd(unit(model, machine)),
        ready=Check("this member answers with what a majority agreed to", READY, limit=90, every=0.5),
    )


def plaintext_query(host: str, port: int) -> str:
    """What is answered to a client that speaks no TLS: nothing, though the connection itself was taken."""
    # Closing without reading resets the connection, which head reports as an error.
    ask = 'printf "GET /version HTTP/1.0\\r\\n\\r\\n" >&3; timeout 3 head -c 300 <&3 2>/dev/null || true'
    return f"bash -c 'exec 3<>/dev/tcp/{host}/{port} || exit 1; {ask}'"


def proofs(model: Model) -> Iterator[Proof]:
    members = model.members
    endpoints = ",".join(client_url(one) for one in members)
    for machine in members:
        yield Proof(
            machine.name,
            "this member is healthy over mTLS",
            f"{ETCDCTL} --endpoints={client_url(machine)} endpoint health 2>&1",
            "a member that cannot commit does not count for the quorum",
            "contains",
            "is healthy",
        )
        yield Proof(
            machine.name,
            "a client without a certificate is refused",
            # With TLS 1.3 the refusal would come after the handshake, and this program would miss it.
            f"openssl s_client -tls1_2 -connect {host_port(machine.ip, 2379)} -CAfile {ETCD_PKI}/ca.crt </dev/null "
            "2>&1 | grep -c 'alert handshake failure\\|alert.*certificate'",
            "who can talk to etcd is root of the cluster",
        )
        yield Proof(
            machine.name,
            "a plaintext client is refused",
            plaintext_query(str(machine.ip), 2379),
            "what etcd says must not be read on the wire",
            "equals",
            "",
        )
    first = members[0]
    yield Proof(
        first.name,
        "all members are started",
        f"{ETCDCTL} --endpoints={endpoints} member list | grep -c ', started, '",
        "a member that never joined is missed when another one fails",
        "equals",
        str(len(members)),
    )
    yield Proof(
        first.name,
        "all members follow one leader",
        # The JSON is in one line; each status names the leader it follows.
        f"{ETCDCTL} --endpoints={endpoints} endpoint status -w json | grep -o '\"leader\":[0-9]*' | sort -u | wc -l",
        "two leaders would be two clusters",
        "equals",
        "1",
    )


PHASE = Phase(
    "etcd",
    "Bootstrapping etcd",
    "All that the cluster knows is here; it is lost with the majority of the members.",
    resources,
    proofs,
)
