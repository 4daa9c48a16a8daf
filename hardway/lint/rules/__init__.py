"""Rules across artifacts: what components otherwise find out about each other at run time."""

from hardway.lint.rules import contradictions, keys, names, ranges, releases, settings, times, trust
from hardway.rules import Rule

RULES: tuple[Rule, ...] = (
    *ranges.RULES, *names.RULES, *trust.RULES, *times.RULES, *keys.RULES, *releases.RULES,
    *settings.RULES, *contradictions.RULES,
)  # fmt: skip
