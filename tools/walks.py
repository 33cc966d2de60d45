"""
Counts the modules and calls of uploads and pages (`python -m tools.walks`; `-v`: with names).

The requests go to an application in this process, which is opened as a server opens it: an upload
to a store in a folder and to one in a bucket (the tests' fake GCS server), the first page of a
project from each, for an installer, for a person with a token and for one who has signed in and
manages the project, the form of an index for an administrator, the page for an installer again, and
the first page of a project of an upstream index. What is cold is the first request to an
application, which knows nothing but what a server reads at its start. What is made once for all
applications of a store, as the description of a release, is there.
Only modules and functions of wheelyard are counted, and only until the response is sent. What runs
in the background is left out: the write of a token's last use, and the refresh of the search table,
for which the first page of a minute waits a second at most.

- modules: modules of which some function is called
- calls: calls of our functions
- depth at the commit point: functions on the stack when the project's document is put, with those
  of the event loop that wait for the thread
- thread hops: how often work is handed to another thread
- requests in a row: store calls that begin only when another one has ended
"""

import asyncio
import json
import os
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any, Final

from msgspec.structs import replace

import wheelyard
from benchmarks.stores import BOUNDARY, Wheel
from tests.fake_gcs.server import running_fake_gcs
from tests.upstream.fake_upstream import FakeUpstream, running_fake_upstream
from tests.upstream.public_packages import public_wheel
from tests.upstream.settings import upstream_section
from tests.waiting import until
from wheelyard.authentication.api_tokens import TokenRequest
from wheelyard.catalog import keys
from wheelyard.http.app import App
from wheelyard.http.messages import Header, HeaderList, Message
from wheelyard.http.request_authentication import SessionCookie
from wheelyard.model.access import Action, Credential
from wheelyard.model.distribution_filename import parse_name
from wheelyard.model.index_name import EVERY_INDEX
from wheelyard.settings.sections import AccessSettings, Settings, StoreSettings
from wheelyard.wiring.build import open_index

OURS: Final = str(Path(wheelyard.__file__).parent)
BUCKET: Final = "walks"
PROJECT: Final = parse_name("walked")
HOST: Final[Header] = (b"host", b"index")
INSTALLER: Final[Header] = (b"accept", b"application/vnd.pypi.simple.v1+json")
BROWSER: Final[Header] = (b"accept", b"text/html")
FORM: Final[Header] = (b"content-type", f"multipart/form-data; boundary={BOUNDARY}".encode())


@dataclass
class Walk:
    """The counters of a request; the profile function of every thread."""

    modules: set[str] = field(default_factory=set)
    calls: int = 0
    hops: int = 0
    depth: int = 0
    """At the commit point."""
    verbs: list[tuple[str, float, float]] = field(default_factory=list)
    """The store calls, with their start and end."""
    is_over: bool = False
    """Whether the response was sent: threads of the request may go on, or serve the next one."""
    _waiting: int = 0
    """Functions of ours on the stack of the event loop when it last handed work over."""

    def note(self, frame: FrameType, event: str, _: object) -> None:
        """Take note of a call."""
        if event != "call" or self.is_over:
            return
        path, name = frame.f_code.co_filename, frame.f_code.co_name
        if name == "submit" and path.endswith("concurrent/futures/thread.py"):
            self.hops += 1
            if threading.current_thread() is threading.main_thread():
                self._waiting = _depth(frame)
        if not path.startswith(OURS) or name == "<module>" or _is_in_background():
            return
        module = path.removeprefix(OURS)
        self.modules.add(module)
        self.calls += 1
        is_put = name == "put" and module.startswith("/storage/")
        if is_put and frame.f_locals.get("key") == keys.project(PROJECT):
            self.depth = self._waiting + _depth(frame)

    def note_verb(self, verb: str, _: str, seconds: float) -> None:
        """Record a finished store call, unless it runs in the background."""
        if self.is_over or _is_in_background():
            return
        now = time.monotonic()
        self.verbs.append((verb, now - seconds, now))

    @property
    def counts(self) -> dict[str, Any]:
        """What tests look at, for JSON."""
        verbs = [verb for verb, _, _ in self.verbs]
        return {"modules": sorted(self.modules), "in_a_row": self.in_a_row, "verbs": verbs}

    @property
    def in_a_row(self) -> int:
        """The number of store calls that begin only after another one has ended."""
        count, end = 0, 0.0
        for _, began, ended in sorted(self.verbs, key=lambda verb: verb[2]):
            if began >= end:
                count, end = count + 1, ended
        return count


def _is_in_background() -> bool:
    """Return whether this thread does what no request waits for."""
    thread = threading.current_thread()
    return thread.daemon or thread.name.startswith("describe")


def _depth(frame: FrameType | None) -> int:
    """Return how many functions of ours are on the stack."""
    count = 0
    while frame is not None:
        count += frame.f_code.co_filename.startswith(OURS)
        frame = frame.f_back
    return count


class Walked:
    """An application over a store, whose requests can be walked along."""

    def __init__(self, location: str, upstream: FakeUpstream | None = None) -> None:
        settings = Settings(
            store=StoreSettings(location=location),
            access=AccessSettings(private=True, cookie_login=True),
        )
        if upstream is not None:
            settings = replace(settings, upstream=upstream_section(upstream))
        self._open(settings)
        self._token = self._new_token(Action.READ | Action.UPLOAD)
        self._session = self._new_session()

    def prepare(self) -> None:
        """
        Walk along everything once.

        So that nothing is counted of what is imported, and made for all later applications, when it
        is first needed.
        """
        self.upload("0.1")
        documents = self._index.stores.documents
        until(lambda: any(documents.list(keys.DESCRIPTIONS)))
        self.page()
        self.remembered_page()
        self.form()
        self.managed_web_page()
        self.web_page()
        until(lambda: documents.get(keys.SEARCH) is not None)

    def upload(self, version: str) -> Walk:
        """Upload a version of the project, and return what was counted."""
        return self._walk("POST", "/legacy/", self._token, FORM, Wheel(PROJECT, version).form())

    def page(self, project: str = PROJECT) -> Walk:
        """Ask for the page of a project that installers read, cold."""
        self._open_again()
        return self._walk("GET", f"/simple/{project}/", self._token, INSTALLER)

    def remembered_page(self) -> Walk:
        """Ask for the page that installers read until the fast path answers."""
        path = f"/simple/{PROJECT}/"
        return [self._walk("GET", path, self._token, INSTALLER) for _ in range(3)][-1]

    def web_page(self) -> Walk:
        """Ask for the page of the project that people read, with a token, cold."""
        self._open_again()
        return self._walk("GET", f"/project/{PROJECT}/", self._token, BROWSER)

    def managed_web_page(self) -> Walk:
        """Ask for the same page as somebody who has signed in and manages the project, cold."""
        self._open_again()
        return self._walk("GET", f"/project/{PROJECT}/", self._session, BROWSER)

    def form(self) -> Walk:
        """Ask for the form of a new index as an administrator who has signed in, cold."""
        self._open_again()
        return self._walk("GET", "/-/admin/indexes/", self._session, BROWSER, query=b"make=1")

    def close(self) -> None:
        """End what the application does in the background."""

        async def close() -> None:
            async with self._app.running():
                pass

        asyncio.run(close())

    def _open(self, settings: Settings) -> None:
        self._index = open_index(settings, is_server=True)
        self._app = App(self._index)
        for thread in threading.enumerate():
            if thread.name == "search-index":  # which reads ahead
                thread.join()

    def _open_again(self) -> None:
        self.close()
        self._open(self._index.settings)

    def _new_token(self, actions: Action) -> Header:
        """Return the header with a new token for all projects of all indexes."""
        request = TokenRequest(name="walks", actions=actions, indexes=(EVERY_INDEX,))
        text = self._index.tokens.create(request, by="local:walks")[0].text
        return (b"authorization", b"Basic " + b64encode(f"__token__:{text}".encode()))

    def _new_session(self) -> Header:
        """Return the header with the cookie of an administrator who has signed in."""
        every = Action.READ | Action.UPLOAD | Action.MANAGE | Action.ADMIN
        request = TokenRequest(name="walks", actions=every, indexes=(EVERY_INDEX,))
        credential = Credential(
            "__token__", self._index.tokens.create(request, by="local:walks")[0].text
        )
        caller = self._index.authenticator.authenticate(credential, "127.0.0.1")
        value, _ = self._index.sessions.begin(credential, caller)
        cookie = SessionCookie.of(self._index.settings)
        assert cookie is not None  # noqa: S101 - the settings let people sign in
        return (b"cookie", f"{cookie.name}={value}".encode())

    def _walk(
        self,
        method: str,
        path: str,
        credential: Header,
        kind: Header,
        body: bytes = b"",
        query: bytes = b"",
    ) -> Walk:
        walk = Walk()
        metrics = self._index.server.store_metrics
        record = metrics.record

        def note(verb: str, outcome: str, started_at: float) -> None:
            walk.note_verb(verb, outcome, metrics.monotonic() - started_at)
            record(verb, outcome, started_at)

        metrics.record = note  # type: ignore[method-assign]
        threading.setprofile(walk.note)
        sys.setprofile(walk.note)
        try:
            status = asyncio.run(self._status(method, path, (HOST, credential, kind), body, query))
        finally:
            walk.is_over = True
            sys.setprofile(None)
            threading.setprofile(None)
            metrics.record = record  # type: ignore[method-assign]
        if status != 200:
            raise SystemExit(f"{method} {path} was answered with {status}.")
        return walk

    async def _status(
        self, method: str, path: str, headers: HeaderList, body: bytes, query: bytes
    ) -> int:
        length = ((b"content-length", str(len(body)).encode()),) if body else ()
        scope: dict[str, Any] = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query,
            "headers": [*headers, *length],
            "client": ("127.0.0.1", 50_000),
        }
        coming: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
        sent = list[Message]()

        async def receive() -> Message:
            return coming.pop() if coming else await asyncio.Future()

        async def send(message: Message) -> None:
            sent.append(message)

        await self._app(scope, receive, send)
        status: int = sent[0]["status"]
        return status


@contextmanager
def _stores() -> Iterator[tuple[str, str]]:
    """Yield the location of a store in a folder, and of one in a bucket."""
    before = dict(os.environ)
    with TemporaryDirectory(prefix="walks-") as folder, running_fake_gcs(BUCKET) as server:
        os.environ.update(server.environment())
        try:
            yield folder, f"gs://{BUCKET}/index"
        finally:
            os.environ.clear()
            os.environ.update(before)


def walks() -> dict[str, Walk]:
    """Return what was counted of each request."""
    with _stores() as (folder, bucket), running_fake_upstream() as upstream:
        upstream.publish(public_wheel("public", "1.0"), public_wheel("other", "1.0"))
        near, far, public = Walked(folder), Walked(bucket), Walked(folder, upstream)
        near.prepare()
        far.prepare()
        public.page("other")
        fresh, distant = Walked(folder), Walked(bucket)
        counted = {
            "upload to a folder": fresh.upload("1.0"),
            "upload to a bucket": distant.upload("1.1"),
            "cold page on a folder": near.page(),
            "cold page on a bucket": far.page(),
            "cold web page on a folder": near.web_page(),
            "cold web page on a bucket": far.web_page(),
            "cold web page of a manager on a folder": near.managed_web_page(),
            "cold web page of a manager on a bucket": far.managed_web_page(),
            "cold form on a folder": near.form(),
            "cold form on a bucket": far.form(),
            "cold public page on a folder": public.page("public"),
            "remembered page on a bucket": far.remembered_page(),
            "remembered page on a folder": near.remembered_page(),
        }
        for application in (near, far, fresh, distant, public):
            application.close()
    return counted


def main() -> None:
    """Count, and print what was counted."""
    counted = walks()
    if "--json" in sys.argv:
        print(json.dumps({name: walk.counts for name, walk in counted.items()}))
        return
    for name, walk in counted.items():
        commit = f", depth at the commit point {walk.depth}" if walk.depth else ""
        verbs = " ".join(verb for verb, _, _ in walk.verbs)
        counts = f"{len(walk.modules)} modules, {walk.calls} calls"
        print(f"{name}: {counts}{commit}, {walk.hops} thread hops")
        print(f"    {walk.in_a_row} requests in a row: {verbs}")
        if "-v" in sys.argv:
            print("    " + " ".join(sorted(walk.modules)))


if __name__ == "__main__":
    main()
