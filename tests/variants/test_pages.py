"""The document about the wheel variants of a release: on pages, in views, in sites, and later."""

import json
import re
import sys
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import pytest
from packaging.utils import NormalizedName
from packaging.version import Version

from tests.clients.harness import SOURCE, new_sandbox
from tests.distributions import Distribution, make_sdist, make_wheel
from tests.exporting.export_fixture import export_to
from tests.fake_store import FakeStore, Fault, FaultKind
from tests.fake_time import Clock
from tests.http.in_process import InProcessServer, in_process
from tests.http.index_pages import JSON
from tests.index_tables import toml_of
from tests.operations.in_memory_index import ALICE, OPEN_MAIN, remove_now
from tests.variants.wheels import make_variant, variant_json
from wheelyard.catalog import keys
from wheelyard.exporting.site_folder import RequestedOptions
from wheelyard.model.project import Status
from wheelyard.operations.daily_sweep import DailySweep
from wheelyard.operations.lifecycle import ReleaseAction, Selection
from wheelyard.settings.sections import ServerSettings, Settings, UploadSettings
from wheelyard.storage.base import Store
from wheelyard.storage.memory import MemoryStore

DEMO: Final = NormalizedName("demo")
ONE: Final = Version("1.0")
UPLOADS: Final = UploadSettings(wheel_variants=True)
V2, V3, PLAIN = make_variant("v2"), make_variant("v3"), make_wheel()
OTHER_V3: Final = make_variant(
    "v3", tag="py2-none-any", variants={"v3": {"x86_64": {"level": ["v4"]}}}
)
DOCUMENT: Final = "demo-1.0-variants.json"
INDEXES: Final = (
    {"name": "dev"},
    {"name": "top"},
    {"name": "both", "layers": ["top", "dev"], "merge": ["demo"]},
    {"name": "aged", "layers": ["dev"], "cooldown_days": 7},
)
TABLES: Final = toml_of(main=OPEN_MAIN, index=[{**table, "read": "anyone"} for table in INDEXES])
Start = Callable[..., InProcessServer]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start servers of one store, which anybody may read."""
    clock, opened = Clock(), list[Any]()
    store = MemoryStore(clock.seconds)

    def begin(*, read_only: bool = False, through: Store | None = None) -> InProcessServer:
        settings = Settings(uploads=UPLOADS, server=ServerSettings(read_only=read_only))
        tables = "" if opened else TABLES
        running = in_process(tmp_path, settings, store=through or store, clock=clock, tables=tables)
        opened.append(running)
        server: InProcessServer = running.__enter__()
        return server

    yield begin
    for running in opened:
        running.__exit__(None, None, None)


@pytest.fixture
def server(start: Start) -> InProcessServer:
    """A server that takes wheel variants."""
    return start()


def files(server: InProcessServer, base: str = "") -> dict[str, dict[str, Any]]:
    """Return the files on the page of the project, by filename."""
    answer = server.get(f"{base}/simple/demo/", JSON)
    page = json.loads(answer.body)
    assert page["versions"] == ["1.0"]
    return {file["filename"]: file for file in page["files"]}


def path_of(file: dict[str, Any], base: str = "") -> str:
    """Return the path of a file on a page."""
    return f"{base}/{file['url'].removeprefix('../../')}"


def labels(server: InProcessServer, base: str = "") -> set[str]:
    """Return the labels in the document that the page links to, which has what the page says."""
    file = files(server, base)[DOCUMENT]
    answer = server.get(path_of(file, base))
    assert answer.status == 200
    assert sha256(answer.body).hexdigest() == file["hashes"]["sha256"]
    assert len(answer.body) == file["size"]
    return set(json.loads(answer.body)["variants"])


def delete(server: InProcessServer, made: Distribution, action: ReleaseAction = "delete") -> None:
    """Delete a wheel, or restore it."""
    selection = Selection(ONE, frozenset({made.filename}))
    server.index.lifecycle.change(action, ALICE, DEMO, selection, "a reason")


def test_a_page_has_the_document_of_each_release(server: InProcessServer) -> None:
    """The page links to one more file with what all labels of the release are for."""
    server.publish(V3)
    server.clock.advance(seconds=60)
    server.publish(PLAIN, V2, make_variant("null"), make_sdist())

    listed = files(server)

    assert list(listed) == sorted(listed)
    file = listed[DOCUMENT]
    assert file["upload-time"] == listed[V3.filename]["upload-time"]
    assert (file["yanked"], file["core-metadata"], "requires-python" in file) == (
        False,
        False,
        False,
    )
    answer = server.get(path_of(file))
    expected = variant_json("v3")
    expected["variants"] |= variant_json("v2")["variants"] | {"null": {}}
    assert json.loads(answer.body) == expected
    assert "immutable" in answer.headers["cache-control"]
    # a client that asks for a range gets all of the small document, as HTTP allows
    ranged = server.get(path_of(file), ("Range", "bytes=0-3"))
    assert (ranged.status, ranged.body) == (200, answer.body)
    html = server.get("/simple/demo/", ("Accept", "text/html")).body.decode()
    assert f'{file["url"]}#sha256={file["hashes"]["sha256"]}"' in html
    assert server.index.server.check.run(rebuild=False).problems == []
    for path in ("/pypi/demo/json", "/search.json", "/project/demo/files/", "/feed.xml"):
        assert b"variants.json" not in server.get(path).body


@pytest.mark.parametrize(
    "path",
    [
        f"/files/demo/{'0' * 64}/{DOCUMENT}",
        f"/files/demo/{{}}/{DOCUMENT}.metadata",
        "/files/demo/{}/demo-x-variants.json",
        "/files/other/{}/other-1.0-variants.json",
        f"/files/demo/{DOCUMENT}",
    ],
)
def test_there_is_no_other_document(server: InProcessServer, path: str) -> None:
    """A document that no page has linked to is 404."""
    server.publish(V3)
    digest = files(server)[DOCUMENT]["hashes"]["sha256"]
    assert server.get(path.format(digest)).status == 404


def test_it_follows_the_wheels(server: InProcessServer) -> None:
    """A label comes and goes with its only wheel, and the document with the last label."""
    server.publish(V3, V2, make_variant("v2", tag="py2-none-any"), PLAIN)
    assert labels(server) == {"v2", "v3"}
    delete(server, V3)
    assert labels(server) == {"v2"}
    delete(server, V2)
    assert labels(server) == {"v2"}
    delete(server, V3, "restore")
    assert labels(server) == {"v2", "v3"}
    for made in (V3, make_variant("v2", tag="py2-none-any")):
        delete(server, made)
    assert list(files(server)) == [PLAIN.filename]


def test_who_has_an_older_page_gets_its_document(start: Start) -> None:
    """What a page has linked to is served for a day, by any server, and swept later."""
    server = start()
    server.publish(V3)
    old = path_of(files(server)[DOCUMENT])
    before = server.get(old).body
    server.clock.advance(days=10)
    assert files(server)  # the page is shown for longer than its document is kept
    server.publish(V2)
    server.clock.advance(hours=23)
    other = start()

    for running in (server, other):
        assert running.get(old).body == before
        assert path_of(files(running)[DOCUMENT]) != old
    for _ in range(3):
        server.clock.advance(days=2)
        _sweep(other)
    assert other.get(old).status == 404
    assert labels(other) == {"v2", "v3"}


def test_documents_of_several_releases_are_kept(server: InProcessServer) -> None:
    """Who has an older page gets the document of each release, even where documents are alike."""
    server.publish(V3, make_variant("v3", version="2.0"))
    listed = json.loads(server.get("/simple/demo/", JSON).body)["files"]
    links = [path_of(file) for file in listed if file["filename"].endswith("-variants.json")]
    assert len(links) == 2
    server.publish(V2, make_variant("v2", version="2.0"))
    assert [server.get(link).status for link in links] == [200, 200]


def _sweep(server: InProcessServer) -> None:
    index = server.index
    DailySweep(index.server.sweep, index.changes, index.server.runtime).sweep_if_due()


def test_a_page_is_renewed_each_day(server: InProcessServer) -> None:
    """A page that stays the same keeps its document for a day after anybody was shown it."""
    server.publish(V3)
    old = path_of(files(server)[DOCUMENT])
    for _ in range(8):
        server.clock.advance(hours=20)
        files(server)
        files(server)
        _sweep(server)
    server.publish(V2)
    server.clock.advance(hours=23)
    _sweep(server)
    assert server.get(old).status == 200


def test_quarantine_ends_all_documents(server: InProcessServer) -> None:
    """A project in quarantine has no document, and an older one is not served either."""
    server.publish(V3)
    old = path_of(files(server)[DOCUMENT])
    server.index.lifecycle.set_status(ALICE, DEMO, Status.QUARANTINED, "look at it")
    assert json.loads(server.get("/simple/demo/", JSON).body)["files"] == []
    assert server.get(old).status == 404


def test_layers_that_do_not_fit(server: InProcessServer) -> None:
    """Where layers contradict each other, the wheels with a label of the lower one are left out."""
    lower = make_wheel(tag="py2-none-any")
    server.publish_to("top", V3, V2)
    server.publish_to("dev", OTHER_V3, make_variant("v1"), lower)
    assert list(files(server, "/both")) == sorted(
        [V3.filename, V2.filename, lower.filename, DOCUMENT]
    )
    assert labels(server, "/both") == {"v2", "v3"}
    assert labels(server, "/dev") == {"v1", "v3"}


def test_layers_that_fit(server: InProcessServer) -> None:
    """Where layers fit, the document has the labels of both."""
    server.publish_to("top", V3)
    server.publish_to("dev", V2, PLAIN)
    assert labels(server, "/both") == {"v2", "v3"}


def test_a_rule_hides_labels_with_their_wheels(server: InProcessServer) -> None:
    """The document of a view has the labels of the wheels that its rules show, also of a day."""
    server.publish_to("dev", V3, PLAIN)
    server.clock.advance(days=6)
    server.publish_to("dev", V2)
    server.clock.advance(days=2)
    assert labels(server, "/dev") == {"v2", "v3"}
    assert labels(server, "/aged") == {"v3"}
    day = (server.clock.now.date()).isoformat()
    assert labels(server, f"/dev/as-of-{day}") == {"v2", "v3"}
    server.clock.advance(days=6)
    assert labels(server, "/aged") == {"v2", "v3"}


def test_a_lost_one_breaks_no_page(start: Start) -> None:
    """A wheel whose `variant.json` the store has lost is left out, and the page stays."""
    server = start()
    server.publish(V3, PLAIN)
    (file,) = server.index.projects.get(DEMO).variants["1"]
    server.index.stores.files.delete(keys.sidecar(DEMO, file, "variant"))
    assert list(files(start())) == [PLAIN.filename]


def test_while_the_store_is_away_a_page_leaves_nothing_out(start: Start) -> None:
    """While a `variant.json` cannot be read, the page is 503 and does not lack its wheels."""
    server = start()
    server.publish(V3, PLAIN)
    fault = Fault(FaultKind.NOT_DONE, "get", "*.variant")
    reading = start(through=FakeStore(server.index.stores.files, fault))

    assert reading.get("/simple/demo/", JSON).status == 503
    assert set(files(reading)) == {V3.filename, PLAIN.filename, DOCUMENT}


def test_a_read_only_server_writes_nothing(start: Start) -> None:
    """A server that may not write has the document all the same."""
    server = start()
    server.publish(V3)
    store = FakeStore(server.index.stores.documents)
    reading = start(read_only=True, through=store)
    assert labels(reading) == {"v3"}
    assert not [call for call in store.calls if call[0] == "put"]


def test_pages_without_labels_cost_nothing(start: Start) -> None:
    """A page of a project without labels reads and writes the same as ever."""
    server = start()
    server.publish(PLAIN)
    store = FakeStore(server.index.stores.documents)
    files(start(through=store))
    assert not [key for _, key in store.calls if "variant" in key]


def test_a_site_has_the_document(server: InProcessServer, tmp_path: Path) -> None:
    """A static site has the document of its page, not an older one, and none in quarantine."""
    server.publish(V3, PLAIN)
    site = tmp_path / "site"
    requested = RequestedOptions(base_url="https://wheels.example.com")
    export_to(server.index, site, requested)
    old = site / path_of(files(server)[DOCUMENT])[1:]
    assert set(json.loads(old.read_bytes())["variants"]) == {"v3"}
    for _ in range(2):
        export_to(server.index, site, requested)
        assert old.exists()

    server.publish(V2)
    export_to(server.index, site, requested)

    page = json.loads((site / "simple/demo/index.json").read_bytes())
    (document,) = (file for file in page["files"] if file["filename"] == DOCUMENT)
    body = (site / path_of(document)[1:]).read_bytes()
    assert sha256(body).hexdigest() == document["hashes"]["sha256"]
    assert set(json.loads(body)["variants"]) == {"v2", "v3"}
    assert not old.exists()

    server.index.lifecycle.set_status(ALICE, DEMO, Status.QUARANTINED, "look at it")
    export_to(server.index, site, requested)

    assert list(site.rglob(DOCUMENT)) == []


def test_a_site_whose_files_are_elsewhere(server: InProcessServer, tmp_path: Path) -> None:
    """Where nobody makes the document, a site shows neither it nor the wheels with a label."""
    server.publish(V3, PLAIN)
    site, files_url = tmp_path / "site", "https://files.example.com"
    export_to(server.index, site, RequestedOptions(base_url=files_url, files_url=files_url))
    page = json.loads((site / "simple/demo/index.json").read_bytes())
    assert [file["filename"] for file in page["files"]] == [PLAIN.filename]


def test_people_see_the_label(server: InProcessServer) -> None:
    """The page of a release says which wheel is for which machine."""
    server.publish(V3, PLAIN)
    page = server.get("/project/demo/1.0/files/", ("Accept", "text/html")).body.decode()
    assert re.search("any Python.*, variant v3", page)


@pytest.mark.integration
def test_nothing_is_loaded_without_a_label(tmp_path: Path) -> None:
    """An upload of a wheel without a label loads nothing about wheel variants."""
    sandbox = new_sandbox(tmp_path / "sandbox")
    (sandbox.folder / PLAIN.filename).write_bytes(PLAIN.body)
    done = sandbox.attempt(
        *(sys.executable, "-X", "importtime", "-m", "wheelyard"),
        *("upload", PLAIN.filename, "--store", "store"),
        WHEELYARD_UPLOADS_WHEEL_VARIANTS="true",
        **SOURCE,
    )
    assert (done.returncode, "wheelyard.operations.uploads" in done.stderr) == (0, True)
    assert "wheel_variants" not in done.stderr


def test_after_a_removal_at_once_earlier_pages_lose_their_document(
    server: InProcessServer,
) -> None:
    """Nobody reads of a wheel that was removed at once in the document of an earlier page."""
    server.publish(V3, V2)
    earlier = path_of(files(server)[DOCUMENT])
    assert server.get(earlier).status == 200

    remove_now(server.index, V3.sha256)

    assert labels(server) == {"v2"}
    assert server.get(earlier).status == 404
