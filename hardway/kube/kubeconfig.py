"""Kubeconfigs: which API, trusted by which CA, as whom."""

from hardway.render import render
from hardway.values import Hole


def kubeconfig(cluster: str, server: str, user: str, certificate: str, context: str = "") -> str:
    """A kubeconfig with everything inside it, as a text with holes.

    `certificate` is the name below `pki/` of the client's certificate and key; `user` only names the
    entry: whom the API server sees is the certificate's CN.
    """
    return render(
        "configs/kubeconfig.yaml",
        cluster=cluster,
        server=server,
        user=user,
        context=context or f"{user}@{cluster}",
        ca=Hole("pki/ca.crt", "base64"),
        certificate=Hole(f"pki/{certificate}.crt", "base64"),
        key=Hole(f"pki/{certificate}.key", "base64", secret=True),
    )
