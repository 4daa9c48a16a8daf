"""Do the artifacts agree with each other? Rules across certificates, flags, ranges and versions."""
