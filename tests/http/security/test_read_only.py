"""A server that only reads, and what a probe is told of a store that was never written."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.http.packages import form, post, publish, wheel
from tests.http.servers import Site, running_app, running_site
from tests.waiting import until
from wheelyard.catalog import keys
from wheelyard.http.app import App
from wheelyard.settings.sections import ServerSettings, Settings, StoreSettings
from wheelyard.wiring.index import open_index

pytestmark = pytest.mark.integration

KIND = "multipart/form-data; boundary=frontier"
JSON = "application/json"
XML = "text/xml"
CALL = b'<?xml version="1.0"?><methodCall><methodName>search</methodName></methodCall>'


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server that only reads, on a store that another one has filled."""
    folder = tmp_path_factory.mktemp("read-only")
    store = StoreSettings(location=str(folder / "store"))
    with running_app(App(index := open_index(Settings(store=store))), index, folder) as writing:
        publish(writing, wheel())
    server = ServerSettings(read_only=True, roots=("acme",))
    index = open_index(Settings(store=store, server=server))
    with running_app(App(index), index, folder) as site:
        yield site


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
    site: Site, method: str, path: str, kind: str, *, is_known: bool
) -> None:
    """Every change is refused with the same words, whoever wants it and whatever they send."""
    auth = ("__token__", site.token) if is_known else None
    body = form(wheel("more")) if kind == KIND else b"{}"

    answer = site.client.request(
        method, path, content=body, headers={"Content-Type": kind}, auth=auth
    )

    assert (answer.status_code, answer.json()["error"]) == (403, "read_only")


def test_reading_goes_on(site: Site) -> None:
    """Pages, files, probes and questions are answered as by every other server."""
    before = site.kept()
    page = site.get("/simple/demo/", site.token, Accept="application/vnd.pypi.simple.v1+json")
    url = page.json()["files"][0]["url"]
    for path in ("/simple/", "/ready", "/health", "/legacy/", "/api/v1/whoami", "/api/v1/projects"):
        assert site.get(path, site.token).status_code == 200, path
    assert site.client.get(str(page.url.join(url))).content == wheel().data
    question = site.client.post("/pypi/", content=CALL, headers={"Content-Type": XML})
    assert (question.status_code, b"<fault>" in question.content) == (200, True)
    assert site.get("/legacy/nothing/at/all").status_code == 404
    assert site.kept() == before


@pytest.mark.parametrize("reads_only", [True, False])
def test_no_use_of_a_token_is_noted(tmp_path: Path, *, reads_only: bool) -> None:
    """A server that only reads writes nothing by itself, not even when a token was used."""
    store = StoreSettings(location=str(tmp_path / "store"))
    index = open_index(Settings(store=store, server=ServerSettings(read_only=reads_only)))
    with running_app(App(index), index, tmp_path) as site:
        assert site.get("/simple/", site.token).status_code == 200
        # one after the other is noted, in the background
        index.tokens.records.last_uses.note("0" * 10, index.runtime.now())
        until((site.store / keys.last_use("0" * 10)).exists)

    noted = (tmp_path / "store" / keys.last_use(site.token[4:14])).exists()
    assert noted is not reads_only


def test_a_server_of_a_folder(tmp_path: Path) -> None:
    """`serve` is ready on a folder that it may write, and leaves nothing of its trial there."""
    with running_site(tmp_path) as site:
        assert site.get("/ready").status_code == 200
        assert not [path for path in site.store.rglob("*") if "probe" in path.name]
        assert post(site, wheel()).status_code == 200


def test_a_store_that_was_never_written(tmp_path: Path) -> None:
    """A probe is told why a server is not ready, until the store has been written."""
    index = open_index(Settings(store=StoreSettings(location=str(tmp_path / "store"))))
    reasons = ["The server lacks the permission storage.objects.create.", ""]
    app = App(index, write_failure=lambda: reasons[0])
    with running_app(app, index, tmp_path) as site:
        refused = site.get("/ready")
        assert (refused.status_code, refused.json()["error"]) == (503, "store_not_written")
        assert reasons[0] in refused.json()["message"]
        assert site.get("/health").status_code == 200
        assert post(site, wheel()).status_code == 200

        reasons.pop(0)
        assert site.get("/ready").status_code == 200
