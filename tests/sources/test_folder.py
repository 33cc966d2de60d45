"""The files of a local folder, and which folders can be watched."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.distributions import make_sdist, make_wheel
from tests.fake_time import Clock
from tests.refused import refused
from tests.sources.offering import make_unreadable, md5, opened, taken
from wheelyard.errors import Invalid
from wheelyard.sources.bucket_tree import PAGE_LIMIT_BYTES, open_watched_tree
from wheelyard.sources.candidate import Candidate, Skipped
from wheelyard.sources.dumb_pypi import resolve_packages_url
from wheelyard.sources.file_tree import SIDECAR_LIMIT_BYTES, FileTreeSource, FolderTree
from wheelyard.sources.web_index import IndexSource

WHEEL = make_wheel()
SDIST = make_sdist()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with distributions in it and in folders within, and much else."""
    folder = tmp_path / "packages"
    for name in ("demo", ".hidden", "store", "elsewhere"):
        (folder / name).mkdir(parents=True)
        (folder / name / SDIST.filename).write_bytes(SDIST.body)
    (folder / "elsewhere").rename(tmp_path / "elsewhere")
    (folder / WHEEL.filename).write_bytes(WHEEL.body)
    os.utime(folder / WHEEL.filename, (0, 1_500_000_000))
    (folder / "linked-1.0.tar.gz").symlink_to(tmp_path / "elsewhere" / SDIST.filename)
    (folder / "lost-1.0.tar.gz").symlink_to("nowhere")
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(folder / "pipe-1.0.zip")
    for name in (f"{WHEEL.filename}.metadata", f"{WHEEL.filename}.sha256", "index.html", ".x.whl"):
        (folder / name).touch()
    (folder / "README").touch()
    return folder


def test_files_are_offered_by_name(folder: Path) -> None:
    """Distributions are offered in the order of their names; hidden ones and the store are not."""
    source = FileTreeSource(FolderTree(folder, (folder / "store",)))

    candidates = [each for each in source.candidates() if isinstance(each, Candidate)]

    names = ["demo-1.0-py3-none-any.whl", "linked-1.0.tar.gz", "demo/demo-1.0.tar.gz"]
    assert [each.location for each in candidates] == [str(folder / name) for name in names]
    assert [each.filename for each in candidates] == [name.rpartition("/")[2] for name in names]
    with candidates[0].read() as pieces:
        assert b"".join(pieces) == WHEEL.body
    assert [each.size for each in candidates] == [len(WHEEL.body), *2 * [len(SDIST.body)]]
    assert candidates[0].uploaded_at == datetime(2017, 7, 14, 2, 40, tzinfo=UTC)
    assert candidates[0].changed_at == (folder / WHEEL.filename).stat().st_ctime
    assert source.total() == 3


def test_what_is_passed_over(folder: Path) -> None:
    """Other files are told of, but for those that go with packages; links to nothing are faults."""
    source = FileTreeSource(FolderTree(folder, (folder / "store",)))

    others = {
        Path(each.location).name: each.is_error
        for each in source.candidates()
        if isinstance(each, Skipped)
    }

    assert others == {"README": False, "pipe-1.0.zip": False, "lost-1.0.tar.gz": True}


def test_links_in_circles(folder: Path) -> None:
    """A link that leads to itself is told of, and hides nothing."""
    before = FileTreeSource(FolderTree(folder)).total()
    for name in ("loop", "loop-1.0.tar.gz"):
        (folder / name).symlink_to(name)

    source = FileTreeSource(FolderTree(folder))

    skipped = {
        Path(each.location).name: each for each in source.candidates() if isinstance(each, Skipped)
    }
    assert "symbolic links" in skipped["loop"].why
    assert "symbolic links" in skipped["loop-1.0.tar.gz"].why
    assert skipped["loop-1.0.tar.gz"].is_error
    assert source.total() == before


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("packages/README", "files"),
        (f"packages/demo/{SDIST.filename}", "files"),
        (f"packages/demo/1.0/{SDIST.filename}", "gaepypi"),
        (f"{md5(SDIST.filename.encode())[:4]}/demo/{SDIST.filename}", "pypicloud"),
    ],
    ids=["no packages", "a folder for each project", "one for each version", "one for each hash"],
)
def test_what_a_folder_is_taken_for(tmp_path: Path, path: str, kind: str) -> None:
    """A folder is taken for a system's copy by where its packages are, and never without any."""
    place = tmp_path / "copy" / path
    place.parent.mkdir(parents=True)
    place.write_bytes(SDIST.body)

    assert taken(tmp_path / "copy")[0] == kind


def test_the_folder_of_a_list_as_the_shell_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files of a list may be in a folder that is named from the working directory."""
    (tmp_path / "site" / "pool").mkdir(parents=True)
    SDIST.write(tmp_path / "site" / "pool")
    (tmp_path / "site" / "list.txt").write_text(SDIST.filename)
    monkeypatch.chdir(tmp_path)

    assert taken("site/list.txt", packages_url="site/pool")[1].names == [SDIST.filename]


@pytest.mark.parametrize("text", ["site/list.txt", "https://acme.dev/list.txt", "gs://acme/list"])
@pytest.mark.parametrize("place", ["https://files.acme.dev/pool/", "s3://acme-files/pool"])
def test_the_files_of_a_list_may_be_anywhere(text: str, place: str) -> None:
    """Wherever a list is, its files may be below any URL, or in any bucket."""
    assert resolve_packages_url(text, place) == place


@pytest.mark.parametrize("kind", ["files", "gaepypi", "pypicloud", "s3pypi"])
def test_what_no_system_describes(tmp_path: Path, kind: str) -> None:
    """A file that is no package is passed over in the copy of any system, and hinders no other."""
    packages = tmp_path / "packages" / "demo" / "1.0"
    packages.mkdir(parents=True)
    SDIST.write(packages)
    (packages / "README").touch()
    (packages / "index.html").write_text(f'<a href="{SDIST.filename}">{SDIST.filename}</a>')

    kind_of_source, found = taken(tmp_path, kind=kind)

    assert (kind_of_source, found.names) == (kind, [SDIST.filename])
    assert [each.why for each in found.passed_over] == ["it is not named like a distribution"]
    assert found.faults == []


@pytest.mark.parametrize(
    ("filename", "project"),
    [("demo-latest-py3-none-any.whl", "demo"), ("demo.zip", "demo*")],
    ids=["wheel", "archive"],
)
def test_a_project_of_a_name_without_a_version(tmp_path: Path, filename: str, project: str) -> None:
    """A package whose name has no version is taken for the project that its name begins with."""
    for name in (filename, SDIST.filename.replace("demo", "other")):
        (tmp_path / name).touch()

    assert taken(tmp_path, projects=(project,))[1].names == [filename]


def test_a_page_of_s3pypi_that_cannot_be_read(tmp_path: Path) -> None:
    """A folder is not taken for a copy of s3pypi by a page that is longer than any of s3pypi."""
    (tmp_path / "demo").mkdir()
    SDIST.write(tmp_path / "demo")
    with (tmp_path / "demo" / "index.html").open("wb") as page:
        page.truncate(PAGE_LIMIT_BYTES + 1)

    kind, found = taken(tmp_path)

    assert (kind, found.names, found.warned) == ("files", [SDIST.filename], [])


@pytest.mark.parametrize("name", ["index", "simple", "json", "a.htm"])
def test_pages_may_have_other_names(tmp_path: Path, name: str) -> None:
    """Pages that a site has without a suffix, or with an old one, are read as well."""
    (tmp_path / name).write_text('<a href="https://files.example.com/a-1.zip">a-1.zip</a>')

    with refused(Invalid, "bad_source", match="The files are at https://files.example.com:"):
        taken(tmp_path)


def test_other_texts_are_no_pages(tmp_path: Path) -> None:
    """What is not named as a page is not read as one, also if it links to a package."""
    (tmp_path / "README").write_text('<a href="https://files.example.com/a-1.zip">a-1.zip</a>')

    assert taken(tmp_path)[1].names == []


def test_a_page_of_another_program(tmp_path: Path) -> None:
    """A page of another program hides no package beside it, though it lists some like s3pypi."""
    folder = tmp_path / "demo"
    folder.mkdir()
    other = make_sdist("demo", "2.0")
    for made in (SDIST, other):
        made.write(folder)
    page = f'<title>Index of /demo</title><a href="{SDIST.filename}">{SDIST.filename}</a>'
    (folder / "index.html").write_text(page)

    kind, found = taken(tmp_path)

    assert (kind, found.names) == ("files", [SDIST.filename, other.filename])


@pytest.mark.parametrize(
    ("excess_bytes", "warned"), [(0, []), (1, [SDIST.filename])], ids=["longest", "too long"]
)
def test_a_description_that_is_too_long(
    tmp_path: Path, excess_bytes: int, warned: list[str]
) -> None:
    """What a `.meta` file says of a package is not used, with a warning, if it is over a MiB."""
    SDIST.write(tmp_path)
    meta = b'{"uploader": "ana"}'.ljust(SIDECAR_LIMIT_BYTES + excess_bytes)
    (tmp_path / f"{SDIST.filename}.meta").write_bytes(meta)

    assert taken(tmp_path, kind="pypicloud")[1].warned == warned


@pytest.mark.parametrize(
    ("meta", "reason"),
    [
        (b" " * (SIDECAR_LIMIT_BYTES + 1), "it is larger than 1048576 bytes"),
        (b"{", "it is not the JSON that it should be"),
        (b'{"filename": "other-1.tar.gz"}', "it describes another file"),
    ],
    ids=["too long", "no JSON", "of another file"],
)
def test_why_a_description_is_not_used(tmp_path: Path, meta: bytes, reason: str) -> None:
    """The warning about a `.meta` file of backupni says in words why it cannot be used."""
    SDIST.write(tmp_path)
    (tmp_path / f"{SDIST.filename}.meta").write_bytes(meta)

    _, found = taken(tmp_path, kind="backupni", meta=str(tmp_path))

    assert found[SDIST.filename].warning == f"its .meta cannot be used: {reason}"


@pytest.mark.parametrize("kind", ["files", "gaepypi", "pypicloud"])
def test_a_folder_that_cannot_be_read(tmp_path: Path, kind: str) -> None:
    """A folder of a source that cannot be read is told of behind all others, and not left out."""
    make_unreadable(tmp_path / "a")
    (tmp_path / "b" / "1").mkdir(parents=True)
    SDIST.write(tmp_path / "b" / "1")
    candidates = list[Candidate | Skipped]()

    with opened(tmp_path, kind=kind) as source, pytest.raises(Invalid, match="cannot be read"):
        candidates.extend(source.candidates())

    assert [each.filename for each in candidates if isinstance(each, Candidate)] == [SDIST.filename]


@pytest.mark.parametrize(
    ("location", "store", "words"),
    [
        ("nowhere", "kept", "The folder 'nowhere' cannot be read"),
        ("http://127.0.0.1/simple/", "kept", "is a URL"),
        ("kept", "kept", "Watch a place beside it"),
        ("kept/files/x", "kept", "Watch a place beside it"),
        ("gs://wheels", "gs://wheels/store", "Watch a place beside it"),
        ("gs://wheels/store", "gs://wheels/store/", "Watch a place beside it"),
        ("gs://wheels/files/demo", "gs://wheels", "Watch a place beside it"),
    ],
)
def test_what_cannot_be_watched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, location: str, store: str, words: str
) -> None:
    """A place that is none, or in which the store itself would be seen, is refused."""
    monkeypatch.chdir(tmp_path)

    with pytest.raises(Invalid) as raised:
        open_watched_tree(location, (store,), "files/", Clock().runtime())

    assert words in raised.value.message


def test_a_store_in_the_place(tmp_path: Path) -> None:
    """A store in a folder of the place is passed by."""
    for name in ("kept/files", "new"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "a-1.zip").touch()

    location = open_watched_tree(
        str(tmp_path), (str(tmp_path / "kept"),), "files/", Clock().runtime()
    )

    assert [getattr(each, "path", "") for each in location.entries()] == ["new/a-1.zip"]


@pytest.mark.parametrize(
    ("location", "store"),
    [
        ("new", "gs://wheels"),
        ("gs://wheels", "kept"),
        ("gs://other/files", "gs://wheels"),
        ("gs://wheels/files", "gs://wheels/store"),
        ("gs://wheels/store/new", "gs://wheels/store"),
    ],
    ids=["folder", "bucket", "another bucket", "beside", "below"],
)
def test_a_place_beside_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, location: str, store: str
) -> None:
    """A place can be watched that has none of the distributions of the store in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")
    (tmp_path / "new").mkdir()

    tree = open_watched_tree(location, (store,), "files/", Clock().runtime())

    assert str(tree) == location


def test_the_url_of_an_index_is_known() -> None:
    """A URL is taken for that of an index, without that anything is asked."""
    with opened("https://packages.example.com/simple/") as source:
        assert source.kind == "index"
        assert isinstance(source.source, IndexSource)
