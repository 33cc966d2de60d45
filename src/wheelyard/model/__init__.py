"""Frozen values, and parsers that accept only valid ones. No I/O, no clock."""
