"""YAML to plain values that know where they stand in the file.

A narrow YAML: one document, a mapping; the scalars of YAML 1.2's core schema (`no` is a text, `010` is
ten); no tags of one's own, no merge keys, keys are texts and unique. Composing and constructing are
apart so that everything that is wrong is found in one go, and nothing is ever built by a tag.
"""

import math
import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from hardway.errors import InventoryError
from hardway.inventory.model import Place
from hardway.inventory.problems import Document, Loc, Problem, Refused, quoted
from hardway.values import has_placeholder_marks

LIMIT = 1 << 20
"""Bytes that an inventory may have."""
_DEPTH = 32
_ALIASED = 10_000
"""Nodes that aliases may add to those written out; a bomb of nine lines would add 10^9."""


def read(path: Path) -> Document:
    """The file's values; raises InventoryError where it cannot be read as one YAML mapping."""
    try:
        with path.open("rb") as file:
            content = file.read(LIMIT + 1)
    except OSError as error:
        raise InventoryError([f"{path}: cannot be read: {error.strerror}"]) from None
    try:
        return parse(content)
    except Refused as refused:
        where = f"{path}:{refused.place}" if refused.place else str(path)
        raise InventoryError([f"{where}: {refused.text}"]) from None


def parse(content: bytes) -> Document:
    """The values of an inventory's bytes; raises Refused."""
    if len(content) > LIMIT:
        raise Refused(None, "is larger than 1 MiB; an inventory is a few kilobytes, is this the right file?")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = error.start - content.rfind(b"\n", 0, error.start)
        raise Refused(Place(line, column), "is not UTF-8; save the file in that encoding") from None
    root = _compose(text)
    if not isinstance(root, yaml.MappingNode):
        raise Refused(_place(root) if root else Place(1, 1), "holds no mapping; it must begin like 'cluster: prod'")
    builder = _Builder()
    builder.document.data = builder.build(root, ())
    return builder.document


class _Loader(yaml.SafeLoader):
    """Composes nodes only; its resolvers are YAML 1.2's core schema without .inf and .nan."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  (the base class's own way)
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.depth > _DEPTH:
            raise yaml.MarkedYAMLError(
                problem=f"nested deeper than {_DEPTH} levels",
                problem_mark=parent.start_mark if parent else None,
            )
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


_TAG = "tag:yaml.org,2002:"
for _kind, _pattern, _first in (
    ("null", r"^(~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("bool", r"^(true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"^[-+]?[0-9]+$", list("-+0123456789")),
    ("float", r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$", list("-+.0123456789")),
):
    _Loader.add_implicit_resolver(_TAG + _kind, re.compile(_pattern), _first)

_ADVICE: Mapping[str, str] = {
    "\\t": "YAML indents with spaces, not tabs",
    "mapping values are not allowed": "is the indentation right, or does a text with ': ' want quotes?",
    "expected a single document": "an inventory is one document: take out the '---' between them",
    "but found ','": "is a bracket or brace closed too early?",
    "could not find expected ':'": "a key wants ': ' after it",
    "expected alphabetic or numeric character": "a text that begins with * or & wants quotes, such as '*.example.net'",
    "but found ':'": "a text that begins with a colon wants quotes, such as '::1'",
    "found undefined alias": "an '*alias' must come after its '&anchor'; a text that begins with * wants quotes",
}


def _compose(text: str) -> yaml.Node | None:
    loader = None
    try:
        loader = _Loader(text)
        node: yaml.Node | None = loader.get_single_node()
        return node
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        column = error.position - text.rfind("\n", 0, error.position)
        code = f"U+{error.character:04X}" if isinstance(error.character, int) else "a byte"
        raise Refused(Place(line, column), f"holds the control character {code}; take it out") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = error.problem if "single document" not in str(error.context) else error.context
        said = " ".join((said or "is not YAML").split())
        advice = next((right for wrong, right in _ADVICE.items() if wrong in said), "")
        place = Place(mark.line + 1, mark.column + 1) if mark else None
        raise Refused(place, f"not YAML: {said}" + (f"; {advice}" if advice else "")) from None
    finally:
        if loader is not None:
            loader.dispose()


def _place(node: yaml.Node) -> Place:
    return Place(node.start_mark.line + 1, node.start_mark.column + 1)


_BROKEN = object()
"""Stands for a value that has a problem of its own; it is left out of what holds it."""


class _Builder:
    """Plain values from nodes, with places and problems on the way."""

    def __init__(self) -> None:
        self.document = Document()
        self._seen: set[int] = set()
        self._open: set[int] = set()
        self._aliased = 0

    def build(self, node: yaml.Node, loc: Loc) -> Any:
        self.document.places[loc] = _place(node)
        self._count(node)
        kind = node.tag.removeprefix(_TAG)
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, kind, loc)
        if kind not in ("map", "seq"):
            return self._broken(loc, f"has the tag {_shown(node.tag)}; an inventory has no tags, take it out")
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, loc)
            return self._list(node.value, loc)
        finally:
            self._open.discard(id(node))

    def _count(self, node: yaml.Node) -> None:
        """Refuse what aliases make of a small file: something that holds itself, or a bomb."""
        if id(node) in self._open:
            raise Refused(_place(node), "an alias makes this hold itself; write it out")
        if len(self._open) > _DEPTH:
            raise Refused(_place(node), f"aliases nest deeper than {_DEPTH} levels; write it out")
        if id(node) in self._seen:
            self._aliased += 1
        self._seen.add(id(node))
        if self._aliased > _ALIASED:
            raise Refused(_place(node), f"aliases repeat more than {_ALIASED} values; write them out")

    def _mapping(self, node: yaml.MappingNode, loc: Loc) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._broken(loc, "has a key that is no text")
                continue
            inner = (*loc, key.value)
            if inner in self.document.keys:
                text = f"is given again, first at {self.document.keys[inner]}; keep one of them"
                self.document.problems.append(Problem(inner, text, place=_place(key)))
                continue
            self.document.keys[inner] = _place(key)
            wrong = _unprintable(key.value)
            built = self.build(value, inner)
            if wrong:
                self.document.problems.append(Problem(inner, wrong, at_key=True))
            elif built is not _BROKEN:
                mapping[key.value] = built
        return mapping

    def _list(self, items: list[yaml.Node], loc: Loc) -> Any:
        built = [self.build(item, (*loc, i)) for i, item in enumerate(items)]
        return _BROKEN if _BROKEN in built else built

    def _scalar(self, node: yaml.ScalarNode, kind: str, loc: Loc) -> Any:
        text: str = node.value
        match kind:
            case "str":
                wrong = _unprintable(text)
                return self._broken(loc, wrong) if wrong else text
            case "null":
                return None
            case "bool" if text.lower() in ("true", "false"):
                return text.lower() == "true"
            case "int" if re.fullmatch(r"[-+]?[0-9]{1,19}", text):
                return int(text)
            case "float" if _is_finite(text):
                return float(text)
            case "bool" | "int" | "float":
                return self._broken(loc, f"{quoted(text)} cannot be read as {kind}")
        return self._broken(loc, f"has the tag {_shown(node.tag)}; an inventory has no tags, take it out")

    def _broken(self, loc: Loc, text: str) -> object:
        self.document.problems.append(Problem(loc, text))
        return _BROKEN


def _shown(tag: str) -> str:
    return quoted(tag.replace(_TAG, "!!")).strip('"')


def _is_finite(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _unprintable(text: str) -> str:
    """What no text of an inventory may hold, since all of them end in files, commands or on a screen."""
    if has_placeholder_marks(text):
        return f"{quoted(text)} holds ⟦ or ⟧, which hardway keeps for itself; take it out"
    for character in text:
        if character in "\n\r\u2028\u2029":
            return f"{quoted(text)} holds a line break; write it on one line"
        if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Zs") and character != " ":
            return f"{quoted(text)} holds the invisible character U+{ord(character):04X}; take it out"
    if text != text.strip():
        return f"{quoted(text)} begins or ends with a space; take it out"
    return ""
