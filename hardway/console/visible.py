"""Text of machines made harmless for a terminal: what it would obey is shown instead."""

from __future__ import annotations

import re

# Control characters but newline and tab, line and paragraph separators, lone surrogates, and what is invisible or
# reorders its neighbours: a name with U+202E in it reads as another name.
_OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u070f\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff"
    "\ufff9-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff]"
)


def visible(text: str) -> str:
    r"""The text with `\x1b`, `\u202e` … in place of what a terminal would obey or hide; newlines and tabs stay."""
    return _OBEYED.sub(_escape, text.replace("\r\n", "\n"))


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
