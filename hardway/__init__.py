"""Kubernetes the hard way, over SSH."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("hardway")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"
