"""
A static site of an index: the pages that the server would answer with, as files.

Nothing is locked, so what keeps a site whole is an order. For a project: which versions its pages
have, then its document, then the distributions that the document lists, then the pages, each over
the version that was seen. So a page is only ever replaced by one of a later document, however many
export at once, and it never links to what is not there. A distribution is taken away after the
pages, and only if its filename was deleted, which is for ever, or its project is quarantined; that
may end, so it is looked at again before and after.

Which document each project was exported from, and which versions its pages have now, is written
down last, in the manifest. The next export believes that; where it is wrong, a put is a Conflict,
and the site itself is asked. Where an export dies before it has written its manifest, the next one
does the same again, and finds most of it done.
"""
