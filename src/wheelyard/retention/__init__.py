"""
Retention: rules by which old releases are deleted.

The rules are in the document of the indexes (`model/retention_rules.py`), and a run has those of
when it began. `judgements.py` says which releases of a project go, and which stay, and why: a pure
function of the project's document, of the downloads and of the time. `runs.py` applies that to the
projects of all indexes. It reads the document of each project that a rule names, once, and no bytes
of files. `daily.py` does that once a day, in one of many servers.

All releases of a project that go are one commit. The commit decides again with the document that it
changes. So a release that was pinned, promoted or added to since the project was read is judged as
it is now. A promotion notes itself in the source before the target lists a file
(`operations/promotion.py`): either it is before the commit of the retention, which then keeps the
release, or after it, and then it fails, as the source has no such release.

A process that dies leaves some projects done. The next run does the others.

Whatever cannot be read deletes nothing: a project whose document is damaged is left alone, and so
is everything that a rule about downloads names if downloads were not counted for long enough.
"""
