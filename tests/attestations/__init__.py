"""Attestations of uploads (PEP 740): verified, kept, and served."""
