"""What a command needs of the computer that it is typed on, and what it does where that is missing."""

from __future__ import annotations

import os
import pwd
from collections.abc import MutableMapping
from pathlib import Path

from hardway.errors import UsageError
from hardway.inventory.find import find


def complete_environment(environment: MutableMapping[str, str] = os.environ, uid: int | None = None) -> None:
    """A home and a name for who has none: in cron, by `env -i`, in a container that runs as any uid.

    Home is then where Docker has it, at `/`. Neither is asked for where the inventory says the user and the cache is
    elsewhere, but what looks for them, here and in programs that are called, ends where there are none.
    """
    uid = os.getuid() if uid is None else uid
    known = passwd_entry(uid)
    if known is None:
        environment.setdefault("HOME", "/")
        environment.setdefault("LOGNAME", environment.get("USER") or str(uid))
        return
    environment.setdefault("HOME", known.pw_dir)


def passwd_entry(uid: int) -> pwd.struct_passwd | None:
    """None for a uid that no user of this computer has (`docker run -u`)."""
    try:
        return pwd.getpwuid(uid)
    except KeyError:
        return None


def inventory_path(option: Path | None) -> Path:
    """The inventory that is meant. Raises UsageError where there is none, or the working folder was deleted."""
    given = str(option) if option else os.environ.get("HARDWAY_INVENTORY")
    try:
        here = Path.cwd()
    except FileNotFoundError:
        if not (given and Path(given).is_absolute()):
            raise folder_is_gone() from None
        here = Path("/")
    return find(str(option) if option else None, os.environ, here)


def folder_is_gone() -> UsageError:
    """What is said where paths that were given, or the inventory, lead from a folder that was deleted."""
    return UsageError(
        "the working folder was deleted, so there is no inventory and no file in it",
        hint="cd to a folder that exists, or give whole paths: -i /path/to/hardway.yaml",
    )


def is_folder_gone() -> bool:
    try:
        Path.cwd()
    except FileNotFoundError:
        return True
    return False
