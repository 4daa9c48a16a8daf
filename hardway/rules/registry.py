"""All rules there are, in the order in which they are told."""

from hardway.rules import across, machines, surroundings
from hardway.rules.model import Rule

RULES: tuple[Rule, ...] = (*machines.RULES, *surroundings.RULES, *across.RULES)
