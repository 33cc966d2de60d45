"""How many requests to a bucket are made one after the other, and which at the same time."""

from collections.abc import Iterator
from pathlib import Path
from threading import Barrier

import pytest
from packaging.utils import NormalizedName

from tests.http.in_process import InProcessServer, in_process
from tests.http.packages import wheel
from tests.http.remote_store import RemoteStore
from tests.operations.in_memory_index import ALICE, fake_runtime
from tests.waiting import TIMEOUT_SECONDS, until
from wheelyard.authentication.api_tokens import TokenRequest
from wheelyard.model.project import Status
from wheelyard.settings.sections import ServerSettings, Settings
from wheelyard.storage.base import Found, Key, ObjectVersion, Stores
from wheelyard.storage.spool import Spool
from wheelyard.wiring.index import Index, build_index
from wheelyard.wiring.stores import StoreTraits

DEMO = wheel("demo")
PATH = f"/files/demo/{DEMO.sha256}/{DEMO.filename}"
PAGE = "/simple/demo/"
DOCUMENT = ("get", "projects/demo.json")
READ_ONLY = Settings(server=ServerSettings(read_only=True))
"""So that no thread records the use of a token."""


class MeetingStore(RemoteStore):
    """A remote store whose reads can wait until a number of them are in flight."""

    meeting: Barrier | None = None

    def expect(self, count: int) -> None:
        """Let each read fail from now on that is not in flight together with `count - 1` others."""
        self.calls.clear()
        self.meeting = Barrier(count, timeout=TIMEOUT_SECONDS)

    def get(self, key: Key, unless: ObjectVersion | None = None) -> Found:
        """Return a small object, after the meeting."""
        found = super().get(key, unless)
        self._meet()
        return found

    def read(self, key: Key, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Return a stream, after the meeting."""
        stream = super().read(key, start, stop)
        self._meet()
        return stream

    def _meet(self) -> None:
        if self.meeting is not None:
            self.meeting.wait()


@pytest.fixture
def store() -> MeetingStore:
    """A remote store."""
    return MeetingStore()


@pytest.fixture
def server(store: MeetingStore, tmp_path: Path) -> Iterator[InProcessServer]:
    """A server that has just started on a bucket with a project and a token."""
    with in_process(tmp_path, store=store, near=False) as other:
        other.publish(DEMO)
    with in_process(tmp_path, READ_ONLY, store=store, near=False) as server:
        yield server


@pytest.fixture
def login(server: InProcessServer) -> tuple[str, str]:
    """Return the header with a token that the server has just accepted, for the project list."""
    token, _ = server.index.tokens.create(TokenRequest(name="ci"), "user:ana")
    header = ("Authorization", f"Bearer {token.text}")
    assert server.get("/simple/", header).status == 200
    return header


def other_index(server: InProcessServer, store: MeetingStore) -> Index:
    """Return an index of another process on the same store."""
    traits = StoreTraits(is_local=False)
    runtime = fake_runtime(server.clock, 2)
    return build_index(Stores.of(store), Spool(server.folder), Settings(), runtime, traits)


def _closed(store: MeetingStore) -> list[bool]:
    return [each.is_closed for each in store.streams]


def test_first_page(server: InProcessServer, store: MeetingStore, login: tuple[str, str]) -> None:
    """With a list of names, the first page of a project is one request to the bucket."""
    store.expect(1)
    assert server.get(PAGE, login).status == 200
    assert store.calls == [DOCUMENT]


def test_first_page_while_the_token_is_read_again(
    server: InProcessServer, store: MeetingStore, login: tuple[str, str]
) -> None:
    """The record of a token that was valid lately is read at the same time as the document."""
    server.clock.advance(seconds=20)
    store.expect(2)
    assert server.get(PAGE, login).status == 200
    assert len(store.calls) == 2
    assert DOCUMENT in store.calls


def test_file_of_a_document_that_is_not_fresh(server: InProcessServer, store: MeetingStore) -> None:
    """A file is read while the document that listed it is revalidated, and so is core metadata."""
    assert server.get(PAGE).status == 200
    for path, expected in ((PATH, DEMO.data), (f"{PATH}.metadata", DEMO.metadata)):
        server.clock.advance(seconds=2)
        store.expect(2)
        assert server.get(path).body == expected
        reads = [each for each in store.calls if each[0] != "sign"]
        assert len(reads) == 2
        assert DOCUMENT in reads


def test_file_that_is_not_served_any_more(server: InProcessServer, store: MeetingStore) -> None:
    """What was read of a file is dropped if its project has been quarantined meanwhile."""
    assert server.get(PAGE).status == 200
    lifecycle = other_index(server, store).lifecycle
    lifecycle.set_status(ALICE, NormalizedName("demo"), Status.QUARANTINED, "")
    server.clock.advance(seconds=2)
    assert server.get(PATH).status == 404
    # the read may end after the response; it is closed when the event loop runs again
    until(lambda: server.get("/health").status == 200 and _closed(store) == [True])


def test_revoked_token(
    server: InProcessServer, store: MeetingStore, login: tuple[str, str]
) -> None:
    """A revoked token gets 401, and no document is read for it but the one begun too early."""
    other_index(server, store).tokens.revoke(login[1].removeprefix("Bearer "), "user:ana")
    server.clock.advance(seconds=20)
    for documents in (1, 0):
        store.calls.clear()
        assert server.get(PAGE, login).status == 401
        assert store.calls.count(DOCUMENT) == documents
        server.clock.advance(seconds=20)
