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


@pytest.mark.parametrize("place", ["store", "store/site", ".", "store/files", "link"])
def test_not_into_the_store(stocked: Yard, wheelyard: Typed, place: str) -> None:
    """A site that has the store in it, or is in it, would show credentials, and is refused."""
    (stocked.folder / "link").symlink_to(stocked.store)
    before = tree(stocked.store)

    done = wheelyard("export", stocked.folder / place, "--store", stocked.store)

    assert done.returncode == 1
    assert "Choose a folder beside the store" in done.stderr
    assert tree(stocked.store) == before


def test_not_beside_the_credentials(stocked: Yard, wheelyard: Typed) -> None:
    """The place of the tokens is no place for a site, either."""
    tokens = stocked.folder / "tokens"
    config = stocked.folder / "wheelyard.toml"
    config.write_text(f'[access]\ncredentials_store = "{tokens}"\n')

    done = wheelyard("export", tokens / "site", "--store", stocked.store, "--config", config)

    assert done.returncode == 1
    assert "credentials" in done.stderr


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


def test_nothing_to_export(desk: Desk, wheelyard: Typed) -> None:
    """Where there is no store, there is nothing to export, in memory neither."""
    for store in (desk.folder / "store", "memory:"):
        done = wheelyard("export", desk.folder / "site", "--store", store)
        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
        assert not (desk.folder / "site").exists()


def test_somebody_elses_folder(stocked: Yard, wheelyard: Typed) -> None:
    """A place that cannot be written is named, and why."""
    blocked = stocked.folder / "file"
    blocked.write_text("")

    done = wheelyard("export", blocked / "site", "--store", stocked.store)

    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "Choose another folder" in done.stderr


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
