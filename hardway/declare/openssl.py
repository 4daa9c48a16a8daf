"""Certificates as openssl is told of them: a subject for the command line, an extension file. Pure text."""

from __future__ import annotations

from collections.abc import Mapping

from hardway.declare.pki import CertificateSpec, KeyAlgorithm

_EXTENDED = {"server": "serverAuth", "client": "clientAuth"}


def subject(spec: CertificateSpec) -> str:
    """For `openssl req -subj`: `/O=system:nodes/CN=system:node:worker-0`."""
    parts = [("O", name) for name in spec.organizations] + [("CN", spec.common_name)]
    return "".join(f"/{kind}={_escaped(name)}" for kind, name in parts)


def extensions(spec: CertificateSpec, algorithm: KeyAlgorithm, notes: Mapping[str, str]) -> str:
    """For `openssl x509 -extfile`: what `hardway.declare.pki` puts into a certificate of this specification.

    `notes` has a comment for some of its names. openssl dates a certificate from now on: it is not backdated.
    """
    usage = ["keyCertSign, cRLSign"] if spec.is_ca else ["digitalSignature"]
    if not spec.is_ca and algorithm.startswith("rsa"):
        usage.append("keyEncipherment")
    settings = {
        "basicConstraints": "critical, CA:TRUE, pathlen:0" if spec.is_ca else "critical, CA:FALSE",
        "keyUsage": f"critical, {', '.join(usage)}",
        "extendedKeyUsage": ", ".join(_EXTENDED[one] for one in sorted(spec.usages)),
        "subjectKeyIdentifier": "hash",
        "authorityKeyIdentifier": "keyid",
        "subjectAltName": "@san" if spec.dns_names or spec.addresses else "",
    }
    lines = [f"{name:<22} = {value}" for name, value in settings.items() if value]
    names = [(f"DNS.{number}", name) for number, name in enumerate(spec.dns_names, 1)]
    names += [(f"IP.{number}", address) for number, address in enumerate(spec.addresses, 1)]
    if names:
        lines.append("[san]")
        longest = max((len(name) for _, name in names if name in notes), default=0)
        for key, name in names:
            note = f"  # {notes[name]}" if name in notes else ""
            lines.append(f"{key:<6} = {name:<{longest}}{note}".rstrip())
    return "\n".join(lines) + "\n"


def _escaped(name: str) -> str:
    """openssl divides a subject at slashes, and a relative name at plus signs."""
    return "".join(f"\\{one}" if one in "/+\\" else one for one in name)
