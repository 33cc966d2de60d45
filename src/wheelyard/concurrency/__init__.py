"""Concurrency and caching primitives for all packages, which know nothing of package indexes."""
