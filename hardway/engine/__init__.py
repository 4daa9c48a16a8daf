"""Observes, plans and executes: the only room that changes machines."""
