"""
Tests of the keyring backend, with the clients that `tests/clients` has.

They are a package of this name, because one called `keyring` or `tests` is there already.
"""
