"""Whose place it is: what an export refuses, removes and mends there, and what it leaves alone."""

from pathlib import Path
from shutil import copytree, rmtree

import pytest

from tests.distributions import make_wheel
from tests.exporting.export_fixture import StoreFolder, delete, export_to
from tests.exporting.sites import BASE, MANIFEST, tree
from wheelyard.errors import Unavailable
from wheelyard.exporting.site_folder import RequestedOptions
from wheelyard.exporting.site_pages import SiteWriter

ELSEWHERE = "https://files.example.com/of/ours"
COPIED = RequestedOptions(base_url=BASE, files_url="")
EARLIER = (
    '{"options":{"base_url":"%s","files":"link","files_url":"","is_gzipped":true,"store":"","brand":'
    '"","remote_images":false},"generator":"wheelyard 0.1.0, 6b64c12efcbb8ec25715bced","projects":'
    '{"gone":[2,["gone","","","","","",0,1795408577791,"","179.329",""],"",""]},'
    '"lists":{"404.html":"","favicon.ico":"","health":"","index.html":"","simple/index.html":""}}'
)
"""The manifest of a version without leases; robots.txt was there before its first export."""
OTHER = (
    '{"options":{"base_url":"%s","files_url":"","is_gzipped":true,"store":"","brand":"","remote_images"'
    ':false},"format":2,"generator":"wheelyard 0.1.0, 6b64c12efcbb8ec25715bced","foreign":'
    '["robots.txt"],"projects":[[["gone","","","","","","",0,""],7,"c0ffee",""]]}'
)
"""The manifest of a version with another format; robots.txt was there before its first export."""


@pytest.fixture
def folders(tmp_path: Path) -> StoreFolder:
    """A store with a few projects, of one of which every file was deleted."""
    folders = StoreFolder(tmp_path)
    folders.publish(*map(make_wheel, ("demo", "gone", "oldest")), make_wheel("demo", "2.0"))
    delete(folders.index, "gone", "1.0")
    return folders


def put(site: Path, *paths: str) -> None:
    """Write foreign files into a site."""
    for path in paths:
        place = site / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("theirs")


@pytest.mark.slow
@pytest.mark.parametrize("manifest", [EARLIER, OTHER], ids=["no lease", "another format"])
def test_a_site_of_an_earlier_version_is_taken_over(folders: StoreFolder, manifest: str) -> None:
    """A site of an earlier version is taken over with its options; leftovers of it go."""
    put(
        folders.site,
        *("robots.txt", "health", "notes.txt", "simple/gone-by/index.html", ".spool/upload-x"),
        *("wheelyard-export/begun.json", "wheelyard-export/projects/demo.json", ".locks/02"),
        *("wheelyard-export/public.json", "wheelyard-export/.part-1"),
    )
    (folders.site / MANIFEST).write_text(manifest % BASE)

    export_to(folders.index, folders.site, RequestedOptions())

    expected = folders.fresh(RequestedOptions(base_url=BASE, is_gzipped=True))
    expected |= dict.fromkeys(("robots.txt", "notes.txt"), b"theirs")
    del expected["robots.txt.gz"]
    assert tree(folders.site) == expected
    assert [path for path in folders.site.iterdir() if path.name.startswith(".")] == []
    assert export_to(folders.index, folders.site, RequestedOptions()).written == 0


def test_files_beside_a_site_of_an_earlier_version(folders: StoreFolder) -> None:
    """Files beside a site of an earlier version with a URL of files stay; pages are made anew."""
    foreign = f"files/gone/{'0' * 64}/gone-1.0.tar.gz"
    put(folders.site, foreign, "health")
    manifest = (EARLIER % BASE).replace('"files_url":""', f'"files_url":"{ELSEWHERE}"')
    (folders.site / "wheelyard-export").mkdir()
    (folders.site / MANIFEST).write_text(manifest)

    for _ in range(2):
        export_to(folders.index, folders.site, RequestedOptions())

        assert tree(folders.site)[foreign] == b"theirs"
        assert tree(folders.site)["health"] == b"Ok"


@pytest.mark.slow
def test_a_site_follows_a_restored_store(folders: StoreFolder) -> None:
    """After a backup was restored, the site shows what the store has, and then is at rest."""
    folders.index.changes.since(0)
    copytree(folders.store, folders.folder / "backup")
    folders.publish(
        *(
            make_wheel("demo", "3.0", "Summary: Later"),
            make_wheel("demo", "4.0"),
            make_wheel("newcomer", "1.0"),
        )
    )
    export_to(folders.index, folders.site)
    rmtree(folders.store)
    (folders.folder / "backup").rename(folders.store)
    restored = StoreFolder(folders.folder)

    result = export_to(restored.index, restored.site)

    assert result.projects == result.total
    assert tree(restored.site) == restored.fresh()
    assert export_to(restored.index, restored.site).written == 0


def test_files_are_left_elsewhere(folders: StoreFolder) -> None:
    """With a URL of files, an export deletes its copies, and nothing else."""
    index, site = folders.index, folders.site
    export_to(index, site, COPIED)
    foreign = {"files/readme.txt", "files/nobody/x.whl", "files/demo/notes.txt"}
    put(site, *foreign)
    delete(index, "demo", "1.0")
    index.changes.since(0)
    in_store = tree(folders.store)

    export_to(index, site, RequestedOptions(files_url=ELSEWHERE))

    left = tree(site)
    assert {path for path in left if path.startswith("files/")} == foreign
    assert tree(folders.store) == in_store
    for path in ("simple/demo/index.html", "simple/demo/index.json", "pypi/demo/json"):
        assert f"{ELSEWHERE}/demo/".encode() in left[path]
    assert export_to(index, site, RequestedOptions()).projects == 0


@pytest.mark.slow
def test_files_are_left_elsewhere_after_an_interrupted_export(
    folders: StoreFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a URL of files, no copy stays, though the first such export was interrupted."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    index, site, elsewhere = (
        folders.index,
        folders.site,
        RequestedOptions(files_url=ELSEWHERE),
    )
    export_to(index, site, COPIED)
    with monkeypatch.context() as patch:
        patch.setattr(SiteWriter, "delete", interrupt)
        with pytest.raises(KeyboardInterrupt):
            export_to(index, site, elsewhere)

    export_to(index, site, RequestedOptions())

    export_to(index, folders.folder / "fresh", RequestedOptions(base_url=BASE, files_url=ELSEWHERE))
    assert tree(site) == tree(folders.folder / "fresh")


def test_files_behind_a_link_are_not_exported(folders: StoreFolder) -> None:
    """Files behind a link in the store are not exported, and the error names the link."""
    kept, outside = folders.store / "files" / "oldest", folders.folder / "outside"
    kept.rename(outside)
    for path in outside.rglob("*.*"):
        path.write_bytes(b"secret".ljust(path.stat().st_size, b"!"))
    kept.symlink_to(outside)

    with pytest.raises(Unavailable, match=r"files/oldest.* Put the file or the folder itself"):
        export_to(folders.index, folders.site)

    brought = tree(folders.site)
    assert not [path for path in brought if brought[path].startswith(b"secret")]
