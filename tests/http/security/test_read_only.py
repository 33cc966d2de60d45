"""A read-only server, and probes of a store that was never written."""

from collections.abc import Iterator
from pathlib import Path
from random import Random
from urllib.parse import urljoin

import pytest

from tests.distributions import make_wheel
from tests.http.in_process import InProcessServer, in_process
from tests.http.packages import form, post
from tests.http.servers import running_app, running_server
from tests.waiting import until
from wheelyard.catalog import keys
from wheelyard.http.app import App
from wheelyard.settings.sections import ServerSettings, Settings, StoreSettings
from wheelyard.storage.local import LocalStore
from wheelyard.wiring.build import open_index

KIND = "multipart/form-data; boundary=frontier"
JSON = "application/json"
XML = "text/xml"


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessServer]:
    """An application that only reads, on a store that another one has filled."""
    folder = tmp_path_factory.mktemp("read-only")
    store = LocalStore(folder / "store", Random(1))
    with in_process(folder, store=store) as writing:
        writing.publish(make_wheel())
    reading = Settings(server=ServerSettings(read_only=True, roots=("acme",)))
    with in_process(folder, reading, store=store) as app:
        yield app


@pytest.mark.parametrize("is_known", [True, False])
@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [
        *(("POST", path, KIND) for path in ("/", "/legacy/", "/acme/")),
        *(("POST", f"/api/v1/projects/demo/{verb}", JSON) for verb in ("yank", "delete")),
        *(("POST", "/api/v1/tokens", JSON), ("DELETE", "/api/v1/tokens/0123456789", XML)),
        *(("POST", "/_/oidc/mint-token", JSON), ("POST", "/_/oidc/burn-token", XML)),
    ],
)
def test_changes_are_refused(
    app: InProcessServer, method: str, path: str, kind: str, *, is_known: bool
) -> None:
    """Every change is refused as read-only, for every caller and request."""
    login = [app.bearer()] if is_known else []
    body = form(make_wheel("more")) if kind == KIND else b"{}"

    answer = app.send(path, body, *login, method=method, kind=kind)

    assert (answer.status, answer.json()["error"]) == (403, "read_only")


def test_read_only_server_answers_reads(app: InProcessServer) -> None:
    """Pages, files, probes and questions are answered as by every other server."""
    login = app.bearer()
    before = sorted((app.folder / "store").rglob("*"))
    page = app.get("/simple/demo/", login, ("Accept", "application/vnd.pypi.simple.v1+json"))
    url = urljoin("/simple/demo/", page.json()["files"][0]["url"])
    for path in ("/simple/", "/ready", "/health", "/api/v1/whoami", "/api/v1/projects"):
        assert app.get(path, login).status == 200, path
    assert app.get(url).body == make_wheel().body
    assert app.get("/legacy/").json()["error"] == "read_only"
    assert app.get("/legacy/nothing/at/all").status == 404
    assert sorted((app.folder / "store").rglob("*")) == before


@pytest.mark.integration
@pytest.mark.parametrize("reads_only", [True, False])
def test_read_only_server_notes_no_token_use(tmp_path: Path, *, reads_only: bool) -> None:
    """A server that only reads writes nothing by itself, not even when a token was used."""
    store = StoreSettings(location=str(tmp_path / "store"))
    settings = Settings(store=store, server=ServerSettings(read_only=reads_only))
    index = open_index(settings, is_server=True)
    with running_app(index, tmp_path) as server:
        assert server.get("/simple/", server.token).status_code == 200
        # one after the other is noted, in the background
        index.tokens.records.last_uses.record("0" * 10, index.server.runtime.now())
        until((server.store / keys.last_use("0" * 10)).exists)

    noted = (tmp_path / "store" / keys.last_use(server.token[4:14])).exists()
    assert noted is not reads_only


@pytest.mark.integration
def test_server_is_ready_on_a_writable_folder(tmp_path: Path) -> None:
    """`serve` is ready on a folder that it may write, and leaves nothing of its trial there."""
    with running_server(tmp_path) as server:
        assert server.get("/ready").status_code == 200
        assert not [path for path in server.store.rglob("*") if "probe" in path.name]
        assert post(server, make_wheel()).status_code == 200


@pytest.mark.integration
def test_unwritten_store_is_not_ready(tmp_path: Path) -> None:
    """A probe is told why a server is not ready, until the store has been written."""
    index = open_index(Settings(store=StoreSettings(location=str(tmp_path / "store"))))
    reasons = ["The server lacks the permission storage.objects.create.", ""]
    app = App(index, write_failure=lambda: reasons[0])
    with running_app(index, tmp_path, app) as server:
        refused = server.get("/ready")
        assert (refused.status_code, refused.json()["error"]) == (503, "store_not_written")
        assert reasons[0] in refused.json()["message"]
        assert server.get("/health").status_code == 200
        assert post(server, make_wheel()).status_code == 200

        reasons.pop(0)
        assert server.get("/ready").status_code == 200
