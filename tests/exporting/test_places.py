"""Whose place it is: what an export refuses, removes and mends there, and what it leaves alone."""

from pathlib import Path
from shutil import copytree, rmtree

import pytest

from tests.cli.conftest import Typed
from tests.clients.harness import Sandbox
from tests.exporting.export_fixture import StoreFolder, delete, export_to
from tests.exporting.sites import BASE, MANIFEST, broken, tree
from tests.fake_gcs.server import FakeGcs
from tests.http.packages import wheel
from wheelyard.exporting.manifest import RequestedOptions
from wheelyard.exporting.site import SiteWriter

pytestmark = pytest.mark.integration

ELSEWHERE = "https://files.example.com/of/ours"
AT = ("--base-url", BASE)
COPIED = RequestedOptions(base_url=BASE, files_url="")
EARLIER = (
    '{"options":{"base_url":"%s","files":"link","files_url":"","is_gzipped":true,"store":"","brand":'
    '"","remote_images":false},"generator":"wheelyard 0.1.0, 6b64c12efcbb8ec25715bced","projects":'
    '{"gone":[2,["gone","","","","","",0,1795408577791,"","179.329",""],"",""]},'
    '"lists":{"404.html":"","favicon.ico":"","health":"","index.html":"","simple/index.html":""}}'
)
"""The manifest of a version without leases; robots.txt was there before its first export."""


def put(site: Path, *paths: str) -> None:
    """Write foreign files into a site."""
    for path in paths:
        place = site / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("theirs")


def test_a_site_of_an_earlier_version(stocked: StoreFolder) -> None:
    """Its options are kept, and so are its owner's pages; what it needed besides pages goes."""
    put(
        stocked.site,
        *("robots.txt", "health", "notes.txt", "simple/gone-by/index.html", ".spool/upload-x"),
        *("wheelyard-export/begun.json", "wheelyard-export/projects/demo.json", ".locks/02"),
        *("wheelyard-export/public.json", "wheelyard-export/.part-1"),
    )
    (stocked.site / MANIFEST).write_text(EARLIER % BASE)

    export_to(stocked.index, stocked.site, RequestedOptions())

    left, fresh = tree(stocked.site), stocked.folder / "fresh"
    assert (left.pop("robots.txt"), left.pop("notes.txt")) == (b"theirs", b"theirs")
    export_to(stocked.index, fresh, RequestedOptions(base_url=BASE, is_gzipped=True))
    expected = tree(fresh)
    for path in ("robots.txt", "robots.txt.gz"):
        expected.pop(path)
    assert left == expected
    assert sorted(path.name for path in stocked.site.iterdir() if path.name.startswith(".")) == []
    assert export_to(stocked.index, stocked.site, RequestedOptions()).written == 0


@pytest.mark.parametrize("path", ["index.html", "simple/index.html", "simple/demo/index.html"])
def test_somebody_elses_site(stocked: StoreFolder, wheelyard: Typed, path: str) -> None:
    """Pages that no export has made are not written over, however often one asks."""
    put(stocked.site, path)

    for _ in range(2):
        done = wheelyard("export", stocked.site, "--store", stocked.store, *AT)

        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
        assert path in done.stderr
        assert "Choose an empty place" in done.stderr
        assert tree(stocked.site) == {path: b"theirs"}

    assert wheelyard("export", stocked.site, "--store", stocked.store, "--all").returncode == 0
    assert tree(stocked.site)[path] != b"theirs"


def test_another_store(stocked: StoreFolder, wheelyard: Typed) -> None:
    """A site of another store is refused, and taken over where its manifest is removed."""
    other = StoreFolder(stocked.folder / "other")
    other.folder.mkdir()
    other.publish(wheel("theirs", "1.0"), wheel("demo", "2.0"))
    wheelyard("export", stocked.site, "--store", stocked.store, *AT)
    before = tree(stocked.site)
    manifest = (stocked.site / MANIFEST).read_bytes()

    line = ("export", stocked.site, "--store", other.store, *AT)
    done = wheelyard(*line)

    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "another store" in done.stderr
    assert MANIFEST in done.stderr
    assert (tree(stocked.site), (stocked.site / MANIFEST).read_bytes()) == (before, manifest)
    assert str(stocked.store).encode() not in manifest
    link = stocked.folder / "link"
    link.symlink_to(stocked.store)
    assert wheelyard("export", stocked.site, "--store", link).returncode == 0  # another spelling
    (stocked.site / MANIFEST).unlink()
    assert wheelyard(*line, "--all").returncode == 0
    assert "theirs/" in (stocked.site / "simple/index.html").read_text()


def test_a_restored_store(stocked: StoreFolder) -> None:
    """After a backup was restored, the site shows what the store has, and then is at rest."""
    backup = stocked.folder / "backup"
    copytree(stocked.store, backup)
    stocked.publish(
        *(wheel("demo", "3.0", "Summary: Later"), wheel("demo", "4.0"), wheel("newcomer", "1.0"))
    )
    export_to(stocked.index, stocked.site, COPIED)
    rmtree(stocked.store)
    backup.rename(stocked.store)
    restored = StoreFolder(stocked.folder)

    export_to(restored.index, restored.site, COPIED)

    export_to(restored.index, restored.folder / "fresh", COPIED)
    assert tree(restored.site) == tree(restored.folder / "fresh")
    assert export_to(restored.index, restored.site, COPIED).written == 0


def test_files_are_left_elsewhere(stocked: StoreFolder) -> None:
    """Where files are left elsewhere from now on, none of ours stays; what is not ours does."""
    index, site, own = stocked.index, stocked.site, RequestedOptions(files_url=f"{BASE}/files")
    export_to(index, site, COPIED)
    export_to(index, site, own)  # the files are those that it has
    assert broken(tree(site)) == []
    export_to(index, site, COPIED)
    foreign = {"files/readme.txt", "files/nobody/x.whl", "files/demo/notes.txt"}
    put(site, *foreign)
    delete(index, "demo", "1.0")
    in_store = tree(stocked.store)

    export_to(index, site, RequestedOptions(files_url=ELSEWHERE))

    assert {path for path in tree(site) if path.startswith("files/")} == foreign
    assert tree(stocked.store) == in_store
    for path in ("index.html", "index.json"):
        assert f"{ELSEWHERE}/demo/".encode() in tree(site)[f"simple/demo/{path}"]
    assert f"{ELSEWHERE}/demo/".encode() in tree(site)["pypi/demo/json"]
    assert export_to(index, site, RequestedOptions()).projects == 0


def test_files_are_left_elsewhere_after_an_interrupted_export(
    stocked: StoreFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No copy stays, though the export that was told so first was interrupted."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    index, site, elsewhere = stocked.index, stocked.site, RequestedOptions(files_url=ELSEWHERE)
    export_to(index, site, COPIED)
    with monkeypatch.context() as patch:
        patch.setattr(SiteWriter, "delete", interrupt)
        with pytest.raises(KeyboardInterrupt):
            export_to(index, site, elsewhere)

    export_to(index, site, RequestedOptions())

    export_to(index, stocked.folder / "fresh", RequestedOptions(base_url=BASE, files_url=ELSEWHERE))
    assert tree(site) == tree(stocked.folder / "fresh")


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
def test_not_into_the_store(stocked: StoreFolder, wheelyard: Typed, place: str) -> None:
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


def test_no_place(stocked: StoreFolder, sandbox: Sandbox, wheelyard: Typed) -> None:
    """What is no place, or no store, is refused in one sentence, and nothing is written."""
    for place in ("", "s3://bucket", "memory:", "gs://", "https://x.example/"):
        done = wheelyard("export", place, "--store", stocked.store)
        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert list(sandbox.folder.iterdir()) == []
    (stocked.folder / "file").write_text("")
    stores = (sandbox.folder / "store", "memory:", stocked.store)
    blocked = stocked.folder / "file" / "site"
    results = [wheelyard("export", blocked, "--store", store) for store in stores]
    assert [(done.returncode, len(done.stderr.splitlines())) for done in results] == [(1, 1)] * 3
    assert "Choose another folder" in results[-1].stderr


def test_a_link_in_the_site(stocked: StoreFolder, wheelyard: Typed) -> None:
    """A link out of the site's folder is not followed."""
    outside = stocked.folder / "outside"
    outside.mkdir()
    stocked.site.mkdir()
    (stocked.site / "simple").symlink_to(outside)

    done = wheelyard("export", stocked.site, "--store", stocked.store, *AT)

    assert done.returncode == 1
    assert "simple" in done.stderr
    assert list(outside.iterdir()) == []


def test_a_link_in_the_store(stocked: StoreFolder, wheelyard: Typed) -> None:
    """What lies behind a link in the store is not brought to a site, and it is said where."""
    kept, outside = stocked.store / "files" / "demo", stocked.folder / "outside"
    kept.rename(outside)
    for path in outside.rglob("*.*"):
        path.write_bytes(b"secret"[:6].ljust(path.stat().st_size, b"!"))
    kept.symlink_to(outside)

    done = wheelyard("export", stocked.site, "--store", stocked.store, *AT)

    assert done.returncode == 1
    assert "files/demo" in done.stderr
    assert "Put the file or the folder itself there" in done.stderr
    brought = [path for path in stocked.site.rglob("*") if path.is_file()]
    assert not [path for path in brought if path.read_bytes().startswith(b"secret")]
