"""
Download counts: how often each private version was downloaded, and on which day.

Counting adds no call of the store to a download. `counter.py` counts in memory. It writes what it
has counted as one new object (a batch), at most once an hour, and when the process ends. So a
process that is killed loses at most an hour, and one that sends no files writes nothing.

`folding.py` adds the batches to one document for each month, once a day, in the sweep. A process
numbers its batches, and writes the next one only after the one before is certainly there. The
document of a month says up to which number it has the batches of each process. It is written by
compare-and-swap, and only then are the batches deleted. So whoever finds a batch that the document
has already ignores it: nothing is counted twice or lost, wherever a process dies.

`reading.py` adds up the months, the batches, and what this process has not written yet.

No count says who has downloaded: there is no principal and no address.
"""
