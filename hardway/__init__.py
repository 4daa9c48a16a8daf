"""Kubernetes the hard way, over SSH."""


def __getattr__(name: str) -> str:
    """`hardway.__version__`, looked up once, when it is asked for: finding it takes 20 ms, and again 3 ms each time."""
    if name != "__version__":
        raise AttributeError(name)
    from importlib.metadata import PackageNotFoundError, version

    try:
        found = version("hardway")
    except PackageNotFoundError:  # a source tree that was never installed
        found = "0+unknown"
    globals()[name] = found
    return found
