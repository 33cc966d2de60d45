"""A static site of an index; ARCHITECTURE.md has the order that keeps it whole."""
