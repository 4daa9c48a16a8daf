"""Every certificate of a cluster: where it is, the one that is served, and which is due."""
