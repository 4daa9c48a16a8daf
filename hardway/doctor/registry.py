"""All rules there are, in the order in which they are told."""

from hardway.doctor import causes_control, causes_machine, causes_network, causes_trust, causes_workers, effects
from hardway.lint import rules as across
from hardway.preflight import firewalls, machines, surroundings, system
from hardway.rules import Rule

RULES: tuple[Rule, ...] = (
    *machines.RULES,
    *surroundings.RULES,
    *system.RULES,
    *firewalls.RULES,
    *across.RULES,
    *causes_machine.RULES,
    *causes_network.RULES,
    *causes_trust.RULES,
    *causes_control.RULES,
    *causes_workers.RULES,
    causes_machine.DRIFT,
    *effects.RULES,
)
