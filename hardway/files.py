"""Files that others read while they are written."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

LEFT = ".new-"
"""How the names of files begin that a killed command has left half written."""


@contextlib.contextmanager
def replacing(path: Path, mode: int) -> Iterator[IO[bytes]]:
    """A file that takes the path's place, whole and on disk, when the block ends; after an error it is gone.

    Nobody ever reads half of it, and a full disk leaves the old file. Raises OSError.
    """
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f"{LEFT}{path.name}-", delete=False) as file:
        fresh = Path(file.name)
        try:
            yield file
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
            fresh.replace(path)
        except BaseException:
            fresh.unlink(missing_ok=True)
            raise
