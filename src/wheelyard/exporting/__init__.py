"""
Export of an index as a static site: every page is asked of the application itself.

`exporting/` makes a static site by asking the application. So no page is made in two places.
`exporting/application.py` builds that application, and hands it each request without a log, a
metric or a credential: an open index over the same store, for somebody who is not signed in, with
the upstream offline, nothing cached but documents, and a table of projects that only the export
changes. A site is a folder (`site_folder.py`: no versions that are stored, no syncs) or a bucket,
and web servers read it meanwhile. In a bucket of Google each page of a folder is written twice
(`SitePlace.is_in_google`), and files are copied from bucket to bucket.

1. The feed says which projects have changed since the serial in the manifest. `site_projects.py`
   reads these projects, and compares the facts in the manifest with the pages of public packages
   of which a file is kept. The result is the table of the search index, as the site will have it.
   If nothing has changed, nothing is written. A project that cannot be exported has no `document`
   in the manifest, so that the next export reads it again.
2. Take the lease: a field of the manifest with its holder and its end, written over the manifest
   that was compared. It is renewed before a write when it is ten seconds old. Another export
   waits until the lease is given back, or has ended.
3. Ask for all pages of a project if its facts have changed, if a project that requires it has
   come, gone or got another status, or if a project has come or gone to which one of its releases
   links. First its missing files are copied (`project_export.py`).
4. Ask for home page, lists, feed and search index after any change.
5. Delete pages and files that no page links to any more, and what exports have made of indexes
   that a command has removed (`index_folders.py`). Write the manifest without a lease.

A page is written only if its bytes differ from those in the site, and replaced whole. Documents
are read once for a project and then stay as they were (`CachePolicy`), so all of its pages are of
one state. A file that is deleted meanwhile makes the export read the document again.

These make a full export, which asks for every page: other options or other code
(`page_generator`), a manifest that is damaged or of another format, a serial that the feed does
not know, and a lease that was not given back, as its export was killed. An export that was
suspended, and finds its lease taken by another one, begins again with all pages. So if it has
written a page too late, it corrects that page itself.

An export asks the application, and compares bytes. An exporter that made pages itself, and knew
what each page was made from, was three times the code, and tests had to compare the pages of both
byte for byte. To read a page of a bucket costs a twelfth of writing it, and most pages that differ
have another size already.

One export writes a site at a time. Exports without a lock needed versions of all pages, records
for each project, and rounds until all links were right. An export is repeated anyway, so one may
wait for another. One process makes the pages, as an export of everything is rare.
"""
