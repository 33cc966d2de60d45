"""Copies of stores: projects, and the credentials if asked for."""
