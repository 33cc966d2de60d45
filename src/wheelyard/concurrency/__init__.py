"""
Concurrency and caching primitives for all packages, which know nothing of package indexes.

- `runtime.py`: the clocks, pauses and randomness that are handed down, and retries
- `caches.py`: caches in memory
- `threads.py`: background threads, turns, parallel maps, and group commits
- `timers.py`: work that is done later

Uploads to a folder compute one after the other (`Turns`). Two threads that compute at the same time
pass Python's lock on at each of some hundred system calls, which costs more than waiting. A thread
gives up its turn while it waits for the disk or for a group commit: a first version kept it, and
with syncs of 5 ms four clients got as much as one. Nobody waits for a turn that is older than
50 ms, so a large wheel does not hold up a small one.
"""
