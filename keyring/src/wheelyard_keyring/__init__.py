"""
A keyring backend that has credentials for the hosts of an allow list only.

pip asks its keyring about every host that answers 401, and sends the credential to that host. So no
module of this package obtains a credential before `hosts.py` has found the host on the user's list.

There are two entry points: `backend.py` for keyring, and `main.py` for the command line. Both use
`credential_cache.py`, which uses `token_sources.py`. Only `settings.py` reads the environment.
Every tool with keyring imports `backend.py`, which therefore imports the rest at the first request.
"""
