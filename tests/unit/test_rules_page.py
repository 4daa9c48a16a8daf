"""docs/operate/rules.md tells every rule as it is. Written anew by: python tests/unit/test_rules_page.py"""

import re
from collections.abc import Iterator
from pathlib import Path

from hardway.doctor.registry import RULES
from hardway.rules import Rule

PAGE = Path(__file__).parents[2] / "docs" / "operate" / "rules.md"
TABLE = re.compile(r"(<!-- rules: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def table(kind: str) -> str:
    """The table of the rules that look at a setup, or of preflight's."""
    if kind == "across":
        rows = (
            (one.id, one.detects + (" (warning)" if one.level == "warning" else ""), one.symptom, one.fix)
            for one in RULES
            if "setup" in one.needs
        )
        return "".join(_lines(("rule", "finds", "met otherwise", "fix"), rows))
    rows = ((one.id, one.why, one.fix) for one in RULES if one.needs <= {"facts", "hosts"})
    return "".join(_lines(("rule", "why", "fix"), rows))


def _lines(heads: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}\n"
    for first, *others in rows:
        yield f"| {' | '.join((f'`{first}`', *(_cell(one) for one in others)))} |\n"


def _cell(text: str) -> str:
    # What looks like a tag would be one.
    return text.replace("|", "\\|").replace("<", "&lt;")


def written(page: str) -> str:
    return TABLE.sub(lambda found: found[1] + table(found[2]) + found[3], page)


def test_the_page_tells_every_rule_as_it_is() -> None:
    page = PAGE.read_text()
    assert [found[2] for found in TABLE.finditer(page)] == ["across", "preflight"]
    assert written(page) == page


def test_a_rule_across_artifacts_says_what_it_finds_and_where_one_would_meet_it() -> None:
    across = [one for one in RULES if "setup" in one.needs]
    assert across
    assert [one.id for one in across if not complete(one)] == []


def complete(rule: Rule) -> bool:
    return bool(rule.detects and rule.fix and rule.why and re.match(r"[^:]+: .", rule.symptom))


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
