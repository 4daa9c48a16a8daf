"""Lines onto a stream, from any thread, whatever the stream can take."""

from __future__ import annotations

import threading
from typing import TextIO

from hardway.console.streams import OutputLost, encodable
from hardway.console.visible import visible


class Writer:
    """Writes whole lines, flushed.

    Characters that the stream's encoding lacks are spelled with others. When the reader has gone (`| head`), or
    the disk behind it is full, nothing more is written: a run is not given up for that.
    """

    def __init__(self, stream: TextIO, *, keep_colours: bool = False) -> None:
        self._stream, self._visible = stream, str if keep_colours else visible
        self._lock = threading.Lock()
        self._gone = False

    def line(self, text: str = "") -> None:
        """One or more lines, in one piece."""
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        printable = encodable(self._visible(text), encoding)
        with self._lock:
            if self._gone:
                return
            try:
                self._stream.write(printable + "\n")
                self._stream.flush()
            except (OSError, ValueError, OutputLost):
                self._gone = True
