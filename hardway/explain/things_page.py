"""Things, values and words as a person reads them: plain text within a width."""

from __future__ import annotations

from collections.abc import Sequence

from hardway.console.terminal import UNWRAPPED
from hardway.console.words import counted, hanging, typed
from hardway.explain.chapter import Cited, Next
from hardway.explain.find import TermPage
from hardway.explain.message import MessagePage
from hardway.explain.page import aligned, following, pitfall
from hardway.explain.thing import Field, Place, Reader, ThingPage
from hardway.explain.value import Stated, Use, ValuePage

_SHOWN = 8
"""So many places of a value, or proofs of a thing, are told without -v."""
_SHORT = 34
"""A name and a value of this length leave room for the why beside them."""


def thing_lines(page: ThingPage, width: int = 80, verbose: bool = False, given: str = "") -> list[str]:
    """One page. Directives of a unit, which are alike everywhere, are told with `verbose` only."""
    lines = [f"{page.name}   cluster {page.cluster}", "", *hanging("", page.what, width)]
    lines += _fields(page, width, verbose)
    if page.places:
        lines += ["", "WHERE IT IS", *aligned([("  " + one.path, *_kept(one)) for one in page.places], width)]
    if page.readers:
        lines += ["", "WHO REFERS TO IT"]
        for reader in page.readers:
            lines += _reader(reader, width)
    lines += ["", *hanging("WITHOUT IT  ", page.without, width)]
    if page.wrong:
        lines += ["", "EASY TO GET WRONG"]
        for one in page.wrong:
            lines += pitfall(one, page.phase, width, given)
    if page.proofs:
        lines += ["", "PROOFS", *_proofs(page.proofs if verbose else page.proofs[:_SHOWN], width)]
        rest = len(page.proofs) - _SHOWN
        lines += [f"  {counted(rest, 'more proof')} by way of it: with -v"] if rest > 0 and not verbose else []
    return [*lines, "", *following("MORE", page.more, width)]


def value_lines(page: ValuePage, width: int = 80, verbose: bool = False, given: str = "") -> list[str]:
    """A paragraph: what it is, its way through the cluster, and where it stands."""
    lines = _heading(page, width)
    lines += hanging("  ", page.text, width) if page.text else []
    for number, step in enumerate(page.steps, 1):
        lines += hanging(f"  {number} ", step, width)
    for stated in page.stated:
        lines += _stated(stated, width)
    lines += _uses(page.uses, width, verbose)
    for head, text in (("Not used by", page.not_used), ("Without it", page.without)):
        lines += hanging(f"{head:<{_HEAD}}", text, width) if text else []
    for number, one in enumerate(page.proofs if verbose else page.proofs[:2]):
        lines += hanging(f"{'' if number else 'Proved by':<{_HEAD}}", f"{one.name} ({one.on})", width)
    if page.fault:
        fails = f"{typed(f'hardway lab break {page.fault}', given)} && {typed('hardway doctor', given)}"
        lines.append(f"{'See it fail':<{_HEAD}}{fails}")
    return [*lines, *_asks(page.more)]


def term_lines(page: TermPage, width: int = 80) -> list[str]:
    """A word and what it means here."""
    also = f"   ({', '.join(page.also)})" if page.also else ""
    return [f"{page.asked}{also}", *hanging("  ", page.text, width), *_asks(page.more)]


def message_lines(page: MessagePage, width: int = 80) -> list[str]:
    """An error message: what it means, then each cause with the command that shows whether it is this one."""
    lines = [*hanging("", page.message, width), *hanging("  ", page.text, width)]
    lines += ["", *hanging(f"{'Printed by':<{_HEAD}}", page.by, width)]
    lines += [f"{'Chapters':<{_HEAD}}{', '.join(page.phases)}", ""]
    for number, one in enumerate(page.causes, 1):
        lines += hanging(f"  {number} ", one.cause, width)
        lines += [f"      {one.ask}", *hanging("        -> ", one.shows, width)]
    return [*lines, "", *_asks(page.more)]


_HEAD = 14


def _heading(page: ValuePage, width: int) -> list[str]:
    head = f"{page.asked}   {page.title}".rstrip()
    if width == UNWRAPPED:
        return [f"{head}   {page.place}".rstrip()]
    if len(head) + len(page.place) + 3 <= width:
        return [f"{head}{page.place:>{width - len(head)}}" if page.place else head]
    return [*hanging("", head, width), *([f"{page.place:>{width}}"] if page.place else [])]


def _fields(page: ThingPage, width: int, verbose: bool) -> list[str]:
    shown = [one for one in page.fields if verbose or one.kind != "directive" or not _many(page)]
    hidden = len(page.fields) - len(shown)
    if not page.fields:
        return []
    whose = f" on {page.of}" if page.of and any(one.own for one in page.fields) else ""
    lines = ["", f"WHAT IT SAYS{whose}" + (" (* each has its own)" if whose else "")]
    before = ""
    several = len({field.of for field in shown}) > 1
    for one in shown:
        if one.of != before and several:
            lines.append(f"  {one.of}")
        before = one.of
        lines += _field(one, width, bool(whose))
    return [*lines, *([f"    {counted(hidden, 'directive')} of the unit: with -v"] if hidden else [])]


def _many(page: ThingPage) -> bool:
    return sum(one.kind == "directive" for one in page.fields) > 12


def _field(one: Field, width: int, marked: bool) -> list[str]:
    star = "*" if one.own and marked else " "
    if one.kind == "certificate" and len(one.name) + len(one.value) <= _SHORT + 6:
        return hanging(f"  {star} {one.name:<9} {one.value:<{_SHORT - 6}}  ", one.why, width)
    lines = _broken(f"  {star} ", _said(one), width)
    return [*lines, *hanging("        ", one.why, width)] if one.why else lines


def _broken(head: str, text: str, width: int) -> list[str]:
    """A long list goes on below itself, after a comma."""
    if len(head) + len(text) <= width:
        return [head + text]
    return [line.replace(", ", ",") for line in hanging(head, text.replace(",", ", "), width)]


def _said(one: Field) -> str:
    match one.kind:
        case "flag":
            return f"--{one.name}={one.value}"
        case "directive":
            return f"{one.name}={one.value}"
        case "line":
            return one.value
        case "object":
            return one.name
    return f"{one.name}: {one.value}" if one.value else one.name


def _kept(one: Place) -> tuple[str, str]:
    return one.on, " ".join(filter(None, (one.kind, one.mode, one.owner)))


def _reader(one: Reader, width: int) -> list[str]:
    needs = f"; a change needs a {one.needs}" if one.needs != "nothing" else ""
    lines = hanging("  ", f"{one.by} ({one.on}{needs})", width)
    return [*lines, *hanging("        ", one.why, width)] if one.why else lines


def _proofs(proofs: Sequence[Cited], width: int) -> list[str]:
    lines: list[str] = []
    for one in proofs:
        lines += hanging("  ", f"{one.name} ({one.on})", width)
        lines += hanging("        ", one.why, width)
    return lines


def _stated(one: Stated, width: int) -> list[str]:
    sign = "" if one.by.endswith("=") else ("=" if " --" in one.by else ": ")
    lines = _broken("  ", f"{one.by}{sign}{one.value or '(empty)'}   ({one.on})", width)
    lines += hanging("      ", one.why, width) if one.why else []
    return [*lines, *(hanging("      to change it  ", one.change, width) if one.change else [])]


def _uses(uses: Sequence[Use], width: int, verbose: bool) -> list[str]:
    shown = uses if verbose else uses[:_SHOWN]
    lines: list[str] = []
    for number, one in enumerate(shown):
        lines += hanging(f"{'' if number else 'Stands in':<{_HEAD}}", f"{one.by} ({one.on})", width)
        if verbose and one.why:
            lines += hanging(" " * (_HEAD + 4), one.why, width)
    rest = len(uses) - len(shown)
    return [*lines, *([f"{'':<{_HEAD}}{counted(rest, 'more place')}: with -v"] if rest else [])]


def _asks(asks: Sequence[Next]) -> list[str]:
    return [f"{'' if number else 'Ask':<{_HEAD}}{one.command}" for number, one in enumerate(asks)]
