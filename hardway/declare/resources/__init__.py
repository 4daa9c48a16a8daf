"""One file a kind: desired, probe, parse, diff, steps, undo. Pure: values in, text out."""

from hardway.declare.resources.base import Absent, Context, Difference, ManualStep, Observed, Present, Resource, Unknown
from hardway.declare.resources.containers import ApiObjects, Image
from hardway.declare.resources.files import Binary, Block, Directory, File, OperatorFile
from hardway.declare.resources.group import STANDINGS, Aside, Group
from hardway.declare.resources.host import Hostname, Package, User
from hardway.declare.resources.kernel import Module, SwapOff, Sysctl
from hardway.declare.resources.local import Certificate, Key, Local, PublicKey, RandomKey, WorkspaceFile
from hardway.declare.resources.own import Chain, OwnCertificate, OwnKey, RequestedCertificate
from hardway.declare.resources.routes import Routes
from hardway.declare.resources.service import Check, Service, Trial, stays_up
from hardway.declare.resources.taints import NodeTaints

KINDS: dict[str, type[Resource]] = {
    kind.kind: kind
    for kind in (
        Package, User, Module, Sysctl, SwapOff, Hostname, Block, Directory, File, OperatorFile, Binary, Routes, Service,
        Image, ApiObjects, NodeTaints,
    )
}  # fmt: skip

__all__ = [
    "KINDS",
    "STANDINGS",
    "Absent",
    "ApiObjects",
    "Aside",
    "Binary",
    "Block",
    "Certificate",
    "Chain",
    "Check",
    "Context",
    "Difference",
    "Directory",
    "File",
    "Group",
    "Hostname",
    "Image",
    "Key",
    "Local",
    "ManualStep",
    "Module",
    "NodeTaints",
    "Observed",
    "OperatorFile",
    "OwnCertificate",
    "OwnKey",
    "Package",
    "Present",
    "PublicKey",
    "RandomKey",
    "RequestedCertificate",
    "Resource",
    "Routes",
    "Service",
    "SwapOff",
    "Sysctl",
    "Trial",
    "Unknown",
    "User",
    "WorkspaceFile",
    "stays_up",
]  # fmt: skip
