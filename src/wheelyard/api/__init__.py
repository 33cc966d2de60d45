"""
The operations on an index: what `/api/v1/`, the commands, their `--server` and the forms do.

`table.py` has them all. Each is a function that is given who calls and on which index.
"""
