"""The certificates that lie on a machine: public, so they are read whole."""

from __future__ import annotations

import base64
import binascii
import contextlib
import re
from collections.abc import Mapping

from hardway.declare import pki
from hardway.declare.phases.paths import ETCD_PKI, KUBERNETES, PKI
from hardway.probe.script import Answers, Question
from hardway.probe.units import blocks

KUBELET_CLIENT = "/var/lib/kubelet/pki/kubelet-client-current.pem"
"""Where the kubelet keeps the client certificate that it renews by itself."""
ONLY_CERTIFICATES = "sed -n '/-BEGIN CERTIFICATE-/,/-END CERTIFICATE-/p'"

QUESTION = Question(
    "certificates",
    f"for f in {PKI}/*.crt {PKI}/etcd/*.crt {ETCD_PKI}/*.crt {PKI}/haproxy-health.pem {KUBELET_CLIENT}; do\n"
    f'[ ! -e $f ] || {{ echo "@$f"; {ONLY_CERTIFICATES} $f; }}\ndone\n'
    f"for f in {KUBERNETES}/*.conf; do\n[ -e $f ] || continue\n"
    'echo "@$f#ca"; sed -n "s/^ *certificate-authority-data: //p" $f | base64 -d 2>/dev/null\n'
    f'echo "@$f#client"; sed -n "s/^ *client-certificate-data: //p" $f | base64 -d 2>/dev/null | {ONLY_CERTIFICATES}\n'
    "done",
)
"""Of a file that holds a key too, only the certificate is read."""


_EMBEDDED = {"#ca": "certificate-authority-data", "#client": "client-certificate-data"}


def in_kubeconfig(content: bytes) -> dict[str, bytes]:
    """The texts of certificates within a kubeconfig, by what is put behind its path."""
    found: dict[str, bytes] = {}
    for part, field in _EMBEDDED.items():
        given = re.search(rf"^ *{field}: *(\S+)$".encode(), content, re.MULTILINE)
        if given:
            with contextlib.suppress(binascii.Error):
                found[part] = base64.b64decode(given[1])
    return found


def parse(answers: Answers) -> Mapping[str, pki.Certificate | None]:
    """By path; of kubeconfigs `PATH#ca` and `PATH#client`. None: it is no certificate."""
    found: dict[str, pki.Certificate | None] = {}
    for path, pem in pems(answers).items():
        try:
            found[path] = pki.read(pem)
        except pki.PemError:
            found[path] = None
    return found


def pems(answers: Answers) -> dict[str, bytes]:
    """The texts that `parse` reads, some of several certificates."""
    found: dict[str, bytes] = {}
    for path, lines in blocks(answers[QUESTION.name].output):
        pem = "\n".join(lines).strip()
        if pem or "#" not in path:
            found[path] = f"{pem}\n".encode()
    return found
