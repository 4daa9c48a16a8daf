"""Kubernetes' own conformance suite, on a lab's cluster: `python -m tests.conformance`."""
