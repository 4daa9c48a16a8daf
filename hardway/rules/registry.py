"""All rules there are, in the order in which they are told."""

from hardway.rules import across, causes_machine, causes_network, effects, machines, surroundings
from hardway.rules.model import Rule

RULES: tuple[Rule, ...] = (
    *machines.RULES,
    *surroundings.RULES,
    *across.RULES,
    *causes_machine.RULES,
    *causes_network.RULES,
    causes_machine.DRIFT,
    *effects.RULES,
)
