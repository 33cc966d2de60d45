"""Validation of wheels and sdists that may be hostile, and extraction of their metadata."""
