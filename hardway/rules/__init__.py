"""What is looked for in machines that could go wrong: one registry, for preflight, verify and doctor."""

from hardway.rules import across
from hardway.rules.model import Finding, Found, Level, Need, Rule, Scene, examine
from hardway.rules.preflight import preflight
from hardway.rules.registry import RULES

__all__ = ["RULES", "Finding", "Found", "Level", "Need", "Rule", "Scene", "across", "examine", "preflight"]
