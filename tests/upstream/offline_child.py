"""
An index whose upstream is offline, in a process that may open no connection.

Called with a folder that has the store, and the URL and the host of files of the upstream. Prints
what it answers, as JSON. A connection, or a question to DNS, ends it with status 9.
"""

import json
import os
import sys
from pathlib import Path
from random import Random

from tests.http.in_process import InProcessServer, in_process
from tests.upstream.fake_pages import JSON
from tests.upstream.public_packages import private_wheel
from wheelyard.errors import WheelyardError
from wheelyard.settings.sections import Settings
from wheelyard.settings.upstream_section import UpstreamSettings
from wheelyard.storage.local import LocalStore

FORBIDDEN = {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"}
REFUSED_STATUS = 9


def refuse(event: str, _: tuple[object, ...]) -> None:
    """End the process for an event that is on the way to another machine."""
    if event in FORBIDDEN:
        sys.stderr.write(f"{event}\n")
        sys.stderr.flush()
        os._exit(REFUSED_STATUS)


def published(server: InProcessServer, name: str) -> str:
    """Publish a package; return the code of the error, or an empty text."""
    try:
        server.publish(private_wheel(name, "99.0"))
    except WheelyardError as fault:
        return fault.code
    return ""


def main(folder: Path, url: str, file_host: str, *paths: str) -> None:
    """Print the status and the body of each path, and what uploads end with."""
    sys.addaudithook(refuse)
    upstream = UpstreamSettings(
        enabled=True,
        url=url,
        label="public",
        private=("team-*",),
        file_hosts=(file_host,),
        allow_private_networks=("127.0.0.0/8",),
        offline=True,
        files="proxy",
        page_ttl=0,
        max_stale=0,
    )
    store = LocalStore(folder / "store", Random(1))
    with in_process(folder, Settings(upstream=upstream), store=store) as server:
        found = {}
        for path in paths:
            answer = server.get(path, ("accept", JSON))
            found[path] = answer.status, answer.body.decode("latin-1")
        uploads = {name: published(server, name) for name in ("team-x", "idna", "stranger")}
    sys.stdout.write(json.dumps({"paths": found, "uploads": uploads}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
