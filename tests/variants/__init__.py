"""Wheel variants (PEP 825): uploads, pages, upstream indexes and clients."""
