"""
A static site of an index: the pages that the server would answer with, as files.

Nothing is locked, so what keeps a site whole is an order: see "The way of an export" in
ARCHITECTURE.md.
"""
