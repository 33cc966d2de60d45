"""A site in S3 or Azure: the pages of a folder, each with its headers; what an export costs."""

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.distributions import make_sdist, make_wheel
from tests.exporting.export_fixture import delete, export_to, publish
from tests.exporting.sites import MANIFEST, broken, tree
from tests.plain_http import LOCALLY
from tests.services.fixtures import Emulators
from tests.services.service import ProxiedService
from wheelyard.errors import Invalid
from wheelyard.settings.sections import Settings, StoreSettings
from wheelyard.wiring.build import open_index
from wheelyard.wiring.index import Index

pytestmark = pytest.mark.integration

PREFIX = "all/of/them/"
WRITES = ("insert", "resumable-start", "resumable-chunk", "resumable-end", "delete")


@pytest.fixture(params=["s3", pytest.param("azure", marks=pytest.mark.weekly)], autouse=True)
def service(
    request: pytest.FixtureRequest, emulators: Emulators, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ProxiedService]:
    """Buckets for a store and a site, which this process is led to."""
    with emulators.serving(request.param, "wheels", "site") as service:
        assert isinstance(service, ProxiedService)
        for name, value in service.environment().items():
            monkeypatch.setenv(name, value)
        yield service


def index_at(location: str) -> Index:
    """Return the index with a store."""
    return open_index(Settings(store=StoreSettings(location=location)))


def objects(service: ProxiedService) -> dict[str, bytes]:
    """Return every object of the site but the manifest."""
    bucket, found = service.bucket("site"), dict[str, bytes]()
    for name in bucket.names():
        stored = bucket.get(name)
        assert stored is not None
        found[name.removeprefix(PREFIX)] = stored.data
    found.pop(MANIFEST)
    return found


def headers(service: ProxiedService, path: str) -> tuple[str, str]:
    """Return the content type of an object of the site, and how long it may be kept."""
    bucket = service.bucket("site")
    url = f"{service.url}{bucket.target(f'{PREFIX}{path}')}"
    answer = httpx2.get(url, headers=bucket.headers(b""), **LOCALLY)
    assert answer.status_code == 200, answer.text
    return answer.headers["Content-Type"], answer.headers["Cache-Control"]


def test_a_bucket_has_what_a_folder_has(service: ProxiedService, tmp_path: Path) -> None:
    """A bucket has what a folder has; without news nothing is written, else what has changed."""
    index = index_at(service.location("wheels/store"))
    site = service.location(f"site/{PREFIX}")
    # each kind of a page, and names that a service might read otherwise; tests of Google's buckets
    # have everything
    publish(
        index,
        tmp_path,
        make_wheel("demo"),
        make_sdist("demo"),
        make_wheel("demo", "1!2.0+cu121.x"),
        make_wheel("gone"),
    )
    delete(index, "gone", "1.0")
    export_to(index, site)
    export_to(index, tmp_path / "site")
    assert objects(service) == tree(tmp_path / "site")

    service.log.clear()
    assert export_to(index, site).written == 0
    assert [record for record in service.log.records() if record.kind in WRITES] == []

    publish(index, tmp_path, make_wheel("demo", "7.0"))
    service.log.clear()
    export_to(index, site)

    written = [record.name for record in service.log.records("insert")]
    # pages, two forms of JSON, feeds; the file and its metadata; the manifest twice; the serial
    assert len([name for name in written if not name.startswith("probe-")]) == 16
    assert broken(objects(service)) == []


def test_each_object_has_a_type_and_a_lifetime(service: ProxiedService, tmp_path: Path) -> None:
    """Each object says what it is; pages are asked for each time, files are kept for a year."""
    index = index_at(str(tmp_path / "store"))
    publish(index, tmp_path, make_wheel("demo"))
    export_to(index, service.location(f"site/{PREFIX}"))
    (metadata,) = (path for path in objects(service) if path.endswith(".metadata"))
    fixed = "public, max-age=31536000, immutable"

    shown = {
        path: headers(service, path)
        for path in ("simple/demo/index.html", "simple/demo/index.json", "pypi/demo/json")
    }

    assert shown == {
        "simple/demo/index.html": ("text/html; charset=utf-8", "no-cache"),
        "simple/demo/index.json": ("application/vnd.pypi.simple.v1+json", "no-cache"),
        "pypi/demo/json": ("application/json", "no-cache"),
    }
    assert headers(service, metadata) == ("text/plain; charset=utf-8", fixed)
    assert headers(service, metadata.removesuffix(".metadata")) == (
        "application/octet-stream",
        fixed,
    )


def test_the_bucket_of_the_store_takes_no_site(service: ProxiedService, tmp_path: Path) -> None:
    """A site in the bucket of the store is refused."""
    index = index_at(service.location("wheels/store"))
    publish(index, tmp_path, make_wheel("demo"))

    with pytest.raises(Invalid, match="Choose another bucket"):
        export_to(index, service.location("wheels/site"))
