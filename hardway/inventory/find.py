"""Which inventory a command means."""

from collections.abc import Mapping
from pathlib import Path

from hardway.errors import UsageError

DEFAULT = "hardway.yaml"


def find(option: str | None, env: Mapping[str, str], cwd: Path) -> Path:
    """The file of `-i`, else of HARDWAY_INVENTORY, else ./hardway.yaml; UsageError where there is none.

    A path stays as it was written where that is relative to `cwd`, since messages repeat it.
    """
    for source, given in (("-i", option), ("HARDWAY_INVENTORY", env.get("HARDWAY_INVENTORY"))):
        if given:
            path = Path(given).expanduser()
            if not (cwd / path).is_file():
                raise UsageError(f"{source} names {given}, which is no file", hint="ls inventories/")
            return path
    if not (cwd / DEFAULT).is_file():
        raise UsageError(
            f"no inventory: there is no {DEFAULT} in this folder",
            hint="give one with -i FILE or HARDWAY_INVENTORY; to try hardway out: "
            "hardway inventory example lab >hardway.yaml",
        )
    return Path(DEFAULT)
