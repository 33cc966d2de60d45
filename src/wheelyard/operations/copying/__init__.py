"""
Copies of stores: projects, outdated lines of htpasswd files, and the credentials if asked for.

`operations/copying/store_copy.py` copies a store into another one while the source is written,
and without a lock:

1. Ask both feeds what has changed since the last copy, which has left the serials in
   `derived/copied.json` of the target. The changes of the source have to be copied. Those of
   the target are what somebody else has written there, or restored. Nothing is written into the
   source, so its changes may come without serials, each time. All projects are compared if a feed
   does not know the serial or is damaged, if the last copy was one of another place, and if
   `check` has found a problem in the target: then it deletes `derived/copied.json`.
2. Read the documents of these projects, in both stores. Where they are equal, that is all: no
   other read, and no list, unless all is compared, which lists the bytes of the target once. Of the
   others, as many as fit into some megabytes are kept for the next steps. The newest time of an
   event in the source is the moment of the copy. Whatever was answered before the copy began is in
   it. A commit belongs to it if no event of it or of an earlier commit of its project is later. As
   `at` is taken before the commit, a commit that belongs to the moment never follows one that does
   not, also in another project (with one clock, or equal ones).
3. Ask the feed once more, as a commit that belongs to the moment may have been made while the
   documents were read, and read those that have changed again. Compare the projects, as they were
   at the moment, with those of the target. Copy the bytes that it lacks, through the spool, where
   their digest is verified. If bytes are gone because their file was deleted, go back to 2: the
   deletion then belongs to the moment.
4. For each changed project add its commits (`Commits.add`), and then the new names to the list.
5. Write `derived/copied.json`, with the serial of step 1, and the projects that were left out:
   these are compared again each time. A copy that was interrupted has written none, so the next
   one compares the same projects, and finds what is there.

A project may get many commits at once, and then the document of its newest one cannot contain
them all. An intermediate document would list files that were deleted since, whose bytes nobody
has. So the mark before the document (the feed) has the other commits. Then come the document, by
compare-and-swap, and the journal. If the copy dies in between, whoever gives the serial writes
them into the journal before it deletes the mark. `check` does, too. The document says which
commit came before its own, so the commits of a copy that lost the compare-and-swap are never
taken for its journal. A project whose commits are not an earlier state of the source's is left
alone. Keeping one moment costs 45 lines of code: the second look at the feed, the walk to the
last commit of the moment, and the repetition after a deletion. Credentials
(`operations/copying/credential_copy.py`) are copied object by object, and the changes of grants,
and decisions, one by one, by `Commits.add`, too. What is remembered of upstream indexes
(`catalog/upstream_keys.py`) is joined with what the target knows (`credential_copy.py`).
"""
