"""The plan as a person reads it: items, evidence and diffs."""
