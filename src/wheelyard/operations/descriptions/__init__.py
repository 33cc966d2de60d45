"""
Descriptions of releases as HTML, rendered in processes of their own that can be killed.

A description is text of a stranger, and the libraries that render it are large. So
`operations/descriptions/` renders descriptions in a child process, one after the other. The child
ends a minute after the last description.

1. An upload gives its description to `descriptions.py` after the commit, and goes on. If nobody has
   rendered a description, as that process died or the file was imported, the first page that is
   asked for gives it to `descriptions.py`.
2. A thread looks for the result in `derived/`, by the digest of text, type and renderer (its code
   and libraries). If there is none, the description is rendered, and the result is written there.
   So equal descriptions are rendered once, whatever process has them. The daily sweep removes
   results that are 90 days old. A deletion that removes bytes at once removes the results of its
   releases. Where nothing may be written (`[server] read_only`, an export), results are kept in
   memory.
3. A page shows the result, from memory or the store, or the plain text. A page with the plain text
   has no ETag, and is not cached. A page waits up to two seconds for the result, without a thread.
   The shortest text is rendered first, and another thread writes results to the store, so that few
   of many pages that are opened at once show the plain text. An export waits to the end.
4. `child_process.py` sends the text to the child through a pipe, and reads the answer. The child
   has no environment and no open file of the server. It may open no file outside of Python's own
   folders, no socket and no process. Its memory is limited.
5. `child.py` renders the text with `readme_renderer`. After one second of processor time the kernel
   ends the child (`ITIMER_PROF`), also within compiled code. `child.py` then writes only the
   elements and attributes that a page may have.

A description that cannot be rendered is shown as plain text, with the reason. If the failure is not
the description's own (no memory), it is tried again after a minute.
"""
