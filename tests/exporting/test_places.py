"""Whose place it is: what an export refuses, removes and mends there, and what it leaves alone."""

from pathlib import Path
from shutil import copytree, rmtree

import pytest

from tests.cli.conftest import Typed
from tests.distributions import make_wheel
from tests.exporting.export_fixture import StoreFolder, delete, export_to
from tests.exporting.sites import BASE, MANIFEST, broken, tree
from wheelyard.errors import Unavailable
from wheelyard.exporting.site_folder import RequestedOptions
from wheelyard.exporting.site_pages import SiteWriter

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
OTHER = (
    '{"options":{"base_url":"%s","files_url":"","is_gzipped":true,"store":"","brand":"","remote_images"'
    ':false},"format":2,"generator":"wheelyard 0.1.0, 6b64c12efcbb8ec25715bced","foreign":'
    '["robots.txt"],"projects":[[["gone","","","","","","",0,""],7,"c0ffee",""]]}'
)
"""The manifest of a version with another format; robots.txt was there before its first export."""


def put(site: Path, *paths: str) -> None:
    """Write foreign files into a site."""
    for path in paths:
        place = site / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("theirs")


@pytest.mark.parametrize("manifest", [EARLIER, OTHER], ids=["no lease", "another format"])
def test_a_site_of_an_earlier_version_is_taken_over(
    stocked_store: StoreFolder, manifest: str
) -> None:
    """A site of an earlier version is taken over with its options; leftovers of it go."""
    put(
        stocked_store.site,
        *("robots.txt", "health", "notes.txt", "simple/gone-by/index.html", ".spool/upload-x"),
        *("wheelyard-export/begun.json", "wheelyard-export/projects/demo.json", ".locks/02"),
        *("wheelyard-export/public.json", "wheelyard-export/.part-1"),
    )
    (stocked_store.site / MANIFEST).write_text(manifest % BASE)

    export_to(stocked_store.index, stocked_store.site, RequestedOptions())

    expected = stocked_store.fresh(RequestedOptions(base_url=BASE, is_gzipped=True))
    expected |= dict.fromkeys(("robots.txt", "notes.txt"), b"theirs")
    del expected["robots.txt.gz"]
    assert tree(stocked_store.site) == expected
    assert [path for path in stocked_store.site.iterdir() if path.name.startswith(".")] == []
    assert export_to(stocked_store.index, stocked_store.site, RequestedOptions()).written == 0


def test_files_beside_a_site_of_an_earlier_version(stocked_store: StoreFolder) -> None:
    """Files beside a site of an earlier version with a URL of files stay."""
    foreign = f"files/gone/{'0' * 64}/gone-1.0.tar.gz"
    put(stocked_store.site, foreign)
    manifest = (EARLIER % BASE).replace('"files_url":""', f'"files_url":"{ELSEWHERE}"')
    (stocked_store.site / "wheelyard-export").mkdir()
    (stocked_store.site / MANIFEST).write_text(manifest)

    for _ in range(2):
        export_to(stocked_store.index, stocked_store.site, RequestedOptions())

        assert tree(stocked_store.site)[foreign] == b"theirs"


@pytest.mark.parametrize("path", ["index.html", "simple/index.html", "simple/demo/index.html"])
def test_pages_of_others_are_left_alone(
    stocked_store: StoreFolder, wheelyard: Typed, path: str
) -> None:
    """Pages that no export has made are not written over, however often one asks."""
    put(stocked_store.site, path)

    for _ in range(2):
        done = wheelyard("export", stocked_store.site, "--store", stocked_store.store)

        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
        assert path in done.stderr
        assert "Choose an empty place" in done.stderr
        assert tree(stocked_store.site) == {path: b"theirs"}

    assert (
        wheelyard("export", stocked_store.site, "--store", stocked_store.store, "--all").returncode
        == 0
    )
    assert tree(stocked_store.site)[path] != b"theirs"


def test_a_site_of_another_store_is_refused(stocked_store: StoreFolder, wheelyard: Typed) -> None:
    """A site of another store is refused, and taken over where its manifest is removed."""
    other = StoreFolder(stocked_store.folder / "other")
    other.folder.mkdir()
    other.publish(make_wheel("theirs", "1.0"), make_wheel("demo", "2.0"))
    wheelyard("export", stocked_store.site, "--store", stocked_store.store, *AT)
    before, manifest = tree(stocked_store.site), (stocked_store.site / MANIFEST).read_bytes()
    assert str(stocked_store.store).encode() not in manifest
    line = ("export", stocked_store.site, "--store", other.store)

    done = wheelyard(*line)

    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "another store" in done.stderr
    assert MANIFEST in done.stderr
    assert (tree(stocked_store.site), (stocked_store.site / MANIFEST).read_bytes()) == (
        before,
        manifest,
    )
    link = stocked_store.folder / "link"
    link.symlink_to(stocked_store.store)
    assert (
        wheelyard("export", stocked_store.site, "--store", link).returncode == 0
    )  # another spelling
    (stocked_store.site / MANIFEST).unlink()
    assert wheelyard(*line, "--all").returncode == 0
    assert "theirs/" in (stocked_store.site / "simple/index.html").read_text()


def test_a_site_follows_a_restored_store(stocked_store: StoreFolder) -> None:
    """After a backup was restored, the site shows what the store has, and then is at rest."""
    stocked_store.index.changes.since(0)
    copytree(stocked_store.store, stocked_store.folder / "backup")
    stocked_store.publish(
        *(
            make_wheel("demo", "3.0", "Summary: Later"),
            make_wheel("demo", "4.0"),
            make_wheel("newcomer", "1.0"),
        )
    )
    export_to(stocked_store.index, stocked_store.site)
    rmtree(stocked_store.store)
    (stocked_store.folder / "backup").rename(stocked_store.store)
    restored = StoreFolder(stocked_store.folder)

    result = export_to(restored.index, restored.site)

    assert result.projects == result.total
    assert tree(restored.site) == restored.fresh()
    assert export_to(restored.index, restored.site).written == 0


def test_files_are_left_elsewhere(stocked_store: StoreFolder) -> None:
    """With a URL of files, an export deletes its copies, and nothing else."""
    index, site, own = (
        stocked_store.index,
        stocked_store.site,
        RequestedOptions(files_url=f"{BASE}/files"),
    )
    export_to(index, site, COPIED)
    export_to(index, site, own)  # the files are those that it has
    assert broken(tree(site)) == []
    export_to(index, site, COPIED)
    foreign = {"files/readme.txt", "files/nobody/x.whl", "files/demo/notes.txt"}
    put(site, *foreign)
    delete(index, "demo", "1.0")
    index.changes.since(0)
    in_store = tree(stocked_store.store)

    export_to(index, site, RequestedOptions(files_url=ELSEWHERE))

    left = tree(site)
    assert {path for path in left if path.startswith("files/")} == foreign
    assert tree(stocked_store.store) == in_store
    for path in ("simple/demo/index.html", "simple/demo/index.json", "pypi/demo/json"):
        assert f"{ELSEWHERE}/demo/".encode() in left[path]
    assert export_to(index, site, RequestedOptions()).projects == 0


def test_files_are_left_elsewhere_after_an_interrupted_export(
    stocked_store: StoreFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a URL of files, no copy stays, though the first such export was interrupted."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    index, site, elsewhere = (
        stocked_store.index,
        stocked_store.site,
        RequestedOptions(files_url=ELSEWHERE),
    )
    export_to(index, site, COPIED)
    with monkeypatch.context() as patch:
        patch.setattr(SiteWriter, "delete", interrupt)
        with pytest.raises(KeyboardInterrupt):
            export_to(index, site, elsewhere)

    export_to(index, site, RequestedOptions())

    export_to(
        index, stocked_store.folder / "fresh", RequestedOptions(base_url=BASE, files_url=ELSEWHERE)
    )
    assert tree(site) == tree(stocked_store.folder / "fresh")


@pytest.mark.parametrize(
    ("place", "words"),
    [
        *((place, "Choose a folder beside") for place in ("store", "store/site", ".", "link")),
        *(("tokens/x", "Choose a folder beside"), ("file/site", "Choose another folder")),
        *((place, "Give a folder, gs:") for place in ("ftp://bucket", "https://x.example/")),
    ],
)
def test_what_is_no_place_is_refused(
    stocked_store: StoreFolder, wheelyard: Typed, place: str, words: str
) -> None:
    """A place that is none, or that has or is in the store or the tokens, is refused."""
    (stocked_store.folder / "link").symlink_to(stocked_store.store)
    (stocked_store.folder / "file").write_text("")
    (stocked_store.folder / "tokens").mkdir()
    tokens = {"WHEELYARD_ACCESS_CREDENTIALS_STORE": str(stocked_store.folder / "tokens")}
    before = tree(stocked_store.folder)
    dest = place if "://" in place else stocked_store.folder / place

    done = wheelyard("export", dest, "--store", stocked_store.store, **tokens)

    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert words in done.stderr
    assert tree(stocked_store.folder) == before


def test_files_behind_a_link_are_not_exported(stocked_store: StoreFolder) -> None:
    """Files behind a link in the store are not exported, and the error names the link."""
    kept, outside = stocked_store.store / "files" / "oldest", stocked_store.folder / "outside"
    kept.rename(outside)
    for path in outside.rglob("*.*"):
        path.write_bytes(b"secret".ljust(path.stat().st_size, b"!"))
    kept.symlink_to(outside)

    with pytest.raises(Unavailable, match=r"files/oldest.* Put the file or the folder itself"):
        export_to(stocked_store.index, stocked_store.site)

    brought = tree(stocked_store.site)
    assert not [path for path in brought if brought[path].startswith(b"secret")]
