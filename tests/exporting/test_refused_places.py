"""Places to which `wheelyard export` writes nothing, and what it says of them."""

import pytest

from tests.bucket.server import BucketServer
from tests.cli.conftest import Typed
from tests.clients.harness import Desk
from tests.exporting.sites import BASE, tree
from tests.exporting.yard import Yard
from tests.http.packages import wheel

pytestmark = pytest.mark.integration

AT = ("--base-url", BASE)


@pytest.mark.parametrize("place", ["store", "store/site", ".", "store/files", "link", "tokens/x"])
def test_not_into_the_store(stocked: Yard, wheelyard: Typed, place: str) -> None:
    """A site that has the store or its tokens in it, or is in them, would show credentials."""
    (stocked.folder / "link").symlink_to(stocked.store)
    config = stocked.folder / "wheelyard.toml"
    config.write_text(f'[access]\ncredentials_store = "{stocked.folder / "tokens"}"\n')
    before = tree(stocked.store)

    where = ("--store", stocked.store, "--config", config)
    done = wheelyard("export", stocked.folder / place, *where)

    assert done.returncode == 1
    assert "Choose a folder beside the store" in done.stderr
    assert tree(stocked.store) == before


@pytest.mark.parametrize("place", ["gs://wheels", "gs://wheels/site", "gs://wheels/store/site"])
def test_not_into_the_stores_bucket(
    desk: Desk, wheelyard: Typed, cloud: BucketServer, place: str
) -> None:
    """A bucket is open as a whole, so the store's is refused wherever in it the site would be."""
    new = desk.folder / "demo-1.0-py3-none-any.whl"
    new.write_bytes(wheel("demo").data)
    store = ("--store", "gs://wheels/store")
    assert wheelyard("upload", new, *store, **cloud.environment()).returncode == 0
    before = cloud.bucket("wheels").names()

    done = wheelyard("export", place, *store, **cloud.environment())

    assert done.returncode == 1
    assert "Choose another bucket" in done.stderr
    assert cloud.bucket("wheels").names() == before


@pytest.mark.parametrize("place", ["", "s3://bucket", "memory:", "gs://", "https://x.example/"])
def test_no_place(stocked: Yard, desk: Desk, wheelyard: Typed, place: str) -> None:
    """What is no place for a site is refused in one sentence, and nothing is written."""
    done = wheelyard("export", place, "--store", stocked.store)

    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert list(desk.folder.iterdir()) == []


def test_nothing_can_be_exported(stocked: Yard, desk: Desk, wheelyard: Typed) -> None:
    """Where there is no store, not in memory either, or no folder to write, it says so."""
    blocked = stocked.folder / "file"
    blocked.write_text("")
    stores = (desk.folder / "store", "memory:", stocked.store)
    done = [wheelyard("export", blocked / "site", "--store", store) for store in stores]
    assert [(each.returncode, len(each.stderr.splitlines())) for each in done] == [(1, 1)] * 3
    assert "Choose another folder" in done[-1].stderr


def test_foreign_things_in_the_way(stocked: Yard, wheelyard: Typed) -> None:
    """What lies in the folder stays, and a link out of it is not followed."""
    outside = stocked.folder / "outside"
    outside.mkdir()
    stocked.site.mkdir()
    (stocked.site / "robots.txt").write_text("ours")
    (stocked.site / "simple").symlink_to(outside)

    done = wheelyard("export", stocked.site, "--store", stocked.store, *AT)

    assert done.returncode == 1
    assert "simple" in done.stderr
    assert list(outside.iterdir()) == []
    (stocked.site / "simple").unlink()
    assert wheelyard("export", stocked.site, "--store", stocked.store, *AT).returncode == 0
    assert (stocked.site / "robots.txt").read_text() == "ours"


@pytest.mark.parametrize("files", ["copy", "link"])
def test_a_link_in_the_store(stocked: Yard, wheelyard: Typed, files: str) -> None:
    """What lies behind a link in the store is not brought to a site, and it is said where."""
    kept, outside = stocked.store / "files" / "demo", stocked.folder / "outside"
    kept.rename(outside)
    for path in outside.rglob("*.*"):
        path.write_bytes(b"secret"[:6].ljust(path.stat().st_size, b"!"))
    kept.symlink_to(outside)

    line = ("export", stocked.site, "--store", stocked.store, "--files", files, *AT)
    done = wheelyard(*line)

    assert done.returncode == 1
    assert "files/demo" in done.stderr
    assert "Put the file or the folder itself there" in done.stderr
    brought = [path for path in stocked.site.rglob("*") if path.is_file()]
    assert brought
    assert not [path for path in brought if path.read_bytes().startswith(b"secret")]
