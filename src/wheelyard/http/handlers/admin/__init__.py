"""
Handlers of the pages for administrators, below `/-/admin/`.

Each page shows the results of operations of the table in `api/`, and its forms call operations: so
`/api/v1/` and `--server` can do all that a page can, with the same checks. The operations check the
right themselves. A page has one module here, its facts in `rendering/web/admin/`, its template in
`rendering/web/templates/admin/`, a section in `navigation.py`, and its row in `routes.py`.

Each `answer...` raises Unauthenticated or Forbidden unless the caller may see the page, and
Unavailable if the store does not answer. It raises Invalid for a malformed query, and NoSuchPage
for a number of a page that its list does not have. A handler of POST raises Invalid if the body is
no form, TooLarge if the body is too long, and Waiting until the body has come.
"""
