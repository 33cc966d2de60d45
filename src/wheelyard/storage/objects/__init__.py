"""
Stores in S3 buckets and Azure containers, on obstore.

The package is imported when such a store is opened. The ETag is the version.

- `connect.py`: finds endpoint and credentials of each platform, builds the stores, and reads a
  bucket of somebody else
- `conditions.py`: the check whether the service keeps conditions, before a process's first write
- `obstore_errors.py`: what the text of an error says, as failures
- `store.py`: the single requests, by clients that differ in retries and time limits. None of them
  waits in the main thread, so that Ctrl-C ends a command at once

No process that has used obstore may fork: in the child every call waits forever. So the manager
of several workers opens no store (`http/web_server.py`), and every other process is started by
`subprocess`.

A conditional write to S3 or Azure is never repeated by obstore. It would repeat one whose answer
was lost, and report the lost race against itself as a conflict. Our loop knows which try may have
been executed, and reads the object then.

Obstore's errors are read as text, and never referred to. It has no status and no code elsewhere,
and its text may hold a signature or a token. So an error becomes a kind, a status and a code, and
is forgotten.
"""
