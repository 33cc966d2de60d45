"""Servers to ask over HTTP: a process of its own, or an application in this process."""

import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from os import getpid
from pathlib import Path
from stat import S_ISREG
from threading import enumerate as running_threads

import httpx2

from tests.clients.harness import REPOSITORY, new_sandbox
from tests.forking import ProcessEnvironment
from tests.http_server import TOKEN, begin_server, is_healthy, serving_app
from tests.index_tables import put_tables, put_tables_at
from tests.plain_http import LOCALLY
from tests.waiting import START_SECONDS, until
from wheelyard.authentication.api_tokens import TokenRequest
from wheelyard.authentication.verifiers.google_endpoints import GOOGLE, GoogleEndpoints
from wheelyard.concurrency.runtime import Runtime
from wheelyard.http.app import App
from wheelyard.model.access import parse_actions, parse_pattern, parse_right_indexes
from wheelyard.settings.sections import Settings, StoreSettings
from wheelyard.storage.base import Store, Stores
from wheelyard.storage.memory import MemoryStore
from wheelyard.storage.spool import Spool
from wheelyard.wiring.build import build_index, open_index
from wheelyard.wiring.index import Index
from wheelyard.wiring.stores import StoreTraits, system_runtime

KEPT = ("files", "journal", "projects", "projects.json")
"""The keys that an upload adds to a store."""
IN_PROGRESS = re.compile(r"^wheelyard_http_requests_in_progress (\S+)$", re.MULTILINE)
TOKEN_TEXT = re.compile(r"wyd_[0-9A-Za-z]{20}")

Answer = httpx2.Response


@dataclass(frozen=True)
class RunningServer:
    """
    A running server.

    Args:
        address: Host and port.
        token: The first one: it may do everything but administer.
        folder: Where its store, its log and its settings are.
        pid: Of its process.
        client: Sends no credentials and follows no redirects.
    """

    address: str
    token: str
    folder: Path
    pid: int
    client: httpx2.Client

    @property
    def url(self) -> str:
        """The root URL, without a trailing slash."""
        return f"http://{self.address}"

    @property
    def port(self) -> int:
        """The port."""
        return int(self.address.rpartition(":")[2])

    @property
    def store(self) -> Path:
        """The folder of the store."""
        return self.folder / "store"

    @property
    def log(self) -> str:
        """The standard error of the server."""
        return (self.folder / "log.txt").read_text()

    @property
    def index(self) -> Index:
        """An index on the server's store, opened as by the command line."""
        return open_index(Settings(store=StoreSettings(location=str(self.store))))

    def get(self, path: str, token: str = "", **headers: str) -> Answer:
        """Send a GET request, anonymously or with a token."""
        return self.ask("GET", path, token, **headers)

    def ask(self, method: str, path: str, token: str = "", **headers: str) -> Answer:
        """Send a request without a body; an underscore in a header's name stands for a dash."""
        auth = ("__token__", token) if token else None
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.request(method, path, headers=named, auth=auth)

    def under_way(self) -> int:
        """Return the number of requests in progress."""
        answer = self.get("/metrics")  # takes a thread, and asks no store
        match = IN_PROGRESS.search(answer.text)
        assert match is not None, answer.text
        return int(float(match[1])) - 1  # this one

    def change(self, name: str, verb: str, **body: str | bool) -> Answer:
        """Change a project by the API."""
        auth = ("__token__", self.token)
        answer = self.client.post(f"/api/v1/projects/{name}/{verb}", json=body, auth=auth)
        assert answer.status_code == 200, answer.text
        return answer

    def make_token(
        self, *projects: str, can: str = "read,upload", lifetime: timedelta = timedelta(days=30)
    ) -> str:
        """Make another token."""
        return token_of(self.index, *projects, can=can, lifetime=lifetime)

    def kept(self) -> dict[str, int]:
        """Every object of uploads with its size; no request has left a scratch file."""
        places = [self.store / name for name in KEPT]
        # that a token was used is written in the background, any time
        until(lambda: not any(self.index.server.spool.folder.iterdir()))
        paths = [path for place in places for path in (place, *place.rglob("*"))]
        found = dict[str, int]()
        for path in paths:
            with suppress(FileNotFoundError):  # a scratch file goes when it has been used
                status = path.stat()
                if S_ISREG(status.st_mode):
                    found[str(path.relative_to(self.store))] = status.st_size
        return found


def memory_index(
    folder: Path,
    settings: Settings | None = None,
    runtime: Runtime | None = None,
    *,
    store: Store | None = None,
    traits: StoreTraits | None = None,
    google: GoogleEndpoints = GOOGLE,
    tables: str = "",
) -> Index:
    """
    Return an index in memory, or over another store, with scratch files in a folder.

    Its store has these `tables`. It has read what a server reads in the background at its start.
    """
    runtime = runtime or system_runtime()
    store = store or MemoryStore(lambda: system_runtime().now().timestamp())
    threads = set(running_threads())
    spool = Spool(folder)
    settings = settings or Settings()
    if tables:
        put_tables(build_index(Stores.of(store), spool, settings, runtime, traits, google), tables)
    index = build_index(Stores.of(store), spool, settings, runtime, traits, google, is_server=True)
    for thread in set(running_threads()) - threads:
        if thread.name == "search-index":
            thread.join()
    put_tables(index, tables)
    return index


def token_of(
    index: Index,
    *projects: str,
    can: str,
    lifetime: timedelta = timedelta(days=30),
    place: str = "",
) -> str:
    """Make a token, for all projects if none is named, and as a right is about indexes."""
    patterns = tuple(parse_pattern(each) for each in projects or ("*",))
    actions = parse_actions(can.split(","))
    request = TokenRequest(
        name="test",
        actions=actions,
        projects=patterns,
        lifetime=lifetime,
        indexes=parse_right_indexes(place, actions),
    )
    return index.tokens.create(request, by="local:test")[0].text


@contextmanager
def running_server(
    folder: Path,
    *options: str,
    config: str = "",
    prefix: str = "",
    environment: Mapping[str, str] | None = None,
    tables: str = "",
) -> Iterator[RunningServer]:
    """
    Start a server on a new store, into which `tables` are put before.

    Assert at the end that its log has no secret or traceback.
    """
    sandbox = new_sandbox(folder)
    (folder / "wheelyard.toml").write_text(config)
    if tables:
        put_tables_at(folder / "store", tables, folder / "wheelyard.toml")
    places = ["--store", str(folder / "store"), "--config", str(folder / "wheelyard.toml")]
    dependencies = ProcessEnvironment(
        folder=sandbox.folder,
        environment=sandbox.environment()
        | {"PYTHONPATH": str(REPOSITORY / "src"), **(environment or {})},
        output=folder / "printed.txt",
        errors=folder / "log.txt",
    )
    process = begin_server(*places, *options, dependencies=dependencies)
    address = f"127.0.0.1:{process.port}"
    with httpx2.Client(base_url=f"http://{address}", timeout=60, **LOCALLY) as client:
        try:
            until(
                lambda: is_healthy(address, f"{prefix}/health") or not process.is_alive(),
                (folder / "log.txt").read_text,
                timeout=START_SECONDS,
            )
            assert process.is_alive(), "the server did not come up"
            token = TOKEN.search((folder / "printed.txt").read_text())
            server = RunningServer(address, token[0] if token else "", folder, process.pid, client)
            if not token:  # where grants or passwords are, a server makes none
                server = replace(server, token=server.make_token(can="read,upload,manage"))
            yield server
        finally:
            process.end()
            sys.stderr.write((folder / "log.txt").read_text())
    assert "Traceback" not in server.log
    assert not TOKEN_TEXT.search(server.log)


@contextmanager
def running_app(index: Index, folder: Path, app: App | None = None) -> Iterator[RunningServer]:
    """Serve an index, by `app` if there is one, from a thread of this process."""
    with serving_app(app or App(index)) as settings:
        address = f"127.0.0.1:{settings.port}"
        with httpx2.Client(base_url=f"http://{address}", timeout=60, **LOCALLY) as client:
            token = token_of(index, can="read,upload,manage")
            yield RunningServer(address, token, folder, getpid(), client)
