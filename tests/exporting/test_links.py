"""Pages that change because another project has changed, and pages of a long history."""

import pytest

from tests.exporting.export_fixture import ExportHarness, delete, set_status
from tests.exporting.sites import tree
from tests.http.packages import wheel
from wheelyard.exporting import questions
from wheelyard.model.project import Status
from wheelyard.operations.project_history import PAGE_COMMITS

NEEDS_BASE = "Requires-Dist: base>=1"


def written(harness: ExportHarness) -> set[str]:
    """Bring the site up to date; return the pages of projects that this wrote."""
    return {
        path.removesuffix("index.html")
        for verb, path in harness.export()
        if verb == "put" and path.startswith("project/") and path.endswith("index.html")
    }


def text_of(harness: ExportHarness, path: str) -> str:
    """Return a page of the site."""
    return tree(harness.site)[path].decode()


def histories(harness: ExportHarness) -> set[str]:
    """Bring the site up to date; return the pages of histories that this wrote."""
    return {path for path in written(harness) if "/history/" in path}


def test_who_uses_a_project(harness: ExportHarness) -> None:
    """A project's page names those that require it now, though only they have changed."""
    harness.publish(wheel("base", "1.0"), wheel("app", "1.0"), wheel("other", "1.0"))
    harness.export()

    harness.publish(wheel("app", "2.0", NEEDS_BASE))
    with_user = written(harness)
    page = text_of(harness, "project/base/index.html")
    harness.assert_fresh()
    delete(harness.index, "app", "2.0")
    without = written(harness)

    assert "project/base/" in with_user
    assert "project/base/1.0/" not in with_user
    assert not any(path.startswith("project/other/") for path in with_user)
    assert 'href="../app/"' in page
    assert "project/base/" in without
    assert 'href="../app/"' not in text_of(harness, "project/base/index.html")
    harness.assert_fresh()


def test_the_status_of_a_user(harness: ExportHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A status is shown where a project is listed, though only its own document has changed."""
    monkeypatch.setattr(questions, "PROJECTS_ON_HOME", 1)
    harness.publish(wheel("base", "1.0"), wheel("app", "1.0", NEEDS_BASE), wheel("other", "1.0"))
    harness.export()
    for status, is_shown in ((Status.DEPRECATED, True), (Status.ACTIVE, False)):
        set_status(harness.index, "app", status)

        pages = written(harness)

        assert "project/base/" in pages
        assert "project/other/" not in pages
        for path in ("-/projects/1/", "project/base/", ""):
            text = text_of(harness, f"{path}index.html")
            assert ("deprecated" in text) == is_shown
        harness.assert_fresh()


def test_a_dependency_that_is_published_later(harness: ExportHarness) -> None:
    """Releases that require a new project link to it, also those that are not the latest."""
    harness.publish(wheel("app", "1.0", NEEDS_BASE), wheel("app", "2.0"), wheel("other", "1.0"))
    harness.export()
    harness.publish(wheel("base", "1.0"))

    pages = written(harness)

    assert {"project/app/1.0/", "project/base/"} <= pages
    assert not {"project/app/2.0/", "project/other/"} & pages
    assert "project/base/" in text_of(harness, "project/app/1.0/index.html")
    harness.assert_fresh()


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
    harness.assert_fresh()
