"""
Stores of named objects (folder, memory, bucket), which know nothing of packages.

`catalog/keys.py` is the only module that composes keys, and it shows the whole tree.
`storage/base.py` is the contract of a store: `get` and `put` (by compare-and-swap) for documents,
`put_file` and `read` for bytes whose digest is in their key, `delete` (never conditional), `list`
(without versions) and `sign`. `tests/storage/conformance.py` tests it for each implementation.
The catalog gets three stores (`Stores`): documents, credentials, files. Each may be a location of
its own.

Versions are opaque. Equal bytes may share one, because the ETag of S3 is a digest: a document
that has to be told from an older one with the same content carries a random id. After a
`Conflict` the write has certainly not happened. After `Unavailable` nobody knows, and the caller
reads the document. So an adapter that has sent a write twice reads the object after a conflict:
its own bytes mean success.

Local store. An object is a file. A write goes to `.spool/`, is synced, and gets its name in one
step: `link` for a key that must be new, else `rename` under a lock (`flock` on one of 256 lock
files). Then the folder is synced. New objects that can be fetched again (`keys.REFETCHABLE`) are
not synced: each reader of one compares its size, its digest or its checksum. The group of the
folder may read it, but for `credentials/`, the spool and the locks. The version of an object is
its modification time in nanoseconds, its inode and its size. No symbolic link below the root is
followed: on Linux the path of each open file is checked (`storage/filesystem.py`). A download
checks the path, and Granian opens it afterwards. Whoever can write to the store can place a link
in that moment. A folder is made when it is opened for writing. A command that only reads fails if
it is missing. Deletions have a reserve of its disk (`reserve.py`): what may use it is called by
`Store.with_reserve`, again if it has failed for want of room.

Buckets. What all services need is there once. Only the packages of the services import their
libraries, when such a store is opened:

- `location.py`: parses `gs://`, `s3://` and `az://`
- `bucket_store.py`: the verbs, made of single requests. It repeats them, finds out what became of a
  write whose answer was lost, and fails at once while the service does not answer. It has the
  public and signed URLs, too, of which a client gets the same one for a while
- `failures.py`: what a failed request says, and the sentences for operators
- `bucket_reader.py`: lists and reads a bucket of somebody else
- `buckets.py`: opens the stores of a location, and such readers, with the library of its service
- `gcs/`, `objects/`: what each service adds, the single requests

Versions of a local store are modification times, not digests. Each writer gives its file a later
time than the one it replaces, by a microsecond if necessary (the time in a listing is a float),
and inode and size are part of the version. So a version never repeats, one `stat` is exact, a
listing needs no hashing.

A 429 from the bucket is a conflict for a compare-and-swap, and a pause for anything else. After a
compare-and-swap the document has to be read again anyway, because another writer has just written
it. A create only has to wait.

No store deletes conditionally. On S3 equal bytes have equal versions, so a condition could not
tell that an upload has just written the same bytes again. Between the last look at an object and
its deletion there is no other call. An upload of the very bytes that a dead one has left a day
before would have to be committed in that moment to be lost. `check` would name the file, and the
same upload would repair it.
"""
