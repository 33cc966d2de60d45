"""
The web server, an ASGI application.

A request passes these layers (`http/index_app.py`), in this order:

- the fast path
- the record for log and metrics
- Starlette's `ExceptionMiddleware`, which asks `answer_to_error`
- the checks of URL, headers and path
- Starlette's router
- the `Endpoint` of a route

The `Dispatcher` behind the endpoint makes the other checks in one order (cross-site, read-only,
caller, any right to read), so that no error tells what exists.

Handlers and the tables of their routes are made once for a process: one table of main, with the
routes about the whole server, one of other indexes, one of days. An `IndexRequest` says which index
it is for: its `context` has the parts of that index, and its `context.process` what all share.

Handlers block. A handler is a function of a request, and runs in a thread of a pool: 8 for
reads in a folder, 32 on a bucket, and as many as `[http] concurrent_uploads` for changes. What a
handler has to wait for on the network is a coroutine, which it gives to `Request.wait`. That raises
`Waiting`, the thread is free, and the dispatcher calls the handler again once the result is
there. So a handler changes nothing before it waits, and what it has checked before the wait is
checked again afterwards: whether a name is private, what the policy says. Handlers wait in this way
for bodies of requests, for the check of a password, and for answers of upstream indexes. Only
uploads and the minting of tokens are coroutines. `/health` needs no thread.

The fast path repeats the answer to an identical request: the same path, query and deciding
headers, by the same caller, whose credential was verified within the last second. An answer of a
cached page carries what it was made from, as `((key, version), ...)`, and perhaps a deadline.
`page_cache.py` says which version a key has now: in a folder by one `stat` of a document,
on a bucket from memory. So the fast path has no rules of its own and knows no index. It does not
wait for anything. All requests that the event loop takes up in one turn share that `stat`.

The first page of a project, from a bucket, with a token that this process has not seen lately:

1. `http/request_authentication.py` parses the credential and reads the token's record,
   in the thread of the handler: the first request to the bucket.
2. `http/handlers/packages.py` asks `http/resolver.py` for the listing, which reads the document:
   the second request. A lock for each key of `catalog/document_cache.py` lets all who want a
   document share one read of it.
3. The handler renders the page from the listing and puts it into the page cache. Requests for the
   same page wait for its lock.

A page for people is made by `rendering/web/` from the project's document, the core metadata, what
the caller may see of other projects, and the `Viewer`: the caller's name and rights. All of that is
in the key and the version of the page in the page cache, so a page that was made for one caller is
sent only to callers for whom it has the same bytes. What the page says of other projects comes
from the search table. The answer is made from the document and that table. The page of a public
project is made in the same way from its listing, and `rendering/web/release_page.py` adds to it.
Its core metadata may have to be fetched: after that the name is looked up once more, and a page
that lacks its core metadata is not cached. Pages that anybody may look at have no forms: an
exported site has the same bytes as the pages of an anonymous caller.

The list of names is read only where that can save a request: for a name that was not in the list
when it was last read. All requests for unknown names wait for one read of the list.

Starlette routes, and one function reads paths. Runs of `/` collapse, each segment is decoded
once, and what proxies read differently is refused (`http/requests.py: decode_path`), before
Starlette's router sees the path. A router of our own saved 12 microseconds a page.

Handlers block, and are called again. An event loop that does all that might not block needs each
look-up in four forms: fresh, stale, cached, awaited. A thread for each waiting request would let
an upstream that hangs take all threads. Calling a handler again after the wait costs its checks
twice, which a claim in the meantime demands in any case.

Errors become pages at the end, from their JSON. A handler need not know who asks, so no path can
be forgotten, and none sends a page to an installer. Old pips ask for `text/html` alone, so `pip/`
in User-Agent gets JSON, too.

A first page takes two threads, one after the other: one reads the token, one the document. One
thread could do both for all requests with the same header and path. But an installer sends fifty
requests with one token at once. They share the read of the token. Otherwise they would be fifty
requests to the bucket, and a wrong token would count fifty times. Handing work to a thread takes
microseconds, a request to a bucket 30 milliseconds. Reading the document meanwhile, for every
header, would let anybody who guesses tokens cause reads, so that is done only for a header that
was right the last time.

One process runs Granian inside itself. Several run under its process manager. The usual case
needs half the memory and starts in two thirds of the time.

Granian is used by its public interface only. A single worker is its embedded server, in one
process. Several are forked by its manager. An own scheduler for Granian's workers saved two of
four changes of threads of a remembered page, and needed arguments of a private constructor that
change with each version.

Two things end a connection that gets nowhere. Granian closes it once a request is over whose body
was not read to its end, and once nothing refers to what it has handed over (`RequestBody`). It does
not notice a client that takes nothing, so that is left to the kernel (`stalled_connections.py`).

A server process sets two parameters of glibc's allocator (`http/server_process.py`). After
every page of 52,000 files, in JSON and HTML, it has 73 to 76 MB instead of 94 to 96: the first
page of 2,000 files makes glibc keep large freed blocks, and each thread has a heap with gaps of
its own. Both cannot be set by a variable once the process runs.

The first worker does what one process does for all. It holds a lock on a file of the run's
folder: it makes the store, prints the start message, probes writes, sweeps and watches. The
others wait until the store is open, and then for the lock, so that one of them goes on when it
has died. A probe that has succeeded is not repeated. If the store cannot be opened, the manager
ends with that message.

The workers read a copy of the certificate. Granian resolves symbolic links once, at the start,
and reads the files whenever it starts a worker, also while they are being replaced. So a good
pair is copied to the run's folder, at the start and at SIGHUP.

We handle the signals to several workers. Granian's manager does not know a second Ctrl-C. Its
workers lose a signal while they start, and hang at the second one, and a terminal or systemd may
send one to the whole group. So Ctrl-C reaches no worker, and a thread that waits for SIGTERM
passes it on once. What Granian reports of workers that end is dropped if the server is stopping.
"""
