"""A site in a bucket: the same pages, the same order, and what each export asks and costs."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.distributions import make_wheel
from tests.exporting.export_fixture import StoreFolder, export_to, publish
from tests.exporting.sites import BASE, MANIFEST, broken, tree
from tests.fake_gcs.server import FakeGcs, running_fake_gcs
from tests.storage.gcs.opened import EMULATOR
from wheelyard.errors import Invalid
from wheelyard.exporting.site_folder import RequestedOptions
from wheelyard.settings.sections import Settings, StoreSettings
from wheelyard.wiring.build import open_index
from wheelyard.wiring.index import Index

pytestmark = pytest.mark.integration

SITE = "gs://site/all/of/them"
PREFIX = "all/of/them/"
BUCKET = "gs://wheels/store"


@pytest.fixture(autouse=True)
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGcs]:
    """Buckets for a store and a site, which this process is led to."""
    with running_fake_gcs("wheels", "site") as server:
        monkeypatch.setenv(EMULATOR, server.url)
        yield server


def index_at(store: StoreSettings) -> Index:
    """Return the index with a store."""
    return open_index(Settings(store=store))


def objects(cloud: FakeGcs) -> dict[str, bytes]:
    """Return every object of the site but the manifest, and but the second form of each page."""
    bucket = cloud.bucket("site")
    bodies = {name.removeprefix(PREFIX): bucket.find(name).data for name in bucket.names()}
    bodies.pop(MANIFEST)
    for path in [path for path in bodies if path.endswith("/index.html")]:
        assert bodies.pop(path.removesuffix("index.html")) == bodies[path]
    return bodies


@pytest.mark.parametrize("location", [BUCKET, "{}/store"], ids=["a bucket", "a folder"])
def test_a_bucket_has_what_a_folder_has(
    cloud: FakeGcs, stocked_store: StoreFolder, tmp_path: Path, location: str
) -> None:
    """A bucket has what a folder has, each page of a folder a second time; changes cost little."""
    for key, body in stocked_store.objects().items():
        cloud.bucket("wheels").put(f"store/{key}", body)
    index = index_at(StoreSettings(location=location.format(tmp_path)))
    export_to(index, SITE)
    export_to(index, tmp_path / "site")
    assert objects(cloud) == tree(tmp_path / "site")
    cloud.log.clear()

    export_to(index, SITE)

    # marks of changes are listed, and whether there ever was a list of indexes
    assert cloud.log.count("A") == (2 if location == BUCKET else 0)
    publish(index, tmp_path, make_wheel("demo", "7.0"))
    index.changes.since(0)
    cloud.log.clear()

    export_to(index, SITE)

    written = cloud.log.records("insert")
    assert {record.bucket for record in written} == {"site"}
    # seven pages twice, two forms of JSON, a feed; home and feed of all, the manifest twice
    assert len(written) == (21 if location == BUCKET else 23)
    assert cloud.log.count(kind="rewrite") == (2 if location == BUCKET else 0)
    assert cloud.log.count("A") <= 31
    read = {record.name for record in cloud.log.records("media")}
    assert not [name for name in read if name.endswith(".whl")]  # bytes go from bucket to bucket
    assert broken(objects(cloud)) == []


def test_a_site_links_to_public_files_beside_it(cloud: FakeGcs, tmp_path: Path) -> None:
    """Where the store's files are public themselves, a site may be beside them, and links there."""
    store = StoreSettings(location=BUCKET, files="gs://site/open", downloads="public")
    index = index_at(store)
    publish(index, tmp_path, make_wheel("demo"))
    url, bucket = f"{cloud.url}/site/open/files", cloud.bucket("site")
    kept = bucket.names()

    for site in ("gs://site/open", "gs://site/open/"):
        with pytest.raises(Invalid, match="store's own files"):
            export_to(index, site)
    assert bucket.names() == kept
    for _ in range(2):
        export_to(index, "gs://site/open", RequestedOptions(base_url=BASE, files_url=url))
    export_to(index, "gs://site/open/copied")

    assert set(kept) < set(bucket.names())
    assert f'href="{url}/demo/'.encode() in bucket.find("open/simple/demo/").data
    assert bucket.names("open/copied/files/demo/")
