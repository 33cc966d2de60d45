"""
The operations of an index (upload, yank, delete, check, import, export), without HTTP.

`catalog/file_removal.py` is the only code that deletes files. An ordinary delete keeps the bytes
for a while (`lifecycle.py`). One that does not (`immediate_deletion.py`, or where everybody can
read the bucket) calls it right after its commit. The sweep (`operations/sweep.py`) calls it for
leftovers and for what was kept long enough: with `check --sweep`, and in each server once a day.

1. Before anything is deleted, the documents of all projects are read, in every index that the
   store has: main, and those below `indexes/`. One that cannot be read ends the sweep.
2. A project with objects that nobody lists is checked against its journal, as `check` does. If
   both disagree, or if the project is perhaps lost, its objects stay.
3. The documents of that project are read again. Each object is looked at right before it is
   deleted: it has to be a day old still. An upload always writes its bytes, so those of an upload
   that is under way are young. What is listed meanwhile is spared.

The lease of the sweep only saves work: two sweeps at once delete the same objects, and each looks
at them itself. It is a document with its holder, its end and the time of the last completion, taken
and renewed by compare-and-swap, and never deleted. A server that was stopped, and whose lease was
taken meanwhile, finds that out before its next project, and ends its sweep.

What is a day old, and what was kept long enough, is so by the store's clock
(`catalog/store_clock.py`). Where the clock of this machine is an hour or more off that, nothing is
swept, and nothing is deleted by rules.
"""
