"""
Public packages from other indexes, beside the private ones and never in their place.

Handlers ask `http/resolver.py` for a listing of a name: which files are shown, in which version,
where the project is from (`Origin`), and what opens its files and their core metadata. A private
project and a page of an upstream index both give a listing, and no handler of pages for programs,
of files or of PyPI's JSON asks which of the two it has. `rendering/listing.py` has the value,
`http/resolver.py` and `http/upstream_file_responses.py` open the files, and `wheelyard upstream
why` reads the same listing.

With an upstream index, the resolver first asks `IndexContext.upstream`, an `UpstreamReader`
(`http/upstream_reader.py`). Without an upstream index that is None, and no module of this package
is loaded. The reader asks an `UpstreamIndex` (`upstream/indexes.py`), which `wiring/upstream.py`
builds once for each index.

1. The caller's right to read the name is decided first, as for a private name. A pattern or a
   cached document with files shows without any I/O that a name is private. Then the listing is
   that of the project. For who may not read it, `hidden_pages.py` takes the place of all pages: it
   answers as for a name that no upstream index has, and asks no index.
2. Otherwise the store is asked whether the name is private, what was decided about it, and
   whether a fresh page is there.
3. If an upstream index has to be asked, the handler waits by `Request.wait`: all requests for the
   name share one of 128 threads, which nothing else uses, so private pages are as fast meanwhile.
   At most half of the threads wait for one index (`index_slots.py`). Further lookups wait without
   a thread. Then the handler is called again, and the store is asked again: the name may have been
   claimed. The same is done after a file or its core metadata was fetched.
4. The listing has the files that the policy shows. While the upstream is offline, it has only the
   files that the store has and the policy lets clients download. `UpstreamIndex.serve` gives the
   listing another version only if clients see something else.
5. In a folder, an identical request is answered by the fast path. Four system calls show that the
   list of names has not changed, that the name has no document, and that nothing was decided. A
   clock shows that the page is fresh and no file has matured.

Files go the same way (`http/upstream_file_responses.py`), and `http/responses.py` sends them as it
sends private ones. No shared cache may keep a page or a file of an upstream index, as either may
be blocked, and a name may become private, any time.

Chains: each index has a chain of upstream indexes, in the order in which its layers have them, and
`upstream/chain.py` finds the first that has a name. Chains share the pages, each of one upstream
index. The owner of a name follows from the order, so `upstream/owners.py` keeps the owner for each
chain of several upstream indexes: the only index of a chain owns every name. The chain of all
indexes (`upstream`) keeps its owners if an index is added or taken away. A chain of labels becomes
another chain then. A page that only a chain of labels has asked for says so (`is_unowned`): all
other pages are signs of an owner in the chain of all, as they were in earlier versions. For a name
in `merge` each upstream index is a chain of its own, and `upstream/merged_listing.py` makes one
listing of what all of them have.

Pages: `upstream/pages.py` finds the page of a project at one upstream index. The page is the same
object as long as nothing has changed, so what is made of a page can be kept beside it.

1. A page in memory is used for `page_ttl`. Then a thread looks into the store, as another process
   may have asked meanwhile, and asks the index that owns the name. In a server all who want the
   page wait for that thread (`http/upstream_reader.py`): one second if there is a page to serve
   instead, else to the end.
2. `upstream/page_lookup.py` knows whom to ask, and `upstream/upstream_client.py` sends the request.
   `settings.py` decides whether a URL may be asked, `http_client/hosts.py` whether an
   address may be connected to. Both are asked again for each redirect. `hosts.py` also knows which
   hosts are left alone for now. `http_client/client.py` sends the requests, also those of imports
   and for key sets.
3. `sources/simple_page.py` reads what the answer says, as for an import, and
   `upstream/parsing.py` makes a page of it. Both raise one error for an answer that cannot be used
   as a whole. Files that cannot be used are left out: files of another project, on other hosts, or
   with a malformed digest.
4. `upstream/page.py` compares it with the page before: digests that must not change, files that
   vanished, when a file was seen first.
5. The page is served, and then written to the store (`page_lookup.py`). It is written again only
   if it has changed, or hourly: so that another process knows how old the page is.

An index that refuses one page or file (403, 451) is told from an index that refuses everything by
one request for the URL that its host has answered last (`answering_hosts.py`). A refusal is an
error of every reader, and what was stored before is not served in its place.

If an index answers 404 for a project that it had, an empty page stays in its place, with the
digests of its files, and no other index of the chain gets the name until `wheelyard upstream
forget`. So a sweep never removes pages. As often as the owner, the indexes before the owner are
asked, too. If one of them has the name, the stored owner says so (`is_contested`), and no index is
asked any more: that holds on every instance, and wins against what another instance writes.

Files: A file that the store has goes the way of a private one: `storage/forwarding.py` makes what
is below `upstream/<id>/` a store of its own, so `catalog/files.py` and `http/file_delivery.py`
work there unchanged. `upstream/upstream_files.py` fetches a file that the store lacks:

1. The first request starts a `FileFetch` in a daemon thread. Other requests of this process join
   it. Each process fetches for itself. One index has at most half of the threads, and one client a
   quarter. If a fetch waits for a thread, a request of another client for the file starts it.
2. Each chunk is counted, hashed and written. `growing_file.py` wakes the readers, which read the
   spool file by one descriptor. A reader that waits for bytes occupies no thread (`when_ready`),
   so a slow upstream does not hold up other downloads. A client that leaves ends nothing.
3. The last 1,024 bytes of each body, and all of a small file, are sent after size and digest have
   agreed. Otherwise readers break off, the spool file is removed and emptied, and the next
   request fetches again. Whoever raises the error of a file raises a copy, as the traceback of a
   shared one would keep the file open until the garbage collector runs.
4. The verified file gets its key: in a folder by a link, to a bucket by an upload from the spool.
   A store that fails then changes nothing for the readers. If the spool has no room when a fetch
   begins, each reader gets the file from the upstream (`file_fetch.py`), and the file is not kept.
   That is also the way of files that the settings do not keep. If others fill the disk meanwhile,
   readers break off.

`growing_file.py` compares what came with all that the page states, and pins its digest before the
last bytes are sent: one object for each file, create-only, says which bytes came first
(`file_cache.py`). The document of the project, by compare-and-swap, lists the pins for its
page. A use is noted as an empty object at most once a day, so that the sweep
needs one listing and no reads. It sees only what is below `upstream/`, by a `PrefixedStore`.

Lock files and offline. `upstream/lock_files.py` reads lock files into the digests that are
approved. While the upstream is offline, `file_cache.py` takes from each page what the store lacks,
by one listing of the project's files, and the clients raise before a host is looked up. Exports
do the same.

Processes may fetch the same file at the same time. A lease in the bucket would need a write
before each fetch and a deletion after it. A process that found a lease would have to wait until the
file is fetched and uploaded as a whole, where it can have the first bytes at once. To read along in
a common spool took as much code as the fetch, and saved a request for files that few ask for in
the same second. Content is addressed by its digest, so the second upload changes nothing. Before
an instance uploads a file, it asks the bucket whether the file is there.
"""
