"""
Download counts: how often each private version was downloaded, and on which day.

Counting adds no call of the store to a download. `counter.py` counts in memory. It writes the new
counts as one new object (a batch), at most once an hour, and when the process ends. So a process
that is killed loses the counts of an hour at most, and one that sends no files writes nothing.

`folding.py` adds the batches to one document for each month, once a day, in the sweep. A process
numbers its batches, and writes a batch only after the one before is certainly in the store. The
document of a month says up to which number it has the batches of each process. It is written by
compare-and-swap, and the batches are deleted only after that. A batch that the document of a month
has already is ignored: so no download is counted twice or lost, wherever a process dies.

`reading.py` adds up the months, the batches, and the counts that this process has not written yet.

No count says who has downloaded: there is no principal and no address.
"""
