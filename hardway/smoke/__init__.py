"""What is done to a cluster beyond making it as declared."""
