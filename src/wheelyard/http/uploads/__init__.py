"""
The upload request: its handler, and the parser and the checks of its form.

1. `http/routing.py` finds the route (`http/routes.py` has them all) and the caller. The handler
   of uploads is a coroutine, as it streams a body.
2. `http/uploads/handler.py` refuses what can be refused without the body, waits for a slot
   (`http/context.py` gives one caller at most half of the slots), and passes the body to the form
   parser in a thread, chunk by chunk. As soon as the filename is known, `operations/upload.py`
   checks that the caller may upload it. The bytes go to the spool; they are counted and hashed
   while they are written (`operations/spooled_upload.py`, which imports and the command line use,
   too).
3. The last bytes of the body are parsed in the thread that does all that follows. The form parser
   compares the digests that the client sent. `Uploads.accept` then compares name and version,
   checks that the filename is free, and lets `archive/distribution_reader.py` validate the
   archive, by `archive/rules.py`; a wheel's small files are inflated once.
4. `catalog/files.py` stores the bytes and the core metadata under their digest, create-only.
5. `catalog/commits.py` adds an `uploaded` event to the project's document, puts a mark that a
   commit is coming (the feed), and writes the document with compare-and-swap: the commit point.
   Then it writes the journal entry and, for a new project, the list of names. A cached project
   keeps the stored form of each of its files, so a document is encoded by joining them
   (`ProjectCodec`).
6. The client gets 200. Every page that is asked for after that shows the file.

The upload page of the web UI sends the same form, which the same reader reads
(`http/uploads/form_reader.py`). The anti-forgery token comes first, and is checked before a byte
is spooled.

Errors are raised as one of seven classes where they are found. `http/error_answers.py` makes the
answer to each of them, by the statuses of `http/protocol/error_responses.py`, and a page of it if
a browser has asked.

A digest field that arrives after the file is checked by reading the file again. Only distutils
sends its fields in that order. To compute MD5 and both BLAKE2b lengths for each file just in case
would cost 3 seconds of processor time a GiB; SHA-256 alone takes 0.6.

`multipart` finds the parts of a form, and we check what it lets pass: bytes before the first
boundary and after the closing one, an encoded part, a header of a part twice, other parameters
than one name and one filename. Each upload then has one meaning for the rules of `archive/`,
which decide what is stored; what a part's content begins with needs no rule here.
"""
