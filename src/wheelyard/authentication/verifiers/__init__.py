"""Verification of credentials: one module for each type. What a caller may do is decided above."""
