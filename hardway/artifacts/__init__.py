"""The cluster's binaries and images: what there is, where it comes from, and the cache that keeps it."""
