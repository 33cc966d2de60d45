"""Incremental exports: changes are written, and nothing else."""

from collections.abc import Callable

import pytest
from msgspec.json import encode
from msgspec.structs import replace
from packaging.utils import NormalizedName

from tests.distributions import Distribution, make_sdist, make_wheel
from tests.exporting.export_fixture import (
    ExportHarness,
    delete,
    ignore,
    set_status,
    stock,
    yank,
)
from tests.exporting.sites import BASE, MANIFEST, broken, tree
from tests.fake_store import FakeStore
from tests.operations.in_memory_index import ALICE, objects
from wheelyard.catalog import keys
from wheelyard.catalog.journaled_documents import ProjectCodec
from wheelyard.errors import Invalid
from wheelyard.exporting import site_pages
from wheelyard.exporting.site_folder import FORMAT, Lease, Manifest, Options
from wheelyard.model.project import Status
from wheelyard.operations.journal_reader import PAGE_COMMITS
from wheelyard.rendering.web import home_page
from wheelyard.storage.base import Key, Stored

TABS = {
    *("project/demo/files/index.html", "project/demo/releases/index.html"),
    "project/demo/dependencies/index.html",
}
DEMO = {
    *("simple/demo/index.html", "simple/demo/index.json", "pypi/demo/json"),
    *("project/demo/index.html", "project/demo/history/index.html", "project/demo/feed.xml"),
}
TOLD = {"index.html", "-/projects/1/index.html", "search.json", "feed.xml"}
"""The pages that are written again when the latest version of a project changes."""
EVENT = DEMO | {"feed.xml", "project/demo/releases/index.html"}
"""The pages that are written again for each change of a project."""
DATED = {"index.html", "-/projects/1/index.html"}
"""The pages that are written again for each upload."""
LISTS = {"simple/index.html", "simple/index.json"}
"""The pages that are written again when a project is added."""
FIXED = {"setup", "404.html", "favicon.ico", "robots.txt", "health"}
"""The pages that depend on options alone."""
OLD, NEW, NEWEST = make_wheel("demo", "1.0"), make_wheel("demo", "1.2"), make_wheel("demo", "1!3.0")
NEWCOMER = make_wheel("newcomer", "1.0", "Requires-Dist: demo")
USED = {"project/demo/index.html", "project/demo/dependencies/index.html"}
"""The pages that name the users of a project."""
USERS = {path.replace("demo", "other") for path in EVENT}
"""The pages for a change of one."""
CLAIMED, LATER = NormalizedName("demo"), NormalizedName("later")
NEWCOMERS = {path.replace("demo", "newcomer") for path in DEMO | TABS}


def release(version: str, name: str = "demo") -> set[str]:
    """Return the pages of a release."""
    return {f"project/{name}/{version}/{tab}index.html" for tab in ("", "files/", "dependencies/")}


@pytest.fixture
def export_harness(harness: ExportHarness) -> ExportHarness:
    """An index with a few projects, and its site."""
    harness.publish(
        *(make_wheel("other", "0.9", "Requires-Dist: newcomer"), OLD, make_sdist("demo", "1.0")),
        make_wheel("other", "1.0", "Requires-Dist: demo"),
        *(make_wheel("demo", "1.1"), make_wheel("demo", "1!2.0+cu121.x")),
    )
    harness.export()
    harness.clock.advance(days=1)
    return harness


@pytest.mark.slow
def test_each_thing_has_a_page(harness: ExportHarness, caplog: pytest.LogCaptureFixture) -> None:
    """A site has a page for each thing of the index, and every link leads somewhere."""
    stock(harness.index, harness.folder)
    harness.index.changes.since(0)
    before, logged = dict(objects(harness.store)), len(caplog.records)

    harness.export()

    assert dict(objects(harness.store)) == before  # nothing counts as a use or a download
    assert len(caplog.records) == logged
    harness.assert_fresh()
    tops = {path.split("/")[0] for path in tree(harness.site)}
    folders = {"-", "files", "pypi", "project", "simple"}
    assert tops == folders | {"index.html", "search.json", "feed.xml"} | FIXED


def test_a_site_offers_no_filter_that_nobody_answers(harness: ExportHarness) -> None:
    """Lists of a site have no form to sort or filter them, and no page links to such a list."""
    harness.publish(
        make_wheel("demo", "1.0", "Classifier: Framework :: Django"), make_wheel("other")
    )
    harness.export()

    pages = [body for path, body in tree(harness.site).items() if path.endswith(".html")]
    assert any(b"2 projects<" in body for body in pages)
    assert any(b"Django" in body for body in pages)
    for body in pages:
        assert b"Sort by" not in body
        assert b"classifier=" not in body


def test_without_a_change_nothing_is_written(export_harness: ExportHarness) -> None:
    """Without a change nothing is written, not even the manifest."""
    site, store = FakeStore(export_harness.site), FakeStore(export_harness.store)

    export_harness.opened_export(site, store).run(ignore)

    assert set(site.calls) == {("get", MANIFEST)}
    assert {key for _, key in store.calls} == {
        "wheelyard.json",
        "projects.json",
        "index-list.json",
        "index-list/",
        "pending/",
        "changes.json",
    }


def test_serials_cost_an_export_no_reads(export_harness: ExportHarness) -> None:
    """An export reads the feed of changes once, as the pages of its projects have no serials."""
    store = FakeStore(export_harness.store)

    export_harness.opened_export(export_harness.site, store).run(ignore, everything=True)

    assert store.calls.count(("get", keys.CHANGES)) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "pages", "brought", "gone"),
    [
        (lambda site: site.publish(NEW), EVENT | release("1.2") | DATED, NEW, None),
        (
            lambda site: site.publish(NEWEST),
            TOLD | DEMO | TABS | release("1!3.0") | release("1!2.0+cu121.x"),  # not the latest now
            NEWEST,
            None,
        ),
        (
            lambda site: site.publish(NEWCOMER),
            TOLD
            | NEWCOMERS
            | release("1.0", "newcomer")
            | LISTS
            | USED
            | release("0.9", "other") - {"project/other/0.9/files/index.html"},
            NEWCOMER,
            None,
        ),
        (
            lambda site: set_status(site.index, "other", Status.DEPRECATED),
            USERS - {"pypi/other/json"}
            | {path.replace("demo", "other") for path in TABS}
            | TOLD
            | USED
            | release("1.0", "other")
            | release("0.9", "other"),
            None,
            None,
        ),
        (
            lambda site: delete(site.index, "other", "1.0"),
            USERS
            | {path.replace("demo", "other") for path in TABS}
            | TOLD
            | USED
            | release("0.9", "other"),
            None,
            "other-1.0-py3-none-any.whl",
        ),
        (lambda site: yank(site.index, "demo", "1.0"), EVENT | release("1.0"), None, None),
        (
            lambda site: delete(site.index, "demo", "1.0", OLD.filename),
            EVENT | release("1.0") - {"project/demo/1.0/dependencies/index.html"},
            None,
            OLD.filename,
        ),
    ],
    ids=["a file", "a newer file", "a project", "a user's status", "a user", "a yank", "a delete"],
)
def test_a_change_writes_only_the_pages_that_show_it(
    export_harness: ExportHarness,
    change: Callable[[ExportHarness], None],
    pages: set[str],
    brought: Distribution | None,
    gone: str | None,
) -> None:
    """A change costs the pages that show it, also of others, its file, and the lists."""
    change(export_harness)

    calls = export_harness.export()

    written = [path for verb, path in calls if verb.startswith("put")]
    assert len(written) == len(set(written))
    assert {path for path in written if not path.startswith("files/")} == pages
    files = [path.rpartition("/")[2] for path in written if path.startswith("files/")]
    assert files == ([brought.filename, f"{brought.filename}.metadata"] if brought else [])
    deleted = [path for verb, path in calls if verb == "delete"]
    names = [path.rpartition("/")[2] for path in deleted if path.startswith("files/")]
    assert names == ([gone, f"{gone}.metadata"] if gone else [])
    assert [path for _, path in calls[: len(files)]] == written[: len(files)]  # files come first
    assert calls[len(written) :] == [("delete", path) for path in deleted]  # and they go last
    export_harness.assert_fresh()


def test_a_project_without_files_loses_its_json(export_harness: ExportHarness) -> None:
    """A project without files has no PyPI JSON in the site, and its pages say so."""
    for version in ("1.0", "1.1", "1!2.0+cu121.x"):
        delete(export_harness.index, "demo", version)

    calls = export_harness.export()

    assert ("delete", "pypi/demo/json") in calls
    kinds = [path.startswith("files/") for verb, path in calls if verb == "delete"]
    assert kinds == sorted(kinds)  # no page names a file that is deleted already
    assert b"were deleted" in tree(export_harness.site)["project/demo/index.html"]
    export_harness.assert_fresh()


def test_files_of_a_quarantined_project_leave_and_return(export_harness: ExportHarness) -> None:
    """A quarantined project's files leave the site, and come back with it."""
    files = export_harness.site.list("files/demo/")
    before = [entry.key for entry in files]
    for status, expected in ((Status.QUARANTINED, []), (Status.ACTIVE, before)):
        set_status(export_harness.index, "demo", status)

        export_harness.export()

        assert [entry.key for entry in export_harness.site.list("files/demo/")] == expected
        export_harness.assert_fresh()


@pytest.mark.parametrize("is_gzipped", [True, False])
def test_pages_follow_the_options(export_harness: ExportHarness, *, is_gzipped: bool) -> None:
    """Compressed copies come and go with the option, and another URL is on every page."""
    export_harness.options = replace(export_harness.options, is_gzipped=is_gzipped)
    export_harness.export()
    foreign = {"simple/my-backup.tar.gz", "project/notes.gz", "other.gz", "files/dump.gz"}
    for path in foreign:
        export_harness.site.put(Key(path), b"theirs", None)
    url = "https://elsewhere.example.com"
    export_harness.options = replace(
        export_harness.options, is_gzipped=not is_gzipped, base_url=url
    )

    export_harness.export()

    assert (export_harness.result.projects, export_harness.result.total) == (2, 2)
    left = tree(export_harness.site)
    packed = [body for path, body in left.items() if path.endswith(".html.gz")]
    assert {body[4:8] for body in packed} <= {bytes(4)}  # the time of packing is not in there
    assert left == export_harness.fresh() | dict.fromkeys(foreign, b"theirs")
    assert f"{url}/files/".encode() in left["pypi/demo/json"]
    assert not [path for path in left if b"/all/of/them/" in left[path]]


@pytest.mark.parametrize(
    "path",
    [
        *("search.json", "feed.xml", "setup/index.html", "-/projects/1/index.html"),
        *("index.html", "simple/index.html", "simple/demo/index.html"),
    ],
)
def test_no_page_of_others_is_overwritten(harness: ExportHarness, path: str) -> None:
    """An export to where somebody has such a page stops, however often, and says which."""
    harness.publish(make_wheel("demo"))
    harness.site.put(Key(path), b"theirs", None)

    for _ in range(2):
        with pytest.raises(Invalid, match=rf"pages that no export has made, {path} for one"):
            harness.export()

        assert tree(harness.site) == {path: b"theirs"}
    harness.export(everything=True)
    harness.assert_fresh()


def test_what_is_no_page_stays(harness: ExportHarness) -> None:
    """Files that are no pages of the site stay, also compressed ones."""
    paths = ("feed.xml.old", "feed.xml.old.gz", "healthy", "healthy.gz", "robots.txt.gz")
    foreign = dict.fromkeys(("robots.txt", *paths), b"theirs")
    for path, body in foreign.items():
        harness.site.put(Key(path), body, None)

    harness.export()

    assert tree(harness.site) == harness.fresh() | foreign


@pytest.mark.slow
@pytest.mark.parametrize(
    "content", [None, b"", b'{"options": 1}', b"\xff\xfe", b"[]", b'{"format": 4}'], ids=repr
)
def test_lost_manifest_costs_no_written_page(
    export_harness: ExportHarness, content: bytes | None
) -> None:
    """A lost or damaged manifest costs a whole export, which writes no page again."""
    if content is None:
        export_harness.site.delete(Key(MANIFEST))
    else:
        export_harness.site.put(Key(MANIFEST), content, None)

    calls = export_harness.export(everything=True)

    assert (calls, export_harness.result.projects) == ([], 2)
    export_harness.assert_fresh()


def test_pages_beside_leftovers_of_an_export_are_its_own(harness: ExportHarness) -> None:
    """Pages of an export that was killed before its first manifest are replaced, not refused."""
    harness.site.put(Key("simple/index.html"), b"as an earlier version made it", None)
    harness.site.put(Key("wheelyard-export/begun.json"), b"{}", None)
    harness.publish(make_wheel("demo"))

    harness.export()

    assert "demo/" in text_of(harness, "simple/")


def test_objects_that_exports_do_not_need_any_more_are_deleted(
    export_harness: ExportHarness,
) -> None:
    """What an earlier version kept beside the manifest is deleted, and the manifest is not."""
    export_harness.site.put(Key("wheelyard-export/begun.json"), b"{}", None)

    export_harness.export(everything=True)

    assert [entry.key for entry in export_harness.site.list("wheelyard-export/")] == [MANIFEST]


def test_files_at_the_url_of_the_site_stay(export_harness: ExportHarness) -> None:
    """Where pages link to files at the URL of the site itself, an export deletes none of them."""
    before = {path for path in tree(export_harness.site) if path.startswith("files/")}
    export_harness.options = replace(export_harness.options, files_url=f"{BASE}/files")
    delete(export_harness.index, "demo", "1.0")

    export_harness.export()

    site = tree(export_harness.site)
    left = {path for path in site if path.startswith("files/")}
    assert (left, len(before) > 0) == (before, True)
    assert broken(site) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new"),
    [
        *(
            (b'"generator":"wheelyard 0', b'"generator":"wheelyard 9'),
            (b'"format":3', b'"format":9'),
        ),
        *((b'"lease":null', b'"lease":[]'), (b'"lease":null', b'"lease":{"ends":1e99}')),
    ],
    ids=["another version", "another format", "a damaged lease", "a lease of nobody"],
)
def test_pages_of_other_versions_are_renewed(
    export_harness: ExportHarness, old: bytes, new: bytes
) -> None:
    """Pages of another version, or beside a damaged lease, are made again at once."""
    stored = export_harness.site.get(Key(MANIFEST))
    assert isinstance(stored, Stored)
    assert old in stored.body
    export_harness.site.put(Key(MANIFEST), stored.body.replace(old, new), None)
    export_harness.site.put(Key("simple/demo/index.html"), b"as it used to be", None)
    export_harness.site.put(Key("project/demo/0.9/index.html"), b"which is gone", None)

    export_harness.export()

    assert export_harness.waits == 0
    export_harness.assert_fresh()


@pytest.mark.slow
def test_many_names_have_pages(
    export_harness: ExportHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list of all projects has several pages, which go when there are fewer projects."""

    def show(on_a_page: int) -> None:
        for module in (home_page, site_pages):
            monkeypatch.setattr(module, "PROJECTS_ON_HOME", 1, raising=False)
            monkeypatch.setattr(module, "PROJECTS_ON_A_PAGE", on_a_page, raising=False)

    show(1)
    export_harness.publish(make_wheel("third", "1.0"))

    export_harness.export()

    for number, name in enumerate(("demo", "other", "third"), 1):
        page = tree(export_harness.site)[f"-/projects/{number}/index.html"]
        assert f"project/{name}/".encode() in page
    assert b"-/projects/1/" in tree(export_harness.site)["index.html"]
    export_harness.assert_fresh()
    set_status(export_harness.index, "third", Status.DEPRECATED)
    assert ("put", "-/projects/3/index.html") in export_harness.export()
    show(2)
    export_harness.publish(make_wheel("fourth", "1.0"))
    assert ("delete", "-/projects/3/index.html") in export_harness.export()
    export_harness.assert_fresh()


def test_all_mends_every_page_of_the_site(export_harness: ExportHarness) -> None:
    """With `--all`, what was removed, changed or added among the pages of the site is mended."""
    before = tree(export_harness.site)
    for path in (*LISTS, "project/demo/1.0/index.html"):
        export_harness.site.put(Key(path), before[path][::-1], None)
    for path in before:
        if path.startswith(("simple/demo/", "files/other/", "-/assets/")):
            export_harness.site.delete(Key(path))
    file = next(path for path in before if path.startswith("files/demo/"))
    export_harness.site.put(Key(file), before[file][:9], None)
    export_harness.site.put(Key("simple/nobody/index.html"), b"gone long ago", None)
    assert export_harness.export() == []

    export_harness.export(everything=True)

    assert tree(export_harness.site) == before
    export_harness.assert_fresh()


def test_a_project_may_have_the_name_of_a_folder_of_pages(harness: ExportHarness) -> None:
    """A project whose name is that of a folder of other pages takes none of them with `--all`."""
    harness.publish(make_wheel("assets"), make_wheel("projects"))
    harness.export()

    assert harness.export(everything=True) == []
    harness.assert_fresh()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lost", "advice"),
    [("projects/demo.json", "check --rebuild"), ("files/demo/", "holds nothing at")],
)
@pytest.mark.parametrize("is_first", [True, False], ids=["a new site", "a site"])
def test_a_damaged_project_keeps_its_pages(
    export_harness: ExportHarness,
    lost: str,
    advice: str,
    *,
    is_first: bool,
) -> None:
    """A project whose document or file is lost keeps its pages, and without any is not listed."""
    if is_first:
        export_harness.site = type(export_harness.site)(export_harness.clock.seconds)
    before = {path: body for path, body in tree(export_harness.site).items() if "/demo/" in path}
    export_harness.publish(
        make_wheel("demo", "2.0"), make_wheel("last", "1.0", "Requires-Dist: demo")
    )
    bodies = {key: body for key, body in objects(export_harness.store, lost) if "1.0" not in key}
    for key in bodies:
        export_harness.store.delete(Key(key))

    for _ in range(2):
        export_harness.export()
        (message,) = export_harness.result.failed
        assert advice in message
    site = tree(export_harness.site)
    assert [link for link in broken(site) if not link.startswith("feed.xml")] == []
    assert b"last/" in site["simple/index.html"]
    assert (b"demo/" in site["simple/index.html"]) is not is_first
    assert (b'"demo"' in site["search.json"]) is not is_first
    assert before.items() <= site.items()

    for key, body in bodies.items():
        export_harness.store.put(Key(key), body, None)
    export_harness.export()
    assert export_harness.result.failed == ()
    export_harness.assert_fresh()


def test_a_mended_project_is_exported_though_it_has_not_changed(
    export_harness: ExportHarness,
) -> None:
    """A project that was damaged when another came to require it names that one once mended."""
    export_harness.publish(make_wheel("last", "1.0", "Requires-Dist: demo"))
    bodies = dict(objects(export_harness.store, "files/demo/"))
    for key in bodies:
        export_harness.store.delete(Key(key))
    export_harness.export()
    (message,) = export_harness.result.failed
    assert "has lost" in message

    for key, body in bodies.items():
        export_harness.store.put(Key(key), body, None)
    export_harness.export()

    assert export_harness.result.failed == ()
    export_harness.assert_fresh()


def test_a_project_of_a_newer_version_keeps_its_pages(export_harness: ExportHarness) -> None:
    """A project that only a newer version can read keeps its pages; all others are exported."""
    before = {path: body for path, body in tree(export_harness.site).items() if "/demo/" in path}
    key, codec = keys.project(CLAIMED), ProjectCodec()
    project = export_harness.index.projects.get(CLAIMED)
    newer = replace(project, revision=project.revision + 1, needs={"promoted": "7.5"})
    export_harness.store.put(key, codec.encode(newer), None)
    export_harness.index.changes.mark({CLAIMED: newer.revision})
    export_harness.publish(make_wheel("last", "1.0"))

    export_harness.export()

    (message,) = export_harness.result.failed
    assert "Upgrade to wheelyard 7.5" in message
    site = tree(export_harness.site)
    assert b"last/" in site["simple/index.html"]
    assert before.items() <= site.items()


def text_of(harness: ExportHarness, path: str) -> str:
    """Return a page of the site."""
    return tree(harness.site)[f"{path}index.html"].decode()


@pytest.mark.slow
def test_only_changed_pages_of_a_history_are_written(harness: ExportHarness) -> None:
    """With a longer history only those of its pages are written that change, or were lost."""

    def commit(times: int) -> set[str]:
        for number in range(times):
            status = Status.DEPRECATED if number % 2 else Status.ARCHIVED
            set_status(harness.index, "demo", status, f"{number} of {times}")
        return {path for verb, path in harness.export() if verb == "put" and "/history/" in path}

    harness.publish(make_wheel("demo", "1.0"))
    latest, *older = (f"project/demo/history/{page}index.html" for page in ("", "1/", "2/"))
    assert commit(2 * PAGE_COMMITS) >= {latest, older[0]}
    assert commit(1) == {latest}
    assert commit(PAGE_COMMITS) == {latest, *older}
    assert commit(1) == {latest}
    harness.assert_fresh()
    harness.site.delete(Key(older[0]))
    assert commit(2) == {latest, older[0]}
    harness.assert_fresh()


def test_all_mends_an_older_page_of_a_history(harness: ExportHarness) -> None:
    """With `--all`, a page of a history that no new entry changes is made again, too."""
    harness.publish(make_wheel("demo", "1.0"))
    for number in range(3 * PAGE_COMMITS):
        status = Status.DEPRECATED if number % 2 else Status.ARCHIVED
        set_status(harness.index, "demo", status)
    harness.export()
    older = "project/demo/history/1/index.html"
    made = tree(harness.site)[older]
    harness.site.put(Key(older), made[::-1], None)

    harness.export(everything=True)

    assert tree(harness.site)[older] == made


def test_a_reserved_name_has_a_page_until_it_is_released(harness: ExportHarness) -> None:
    """A reserved or claimed name has a page until its release; nothing else is exported anew."""
    harness.publish(make_wheel("other"))
    harness.export()
    names = harness.index.names
    names.reserve(ALICE, LATER, "starts in spring")
    harness.index.projects.names.claim(CLAIMED)
    for is_shown, exported in ((True, 2), (False, 0)):
        harness.export()

        assert harness.result.projects == exported
        for name in (LATER, CLAIMED):
            assert (f"simple/{name}/index.html" in tree(harness.site)) is is_shown
            assert (name in text_of(harness, "simple/")) is is_shown
        harness.assert_fresh()
        for name in (LATER, CLAIMED) if is_shown else ():
            names.release(ALICE, name, "")


@pytest.mark.parametrize("is_interrupted", [True, False])
def test_released_name_leaves_nothing(harness: ExportHarness, *, is_interrupted: bool) -> None:
    """A claimed name's page follows its first upload, and nothing stays once it is released."""
    harness.index.projects.names.claim(CLAIMED)
    harness.export()
    harness.publish(make_wheel("demo", "1.0"), make_wheel("app", "1.0", "Requires-Dist: demo"))
    harness.export()
    assert "demo-1.0" in text_of(harness, "simple/demo/")
    harness.assert_fresh()
    if is_interrupted:  # as the first export to the site, before it has written a page of it
        for path in [path for path in tree(harness.site) if "/demo/" in path[:14]]:
            if not path.startswith("files/"):
                harness.site.delete(Key(path))
        options = Options(base_url=BASE)
        manifest = Manifest(options=options, format=FORMAT, lease=Lease("", 0.0))
        harness.site.put(Key(MANIFEST), encode(manifest), None)
    delete(harness.index, "demo", "1.0")
    harness.index.names.release(ALICE, CLAIMED, "")

    harness.export()

    assert [path for path in tree(harness.site) if "demo" in path] == []
    harness.assert_fresh()
