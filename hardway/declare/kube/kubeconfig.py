"""Kubeconfigs: which API, trusted by which CA, as whom."""

from hardway.declare.render import render
from hardway.values import Placeholder


def kubeconfig(cluster: str, server: str, ca: str, user: str, certificate: str, context: str = "") -> str:
    """A kubeconfig with everything inside it, as a text with placeholders.

    `ca` is the workspace file with all certificates by which the server is known; `certificate` is the name below
    `pki/` of the client's certificate and key; `user` only names the entry: whom the API server sees is the
    certificate's CN.
    """
    return render(
        "configs/kubeconfig.yaml",
        cluster=cluster,
        server=server,
        user=user,
        context=context or f"{user}@{cluster}",
        ca=Placeholder(ca, "base64"),
        certificate=Placeholder(f"pki/{certificate}.crt", "base64"),
        key=Placeholder(f"pki/{certificate}.key", "base64", secret=True),
    )
