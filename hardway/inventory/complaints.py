"""What pydantic found, in the words of an inventory."""

import difflib
import re
from collections.abc import Iterable, Iterator
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from hardway.inventory.problems import Document, Loc, Problem, quoted
from hardway.inventory.shape import InventoryShape, not_a_text

_KEY = "[key]"
_LIMITS = {"greater_than_equal": ("less than", "ge"), "less_than_equal": ("more than", "le")}


def problems(errors: Iterable[ErrorDetails], document: Document) -> list[Problem]:
    """One problem for each error; nothing about what is missing or empty only because what is in it is broken."""
    errors = list(errors)
    broken = {problem.loc for problem in document.problems}
    around = {error["loc"][:-1] for error in errors}
    found: list[Problem] = []
    for error in errors:
        follows = (error["type"] == "missing" and error["loc"] in broken) or (
            error["type"] == "too_short" and error["loc"] in around
        )
        if not follows:
            found.append(_problem(error, document))
    return found


def _problem(error: ErrorDetails, document: Document) -> Problem:
    loc, kind, value = error["loc"], error["type"], error["input"]
    if kind == "extra_forbidden":
        return Problem(loc, _unknown(str(loc[-1]), sorted(_known_keys(loc[:-1]))), at_key=True)
    if loc[-1:] == (_KEY,):
        if kind == "value_error":
            return Problem(loc[:-1], _text(kind, value, error), at_key=True)
        return Problem(loc[:-1], _unknown(str(loc[-2]), _choices(error)), at_key=True)
    if kind == "missing":
        return Problem(loc, f"is missing; {_EXAMPLES.get(str(loc[-1]), 'add it')}", at_key=True)
    # A role written without brackets was made a list of one.
    if isinstance(loc[-1], int) and loc not in document.places:
        loc = loc[:-1]
    return Problem(loc, _text(kind, value, error))


_EXAMPLES = {
    "cluster": "name it, such as cluster: prod",
    "machines": "add them, such as machines: {k1: controller, k2: worker}",
    "certificate": "name the file, such as certificate: ca.crt",
    "role": "add one of controller, worker, load-balancer, or a list of them",
    "network": "add the lab's range, such as network: 10.240.0.0/24",
}


def _text(kind: str, value: object, error: ErrorDetails) -> str:
    if kind == "value_error":
        return str(error["ctx"]["error"])
    if kind in ("model_type", "dict_type"):
        if value is None:
            return "is empty; give it a value or take the key out"
        return f"should be a mapping of keys to values, and is {_sort_of(value)}"
    if kind == "literal_error":
        if not isinstance(value, str):
            return not_a_text(value)
        choices = _choices(error)
        return f"{quoted(value)} is unknown; right: {', '.join(choices)}{_meant(value, choices)}"
    if kind in ("tuple_type", "list_type"):
        return f"should be a list such as [a, b], and is {_sort_of(value)}"
    if kind == "int_type":
        return f"{quoted(value)} is not a whole number"
    if kind in _LIMITS:
        word, key = _LIMITS[kind]
        return f"{quoted(value)} is {word} {error['ctx'][key]}"
    if kind == "too_short":
        return "is empty; give at least one"
    return error["msg"].replace("Input should", "should")


def _sort_of(value: object) -> str:
    for kind, word in ((dict, "a mapping"), (list, "a list"), (type(None), "empty")):
        if isinstance(value, kind):
            return word
    return quoted(value)


def _choices(error: ErrorDetails) -> list[str]:
    return re.findall(r"'([^']*)'", error["ctx"]["expected"])


def _unknown(key: str, known: list[str]) -> str:
    return f"unknown key{_meant(key, known) or '; known are: ' + ', '.join(known)}"


def _meant(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word[:80], known, 1)
    return f"; did you mean {near[0]}?" if near else ""


def meant(error: ErrorDetails) -> Loc | None:
    """The path that an unknown key may have been meant to be."""
    if error["type"] != "extra_forbidden":
        return None
    parent, key = error["loc"][:-1], str(error["loc"][-1])
    near = difflib.get_close_matches(key[:80], sorted(_known_keys(parent)), 1)
    return (*parent, near[0]) if near else None


def _known_keys(loc: Loc) -> set[str]:
    """The keys that the shape at a path has."""
    shape: Any = InventoryShape
    parts = iter(loc)
    for part in parts:
        field = shape.model_fields[str(part)]
        shape = next(_shapes(field.annotation))
        if get_origin(field.annotation) is dict:
            next(parts)
    return set(shape.model_fields)


def _shapes(annotation: Any) -> Iterator[type[BaseModel]]:
    if _is_shape(annotation):
        yield annotation
    for inner in get_args(annotation):
        yield from _shapes(inner)


def _is_shape(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
