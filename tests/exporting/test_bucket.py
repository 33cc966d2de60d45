"""A site in a bucket: the same pages, the same order, and what each export asks and costs."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.exporting.export_fixture import StoreFolder, export_to, publish, stock
from tests.exporting.sites import BASE, MANIFEST, broken, tree
from tests.fake_gcs.server import FakeGcs, running_fake_gcs
from tests.http.packages import wheel
from tests.storage.gcs.opened import EMULATOR
from wheelyard.errors import Invalid
from wheelyard.exporting.manifest import RequestedOptions
from wheelyard.settings.sections import Settings, StoreSettings
from wheelyard.wiring.index import Index, open_index

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


def objects(cloud: FakeGcs) -> dict[str, bytes]:
    """Return every object of the site but the manifest."""
    found, bucket = {}, cloud.bucket("site")
    for name in bucket.names():
        stored = bucket.get(name)
        assert stored is not None
        found[name.removeprefix(PREFIX)] = stored.data
    found.pop(MANIFEST)
    return found


def export(index: Index, place: str = SITE, files_url: str | None = None) -> None:
    """Bring a site up to date."""
    export_to(index, place, RequestedOptions(base_url=BASE, files_url=files_url))


def test_the_same_as_in_a_folder(cloud: FakeGcs, index: Index, tmp_path: Path) -> None:
    """A bucket has what a folder has, and each page of a folder a second time."""
    stock(index, tmp_path)
    export(index)
    export(index, str(tmp_path / "site"))

    there, here = objects(cloud), tree(tmp_path / "site")

    assert {path: there[path] for path in here} == here
    more = there.keys() - here.keys()
    assert more == {
        path.removesuffix("index.html") for path in here if path.endswith("/index.html")
    }
    assert all(there[path] == there[f"{path}index.html"] for path in more)
    assert broken({path: there[path] for path in here}) == []
    cloud.log.clear()

    export(index)

    charged = [(record.kind, record.name) for record in cloud.log.records() if record.price == "A"]
    assert charged == [("list", "store/projects/")]


def test_one_new_file(cloud: FakeGcs, index: Index, tmp_path: Path) -> None:
    """One new file costs a handful of writes, and its bytes go from bucket to bucket."""
    stock(index, tmp_path)
    export(index)
    publish(index, tmp_path, wheel("demo", "7.0"))
    cloud.log.clear()

    export(index)

    written = cloud.log.records("insert")
    assert {record.bucket for record in written} == {"site"}
    # four pages twice, two forms of JSON, a feed; two of all projects, the manifest twice
    assert len(written) == 15
    assert cloud.log.count(kind="rewrite") == 2
    read = {record.name for record in cloud.log.records("media") if record.bucket == "site"}
    assert f"{PREFIX}{MANIFEST}" in read
    assert cloud.log.count("A") <= 22
    assert broken({path: body for path, body in objects(cloud).items() if path[-1:] != "/"}) == []


def test_from_a_folder_to_a_bucket(cloud: FakeGcs, stocked: StoreFolder) -> None:
    """A store in a folder is exported to a bucket, as the site of another one is there."""
    export(stocked.index)

    export_to(stocked.index, stocked.site, RequestedOptions(base_url=BASE))
    there, here = objects(cloud), tree(stocked.site)
    assert {path: there[path] for path in here} == here


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
    kept = cloud.bucket("site").names()

    for site in ("gs://site/open", "gs://site/open/"):
        with pytest.raises(Invalid) as refused:
            export(index, site)
        assert "store's own files" in refused.value.message
    assert cloud.bucket("site").names() == kept
    for _ in range(2):
        export(index, "gs://site/open", files_url=url)
    export(index, "gs://site/open/copied")

    names = cloud.bucket("site").names()
    assert set(kept) < set(names)
    page = cloud.bucket("site").get("open/simple/demo/")
    assert page is not None
    assert f'href="{url}/demo/'.encode() in page.data
    assert [name for name in names if name.startswith("open/copied/files/demo/")]
