"""Real archives from the public registry, sent through a running server."""
