"""One file a kind: desired, probe, parse, diff, steps, undo. Pure: values in, text out."""

from hardway.resources.base import Absent, Context, Difference, Observed, Present, Resource, Typed, Unseen
from hardway.resources.containers import ApiObjects, Image
from hardway.resources.files import Binary, Block, Directory, File
from hardway.resources.host import Hostname, Package, User
from hardway.resources.kernel import Module, Route, SwapOff, Sysctl
from hardway.resources.local import Certificate, Key, Local, PublicKey, RandomKey, WorkspaceFile
from hardway.resources.service import Check, Service

KINDS: dict[str, type[Resource]] = {
    kind.kind: kind
    for kind in (
        Package, User, Module, Sysctl, SwapOff, Hostname, Block, Directory, File, Binary, Route, Service, Image,
        ApiObjects,
    )
}  # fmt: skip

__all__ = [
    "KINDS", "Absent", "ApiObjects", "Binary", "Block", "Certificate", "Check", "Context", "Difference",
    "Directory", "File", "Hostname", "Image", "Key", "Local", "Module", "Observed", "Package", "Present",
    "PublicKey", "RandomKey", "Resource", "Route", "Service", "SwapOff", "Sysctl", "Typed", "Unseen", "User",
    "WorkspaceFile",
]  # fmt: skip
