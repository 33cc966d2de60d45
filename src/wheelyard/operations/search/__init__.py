"""
The search index: facts of all projects, made from their documents and core metadata.

`operations/search/` has a table of facts of all projects (`rendering/project_facts.py`): latest
version, summary, keywords, classifiers, time of the latest upload, names that the latest release
requires, and names that it is imported by. The home page, the search, the lists of names and "used
by" come from it, and nothing else. Public projects are in the same table, and have the label of
their upstream index as `origin`.

1. A process begins with the table that another one has stored (`derived/search-6.msgpack.gz`), or
   with the names alone. A server reads it in the background at its start, so that no page waits.
2. The table has the serial up to which it is right. A refresh asks `Changes.since` for what
   follows, reads the documents whose revision is not the one in the table, with the core metadata
   of their latest release, and then sets the serial. It runs in a thread of its own, at most one
   at a time. Who begins it waits a second for it, all others get the table before it. The table
   also has the names to read whatever the feed says (`unread`): those whose document is damaged,
   or which have one and are not listed, and all if the feed does not know the serial, after one
   listing of the documents. The serial for that is taken before. While the feed is damaged, this
   is done every ten minutes.
3. Commits of this process are noted by the listener of `catalog/commits.py`, and read before the
   next answer. They are ahead of the serial, so the next refresh reads them again: a restore may
   have undone them. A refresh leaves a project alone that was committed to meanwhile.
4. The table is stored after a refresh that has changed it, without compare-and-swap: each
   server's table is right, so any may be the last.
5. After the private projects, a refresh asks `PublicProjects` for versions and facts of public
   ones. `upstream/search_facts.py` is the one that `wiring/` hands in, and without `[upstream]`
   there is none. It lists the stored pages, leaves out what settings and decisions exclude, and
   reads pages and core metadata from the store alone. The version of facts has that of the page,
   a digest of the decisions about it, and the day. A name is left out if it is in the list of
   names, or in the table as private or `unread`: so is each name that has a document which does
   not say that it is released, whatever the list says.

A caller sees a public project if a scope of theirs covers its name, or if they have a credential
that may read anything, as in `ReadPolicy.require_lookup`. A page of results looks up a name that
the table lacks (`http/handlers/home.py`), as the name's own page does.

A search is for words, or for what a line of Python imports (`search_query.py`). Whoever searches
for `acme.core.x` finds first what has that import name, then `acme.core` and `acme`, as nobody else
has a name below these. A namespace says only that a project has something in it.

A table is immutable and has a generation, which pages are cached under. It can only be asked
through `ProjectTable.readable_by`, so what a caller may not read is left out before anything is
counted, sorted or cut into pages. A cached page has the caller's scopes in its key. The manifest
of a site has the same facts, so that its pages name only what was exported.

The search looks at each project. The folded texts of 100,000 projects are searched in 10 ms,
which is less than the request takes. An index of words would find no parts of words, and would
have to be kept for each caller or filtered afterwards.

The stored table of projects is one object. 100,000 projects are 10 MB, which is one request.
Objects for parts of it would be written less at a time, and need rules for which of them belong
together.
"""
