"""Upgrades: stores of released versions, and two versions side by side."""
