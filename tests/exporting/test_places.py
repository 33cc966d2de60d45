"""Whose place it is: what an export refuses, removes and mends there, and what it leaves alone."""

from pathlib import Path
from shutil import copytree, rmtree

import pytest

from tests.cli.conftest import Typed
from tests.clients.harness import Sandbox
from tests.exporting.export_fixture import ExportHarness, delete
from tests.exporting.sites import BASE, MANIFEST, broken, pages_of, reader, tree
from tests.fake_gcs.server import FakeGcs
from tests.http.packages import wheel
from wheelyard.operations.exporting.manifest import FileMode, RequestedOptions

pytestmark = pytest.mark.integration

ELSEWHERE = "https://files.example.com/of/ours"
AT = ("--base-url", BASE)
FOREIGN = (
    *("simple/my-backup.tar.gz", "project/notes.gz", "pypi/dump/all.json.gz", "other.gz"),
    *("simple/nobody/index.html.gz", "index.html.gz.gz", "files/dump.gz"),
)


def put(site: Path, *paths: str) -> None:
    """Write foreign files into a site."""
    for path in paths:
        place = site / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("theirs")


@pytest.mark.parametrize("was_gzipped", [True, False])
def test_only_our_compressed_pages_go(stocked: ExportHarness, was_gzipped: bool) -> None:  # noqa: FBT001
    """Where pages are made anew, only compressed pages of ours go, and no other `.gz`."""
    stocked.export(asked=RequestedOptions(base_url=BASE, is_gzipped=was_gzipped))
    put(stocked.site, *FOREIGN)

    stocked.export(asked=RequestedOptions(base_url=BASE, is_gzipped=False))
    stocked.site.joinpath(MANIFEST).unlink()
    stocked.export()

    left = {path for path in tree(stocked.site) if path.endswith(".gz")}
    archives = {path for path in left if path.endswith(".tar.gz") and path not in FOREIGN}
    assert left - archives == set(FOREIGN)


@pytest.mark.parametrize("path", ["index.html", "simple/index.html", "simple/demo/index.html"])
def test_somebody_elses_site(stocked: ExportHarness, wheelyard: Typed, path: str) -> None:
    """Pages that no export has made are not written over, however often one asks."""
    put(stocked.site, path)

    for _ in range(2):
        done = wheelyard("export", stocked.site, "--store", stocked.store, *AT)

        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
        assert path in done.stderr
        assert "Choose an empty place" in done.stderr
        assert tree(stocked.site) == {path: b"theirs"}


def test_another_store(harness: ExportHarness, wheelyard: Typed) -> None:
    """A site of another store is refused, and taken over where its manifest is removed."""
    harness.publish(wheel("ours", "1.0"), wheel("both", "1.0"))
    other = ExportHarness(harness.folder / "other")
    other.folder.mkdir()
    other.publish(wheel("theirs", "1.0"), wheel("both", "2.0"))
    wheelyard("export", harness.site, "--store", harness.store, *AT)
    before = tree(harness.site)
    manifest = harness.site.joinpath(MANIFEST).read_bytes()

    line = ("export", harness.site, "--store", other.store, *AT)
    done = wheelyard(*line)

    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "another store" in done.stderr
    assert MANIFEST in done.stderr
    assert tree(harness.site) == before
    assert harness.site.joinpath(MANIFEST).read_bytes() == manifest
    assert str(harness.store).encode() not in manifest
    link = harness.folder / "link"
    link.symlink_to(harness.store)
    assert wheelyard("export", harness.site, "--store", link).returncode == 0  # another spelling
    harness.site.joinpath(MANIFEST).unlink()
    assert wheelyard(*line).returncode == 0
    other.export()
    assert (harness.site / "search.json").read_bytes() == (other.site / "search.json").read_bytes()


def restored(harness: ExportHarness, backup: Path) -> ExportHarness:
    """Put a backup in the store's place, and open it."""
    rmtree(harness.store)
    copytree(backup, harness.store)
    return ExportHarness(harness.folder)


def test_a_restored_store(stocked: ExportHarness) -> None:
    """After a backup was restored, the site shows what the store has, and then is at rest."""
    backup = stocked.folder / "backup"
    copytree(stocked.store, backup)
    stocked.publish(
        wheel("demo", "3.0", "Summary: Later"),
        wheel("demo", "4.0", "Summary: Latest"),
        wheel("newcomer", "1.0"),
    )
    stocked.export()
    harness = restored(stocked, backup)

    harness.export()

    assert harness.log_of().writes == []
    fresh = harness.folder / "fresh"
    harness.export(fresh)
    here = {
        path: body for path, body in tree(harness.site).items() if not path.startswith("files/")
    }
    there = {path: body for path, body in tree(fresh).items() if not path.startswith("files/")}
    assert here == there
    assert broken(reader(harness.site), pages_of(harness.site)) == []


@pytest.mark.parametrize("before", [FileMode.COPY, FileMode.LINK])
def test_files_are_left_elsewhere(stocked: ExportHarness, before: FileMode) -> None:
    """Where files are left elsewhere from now on, none of ours stays; what is not ours does."""
    stocked.export(asked=RequestedOptions(base_url=BASE, files=before))
    stocked.export(
        asked=RequestedOptions(files=FileMode.LEAVE, files_url=f"{BASE}/files")
    )  # its own
    assert broken(reader(stocked.site), pages_of(stocked.site)) == []
    stocked.export(asked=RequestedOptions(base_url=BASE, files=before))
    put(stocked.site, "files/readme.txt", "files/nobody/x.whl", "files/demo/notes.txt")
    delete(stocked.index, "demo", "1.0")
    in_store = tree(stocked.store)

    stocked.export(asked=RequestedOptions(files=FileMode.LEAVE, files_url=ELSEWHERE))

    left = {path for path in tree(stocked.site) if path.startswith("files/")}
    assert left == {"files/readme.txt", "files/nobody/x.whl", "files/demo/notes.txt"}
    assert tree(stocked.store) == in_store
    assert stocked.log_of(asked=RequestedOptions()).writes == []


def test_a_damaged_site(stocked: ExportHarness, wheelyard: Typed) -> None:
    """With --all, removed and changed files of the site are written again."""
    line = ("export", stocked.site, "--store", stocked.store, *AT)
    wheelyard(*line, "--gzip")
    before = tree(stocked.site)
    rmtree(stocked.site / "simple/demo")
    rmtree(stocked.site / "files/many")
    (stocked.site / "simple/index.html").write_text("oops")

    assert "0 of them exported anew" in wheelyard(*line).stdout
    done = wheelyard("export", stocked.site, "--store", stocked.store, "--all")

    assert (done.returncode, done.stderr) == (0, "")
    assert "13 of them exported anew" in done.stdout
    assert tree(stocked.site) == before


@pytest.mark.parametrize("is_first", [True, False])
def test_one_lost_file(stocked: ExportHarness, wheelyard: Typed, is_first: bool) -> None:  # noqa: FBT001
    """What cannot be exported is told of, a line each, and all else is exported, lists and all."""
    line = ("export", stocked.site, "--store", stocked.store, *AT)
    if not is_first:
        wheelyard(*line)
    stocked.publish(wheel("demo", "7.0"), wheel("last", "1.0"), wheel("lossy", "1.0"))
    stocked.publish(wheel("aardvark", "1.0"))
    files = stocked.store.joinpath("files")
    lost = [path for name in ("demo-7.0", "lossy") for path in files.rglob(f"{name}*.whl")]
    data = {path: path.read_bytes() for path in lost}
    for path in lost:
        path.unlink()

    done = wheelyard(*line)

    assert (done.returncode, len(done.stderr.splitlines())) == (1, 2)
    assert all(path.name in done.stderr for path in lost)
    assert broken(reader(stocked.site), pages_of(stocked.site)) == []
    listed = (stocked.site / "simple/index.html").read_text()
    assert "aardvark/" in listed
    assert "last/" in listed
    assert "lossy/" not in listed
    assert ("demo/" in listed) is not is_first
    assert '"last"' in (stocked.site / "search.json").read_text()
    again = wheelyard(*line)
    assert (again.returncode, len(again.stderr.splitlines())) == (1, 2)
    assert "0 of them exported anew" in again.stdout

    for path in lost:
        path.write_bytes(data[path])
    assert wheelyard(*line).returncode == 0
    stocked.assert_fresh()


def test_upload_with_a_wrong_place(sandbox: Sandbox, wheelyard: Typed) -> None:
    """Where the site cannot be written, nothing is published."""
    made = wheel("one")
    dist = sandbox.folder / made.filename
    dist.write_bytes(made.data)
    put(sandbox.folder / "theirs", "index.html")
    (sandbox.folder / "file").write_text("")

    for place in ("theirs", "file", "s3://bucket", "wheelyard-data"):
        done = wheelyard("upload", dist, "--export", place)
        assert done.returncode == 1
        assert done.stdout == ""
    assert wheelyard("list").stdout == ""


@pytest.mark.parametrize("place", ["store", "store/site", ".", "store/files", "link", "tokens/x"])
def test_not_into_the_store(stocked: ExportHarness, wheelyard: Typed, place: str) -> None:
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
    sandbox: Sandbox, wheelyard: Typed, cloud: FakeGcs, place: str
) -> None:
    """A bucket is open as a whole, so the store's is refused wherever in it the site would be."""
    new = sandbox.folder / "demo-1.0-py3-none-any.whl"
    new.write_bytes(wheel("demo").data)
    store = ("--store", "gs://wheels/store")
    assert wheelyard("upload", new, *store, **cloud.environment()).returncode == 0
    before = cloud.bucket("wheels").names()

    done = wheelyard("export", place, *store, **cloud.environment())

    assert done.returncode == 1
    assert "Choose another bucket" in done.stderr
    assert cloud.bucket("wheels").names() == before


@pytest.mark.parametrize("place", ["", "s3://bucket", "memory:", "gs://", "https://x.example/"])
def test_no_place(stocked: ExportHarness, sandbox: Sandbox, wheelyard: Typed, place: str) -> None:
    """What is no place for a site is refused in one sentence, and nothing is written."""
    done = wheelyard("export", place, "--store", stocked.store)

    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert list(sandbox.folder.iterdir()) == []


def test_nothing_can_be_exported(
    stocked: ExportHarness, sandbox: Sandbox, wheelyard: Typed
) -> None:
    """Where there is no store, not in memory either, or no folder to write, it says so."""
    blocked = stocked.folder / "file"
    blocked.write_text("")
    stores = (sandbox.folder / "store", "memory:", stocked.store)
    done = [wheelyard("export", blocked / "site", "--store", store) for store in stores]
    assert [(each.returncode, len(each.stderr.splitlines())) for each in done] == [(1, 1)] * 3
    assert "Choose another folder" in done[-1].stderr


def test_foreign_things_in_the_way(stocked: ExportHarness, wheelyard: Typed) -> None:
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
def test_a_link_in_the_store(stocked: ExportHarness, wheelyard: Typed, files: str) -> None:
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
