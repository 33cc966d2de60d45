"""
The catalog: what the index knows of projects, files and credentials, as documents in a store.

- `keys.py`: the whole tree of objects
- `document_cache.py`: the stored form of documents, and a cache of them
- `commits.py`, `journaled_documents.py`: the commit protocol, and the documents that have a journal
- `changes.py`: the feed of the changes of all projects
- `serials.py`: the newest serial of each project, for mirrors
- `projects.py`, `private_names.py`: projects, the list of their names, and which names are
  private
- `files.py`, `file_removal.py`: the bytes of distributions and their sidecars, and their deletion
- `upstream_keys.py`: the objects of upstream indexes that cannot be fetched again
- `stored_tokens.py`, `used_id_tokens.py`, `session_records.py`: API tokens, used ID tokens, and
  sessions
- `format.py`, `opening.py`: the format of a store, and how all parts of its catalog are built

**Private names.** The list of projects is the registry of private names. A name is private if a
pattern of the settings matches it, if it is in the list, or if it has a document
(`private_names.py`). Only a yes may come from a cache. For a no, list and document are read anew,
so a claim of another process counts at once. An error is never a no.

1. `operations/names.py` asks the upstream indexes about the name of an upload as soon as its
   filename is known, and again right before step 2. An import asks in 16 threads before it reads a
   file, and once for a free name. A remembered 404 never counts. A 404 of a server counts only if
   the server is proven to be an index (`upstream/page_lookup.py`): by a stored page with files, or
   by its root (`upstream/parsing.py`).
2. The name is added to the list: the claim. Only then come the bytes and the commit. Claims of an
   import that come at the same moment share a write.
3. A process that dies after the claim leaves a listed name without document and journal. This is a
   project without files, and the same upload again completes it.

A name is reserved by a commit without files (`operations/names.py`). A release first removes the
name from the list, and then commits the release to the document. This last write makes the name
unknown. It is refused if there are files, and then the name is listed again. An upload that began
before the release is refused, too. So only one of both succeeds, and a published file is never
unlisted. `tests/operations/test_names_exploration.py` runs both in every order.

**Commits.** `commits.py` has the steps. Changes of one document in one process share a commit
(`concurrency/threads.py`). Writers in other processes meet in the compare-and-swap: the loser
reads the document again and decides again, which is why an intent is a pure function of the
document. A compare-and-swap whose answer was lost is found by the commit's random id: in the
document or, if others have committed since, in the journal. Each kind of document with a journal
is a `JournalKind`. A commit of the grants or decisions has its first event in a field of its own,
and the other events of the same write in `more`. The list of names has no journal.

**Crashes.** Where a process dies, what is left, and what repairs it:

- after the mark, before the document: a mark without a commit. The daily sweep deletes it when it
  is a day old
- before the document: bytes that no document lists. The same upload writes them anew. The sweep
  deletes them after a day
- after the document: the journal lacks its last entry. The next commit or `check` writes it
- after the journal: the list of names lacks a new project. The next commit, the same upload or
  `check` adds it
- after a claim, before the document: a listed name without a project. The same upload again adds
  the project, or `wheelyard names release` removes the name
- in a release, before the document: an unlisted project without files, which is private. The same
  release again or `check` completes it
- in a delete that removes bytes, after the document: bytes of a deleted file. The same delete
  again or the sweep deletes them
- in a promotion, after the document of its source: a note without a listing. The same promotion
  again completes it
- in a copy, before the document: bytes, or a mark with commits. The next copy uses them, or the
  sweep deletes them
- in a copy, after the document: the journal lacks commits that the mark has. The process that
  gives the serial (a server, the next copy) or `check` writes them

**Newer versions.** An event is `{what, at, by, files, reason, data}`. An event of an unknown kind
is kept and changes nothing here, unless it has `needs`: then the document has the kind and the
needed version in its own `needs`, and `journaled_documents.py` refuses to read it, with 503 for all
of the project (never 404: an installer would ask the next index). Fields that this version does not
know are kept in `other_fields` (`model/decoding.py`) and written last. A decoder that forbids
unknown fields is tried first, so a document without such fields costs nothing. A commit's bytes are
kept as they were read, since their digest is the hash chain. `check` does not compare or rebuild a
project with parts that this version does not know. Within a format, `wheelyard.json` names the
lowest version that may read and the lowest that may write. `model/project_json.py` is the form of a
project for programs, which does not follow the stored form.

**The feed.** `changes.py` gives each commit a serial, in one order over all projects, after the
commit. So no commit writes or awaits an object that commits of other projects write.

1. Before the compare-and-swap of a document the writer puts a mark, the object
   `pending/PROJECT.NUMBER.ID`: commit NUMBER may exist. The random ID makes each mark an object
   of one writer. So two servers that publish the same project need not wait a second between two
   writes of one object, and nobody deletes an old mark that somebody has just renewed.
2. `since` lists the marks, then reads `changes.json`, then the revisions of the marked projects,
   in this order. A mark that is missing from the listing was deleted after its commit had got a
   serial, so `changes.json` has that commit. A revision that is read later than `changes.json` is
   not older than the revision there, if the compare-and-swap succeeds.
3. One compare-and-swap of `changes.json` adds an entry for each project that has changed, 500 at
   most. A loser begins again with step 2. A lost answer needs no rule of its own: the next
   attempt finds the entries there, or adds them.
4. The marks of commits up to those revisions are deleted. A mark that is put once more afterwards
   changes nothing.

While nothing can be written, `since` returns the changes of marked projects without a serial, each
time until a process gives them one. Changes of a project whose document is damaged come without a
serial as well, with the revision 0. Servers give serials when they refresh a search or list all
projects as JSON, and in the daily sweep. A command that has committed gives them at its end. So
`since` returns each commit that was made before it was called, and a client that has seen a serial
never finds a change at or below it. If nothing is new, `since` costs one listing and one
conditional read.

A process that is asked for serials of projects reads the whole feed once, and later only new
entries (`serials.py`). A mirror takes the projects above the highest serial that it has seen, so
its list has to be complete up to the highest serial in it. Therefore a table is replaced as one,
and only after each project with files is in the list of names. A new project that is not listed
yet, as its writer is slow or dead, is added there. And a page that has a serial has to show that
change. So the page of a project reads `changes.json` as it is now, and the document again if the
cached one is older, or missing.

From 1,000 entries on, the next write first seals the oldest 500 in `changes/SERIAL.json`, SERIAL
being the last of them. The bytes follow from `changes.json`, so all processes that seal write the
same.

A serial is at least the seconds since 2020. So a restored store, a copy, and a feed that was made
again do not give a serial that a client has seen to another change, unless there was more than one
change a second. And `since` refuses a serial that it never gave. As long as each project has a
mark, the store is new, and need not have a `changes.json`. Otherwise a missing `changes.json` is
lost, and `check --rebuild` begins the feed again, with an entry for each project. The order among
projects and all old serials are lost then, so every follower looks at all projects once more.
`check` also marks a project whose last commit has neither serial nor mark.

A mark without a commit is deleted when it is a day old (`Changes.remove_stale`), and a writer
gives up a commit if putting its mark took half a day. A project whose document is damaged keeps
its mark, and gets its serial when it is repaired. `tests/catalog/test_changes_exploration.py`
runs writers, followers and a check in every order, with crashes, lost answers, and writes that
happen long after their answer was lost.

**Costs.** A writer reads the journal entry of the commit before its own, and writes it if it is
missing. It is nearly never missing, and on a bucket a read costs a twelfth of a write. The entry of
the writer's own commit is written without a read.

Core metadata of sdists is stored but not served as `.metadata`. The web pages and PyPI's JSON
need it for a release without a wheel.
"""
