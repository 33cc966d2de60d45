"""
The search index: facts of all projects, made from their documents and core metadata.

`operations/search/` has a table of facts of all projects (`rendering/project_facts.py`): latest
version, summary, keywords, classifiers, time of the latest upload, names that the latest release
requires, and names that it is imported by. The home page, the search, the lists of names and "used
by" come from this table alone. Public projects are in the same table, and have the label of their
upstream index as `origin`.

1. A process begins with the table that another process has stored (`derived/search-6.msgpack.gz`),
   or with the names alone. A server reads the table in the background at its start, so that no
   page waits.
2. The table has the serial up to which it is right. A refresh asks `Changes.since` for the later
   changes, reads the documents whose revision is not the one in the table, with the core metadata
   of their latest release, and then sets the serial. It runs in a thread of its own, at most one
   at a time. The caller who begins a refresh waits for it, a second at most. All other callers get
   the table as it was before.
   The table also has the names that a refresh reads whatever the feed says (`unread`): names whose
   document is damaged, and unlisted names with a document. If the feed does not know the serial,
   the documents are listed, and all their names are unread. The serial for that is read before the
   listing. While the feed is damaged, this is done every ten minutes.
3. Commits of this process are noted by the listener of `catalog/commits.py`, and read before the
   next answer. They are ahead of the serial, so the next refresh reads these projects again: a
   restore of the store may have undone the commits. A refresh does not replace the facts of a
   project that this process has committed to meanwhile.
4. The table is stored after a refresh that has changed it, without compare-and-swap: the table of
   each server is right, so any of them may be the last.
5. After the private projects, a refresh asks `PublicProjects` for versions and facts of public
   projects. `wiring/` hands in `upstream/search_facts.py` for that, or nothing without
   `[upstream]`. It lists the stored pages, leaves out projects that settings and decisions exclude,
   and reads pages and core metadata from the store alone. The version of facts is made of the
   version of the page, a digest of the decisions about the project, and the day. A public project
   is left out if its name is in the list of names, or in the table as private or `unread`. So every
   name with a document that is not released is private, whatever the list says.

A caller sees a public project if one of their scopes covers its name, or if they have a credential
that may read anything, as in `ReadPolicy.require_lookup`. A page of results looks up a name that
the table lacks (`http/handlers/home.py`), as the page of that name does.

A search is for words, or for the import names of a line of Python (`search_query.py`). A search for
`acme.core.x` finds first the projects with that import name, and then those with `acme.core` and
`acme`, as the names below are theirs. A project with a namespace has some of the names in it.

A table is immutable and has a generation, under which pages are cached. All questions go through
`ProjectTable.readable_by`, so projects that a caller may not read are left out before anything is
counted, sorted or cut into pages. A cached page has the caller's scopes in its key. The manifest
of a site has the same facts, so that the pages of the site name only exported projects.

The search looks at each project. The folded texts of 100,000 projects are searched in 10 ms,
which is less than the request takes. An index of words would find no parts of words, and would
have to be kept for each caller or filtered afterwards.

The stored table of projects is one object. 100,000 projects are 10 MB, which is one request.
Several objects with parts of the table would be smaller writes, but would need rules for which of
them belong together.
"""
