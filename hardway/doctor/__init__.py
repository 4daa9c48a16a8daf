"""Why does it not work? Symptoms, causes and the commands that fix them."""
