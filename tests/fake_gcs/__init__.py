"""
Cloud Storage for tests.

`server.running_fake_gcs("wheels")` yields the project's own fake server, which runs in this process
and is used by other processes through its URL. It implements what emulators lack: preconditions on
every verb, one write a second for a name, permissions, signatures; and it injects planned faults.

    with running_fake_gcs("wheels") as server:
        server.environment(), server.url                  # for another process, or in this one
        with storage_client(server.url) as client: ...    # Google's, from `clients.py`

        bucket = server.bucket("wheels")                  # past the wire: bucket.get(name), .put
        bucket.write_interval = 1.0                       # 429 for a second mutation of a name
        bucket.page_size = 3                              # and bucket.empty_pages, bucket.public
        bucket.rewrite_piece = 1 << 20                    # copies to here take several requests
        server.permissions.deny("storage.objects.create") # 403; server.permissions.expired: 401
        server.faults.add(StatusAfter(503), "insert", "projects/*")       # see `faults.py`
        server.log.count("A")                             # and .records(kind, name), .clear()
        server.clock.advance(seconds=3600)  # limits, dates and signatures follow
        server.stop(); server.start()                     # refuses connections, and is back
        server.die(); server.revive()                     # accepts connections, answers nothing

Kinds of requests, for faults and the log: insert, resumable-start, resumable-chunk,
resumable-status, get, media, list, delete, rewrite;
signed and public for downloads by URL; sign, token and metadata for credentials. A listing's name
is its prefix.

`server.identity` is the account: `identity.email`, `identity.private_key`, and
`server.write_key_file(folder)` for a service account file. `signBlob`, the token endpoint and the
metadata server answer on the same port.

`emulator.running_emulator()` yields the URL of a real `fake-gcs-server`, and
`emulator.new_bucket(url)` the name of an empty bucket in it.

It refuses what Cloud Storage refuses by its documentation; the rules are in `strict.py`.
"""
