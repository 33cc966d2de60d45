"""
The catalog: projects, distributions and credentials in a store.

The list of projects is the registry of private names. `catalog/private_names.py` says whether a
name is private: a pattern of the settings matches it, it is in the list, or it has a document. Only
a yes may come from a cache. For a no, list and document are read anew, so a claim of another
process counts at once, and so does a file of a process that knows no upstream index. An error is
never a no. May raise Unavailable.

1. `operations/names.py` asks the upstream about the name of an upload as soon as its filename is
   known, and again right before step 2. An import asks in 16 threads, before it reads a file, and
   once for a name that is free. A remembered 404 never counts, and that of an index counts only
   if the index is proven to be one (`upstream/page_requests.py`): by a stored page with files, or
   by its root (`upstream/parsing.py`).
2. The name goes into the list: the claim. Only then come the bytes and the commit. Those of an
   import that are claimed at the same moment share a write.
3. A process that dies after the claim leaves a listed name without document and journal. It is a
   project without files, and the same upload again goes on.

`operations/names.py` reserves a name by a commit without files. A release first removes the name
from the list, and then writes a commit that says so: this last write makes the name unknown. It
is refused if there are files, and then the name is listed again; an upload that began before it
is refused, too. So one of both wins, and a published file is never unlisted. The reason of a
status says what such a commit means, so that older versions can read it.
`tests/operations/test_names_exploration.py` plays all of that in every order.

The document of revision n contains commit n completely. Whoever commits n+1 first makes sure that
the journal has entry n. So the journal is dense, ordered and hash-chained, and replaying it gives
the document, field for field. A compare-and-swap whose answer was lost is found by the commit's
random id: in the document or, if others have committed since, in the journal.

Changes of one document in one process share a commit (`concurrency/threads.py`): the first
caller leads, later ones wait for the next commit, or join this one if it has to be retried.
Writers in other processes meet in the compare-and-swap: the loser reads the document again and
decides again, which is why an intent is a pure function of the document.

`catalog/commits.py` does that for every document with a journal: those of projects, the grants
and groups, the decisions. What they differ in is a `JournalKind` (`catalog/commits.py`,
`catalog/journals.py`). A commit of the grants or decisions has its first event in a field of its
own, and those that shared its write in `more`. The list of names has no journal, so it has no
part in this. `Journal`, in the same module as the kinds, reads the commits; an entry that is
missing or damaged is lost, which each reader shows or reports.

Newer versions. An event is `{what, at, by, files, reason, data}`. One of an unknown kind is kept
and changes nothing here, unless it has `needs`: then the document has the kind and that version
in its own `needs`, and `catalog/journals.py` refuses to read it, with 503 for all of the
project (never 404: an installer would ask the next index). Fields that this version does not know
are kept in `other_fields` (`model/decoding.py`) and written last; a decoder that forbids unknown
fields is tried first, so a document without any costs nothing. A commit's bytes are kept as they
were read, since their digest is the hash chain. `check` compares and rebuilds no project of which
it does not know all: also a field in the data of a known event, as a newer version may have
folded it. Within a format `wheelyard.json` names the lowest version that may read and the lowest
that may write. `model/project_json.py` is what programs see of a project: it does not follow the
stored form.

- after the mark, before the document: a mark whose commit does not exist; the daily sweep, when
  it is a day old
- before the document: bytes that no document lists; the same upload again writes them anew; the
  sweep deletes them after a day
- after the document: the journal lacks its last entry; the next commit, or `check`
- after the journal: the list of names lacks a new project; the next commit or the same upload
  again, or `check`
- after a claim, before the document: a listed name without a project; the same upload again, or
  `wheelyard names release`
- in a release, before the document: an unlisted project without files, which is private; the same
  release again, or `check`
- in a delete, after the document: bytes of a deleted file; the sweep
- in a copy, before the document: bytes, or a mark with commits; the next copy; the sweep
- in a copy, after the document: the journal lacks commits that the mark has; whoever gives the
  serial (a server, the next copy), or `check`

`catalog/changes.py` gives each commit a serial, in one order over all projects, and
`Changes.since(serial)` returns the changes after one: serial, project, revision. No commit writes
or awaits an object that commits of other projects write, so serials come after the commit.

1. Before the compare-and-swap of a document the writer puts a mark, the object
   `pending/PROJECT.NUMBER.ID`: commit NUMBER may exist. It is empty, unless several commits are
   added at once (copy). The random ID makes each mark an object of one writer: two servers that
   publish the same project need not wait for a second between two writes of it, and no old mark
   is deleted that somebody has just renewed.
2. `since` lists the marks, then reads `changes.json`, then the revisions of the marked projects,
   in this order. A mark that is missing from the listing was deleted after its commit had got a
   serial, so `changes.json` has it. A revision that is read later than `changes.json` is not
   older than what is said there, if the compare-and-swap succeeds.
3. One compare-and-swap of `changes.json` adds an entry for each project that has changed, 500 at
   most. Who loses begins again with step 2. A lost answer needs no rule of its own: the next
   attempt finds the entries there, or adds them.
4. The marks of commits up to those revisions are deleted. A mark that is put once more afterwards
   changes nothing.

Where nothing can be written, the changes of marked projects come without a serial, each time
until somebody gives them one; and so do those of a project whose document is damaged, with the
revision 0. Servers give serials when they refresh a search, and in the daily sweep; a command
that has committed does it at its end. So each commit that was made before `since` was called is
among what it returns, and who has seen a serial never finds a change at or below it. Nothing new
costs one listing and one conditional read. From 1,000 entries on, the next write first seals the
oldest 500 in `changes/SERIAL.json`, SERIAL being the last of them. The bytes follow from
`changes.json`, so all who seal write the same. Each sealed object and `changes.json` have the
serial before their first entry, so a lost one is noticed. Who asks for a limited number of
changes (`/api/v1/changes`) has no more of them read.

A serial is at least the seconds since 2020. So a store that was restored, a copy, and a feed that
was made again do not give a serial to another change than the one that somebody has seen, unless
there was more than a change a second; and `since` refuses a serial that it never gave. A missing
`changes.json` is right as long as each project has a mark: then the store is new. Otherwise it is
lost, as a damaged one is, and `check --rebuild` begins the feed again with an entry for each
project. Which commits there were is in the journals; the order among projects and all old serials
are lost, so whoever follows looks at all projects once more. `check` also marks a project whose
last commit has neither serial nor mark.

A mark without a commit, of a writer that has died, is deleted when it is a day old
(`Changes.remove_stale`), and a writer gives up a commit if putting its mark took half a day. A
project whose document is damaged keeps its mark, and gets its serial when it is repaired.
`tests/catalog/test_changes_exploration.py` plays writers, followers and a check in every order,
with crashes, lost answers, and writes that happen long after their answer was lost.

The last journal entry is read before it is written. A writer makes sure that the entry of the
commit before its own exists. It nearly always does, and on a bucket a read costs a twelfth of a
write. A writer's own entry is written at once.

Core metadata of sdists is stored but not served as `.metadata`. The web pages and PyPI's JSON
need it for a release without a wheel.
"""
