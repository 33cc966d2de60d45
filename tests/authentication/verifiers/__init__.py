"""Credentials of every kind, genuine and forged."""
