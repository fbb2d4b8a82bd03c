"""Is Tallgrass-v1 hard enough, and fair? Trivial policies against its gates."""
