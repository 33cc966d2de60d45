"""Delivers to webhooks what happens."""
