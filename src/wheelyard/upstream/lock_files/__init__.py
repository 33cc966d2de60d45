"""Readers of lock files: which files, by their digests, an installation needs."""
