"""Frozen values, parsed at the door: what is inside is already valid. No I/O, no clock."""
