"""Observes, plans and carries out: the only room that changes machines."""
