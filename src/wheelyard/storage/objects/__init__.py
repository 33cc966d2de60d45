"""
Stores in S3 buckets and Azure containers, on obstore.

Imported when one is opened. The ETag is the version.

- `connect.py`: finds endpoint and credentials of each platform; builds the stores
- `conditions.py`: the check whether the service keeps conditions, before a process's first write
- `store.py`: the single requests, by clients that differ in retries and time limits, and in the
  main thread so that Ctrl-C ends them at once
- `conditions.py`: what the text of an error says, as failures
- `connect.py`: reads a bucket of somebody else

No process that has used obstore may fork: in the child every call waits forever. So the manager
of several workers opens no store (`http/server.py`), and whatever else is a process is started by
`subprocess`.

`StoreTraits.is_local` is all that other packages know of the difference. On a local store every
request revalidates a document with one `stat`. On a bucket a document is cached for `freshness`
(1 s), requests that wait for it share one conditional read, conflicts are retried after longer
pauses, and `http/` makes every call in a thread.

A conditional write to S3 or Azure is never repeated by obstore. It would repeat one whose answer
was lost, and report the lost race against itself as a conflict. Our loop knows which try may have
been executed, and reads the object then.

Obstore's errors are read as text, and never referred to. It has no status and no code elsewhere,
and its text may hold a signature or a token. So an error becomes a kind, a status and a code, and
is forgotten.
"""
