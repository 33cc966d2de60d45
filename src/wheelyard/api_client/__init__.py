"""
Requests to the index of a server from another machine, with the credential of a person.

It is imported by commands alone.
"""
