"""How is the cluster? Machines, units, members and nodes."""
