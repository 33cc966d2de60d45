"""
What another index has, taken into this one; nothing there is changed or moved.

A source is read once, from its beginning to its end, and never held in memory. Files are read and
checked in parallel; those of one project share commits, and new names enter the list of projects
many at a time. What is listed already is found out as cheaply as the source allows, so an import
that was interrupted goes on where it was when it is run again. Nothing stops it but the store.
"""
