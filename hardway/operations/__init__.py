"""What changes a cluster: one file an operation, each carried out by the same engine."""
