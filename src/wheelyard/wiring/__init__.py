"""
Composition: the objects of a process, built from its settings.

Time, pauses and randomness come from `wiring/stores.py` and are handed down as `Runtime`. The
environment is read in `settings/`. The disk is used by `storage/`, by the readers of spooled
files (`archive/`, `http/upload_form.py`), of lock files (`upstream/lock_files.py`) and of
credentials (`verifiers/reloading_file.py`). The network is used by `http/`, `storage/gcs/`,
`storage/objects/` and `http_client/`.

`build.py` makes a `Server` and the index main. What all indexes share (`server.py`,
`index_registry.py`, `repositories.py`) knows an index by the protocol of `built_index.py`, as
`index.py` imports it.
`index_builder.py` makes an index of its definition.

What only some processes need is imported by the first use: libraries of clouds, the archive
reader, core metadata's parser, what renders descriptions, and all of `upstream/`.
"""
