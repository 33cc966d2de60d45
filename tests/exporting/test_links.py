"""Pages that change because another project has changed."""

import pytest
from packaging.utils import NormalizedName

from tests.exporting.export_fixture import (
    ExportHarness,
    delete,
    observed_export,
    set_status,
)
from tests.exporting.sites import WRITES, broken, pages_of, reader, tree
from tests.exporting.test_incremental import assert_fresh
from tests.http.packages import wheel
from wheelyard.model.project import Status
from wheelyard.operations.exporting import index_pages
from wheelyard.operations.exporting.index_pages import IndexPages
from wheelyard.operations.exporting.manifest import Options
from wheelyard.operations.project_history import PAGE_COMMITS
from wheelyard.rendering.project_facts import name_facts
from wheelyard.rendering.web.environment import PageEnvironment

NEEDS_BASE = "Requires-Dist: base>=1"


def written(harness: ExportHarness) -> set[str]:
    """Bring the site up to date; return the pages of projects that this wrote."""
    return {
        path.removesuffix("index.html")
        for path in harness.log_of().paths("put")
        if path.startswith("project/") and path.endswith("index.html")
    }


def histories(harness: ExportHarness) -> set[str]:
    """Bring the site up to date; return the pages of histories that this wrote."""
    return {path for path in written(harness) if "/history/" in path}


def test_who_uses_a_project(harness: ExportHarness) -> None:
    """A project's page names those that require it now, though only they have changed."""
    harness.publish(wheel("base", "1.0"), wheel("app", "1.0"), wheel("other", "1.0"))
    harness.export()

    harness.publish(wheel("app", "2.0", NEEDS_BASE))
    with_user = written(harness)
    page = (harness.site / "project/base/index.html").read_text()
    assert_fresh(harness)
    delete(harness.index, "app", "2.0")
    without = written(harness)

    assert "project/base/" in with_user
    assert "project/base/1.0/" not in with_user
    assert not any(path.startswith("project/other/") for path in with_user)
    assert 'href="../app/"' in page
    assert "project/base/" in without
    assert 'href="../app/"' not in (harness.site / "project/base/index.html").read_text()
    assert_fresh(harness)


def test_the_status_of_a_user(harness: ExportHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A status is shown where a project is listed, though only its own document has changed."""
    monkeypatch.setattr(index_pages, "PROJECTS_ON_HOME", 1)
    harness.publish(wheel("base", "1.0"), wheel("app", "1.0", NEEDS_BASE), wheel("other", "1.0"))
    harness.export()
    for status, is_shown in ((Status.DEPRECATED, True), (Status.ACTIVE, False)):
        set_status(harness.index, "app", status)

        pages = written(harness)

        assert "project/base/" in pages
        assert "project/other/" not in pages
        for path in ("-/projects/1/", "project/base/", ""):
            text = (harness.site / path / "index.html").read_text()
            assert ("deprecated" in text) == is_shown
        assert_fresh(harness)


def test_a_dependency_that_is_published_later(harness: ExportHarness) -> None:
    """Releases that require a new project link to it, also those that are not the latest."""
    harness.publish(wheel("app", "1.0", NEEDS_BASE), wheel("app", "2.0"), wheel("other", "1.0"))
    harness.export()
    harness.publish(wheel("base", "1.0"))

    pages = written(harness)

    assert {"project/app/1.0/", "project/base/"} <= pages
    assert not {"project/app/2.0/", "project/other/"} & pages
    assert "project/base/" in (harness.site / "project/app/1.0/index.html").read_text()
    assert_fresh(harness)


def test_new_projects_that_require_each_other(harness: ExportHarness) -> None:
    """At no moment does a page of either link to the other before that is there."""
    harness.publish(wheel("old", "1.0", "Requires-Dist: one"))
    harness.export()
    harness.publish(
        wheel("one", "1.0", "Requires-Dist: two"), wheel("two", "1.0", "Requires-Dist: one")
    )

    def look(verb: str, _path: str) -> None:
        if verb in WRITES:
            assert broken(reader(harness.site), pages_of(harness.site)) == []

    observed_export(harness.exports(), look)

    assert 'href="../../project/two/"' in (harness.site / "project/one/index.html").read_text()
    assert_fresh(harness)


def test_history_in_pages(harness: ExportHarness) -> None:
    """With a longer history only those of its pages are written that change."""
    harness.publish(wheel("demo", "1.0"))
    name, index = "demo", harness.index
    for number in range(2 * PAGE_COMMITS):
        set_status(index, name, Status.ARCHIVED if number % 2 else Status.ACTIVE, f"{number}")
    harness.export()
    set_status(index, name, Status.DEPRECATED, "last")
    one_more = histories(harness)
    for number in range(PAGE_COMMITS):
        set_status(index, name, Status.ARCHIVED if number % 2 else Status.ACTIVE, f"again {number}")
    next_page = histories(harness)
    set_status(index, name, Status.DEPRECATED, "end")
    after_that = histories(harness)

    assert one_more == after_that == {"project/demo/history/"}
    assert next_page == one_more | {"project/demo/history/1/", "project/demo/history/2/"}
    assert_fresh(harness)


def test_lists_of_many_names() -> None:
    """With many projects there are pages with their names, as on a server."""
    names = [name_facts(NormalizedName(f"project-{number:04}")) for number in range(1001)]
    pages = IndexPages(Options(), PageEnvironment("https://index.example/simple/"))

    many = {page.path: page.render() for page in pages.lists(names)}
    few = {page.path for page in pages.lists(names[:200])}

    assert set(many) - few == {f"-/projects/{number}/index.html" for number in (1, 2, 3)}
    assert b"project-1000/" in many["-/projects/3/index.html"]
    assert b'href="../3/"' in many["-/projects/2/index.html"]


def test_a_record_that_is_lost(harness: ExportHarness) -> None:
    """Without what is known of a project's pages, all of them are written again."""
    harness.publish(wheel("demo", "1.0"), wheel("demo", "1.1"))
    harness.export()
    delete(harness.index, "demo", "1.0")
    (harness.site / "wheelyard-export/projects/demo.json").write_bytes(b"{")

    harness.export()

    assert "project/demo/1.0/index.html" not in tree(harness.site)
    assert_fresh(harness)
