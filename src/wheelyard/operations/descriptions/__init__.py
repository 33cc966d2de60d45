"""
Descriptions of releases as HTML, rendered in processes of their own that can be killed.

A description is text of a stranger, and the libraries that render it are large. So
`operations/descriptions/` does that in a child process, one description after the other, which
ends a minute after the last one.

1. An upload gives its description to `descriptions.py` after the commit, and goes on. What nobody
   has rendered yet, since that process died or the file was imported, the first reader gives to
   it.
2. A thread looks for the result in `derived/`, by the digest of text, type and renderer (its code
   and libraries). Else it is made, and written there. So equal descriptions are rendered once,
   whatever process has them. The daily sweep removes results that are 90 days old, and a removal
   of bytes at once those of its releases. Where nothing may be written (`[server] read_only`, an
   export), memory has them.
3. A page shows the result, from memory or the store, or the plain text. A page with that has no
   ETag and is kept by nobody. A page waits up to two seconds for the result, and no thread does so.
   The shortest text is rendered first, and the store gets results in another thread, so that few
   of many pages that are opened at once show the plain text. An export waits to the end.
4. `child_process.py` sends the text to the child through a pipe, and reads the answer. The child
   has no environment and no open file of the server's. It may open no file outside of Python's
   own folders, no socket and no process. Its memory is limited.
5. `child.py` renders it with `readme_renderer`. After one second of processor time the kernel
   ends the child (`ITIMER_PROF`), also within compiled code. `child.py` then writes only
   the elements and attributes that a page may have.

What fails is plain text, with the reason. If the failure is not the description's own (no
memory), it is tried again after a minute.
"""
