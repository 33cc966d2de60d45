"""Caches, pauses and rations that every room may use; nothing here knows of indexes."""
