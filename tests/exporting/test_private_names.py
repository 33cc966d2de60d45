"""Exports of private names without files: reserved, claimed, emptied and released ones."""

from packaging.utils import NormalizedName

from tests.exporting.export_fixture import AT_BASE, ExportHarness, delete
from tests.exporting.sites import tree
from tests.http.packages import wheel
from tests.operations.in_memory_index import ALICE

LATER, BEGUN = NormalizedName("later"), NormalizedName("begun")


def test_names_without_files(harness: ExportHarness) -> None:
    """A reserved or claimed name has a page without files; it goes when the name is released."""
    harness.publish(wheel("demo", "1.0"))
    harness.export()
    harness.index.names.reserve(ALICE, LATER, "starts in spring")
    harness.index.projects.names.claim(BEGUN)

    harness.export()

    for name in (LATER, BEGUN):
        assert f"simple/{name}/index.html" in tree(harness.site)
        assert name in (harness.site / "simple" / "index.json").read_text()
    harness.assert_fresh()

    for name in (LATER, BEGUN):
        harness.index.names.release(ALICE, name, "")
    ExportHarness(harness.folder).export()

    left = tree(harness.site)
    for name in (LATER, BEGUN):
        assert [path for path in left if f"/{name}/" in path] == []
        assert name not in (harness.site / "simple" / "index.json").read_text()
    harness.assert_fresh()


def test_a_claimed_name_gets_its_project(harness: ExportHarness) -> None:
    """The page of a claimed name follows its first upload, and that of an emptied one a release."""
    harness.index.projects.names.claim(NormalizedName("demo"))
    harness.export()
    harness.publish(wheel("demo", "1.0"))
    harness.export()
    assert "demo-1.0" in (harness.site / "simple" / "demo" / "index.json").read_text()
    assert harness.log_of(asked=AT_BASE).writes == []

    delete(harness.index, "demo", "1.0")
    harness.index.names.release(ALICE, NormalizedName("demo"), "")
    harness.export()

    assert [path for path in tree(harness.site) if "demo" in path] == []
