"""How long things take, and where the time goes. It prints and never judges."""
