"""What changes a cluster: one file an operation, each executed by the same engine."""
