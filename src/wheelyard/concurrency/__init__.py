"""
Concurrency and caching primitives for all packages, which know nothing of package indexes.

Uploads to a folder compute one after the other (`concurrency/threads.py`). Two threads that
compute pass Python's lock on at each of some hundred system calls; Performance has what that
costs. A thread gives up its turn while it waits for the disk or for a group commit: a first
version held it all the time, and with syncs of 5 ms four clients got as much as one. Nobody waits
for a turn that is older than 50 ms, so a large wheel holds up no small one.
"""
