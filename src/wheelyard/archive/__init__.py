"""Reads a wheel or an sdist that may be hostile: its metadata, or what is wrong with it."""
