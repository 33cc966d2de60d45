"""How many requests to a bucket are made one after the other, and which at the same time."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.utils import NormalizedName

from tests.distributions import make_wheel
from tests.fake_time import fake_runtime
from tests.http.in_process import InProcessServer, in_process
from tests.http.remote_store import RemoteStore
from tests.operations.in_memory_index import ALICE
from wheelyard.authentication.api_tokens import TokenRequest
from wheelyard.model.project import Status
from wheelyard.settings.sections import ServerSettings, Settings
from wheelyard.storage.base import Stores
from wheelyard.storage.spool import Spool
from wheelyard.wiring.build import build_index
from wheelyard.wiring.index import Index
from wheelyard.wiring.stores import StoreTraits

DEMO = make_wheel("demo")
PATH = f"/files/demo/{DEMO.sha256}/{DEMO.filename}"
PAGE = "/simple/demo/"
DOCUMENT = ("get", "projects/demo.json")
INDEXES = ("get", "index-list.json")
READ_ONLY = Settings(server=ServerSettings(read_only=True))
"""So that no thread records the use of a token."""


@pytest.fixture
def store() -> RemoteStore:
    """A remote store."""
    return RemoteStore()


@pytest.fixture
def server(store: RemoteStore, tmp_path: Path) -> Iterator[InProcessServer]:
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


def other_index(server: InProcessServer, store: RemoteStore) -> Index:
    """Return an index of another process on the same store."""
    traits = StoreTraits(is_local=False)
    runtime = fake_runtime(server.clock, 2)
    return build_index(Stores.of(store), Spool(server.folder), Settings(), runtime, traits)


def test_first_page_of_a_project_is_one_request(
    server: InProcessServer, store: RemoteStore, login: tuple[str, str]
) -> None:
    """With a list of names, the first page of a project is one request to the bucket."""
    store.calls.clear()
    assert server.get(PAGE, login).status == 200
    assert store.calls == [DOCUMENT]


def test_file_is_read_after_its_document_was_revalidated(
    server: InProcessServer, store: RemoteStore
) -> None:
    """A file is read once the document that listed it was revalidated, and so is core metadata."""
    assert server.get(PAGE).status == 200
    for path, expected in ((PATH, DEMO.body), (f"{PATH}.metadata", DEMO.metadata)):
        server.clock.advance(seconds=2)
        store.calls.clear()
        assert server.get(path).body == expected
        assert store.calls[0] == INDEXES  # as for each index, once in a while
        reads = [call for call in store.calls[1:] if call[0] != "sign"]
        assert reads[0] == DOCUMENT
        assert len(reads) == 2


def test_file_of_a_quarantined_project_is_not_read(
    server: InProcessServer, store: RemoteStore
) -> None:
    """Nothing of a file is read if its project has been quarantined meanwhile."""
    assert server.get(PAGE).status == 200
    lifecycle = other_index(server, store).lifecycle
    lifecycle.set_status(ALICE, NormalizedName("demo"), Status.QUARANTINED, "")
    server.clock.advance(seconds=2)
    assert server.get(PATH).status == 404
    assert store.streams == []


METADATA = ("get", f"files/demo/{DEMO.sha256}/{DEMO.filename}.metadata")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("", [DOCUMENT, METADATA]),
        ("1.0/", [DOCUMENT, METADATA]),
        ("dependencies/", [DOCUMENT, METADATA]),
        ("files/", [DOCUMENT]),
        ("files/?q=demo", [DOCUMENT]),
        ("releases/", [DOCUMENT]),
        ("1.0/requirements.txt", [DOCUMENT]),
    ],
)
def test_pages_of_a_project_read_little(
    server: InProcessServer, store: RemoteStore, path: str, expected: list[tuple[str, str]]
) -> None:
    """A page of a project reads the document, and core metadata only if it shows some of it."""
    html = ("Accept", "text/html")
    assert server.get("/", html).status == 200  # so that the table of all projects is there
    store.calls.clear()
    assert server.get(f"/project/demo/{path}", html).status == 200
    assert store.calls == expected
