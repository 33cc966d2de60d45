"""A site in a folder or a bucket: what is written there, and what is refused."""

import os
import stat
from pathlib import Path

import pytest
from click import Command, Context
from msgspec.structs import replace

from tests.distributions import make_wheel
from tests.exporting.export_fixture import AT_BASE, StoreFolder, export_to, ignore
from tests.exporting.sites import tree
from tests.http.servers import memory_index
from tests.index_tables import toml_of
from wheelyard.cli.store_commands import require_site
from wheelyard.errors import Conflict, Invalid, Unavailable
from wheelyard.exporting import site_folder
from wheelyard.exporting.export import open_export
from wheelyard.exporting.site_folder import (
    MANIFEST_PATH,
    PART_PREFIX,
    PARTS,
    Options,
    RequestedOptions,
    SiteFolder,
)
from wheelyard.settings.sections import (
    MEMORY_LOCATION,
    AccessSettings,
    Settings,
    StoreSettings,
)
from wheelyard.storage.base import ABSENT, Key, ObjectVersion
from wheelyard.storage.memory import MemoryStore
from wheelyard.wiring.build import open_index
from wheelyard.wiring.stores import StoreTraits

PAGE = Key("simple/a/index.html")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return where the site is."""
    return tmp_path / "www" / "packages"


@pytest.fixture
def site(root: Path) -> SiteFolder:
    """Return an empty site."""
    return SiteFolder(root)


@pytest.mark.parametrize("umask", [0o000, 0o027, 0o077])
def test_the_umask_decides_about_modes(tmp_path: Path, umask: int) -> None:
    """Files and folders of a site have the modes that the umask gives them."""
    private, root = tmp_path / "private", tmp_path / "site"
    private.write_bytes(b"1")
    private.chmod(0o600)
    before = os.umask(umask)
    try:
        site = SiteFolder(root)
        site.put(PAGE, b"page", None)
        site.put_file(Key("files/a.whl"), private)
    finally:
        os.umask(before)
    modes = {(path.is_dir(), path.stat().st_mode & 0o777) for path in (root, *root.rglob("*"))}
    assert modes == {(True, 0o777 & ~umask), (False, 0o666 & ~umask)}


def test_a_page_is_replaced_whole_and_removed_with_its_folder(site: SiteFolder, root: Path) -> None:
    """A page is replaced whole, and removed with its empty folders."""
    site.put(PAGE, b"one", None)
    with (root / PAGE).open("rb") as reader:
        site.put(PAGE, b"two", None)
        assert reader.read() == b"one"
    assert (root / PAGE).read_bytes() == b"two"
    assert [(entry.key, entry.size) for entry in site.list("simple/")] == [(PAGE, 3)]
    site.delete(PAGE)
    site.delete(PAGE)
    assert [path.name for path in root.iterdir()] == ["wheelyard-export"]


def test_of_two_writers_of_the_manifest_one_wins(root: Path) -> None:
    """The manifest is replaced only by whoever has read it as it is."""
    one, other = SiteFolder(root), SiteFolder(root)
    version = one.put(MANIFEST_PATH, b"{}", ABSENT)
    for expect in (ABSENT, ObjectVersion(f"{version}0")):
        with pytest.raises(Conflict):
            other.put(MANIFEST_PATH, b"[]", expect)
    other.put(MANIFEST_PATH, b"[]", version)
    with pytest.raises(Conflict):
        one.put(MANIFEST_PATH, b"{ }", version)


@pytest.mark.parametrize("key", [Key("simple/a/index.html"), Key("pypi/a/json")])
def test_what_is_in_the_way_is_refused(site: SiteFolder, root: Path, key: Key) -> None:
    """A folder where a page belongs is refused, and so is a file where a folder does."""
    (root / PAGE).mkdir(parents=True)
    (root / "pypi").write_bytes(b"a file")
    with pytest.raises(Unavailable):
        site.put(key, b"", None)
    assert [path.name for path in (root / "wheelyard-export").iterdir()] == []


def test_empty_folders_of_a_killed_export_are_removed(
    site: SiteFolder, root: Path, tmp_path: Path
) -> None:
    """Empty folders, half pages and locks that exports have left go, and none behind a link."""
    for former in (".spool", ".locks"):
        (root / former).mkdir()
        (root / former / "lock").write_bytes(b"")
    (tmp_path / "outside" / "empty").mkdir(parents=True)
    (root / "files").symlink_to(tmp_path / "outside")
    (root / "simple" / "b" / "c").mkdir(parents=True)
    (root / "other").mkdir()
    site.put(PAGE, b"page", None)
    (root / PARTS / f"{PART_PREFIX}1-0").write_bytes(b"half of a page")
    site.remove_leftovers(["simple/", "files/", "pypi/"])
    assert sorted(path.name for path in root.iterdir()) == [
        "files",
        "other",
        "simple",
        "wheelyard-export",
    ]
    assert [path.name for path in (root / "simple").iterdir()] == ["a"]
    assert list((root / PARTS).iterdir()) == []
    assert (tmp_path / "outside" / "empty").is_dir()


def test_code_of_the_same_length_is_other_code(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Code that makes pages is told from other code of the same length, and not from its cache."""
    folder = tmp_path / "rendering"
    folder.mkdir()
    monkeypatch.setattr(site_folder, "__file__", str(tmp_path / "exporting" / "site_folder.py"))
    generators = list[str]()
    for name, text in (("page.py", "A"), ("page.py", "B"), ("page.pyc", "C")):
        (folder / name).write_text(text)
        generators.append(site_folder.page_generator.__wrapped__())

    assert generators[0] != generators[1]
    assert generators[1] == generators[2]


def test_links_are_not_followed(site: SiteFolder, root: Path, tmp_path: Path) -> None:
    """Neither a page nor a folder that is a link is read, written or listed."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "page").write_bytes(b"secret")
    (root / "simple").symlink_to(outside)
    (root / "page").symlink_to(outside / "page")
    for key in (Key("simple/page"), Key("page")):
        with pytest.raises(Unavailable, match="link"):
            site.put(key, b"page", None)
        with pytest.raises(Unavailable):
            site.get(key)
    with pytest.raises(Unavailable, match="symbolic links"):
        list(site.list("simple/"))
    assert (outside / "page").read_bytes() == b"secret"


def test_a_pipe_in_the_way_is_replaced(site: SiteFolder, root: Path) -> None:
    """A named pipe in the site does not block an export."""
    os.mkfifo(root / "pipe")
    site.get(Key("pipe"))
    site.put(Key("pipe"), b"page", None)
    assert stat.S_ISREG((root / "pipe").stat().st_mode)


def test_a_place_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    """A place that cannot be a folder is refused in a sentence."""
    (tmp_path / "file").write_bytes(b"")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(Unavailable, match="No site can be written to"):
            SiteFolder(place)


def test_a_folder_that_cannot_be_written_is_refused(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder in which nothing can be made is refused before an export begins, with why."""
    monkeypatch.setattr(os, "access", lambda *_: False)  # as root may write everywhere

    with pytest.raises(Unavailable, match=r"Permission denied\. Choose another folder"):
        SiteFolder(root)


def test_a_file_that_a_folder_has_lost_is_named(tmp_path: Path) -> None:
    """A project of which the folder of the store has lost a file is not exported, and says so."""
    store = StoreFolder(tmp_path)
    store.publish(make_wheel("demo"), make_wheel("other"))
    (lost,) = store.store.glob("files/demo/*/*.whl")
    lost.unlink()

    (message,) = export_to(store.index, store.site).failed

    assert f"The store holds nothing at {lost.relative_to(store.store)}" in message
    assert [path.name for path in (store.site / "project").iterdir()] == ["other"]


@pytest.mark.parametrize(
    ("location", "files", "dest", "words"),
    [
        ("store", "", "ftp://bucket", r"'ftp://bucket'\. Give a folder, gs:"),
        ("store", "", MEMORY_LOCATION, r"'memory:'\. Give a folder, gs:"),
        ("store", "", "", r"''\. Give a folder, gs:"),
        ("store", "", "store/site", "Choose a folder beside"),
        ("store", "", "store/..", "Choose a folder beside"),
        ("store", "", "link", "Choose a folder beside"),
        ("store", "", "store", "Choose a folder beside"),
        ("store", "", "tokens/site", "Choose a folder beside"),
        ("gs://wheels/store", "", "gs://wheels", "Choose another bucket"),
        ("gs://wheels/store", "", "gs://wheels/site", "Choose another bucket"),
        ("gs://wheels/store", "", "gs://wheels/store/site", "Choose another bucket"),
        ("store", "gs://open/files", "gs://open/site", "in the bucket of gs://open/files"),
    ],
    ids=[
        "no folder",
        "memory",
        "nowhere",
        "in the store",
        "around the store",
        "a link to the store",
        "the store",
        "in the tokens",
        "all of the bucket of the store",
        "the bucket of the store",
        "in the store in a bucket",
        "the bucket of the files",
    ],
)
def test_no_site_opens_the_store(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    location: str,
    files: str,
    dest: str,
    words: str,
) -> None:
    """A place that is none, or by which a reader of the site could read the store, is refused."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to("store")
    settings = Settings(
        store=StoreSettings(location=location), access=AccessSettings(credentials_store="tokens")
    )
    index = memory_index(tmp_path, settings, traits=StoreTraits(files_location=files))
    before = sorted(tmp_path.rglob("*"))

    with pytest.raises(Invalid, match=words):
        open_export(index, dest, RequestedOptions(), ignore)

    assert sorted(tmp_path.rglob("*")) == before


def test_a_site_of_another_store_is_refused(tmp_path: Path) -> None:
    """A site of another store is refused, and says nothing of the folder that its own one has."""
    stored, other = StoreFolder(tmp_path), StoreFolder(tmp_path / "other")
    export_to(stored.index, stored.site)
    manifest = (stored.site / MANIFEST_PATH).read_bytes()
    assert str(stored.store).encode() not in manifest
    before = tree(stored.site)

    with pytest.raises(Invalid, match=f"made from another store.*remove .*{MANIFEST_PATH}"):
        export_to(other.index, stored.site)

    assert (tree(stored.site), (stored.site / MANIFEST_PATH).read_bytes()) == (before, manifest)
    link = tmp_path / "link"
    link.symlink_to(stored.store)  # another spelling of the same store
    linked = open_index(Settings(store=StoreSettings(location=str(link))))
    assert export_to(linked, stored.site).written == 0
    (stored.site / MANIFEST_PATH).unlink()
    other.publish(make_wheel("theirs"))
    open_export(other.index, str(stored.site), AT_BASE, ignore).run(ignore, everything=True)
    assert tree(stored.site) == other.fresh()


SOME = '[[grant]]\nwho = ["anonymous"]\nprojects = ["{}"]\nactions = ["read"]\n'


@pytest.mark.parametrize(
    ("tables", "is_private", "is_told"),
    [
        ("", True, True),
        (SOME.format("*"), True, True),
        (SOME.format("open-*"), False, True),
        (SOME.format("*"), False, False),
    ],
    ids=["private", "private and granted to all", "granted in part", "granted to all"],
)
def test_a_private_index_warns_of_a_public_site(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    tables: str,
    *,
    is_private: bool,
    is_told: bool,
) -> None:
    """For a private index, one warning says that every reader of the site can read everything."""
    settings = Settings(access=AccessSettings(private=is_private))
    granted = toml_of(main={"read": "granted"})
    index = memory_index(tmp_path, settings, tables=f"{granted}\n{tables}")

    with Context(Command("upload")):
        require_site(index, str(tmp_path / "site"))

    warning = f"whoever can read {tmp_path / 'site'} reads everything"
    assert capsys.readouterr().err.count(warning) == is_told


@pytest.mark.parametrize(
    ("before", "requested", "has_public"),
    [
        ("", None, True),
        ("", "https://packages.acme.dev", False),
        ("https://packages.acme.dev", None, False),
        ("https://packages.acme.dev", "", True),
    ],
)
def test_files_elsewhere_are_of_private_projects(
    before: str, requested: str | None, *, has_public: bool
) -> None:
    """A site has public packages unless its files are at a server, which has private ones alone."""
    new = Options(base_url="https://site.acme.dev", has_public=True)
    previous = replace(new, files_url=before)

    options = RequestedOptions(files_url=requested).merged_with(previous, new, "site")

    assert options.has_public is has_public


def test_no_copies_are_made_in_the_place_of_the_stores_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A site at the very place of the store's public files is refused unless it links to them."""
    location, other = "gs://site/open", MemoryStore(lambda: 0.0)
    monkeypatch.setattr("wheelyard.exporting.export.open_single_store", lambda *_: other)
    settings = Settings(store=StoreSettings(downloads="public"))
    index = memory_index(tmp_path, settings, traits=StoreTraits(files_location=location))

    with pytest.raises(Invalid, match="store's own files"):
        open_export(index, f"{location}/", RequestedOptions(), ignore)
    linking = RequestedOptions(files_url="https://files.example.com/open/files")
    assert not open_export(index, location, linking, ignore).owns_files
    assert open_export(index, f"{location}/copied", RequestedOptions(), ignore).owns_files
