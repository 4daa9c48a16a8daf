"""The certificates that lie on a machine: public, so they are read whole."""

from __future__ import annotations

from collections.abc import Mapping

from hardway.declare import pki
from hardway.declare.phases.paths import ETCD_PKI, KUBERNETES, PKI
from hardway.probe.script import Answers, Question
from hardway.probe.units import blocks

KUBELET_CLIENT = "/var/lib/kubelet/pki/kubelet-client-current.pem"
"""Where the kubelet keeps the client certificate that it renews by itself."""
_CERTIFICATE = "sed -n '/-BEGIN CERTIFICATE-/,/-END CERTIFICATE-/p'"

QUESTION = Question(
    "certificates",
    f"for f in {PKI}/*.crt {PKI}/etcd/*.crt {ETCD_PKI}/*.crt {PKI}/haproxy-health.pem {KUBELET_CLIENT}; do\n"
    f'[ ! -e $f ] || {{ echo "@$f"; {_CERTIFICATE} $f; }}\ndone\n'
    f"for f in {KUBERNETES}/*.conf; do\n[ -e $f ] || continue\n"
    'echo "@$f#ca"; sed -n "s/^ *certificate-authority-data: //p" $f | base64 -d 2>/dev/null\n'
    f'echo "@$f#client"; sed -n "s/^ *client-certificate-data: //p" $f | base64 -d 2>/dev/null | {_CERTIFICATE}\n'
    "done",
)
"""Of a file that holds a key too, only the certificate is read."""


def parse(answers: Answers) -> Mapping[str, pki.Certificate | None]:
    """By path; of kubeconfigs `PATH#ca` and `PATH#client`. None: it is no certificate."""
    found: dict[str, pki.Certificate | None] = {}
    for path, lines in blocks(answers[QUESTION.name].output):
        pem = "\n".join(lines).strip()
        if not pem and "#" in path:
            continue
        try:
            found[path] = pki.read(f"{pem}\n".encode())
        except pki.PemError:
            found[path] = None
    return found
