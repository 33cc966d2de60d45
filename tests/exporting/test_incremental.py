"""Incremental exports: changes are written, and nothing else."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from tests.exporting.export_fixture import ExportHarness, delete, set_status, stock, yank
from tests.exporting.sites import MANIFEST, broken, tree
from tests.http.packages import Package, sdist, wheel
from tests.operations.in_memory_index import objects
from wheelyard.exporting import questions
from wheelyard.exporting.manifest import RequestedOptions
from wheelyard.http.handlers import home as home_handler
from wheelyard.model.project import Status
from wheelyard.rendering.web import home
from wheelyard.storage.base import Key, Stored

DEMO = {
    *("simple/demo/index.html", "simple/demo/index.json", "pypi/demo/json"),
    *("project/demo/index.html", "project/demo/history/index.html", "project/demo/feed.xml"),
}
TOLD = {"index.html", "search.json", "feed.xml"}
"""The pages that are written again when the latest version of a project changes."""
EVENT = DEMO | {"feed.xml"}
"""The pages that are written again for each change of a project."""
LISTS = {"simple/index.html", "simple/index.json"}
"""The pages that are written again when a project is added."""
FIXED = {"setup/index.html", "404.html", "favicon.ico", "robots.txt", "health"}
"""The pages that depend on options alone."""
Change = Callable[[ExportHarness], None]
OLD, NEW, NEWEST = wheel("demo", "1.0"), wheel("demo", "1.2"), wheel("demo", "1!3.0")
NEWCOMER = wheel("newcomer", "1.0")
NEWCOMERS = {path.replace("demo", "newcomer") for path in DEMO}


def release(version: str, name: str = "demo") -> set[str]:
    """Return the page of a release."""
    return {f"project/{name}/{version}/index.html"}


@pytest.fixture
def filled(harness: ExportHarness) -> ExportHarness:
    """An index with a few projects, and its site."""
    harness.publish(
        *(wheel("other", "1.0"), OLD, sdist("demo", "1.0")),
        *(wheel("demo", "1.1"), wheel("demo", "1!2.0+cu121.x")),
    )
    harness.export()
    harness.clock.advance(hours=1)
    return harness


def test_everything(harness: ExportHarness, caplog: pytest.LogCaptureFixture) -> None:
    """A site has a page for each thing of the index, and every link leads somewhere."""
    stock(harness.index, harness.folder)
    before, logged = dict(objects(harness.store)), len(caplog.records)

    harness.export()

    assert dict(objects(harness.store)) == before  # nothing counts as a use or a download
    assert len(caplog.records) == logged
    harness.assert_fresh()
    found = {path.split("/")[0] for path in tree(harness.site)}
    assert found == {"-", "files", "pypi", "project", "setup", "simple"} | TOLD | FIXED - {
        "setup/index.html"
    }
    for absent in ("gone/", "kept-in/", "half_gone-2.0"):
        assert not [path for path in tree(harness.site) if f"files/{absent}" in path]


def test_nothing_new(filled: ExportHarness) -> None:
    """Without a change nothing is written, not even the manifest."""
    calls = list[tuple[str, str]]()

    filled.opened_export(filled.site, lambda *call: calls.append(call)).run(lambda *_: None)

    assert {call for call in calls if not call[0].startswith("store")} == {("get", MANIFEST)}
    read = [path for verb, path in calls if verb.startswith("store")]
    assert set(read) == {"wheelyard.json", "projects.json", "projects/"}


@pytest.mark.parametrize(
    ("change", "pages", "brought", "gone"),
    [
        (lambda harness: harness.publish(NEW), EVENT | release("1.2") | {"index.html"}, NEW, None),
        (
            lambda harness: harness.publish(NEWEST),
            TOLD
            | DEMO
            | release("1!3.0")
            | release("1!2.0+cu121.x"),  # which is the latest no longer
            NEWEST,
            None,
        ),
        (
            lambda harness: harness.publish(NEWCOMER),
            TOLD | NEWCOMERS | release("1.0", "newcomer") | LISTS,
            NEWCOMER,
            None,
        ),
        (
            lambda harness: yank(harness.index, "demo", "1.0", "wrong"),
            EVENT | release("1.0"),
            None,
            None,
        ),
        (
            lambda harness: delete(harness.index, "demo", "1.0", OLD.filename),
            EVENT | release("1.0"),
            None,
            OLD.filename,
        ),
    ],
    ids=["a file", "a newer file", "a project", "a yank", "a delete"],
)
def test_one_change(
    filled: ExportHarness,
    change: Change,
    pages: set[str],
    brought: Package | None,
    gone: str | None,
) -> None:
    """A change costs the pages that show it, a file that it brings or deletes, and the lists."""
    change(filled)

    calls = filled.export()

    written = [path for verb, path in calls if verb == "put"]
    assert len(written) == len(set(written))
    assert {path for path in written if not path.startswith("files/")} == pages
    files = [path.rpartition("/")[2] for path in written if path.startswith("files/")]
    assert files == ([brought.filename, f"{brought.filename}.metadata"] if brought else [])
    deleted = [path for verb, path in calls if verb == "delete"]
    names = [path.rpartition("/")[2] for path in deleted]
    assert names == ([gone, f"{gone}.metadata"] if gone else [])
    assert [path for _, path in calls[: len(files)]] == written[: len(files)]  # files come first
    assert calls[len(written) :] == [("delete", path) for path in deleted]  # and they go last
    filled.assert_fresh()


def test_a_large_project(harness: ExportHarness) -> None:
    """One more release of many costs as many writes as one of a few."""
    harness.publish(*(wheel("demo", f"1.{number}") for number in range(60)))
    harness.publish(wheel("other", "1.0", "Requires-Dist: demo"))
    harness.export()
    harness.clock.advance(hours=1)
    harness.publish(wheel("demo", "1.60"))

    calls = harness.export()

    pages = {path for _, path in calls if not path.startswith("files/")}
    assert pages == DEMO | release("1.60") | release("1.59") | TOLD
    assert len(calls) == len(pages) + 2


def test_the_last_file_goes(filled: ExportHarness) -> None:
    """Of a project without files PyPI's JSON is gone, as on a server, and its pages say so."""
    for version in ("1.0", "1.1", "1!2.0+cu121.x"):
        delete(filled.index, "demo", version)

    calls = filled.export()

    assert ("delete", "pypi/demo/json") in calls
    kinds = [path.startswith("files/") for verb, path in calls if verb == "delete"]
    assert kinds == sorted(kinds)  # no page names a file that is deleted already
    assert b"were deleted" in tree(filled.site)["project/demo/index.html"]
    filled.assert_fresh()


def test_quarantine_and_back(filled: ExportHarness) -> None:
    """A quarantined project's files leave the site, and come back with it."""
    before = tree(filled.site)
    set_status(filled.index, "demo", Status.QUARANTINED, "look at it")
    filled.export()
    assert [path for path in tree(filled.site) if path.startswith("files/demo/")] == []
    filled.assert_fresh()

    set_status(filled.index, "demo", Status.ACTIVE)
    filled.export()

    assert {path for path in tree(filled.site) if "files/" in path} == {
        path for path in before if "files/" in path
    }
    filled.assert_fresh()


@pytest.mark.parametrize("is_gzipped", [True, False])
def test_compressed_copies(filled: ExportHarness, is_gzipped: bool) -> None:  # noqa: FBT001
    """Compressed copies come and go with the option, and no other `.gz` is touched."""
    filled.export(is_gzipped=is_gzipped)
    foreign = {"simple/my-backup.tar.gz", "project/notes.gz", "other.gz", "files/dump.gz"}
    for path in foreign:
        filled.site.put(Key(path), b"theirs", None)

    filled.export(is_gzipped=not is_gzipped)

    left = tree(filled.site)
    assert foreign < left.keys()
    packed = [body for path, body in left.items() if path.endswith(".html.gz")]
    assert {body[4:8] for body in packed} <= {bytes(4)}  # the time of packing is not in there
    assert {path: left[path] for path in left.keys() - foreign} == filled.fresh(
        is_gzipped=not is_gzipped
    )


@pytest.mark.parametrize(
    "content", [None, b"", b"{", b'{"options": 1}', b"\xff\xfe", b"[]", b'{"format": 3}'], ids=repr
)
def test_no_manifest(filled: ExportHarness, content: bytes | None) -> None:
    """A lost or damaged manifest costs a whole export, which writes no page again."""
    if content is None:
        filled.site.delete(Key(MANIFEST), None)
    else:
        filled.site.put(Key(MANIFEST), content, None)

    calls = filled.export(everything=True)

    assert (calls, filled.result.projects) == ([], 2)
    filled.assert_fresh()


@pytest.mark.parametrize(
    ("old", "new"),
    [(b'"generator":"wheelyard 0', b'"generator":"wheelyard 9'), (b'"format":2', b'"format":9')],
    ids=["another version", "another format"],
)
def test_a_manifest_of_another_version(filled: ExportHarness, old: bytes, new: bytes) -> None:
    """What another version of wheelyard has made is made again, with the same options."""
    stored = filled.site.get(Key(MANIFEST))
    assert isinstance(stored, Stored)
    assert old in stored.body
    filled.site.put(Key(MANIFEST), stored.body.replace(old, new), None)
    filled.site.put(Key("simple/demo/index.html"), b"as it used to be", None)
    filled.site.put(Key("project/demo/0.9/index.html"), b"which is gone", None)

    export = filled.opened_export(filled.site)
    replace(export, requested=RequestedOptions()).run(lambda *_: None)

    filled.assert_fresh()


def test_other_options(filled: ExportHarness) -> None:
    """With another URL every page is made again, and only those are written that name it."""
    export = filled.opened_export(filled.site)
    requested = RequestedOptions(base_url="https://elsewhere.example.com")

    result = replace(export, requested=requested).run(lambda *_: None)

    assert (result.projects, result.total) == (2, 2)
    pages = tree(filled.site)
    assert b"https://elsewhere.example.com/files/" in pages["pypi/demo/json"]
    assert b"https://elsewhere.example.com/simple/" in pages["index.html"]
    assert not [path for path in pages if b"/all/of/them/" in pages[path]]


def test_many_projects(filled: ExportHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many projects, the names are on pages of their own, which go when they are fewer."""

    def show(on_home: int, on_a_page: int) -> None:
        for module in (home, home_handler, questions):
            monkeypatch.setattr(module, "PROJECTS_ON_HOME", on_home, raising=False)
            monkeypatch.setattr(module, "NAMES_ON_A_PAGE", on_a_page, raising=False)

    show(1, 1)
    filled.publish(wheel("third", "1.0"))

    filled.export()

    for number, name in enumerate(("demo", "other", "third"), 1):
        page = tree(filled.site)[f"-/projects/{number}/index.html"]
        assert f"project/{name}/".encode() in page
    assert b"-/projects/1/" in tree(filled.site)["index.html"]
    filled.assert_fresh()
    show(1, 2)
    filled.publish(wheel("fourth", "1.0"))
    assert ("delete", "-/projects/3/index.html") in filled.export()
    filled.assert_fresh()


def test_everything_is_repaired(filled: ExportHarness) -> None:
    """With `--all`, what was removed, changed or added among the pages of the site is mended."""
    before = tree(filled.site)
    for path in (*LISTS, "project/demo/1.0/index.html"):
        filled.site.put(Key(path), before[path][::-1], None)
    for path in before:
        if path.startswith(("simple/demo/", "files/other/", "-/assets/")):
            filled.site.delete(Key(path), None)
    file = next(path for path in before if path.startswith("files/demo/"))
    filled.site.put(Key(file), before[file][:9], None)
    filled.site.put(Key("simple/nobody/index.html"), b"gone long ago", None)
    assert filled.export() == []

    filled.export(everything=True)

    assert tree(filled.site) == before
    filled.assert_fresh()


@pytest.mark.parametrize(
    ("lost", "advice"),
    [("projects/demo.json", "check --rebuild"), ("files/demo/", "holds nothing at")],
)
@pytest.mark.parametrize("is_first", [True, False], ids=["a new site", "a site"])
def test_what_the_store_has_lost(
    filled: ExportHarness,
    lost: str,
    advice: str,
    is_first: bool,  # noqa: FBT001
) -> None:
    """A project whose document or file is lost keeps its pages, and without any is not listed."""
    if is_first:
        filled.site = type(filled.site)(filled.clock.seconds)
    before = tree(filled.site)
    filled.publish(wheel("demo", "2.0"), wheel("last", "1.0", "Requires-Dist: demo"))
    keys = [entry.key for entry in filled.store.list(lost) if "1.0" not in entry.key]
    bodies = {key: b"".join(filled.store.read(key)) for key in keys}
    for key in keys:
        filled.store.delete(key, None)

    for _ in range(2):
        filled.export()
        (message,) = filled.result.failed
        assert advice in message
    site = tree(filled.site)
    assert [link for link in broken(site) if not link.startswith("feed.xml")] == []
    assert b"last/" in site["simple/index.html"]
    assert (b"demo/" in site["simple/index.html"]) is not is_first
    assert (b'"demo"' in site["search.json"]) is not is_first
    assert {path: site[path] for path in before if "/demo/" in path} == {
        path: before[path] for path in before if "/demo/" in path
    }

    for key, body in bodies.items():
        filled.store.put(key, body, None)
    filled.export()
    assert filled.result.failed == ()
    filled.assert_fresh()
