"""Incremental exports: changes are written, and nothing else."""

from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.json import decode, encode
from packaging.utils import NormalizedName

from tests.catalog.faulty_store import FaultyStore
from tests.exporting.export_fixture import (
    AT_BASE,
    ExportHarness,
    delete,
    publish,
    set_status,
    stock,
    yank,
)
from tests.exporting.sites import BASE, HOME, MANIFEST, broken, pages_of, reader, tree
from tests.http.packages import Package, sdist, wheel
from wheelyard.model.project import Status
from wheelyard.operations.exporting import index_pages
from wheelyard.operations.exporting.manifest import (
    FileMode,
    Manifest,
    ManifestEntry,
    Options,
    RequestedOptions,
    page_generator,
)
from wheelyard.operations.latest_changes import CHANGED_PROJECTS
from wheelyard.rendering.project_facts import ProjectFacts
from wheelyard.rendering.web import home
from wheelyard.settings.sections import Settings
from wheelyard.storage.memory import MemoryStore
from wheelyard.storage.spool import Spool
from wheelyard.wiring.index import build_index
from wheelyard.wiring.site_export import SiteExporter
from wheelyard.wiring.stores import system_runtime

DEMO = {
    *("simple/demo/index.html", "simple/demo/index.json", "pypi/demo/json"),
    *("project/demo/index.html", "project/demo/history/index.html", "project/demo/feed.xml"),
    "wheelyard-export/projects/demo.json",
}


def release(version: str) -> set[str]:
    """Return the page of a release of the project demo."""
    return {f"project/demo/{version}/index.html"}


TOLD = {"index.html", "search.json", "feed.xml", MANIFEST}
"""The pages that list all projects, and are rewritten for each change."""
LISTS = {"simple/index.html", "simple/index.json"}
"""The pages that are written when a project is added."""
FIXED = {"setup/index.html", "404.html", "favicon.ico", "robots.txt", "health"}
"""The pages that depend on options alone."""
ELSEWHERE = "https://files.example.com/of/ours"


def test_nothing_new(stocked: ExportHarness) -> None:
    """A second export writes nothing at all, and reads the manifest alone."""
    stocked.export()
    before = tree(stocked.site)

    log = stocked.log_of()

    assert log.writes == []
    assert {path for _, path in log.calls} == {MANIFEST}
    assert tree(stocked.site) == before


Change = Callable[[ExportHarness], None]
OLD, NEW = wheel("demo", "1.0"), wheel("demo", "3.0", "Summary: New")
NEWCOMER = wheel("newcomer", "1.0")
NEWEST = wheel("demo", "1!3.0")
PAGES_OF_NEWCOMER = {path.replace("demo", "newcomer") for path in DEMO | release("1.0")}


@pytest.mark.parametrize(
    ("change", "pages", "brought", "gone"),
    [
        (lambda harness: harness.publish(NEW), DEMO | release("3.0"), NEW, None),
        (
            lambda harness: harness.publish(NEWEST),
            DEMO | release("1!3.0") | release("1!2.0+cu121.x"),  # which is the latest no longer
            NEWEST,
            None,
        ),
        (lambda harness: harness.publish(NEWCOMER), PAGES_OF_NEWCOMER | LISTS, NEWCOMER, None),
        (
            lambda harness: yank(harness.index, "demo", "1.0", "wrong"),
            DEMO | release("1.0"),
            None,
            None,
        ),
        (
            lambda harness: delete(harness.index, "demo", "1.0", OLD.filename),
            DEMO | release("1.0"),
            None,
            OLD.filename,
        ),
    ],
    ids=["a file", "a newer file", "a project", "a yank", "a delete"],
)
def test_one_change(
    stocked: ExportHarness,
    change: Change,
    pages: set[str],
    brought: Package | None,
    gone: str | None,
) -> None:
    """A change costs the pages that show it, a file that it brings or deletes, and the lists."""
    stocked.export()
    before = tree(stocked.site)
    change(stocked)

    log = stocked.log_of()

    assert log.paths("put") == pages | TOLD
    assert log.paths("get") <= {MANIFEST, *(path for path in pages if path.startswith(HOME))}
    files = {path.rpartition("/")[2] for path in log.paths("file")}
    assert files == ({brought.filename, f"{brought.filename}.metadata"} if brought else set())
    left = before.keys() - tree(stocked.site).keys()
    names = {path.rpartition("/")[2] for path in left}
    assert names == ({gone, f"{gone}.metadata"} if gone else set())
    for path in left:  # no page leads to what is deleted
        written = [log.calls.index(("put", page)) for page in pages]
        assert max(written) < log.calls.index(("delete", path))
    assert_fresh(stocked)


def test_the_last_file_goes(stocked: ExportHarness) -> None:
    """Of a project without files PyPI's JSON is gone, as on a server, and its pages say so."""
    stocked.export()
    for version in ("1.0", "1.1", "1!2.0+cu121.x"):
        delete(stocked.index, "demo", version)

    stocked.export()

    assert not (stocked.site / "pypi/demo/json").exists()
    assert "were deleted" in (stocked.site / "project/demo/index.html").read_text()
    assert_fresh(stocked)


def test_quarantine_and_back(stocked: ExportHarness) -> None:
    """A quarantined project's files leave the site, and come back with it."""
    stocked.export()
    before = tree(stocked.site)
    set_status(stocked.index, "demo", Status.QUARANTINED, "look at it")
    stocked.export()
    assert [path for path in tree(stocked.site) if path.startswith("files/demo/")] == []
    assert_fresh(stocked)

    set_status(stocked.index, "demo", Status.ACTIVE)
    stocked.export()

    files = {path: body for path, body in tree(stocked.site).items() if "files/" in path}
    assert files == {path: body for path, body in before.items() if "files/" in path}
    assert_fresh(stocked)


@pytest.mark.parametrize(
    "asked",
    [
        RequestedOptions(base_url="https://elsewhere.example.com"),
        RequestedOptions(base_url=BASE, files=FileMode.LEAVE, files_url=ELSEWHERE),
        RequestedOptions(base_url=BASE, is_gzipped=True),
    ],
    ids=["address", "files", "compressed"],
)
def test_other_options(stocked: ExportHarness, asked: RequestedOptions) -> None:
    """With other options every page is made anew; what is not said stays as it was."""
    stocked.export()

    stocked.export(asked=asked)

    fresh = stocked.folder / "fresh"
    stocked.export(fresh, asked)
    assert pages(stocked.site) == pages(fresh)
    assert stocked.log_of(asked=RequestedOptions()).writes == []


@pytest.mark.parametrize("content", [None, b"", b"{", b'{"options": 1}', b"\xff\xfe"], ids=repr)
def test_no_manifest(stocked: ExportHarness, content: bytes | None) -> None:
    """A lost or damaged manifest costs a whole export, and changes no byte of the site."""
    stocked.export()
    before = tree(stocked.site)
    place = stocked.site / MANIFEST
    place.unlink() if content is None else place.write_bytes(content)

    stocked.export()

    assert tree(stocked.site) == before


def test_a_manifest_of_another_version(stocked: ExportHarness) -> None:
    """What another version of wheelyard has made is made anew, with the same options."""
    stocked.export()
    before = tree(stocked.site)
    place = stocked.site / MANIFEST
    place.write_bytes(place.read_bytes().replace(b"wheelyard 0", b"wheelyard 9"))
    (stocked.site / "simple/demo/index.html").write_bytes(b"as it used to be")

    stocked.export(asked=RequestedOptions())

    assert tree(stocked.site) == before


def test_many_projects(stocked: ExportHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many projects, the names are on pages of their own, each of which can be reached."""
    monkeypatch.setattr(home, "PROJECTS_ON_HOME", 1)
    monkeypatch.setattr(index_pages, "PROJECTS_ON_HOME", 1)
    monkeypatch.setattr(index_pages, "NAMES_ON_A_PAGE", 1)
    stocked.export()

    listed = {path for path in pages_of(stocked.site) if path.startswith("-/projects/")}
    names = stocked.index.projects.names.get_current().names
    assert listed == {f"-/projects/{number}/index.html" for number in range(1, len(names) + 1)}
    assert "-/projects/1/" in (stocked.site / "index.html").read_text()
    for number, name in enumerate(names, 1):
        assert f"project/{name}/" in (stocked.site / f"-/projects/{number}/index.html").read_text()
    assert broken(reader(stocked.site), pages_of(stocked.site)) == []


def test_a_manifest_of_an_older_form(stocked: ExportHarness) -> None:
    """What can be read of an older manifest are the options, and they stay as they were."""
    stocked.export()
    before, place = tree(stocked.site), stocked.site / MANIFEST
    written = decode(place.read_bytes(), type=dict[str, object])
    older = {"demo": [3, "version", ["demo", "1.0", ""], ["version of a page"]]}
    place.write_bytes(encode({**written, "generator": "wheelyard 0.1", "projects": older}))
    (stocked.site / "simple/demo/index.html").write_bytes(b"as it used to be")

    stocked.export(asked=RequestedOptions())

    assert tree(stocked.site) == before


def test_an_empty_index(harness: ExportHarness) -> None:
    """An index with nothing in it has lists that say so, and follow the options."""
    harness.export()
    assert harness.log_of().writes == []
    assert set(pages_of(harness.site)) == {*LISTS, *FIXED, *TOLD} - {MANIFEST}

    harness.export(asked=RequestedOptions(base_url="https://elsewhere.example.com"))

    assert b"https://elsewhere.example.com/" in (harness.site / "index.html").read_bytes()


def test_refresh(stocked: ExportHarness) -> None:
    """After an upload only its projects are looked at, however many others have changed."""
    stocked.export()
    stocked.publish(wheel("demo", "3.0"), wheel("many", "99.0"))

    log = stocked.log_of("demo")

    assert log.paths("put") == DEMO | release("3.0") | TOLD
    assert {path for verb, path in log.calls if verb == "list"} == {"files/demo/"}
    stocked.export()
    assert_fresh(stocked)


def test_refresh_lists_nothing_that_is_not_there(stocked: ExportHarness) -> None:
    """A list that is written anew names others' new projects, too, so these are brought along."""
    stocked.export()
    stocked.publish(wheel("theirs", "1.0"), wheel("ours", "1.0"))

    stocked.log_of("ours")

    assert "theirs/" in (stocked.site / "simple/index.html").read_text()
    assert_fresh(stocked)


def test_what_a_new_file_asks_of_the_store(tmp_path: Path) -> None:
    """One new file among many: one listing, and a look at one document and one file."""
    runtime = system_runtime()
    store = FaultyStore(MemoryStore(lambda: runtime.now().timestamp()))
    index = build_index(store, Spool(tmp_path), Settings(), runtime)
    stock(index, tmp_path)
    exports = SiteExporter(index=index, dest=str(tmp_path / "site"), requested=AT_BASE)
    exports.open().run(lambda *_: None)
    publish(index, tmp_path, wheel("demo", "2!1.0"), sdist("demo", "2!1.0"))
    store.calls.clear()

    exports.open().run(lambda *_: None)

    asked = [key for _, key in store.calls if not key.startswith(("files/", "journal/demo/"))]
    read = [key for _, key in store.calls if key.startswith("files/")]
    assert asked[:3] == ["projects.json", "projects/", "projects/demo.json"]
    # the feed looks at the projects with the latest changes
    assert all(key.startswith("projects/") for key in asked[3:]), asked
    assert len(asked) <= 3 + CHANGED_PROJECTS
    assert len(read) <= 10  # three bodies, a look for a short way to each, the core metadata
    # and that of the release before it, whose page says now that it is not the latest
    assert all("-2!1.0" in key or "-1!2.0" in key for key in read)


def pages(folder: Path) -> dict[str, bytes]:
    """Return the pages of a site, compressed ones included, and its manifest."""
    return {path: body for path, body in tree(folder).items() if not path.startswith("files/")}


def assert_fresh(harness: ExportHarness) -> None:
    """The site is what an export to a new place makes, and another export writes nothing."""
    harness.assert_fresh()
    assert harness.log_of(asked=RequestedOptions()).writes == []


@pytest.mark.parametrize(
    ("lost", "advice"),
    [("projects/demo.json", "check --rebuild"), ("files/demo/*/demo-2*.whl", "lists")],
)
def test_what_the_store_has_lost(harness: ExportHarness, lost: str, advice: str) -> None:
    """Of a project whose document or file is lost the site keeps its pages, and it is said."""
    harness.publish(wheel("demo", "1.0"))
    harness.export()
    before = tree(harness.site)
    harness.publish(wheel("demo", "2.0"))
    (path,) = harness.store.glob(lost)
    path.unlink()

    export = ExportHarness(harness.folder).exports().open()
    (message,) = export.run(lambda *_: None, everything=True).failed

    assert advice in message
    # of changes that are not in the site, the feed says nothing
    assert tree(harness.site) == before | {"feed.xml": (harness.site / "feed.xml").read_bytes()}


def line(revision: int) -> ManifestEntry:
    """Return what is known of pages of a revision."""
    found = ProjectFacts(NormalizedName("demo"), f"{revision}")
    return ManifestEntry(revision, found)


def never(_name: str, _line: ManifestEntry) -> bool:
    """Say that a line is not of what the store has now."""
    return False


def test_a_line_never_goes_back() -> None:
    """An export that was slow does not take back what a later one has written down."""
    manifest = Manifest(Options(), page_generator()).merged({"demo": line(7)}, never)

    assert manifest.merged({"demo": line(6)}, never) == manifest
    assert manifest.merged({"demo": line(8)}, never).projects["demo"] == line(8)


def test_a_line_goes_back_with_the_store() -> None:
    """What is of the document that the store has now counts, though its revision is lower."""
    manifest = Manifest(Options(), page_generator()).merged(
        {"demo": line(7), "other": line(1)}, never
    )

    restored = manifest.merged({"demo": line(6)}, lambda name, of: (name, of) == ("demo", line(6)))

    assert restored.projects == {"demo": line(6), "other": line(1)}
    assert restored.without({"demo": line(7)}) == restored
    assert restored.without({"demo": line(6)}).projects == {"other": line(1)}
