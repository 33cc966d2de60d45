"""Verification of credentials: one module for each type; none of them knows what a caller may do."""
