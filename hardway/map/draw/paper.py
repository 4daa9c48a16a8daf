"""What a drawing is made of: text of known width, lines, boxes. All lengths in units of the SVG's viewBox."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

_WIDTHS = {
    **dict.fromkeys("ijl'|", 0.22), **dict.fromkeys("ft.,:;/\\!()[] -I·", 0.31), **dict.fromkeys("r", 0.34),
    **dict.fromkeys("cksvxyzJ", 0.5), **dict.fromkeys("mM", 0.84), **dict.fromkeys("wABEKPSVXY&", 0.7),
    **dict.fromkeys("CDGHNOQRUW@%", 0.8), **dict.fromkeys("→…", 1.0),
}  # fmt: skip
"""Of a character, in ems of Helvetica, Arial and Liberation Sans, which are alike."""
_OTHER = 0.56
_BOLD = 1.08
_SPARE = 1.04
_LINE = 1.25


def width(text: str, size: float, *, bold: bool = False) -> float:
    """What a text takes at most, in units."""
    return sum(_WIDTHS.get(letter, _OTHER) for letter in text) * size * (_BOLD if bold else 1) * _SPARE


def fitted(text: str, size: float, room: float, *, bold: bool = False) -> str:
    """The text, or as much of its beginning as the room takes with an ellipsis."""
    if width(text, size, bold=bold) <= room:
        return text
    while text and width(f"{text}…", size, bold=bold) > room:
        text = text[:-1]
    return f"{text}…"


def wrapped(text: str, size: float, room: float) -> list[str]:
    """The text in lines no longer than the room; a word that is longer alone is cut."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and width(longer, size) > room:
            lines.append(word)
        else:
            lines[-1] = longer
    return [fitted(line, size, room) for line in lines]


def leading(size: float) -> float:
    """From one line of a text to the next."""
    return size * _LINE


def element(name: str, content: str | Iterable[str] = "", **attributes: object) -> str:
    """An element; `class_` is class, `stroke_width` stroke-width. The content is markup already."""
    said = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_number(value))}"'
        for key, value in attributes.items()
        if value != ""
    )
    inner = content if isinstance(content, str) else "".join(content)
    return f"<{name}{said}>{inner}</{name}>\n" if inner else f"<{name}{said}/>\n"


def text(x: float, y: float, words: str, class_: str = "", *, whole: str = "", style: str = "") -> str:
    """One line; `whole` is what a pointer shows where the words had to be cut."""
    title = f"<title>{escape(whole)}</title>" if whole and whole != words else ""
    return element("text", escape(words) + title, x=x, y=y, class_=class_, style=style)


def box(x: float, y: float, wide: float, high: float, class_: str, radius: float = 4) -> str:
    return element("rect", x=x, y=y, width=wide, height=high, rx=radius, class_=class_)


def path(points: Iterable[tuple[float, float]], class_: str) -> str:
    """Straight lines from point to point."""
    steps = [f"{_number(x)} {_number(y)}" for x, y in points]
    return element("path", d=f"M{'L'.join(steps)}", class_=class_)


def _number(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.1f}".removesuffix(".0")
    return str(value)
