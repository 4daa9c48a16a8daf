"""What a person does who reads a fix of doctor's: edits of the inventory, to the letter."""

import re
from pathlib import Path
from typing import Any

import yaml


def edited(inventory: Path, line: str) -> None:
    """`edit FILE: take out PATH`, or `edit FILE: set PATH back to VALUE`."""
    printed = re.fullmatch(r"edit (\S+): (?:take out (\S.*)|set (\S.*) back to (.+))", line)
    assert printed, line
    path, gone, kept, value = printed.groups()
    assert Path(path).name == inventory.name
    document = yaml.safe_load(inventory.read_text())
    above, key = _holder(document, gone or kept)
    if gone:
        del above[key]
    else:
        above[key] = yaml.safe_load(value)
    inventory.write_text(yaml.safe_dump(document, sort_keys=False))


def _holder(mapping: dict[str, Any], path: str) -> tuple[dict[str, Any], str]:
    """The mapping in which the last name of a path stands; names may have dots of their own."""
    for key, value in mapping.items():
        if key == path:
            return mapping, key
        if path.startswith(f"{key}."):
            return _holder(value, path.removeprefix(f"{key}."))
    raise AssertionError(path)
