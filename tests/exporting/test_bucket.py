"""A site in a bucket: the same pages, the same order, and what each export asks and costs."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.exporting.export_fixture import AT_BASE, ExportHarness, publish, stock
from tests.exporting.sites import BASE, HOME, MANIFEST, Read, broken, is_page, tree
from tests.fake_gcs.objects import Bucket
from tests.fake_gcs.server import FakeGcs, running_fake_gcs
from tests.http.packages import wheel
from tests.storage.gcs.opened import EMULATOR
from wheelyard.errors import Invalid
from wheelyard.operations.exporting.manifest import FileMode, RequestedOptions
from wheelyard.settings.sections import Settings, StoreSettings
from wheelyard.wiring.index import Index, open_index
from wheelyard.wiring.site_export import SiteExporter

pytestmark = pytest.mark.integration

SITE = "gs://site/all/of/them"
PREFIX = "all/of/them/"


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGcs]:
    """Buckets for a store and a site, which this process is led to."""
    with running_fake_gcs("wheels", "site") as server:
        monkeypatch.setenv(EMULATOR, server.url)
        yield server


@pytest.fixture
def index(cloud: FakeGcs) -> Index:  # noqa: ARG001 - there before it
    """An index in a bucket, with nothing in it."""
    return open_index(Settings(store=StoreSettings(location="gs://wheels/store")))


def objects(bucket: Bucket) -> dict[str, bytes]:
    """Return every object of the site, but for what only an export reads."""
    found = {}
    for name in bucket.names():
        stored = bucket.get(name)
        assert stored is not None
        if HOME not in name:
            found[name.removeprefix(PREFIX)] = stored.data
    return found


def reader_of(bucket: Bucket) -> Read:
    """Return what reads the site by plain URLs."""

    def read(path: str) -> bytes | None:
        # the one page that a bucket cannot give out by the name that it has elsewhere
        found = bucket.get(f"{PREFIX}{path or 'index.html'}")
        return found.data if found else None

    return read


def broken_links(bucket: Bucket) -> list[str]:
    """Return the links of the site that lead nowhere."""
    paths = [path for path in objects(bucket) if is_page(path)]
    return broken(reader_of(bucket), paths)


def export(index: Index, place: str = SITE) -> None:
    """Bring a site up to date."""
    SiteExporter(index=index, dest=place, requested=AT_BASE).open().run(lambda *_: None)


def test_the_same_as_in_a_folder(cloud: FakeGcs, index: Index, tmp_path: Path) -> None:
    """A bucket has what a folder has, and each page of a folder a second time."""
    stock(index, tmp_path)
    export(index)
    export(index, str(tmp_path / "site"))

    there, here = objects(cloud.bucket("site")), tree(tmp_path / "site")

    assert {path: there[path] for path in here} == here
    more = there.keys() - here.keys()
    assert more == {
        path.removesuffix("index.html") for path in here if path.endswith("/index.html")
    }
    assert all(there[path] == there[f"{path}index.html"] for path in more)
    assert broken_links(cloud.bucket("site")) == []


def test_from_a_folder_to_a_bucket(cloud: FakeGcs, harness: ExportHarness) -> None:
    """A store in a folder is exported to a bucket; a second time nothing is sent but a question."""
    stock(harness.index, harness.folder)
    export(harness.index)
    assert broken_links(cloud.bucket("site")) == []
    before = objects(cloud.bucket("site"))
    cloud.log.clear()

    export(harness.index)

    assert objects(cloud.bucket("site")) == before
    assert {each.name for each in cloud.log.records()} == {f"{PREFIX}{MANIFEST}"}
    assert cloud.log.count("A") == 0


def test_one_new_file(cloud: FakeGcs, index: Index, tmp_path: Path) -> None:
    """One new file costs a handful of writes, and its bytes go from bucket to bucket."""
    stock(index, tmp_path)
    export(index)
    publish(index, tmp_path, wheel("demo", "7.0"))
    cloud.log.clear()

    export(index)

    written = cloud.log.records("insert")
    assert {each.bucket for each in written} == {"site"}
    # four pages twice, two forms of JSON, a feed, a record; three of all projects, the manifest
    assert len(written) == 16
    assert cloud.log.count(kind="rewrite") == 2
    read = {each.name for each in cloud.log.records("media") if each.bucket == "site"}
    # which say what versions the pages have
    assert read == {f"{PREFIX}{MANIFEST}", f"{PREFIX}wheelyard-export/projects/demo.json"}
    assert cloud.log.count("A") <= 20  # with two listings, of documents and of what is there
    assert broken_links(cloud.bucket("site")) == []


@pytest.mark.usefixtures("cloud")
def test_files_in_a_private_bucket() -> None:
    """Where only the index may read the store's files, no site may be in their bucket."""
    index = open_index(
        Settings(store=StoreSettings(location="gs://wheels/store", files="gs://site/files"))
    )
    with pytest.raises(Invalid, match=r"in the bucket of gs://site/files"):
        export(index, "gs://site/elsewhere")


def test_files_in_a_public_bucket(cloud: FakeGcs, tmp_path: Path) -> None:
    """Where the store's files are public themselves, a site may be beside them, and links there."""
    place = StoreSettings(location="gs://wheels/store", files="gs://site/open", downloads="public")
    index = open_index(Settings(store=place))
    stock(index, tmp_path)
    url = f"{cloud.url}/site/open/files"
    asked = RequestedOptions(base_url=BASE, files=FileMode.LEAVE, files_url=url)
    kept = cloud.bucket("site").names()

    for site in ("gs://site/open", "gs://site/open/"):
        with pytest.raises(Invalid) as refused:
            export(index, site)
        assert "store's own files" in refused.value.message
    assert cloud.bucket("site").names() == kept
    SiteExporter(index=index, dest="gs://site/open", requested=asked).open().run(lambda *_: None)
    export(index, "gs://site/open/copied")

    names = cloud.bucket("site").names()
    assert set(kept) < set(names)
    page = cloud.bucket("site").get("open/simple/demo/")
    assert page is not None
    assert f'href="{url}/demo/'.encode() in page.data
    assert [name for name in names if name.startswith("open/copied/files/demo/")]
