"""Caches between requests: rendered pages, documents, the fast path; caching headers."""
