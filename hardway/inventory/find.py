"""Which inventory a command means."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path

from hardway.errors import UsageError

DEFAULT = "hardway.yaml"
MOST = 4
"""So many are named where one was not found."""


def find(option: str | None, env: Mapping[str, str], cwd: Path) -> Path:
    """The file of `-i`, else of HARDWAY_INVENTORY, else ./hardway.yaml; UsageError where there is none.

    A path stays as it was written where that is relative to `cwd`, since messages repeat it.
    """
    for source, given in (("-i", option), ("HARDWAY_INVENTORY", env.get("HARDWAY_INVENTORY"))):
        if given:
            path = Path(given).expanduser()
            if not (cwd / path).is_file():
                raise UsageError(f"{source} names {given}, which is no file", hint=_near(cwd / path, cwd))
            return path
    if not (cwd / DEFAULT).is_file():
        raise UsageError(
            f"no inventory: there is no {DEFAULT} in this folder",
            hint="give one with -i FILE or HARDWAY_INVENTORY; to try hardway out: "
            "hardway inventory new --shape lab hardway.yaml",
        )
    return Path(DEFAULT)


def _near(missing: Path, cwd: Path) -> str:
    """Inventories that may have been meant: those beside it, here, and in the folder where they usually are."""
    folders = dict.fromkeys((missing.parent, cwd, cwd / "inventories"))
    there: list[Path] = []
    for folder in folders:
        there += filter(_is_inventory, sorted(folder.glob("*.yaml")))
    names = [_shown(path, cwd) for path in dict.fromkeys(there)]
    close = get_close_matches(missing.name, [Path(name).name for name in names], 1, 0.5)
    names.sort(key=lambda name: Path(name).name not in close)
    if not names:
        return "hardway inventory new hardway.yaml writes one"
    return f"there {'is' if len(names) == 1 else 'are'} {', '.join(names[:MOST])}{', …' if len(names) > MOST else ''}"


def _is_inventory(path: Path) -> bool:
    """Whether a YAML file has what every inventory has; it is not read in full, nor judged."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    return re.search(r"^cluster:", text, re.M) is not None and re.search(r"^machines:", text, re.M) is not None


def _shown(path: Path, cwd: Path) -> str:
    return str(path.relative_to(cwd)) if path.is_relative_to(cwd) else str(path)
