"""
A keyring backend that answers for the hosts on a list, and for no other.

pip asks its keyring for whatever host answers 401, and sends there what it is given. So nothing in
this package makes a credential before `hosts.py` has said that the host is on the person's list.

`backend.py` and `main.py` are the two doors: keyring's, and the command line's. Both ask
`answers.py`, which asks `sources.py`. `settings.py` alone reads the environment. Every tool that
uses keyring imports `backend.py`, so that imports nothing of ours before it is asked something.
"""
