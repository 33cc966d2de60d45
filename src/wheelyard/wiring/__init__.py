"""Composition: the objects of a process, built from its settings."""
