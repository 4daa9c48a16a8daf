"""What the machines are to be: pure functions from the model to resources, workspace files and proofs."""
