"""
The operations of an index (upload, yank, delete, check, import, export), without HTTP.

`catalog/files.py` is the only code that deletes files: `delete` calls it right after its commit,
and so does the sweep (`operations/sweep.py`), which `check --sweep` runs, and each server once a
day (`operations/sweep.py`).

1. Before anything is deleted, the documents of all projects are read, in every index that the
   store has: without a name, and below `indexes/`. One that cannot be read ends the sweep.
2. A project with objects that nobody lists is checked against its journal, as `check` does. If
   both disagree, or if the project is perhaps lost, its objects stay.
3. The documents of that project are read again. Each object is looked at right before it is
   deleted: it has to be a day old still. An upload always writes its bytes, so those of an upload
   that is under way are young; what is listed meanwhile is spared.

The lease (`operations/sweep.py`) only saves work: two sweeps at once delete the same objects, and
each looks at them itself. It is an object with holder, end and the time of the last completion,
taken and renewed by compare-and-swap. A server that was stopped, and whose lease was taken
meanwhile, finds that out before its next project, and ends its sweep. What is a day old is so by
the store's clock: the time that the lease got when it was written.
"""
