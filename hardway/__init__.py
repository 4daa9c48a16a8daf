"""Kubernetes the hard way, over SSH."""


def __getattr__(name: str) -> str:
    """`hardway.__version__`, looked up when it is asked for: finding it costs every process 10 ms."""
    if name != "__version__":
        raise AttributeError(name)
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("hardway")
    except PackageNotFoundError:  # a source tree that was never installed
        return "0+unknown"
