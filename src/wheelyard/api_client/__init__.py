"""
The client of `/api/v1/`: what a person can do with the index of a server from another machine.

It is imported only by a command with `--server`.
"""
