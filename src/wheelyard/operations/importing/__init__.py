"""
What another index has, taken into this one; nothing there is changed or moved.

A source is read once, and never held in memory. Files are read and checked in parallel; those of
one project share commits. What is listed already is found out as cheaply as the source allows, so
an import that was interrupted goes on when it is run again. Nothing stops it but the store.
"""
