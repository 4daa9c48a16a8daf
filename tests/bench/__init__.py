"""How long things take, and why; reported, never asserted: `python -m tests.bench`."""
