"""Documents to bytes: the same for a live page and for an exported one. Pure functions."""
