"""
Composition: the objects of a process, built from its settings.

Time, pauses and randomness come from `wiring/stores.py` and are handed down as `Runtime`. The
environment is read in `settings/`. The disk is used by `storage/`, by the readers of spooled
files (`archive/`, `http/upload_form.py`), of lock files (`upstream/lock_files.py`) and of
credentials (`verifiers/reloading_file.py`). The network is used by `http/`, `storage/gcs/`,
`storage/objects/` and `http_client/`.

`build.py` makes a `Server` and the index main. `index_builder.py` makes an index (`index.py`) from
its definition. `index.py` imports the modules of the parts that all indexes share (`server.py`,
`index_registry.py`, `repositories.py`); so these know an index by the protocol of `built_index.py`
alone.

A module that only some processes need is imported when it is first used: libraries of clouds, the
archive reader, the parser of core metadata, the renderer of descriptions, and all of `upstream/`.
"""
