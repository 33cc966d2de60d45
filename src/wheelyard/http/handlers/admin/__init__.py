"""
Handlers of the pages for administrators, below `/-/admin/`.

Each page shows what operations of the table in `api/` return, and its forms call operations: what a
page can do, `/api/v1/` and `--server` can do, with the same checks. The operations check the right
themselves. A page has one module here, its facts in `rendering/web/admin/`, its template in
`rendering/web/templates/admin/`, a section in `navigation.py`, and its row in `routes.py`.

Each `answer...` raises Unauthenticated or Forbidden unless the caller may see the page, and
Unavailable if the store does not answer. It raises Invalid for a malformed query, and NoSuchPage
for a page that its list does not have. One that handles POST raises Invalid for what is no form,
TooLarge if it is too long, and Waiting until it has come.
"""
