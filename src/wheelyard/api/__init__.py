"""
The operations on an index: what `/api/v1/`, the commands, their `--server` and the forms do.

`table.py` has them all. Each is a function that is given who calls and on which index.

What a person or a program can do through `/api/v1/` is a row of `api/table.py` and a function of
a `Call` (the index, and who calls), of the names in its path, and of a `body`. The annotations of
the function are the JSON. From the table come:

- the routes: `http/handlers/api.py` checks the right of the row before it reads a body, decodes
  body or query (`api/operation.py` says in a sentence what is wrong with one), and runs the
  function in a thread. One that `asks_upstream` in those of upstream indexes.
- the commands: `LocalApi.call` runs the function on a store, `RemoteApi.call` sends the request
  of its row and decodes the answer.
- the forms of web pages, which make the same bodies from their fields.
- `docs/openapi.json` (`nox -s openapi`).

A row's `right` is the least that a caller needs. The functions, and `operations/` below them,
check what else an operation needs. `test_recorded_answers.py` has what a server answered to
commands before the table. An answer may get more fields, and loses none.
"""
