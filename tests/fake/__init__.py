"""Machines that are folders: hardway's scripts run for real, what they command is played."""
