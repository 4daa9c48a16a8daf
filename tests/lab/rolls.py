"""A setting of an inventory that is there for as long as a block of a test."""

from collections.abc import Iterator
from contextlib import contextmanager

from driving import Site


@contextmanager
def settings(site: Site, text: str, *, back: bool = True) -> Iterator[None]:
    """The inventory says more until the block ends; `back`: and then the machines follow."""
    before = site.inventory.read_text()
    site.inventory.write_text(before.replace("machines:", f"settings: {text}\n\nmachines:", 1))
    try:
        yield
    finally:
        site.inventory.write_text(before)
    if back:
        site.init()
