"""Exports of private names without files: reserved, claimed, emptied and released ones."""

import pytest
from msgspec.json import encode
from packaging.utils import NormalizedName

from tests.exporting.export_fixture import ExportHarness, delete
from tests.exporting.sites import BASE, tree
from tests.http.packages import wheel
from tests.operations.in_memory_index import ALICE
from wheelyard.exporting.manifest import FORMAT, MANIFEST_PATH, Lease, Manifest, Options
from wheelyard.exporting.project_export import ROOTS

LATER, BEGUN, DEMO = NormalizedName("later"), NormalizedName("begun"), NormalizedName("demo")


def test_names_without_files(harness: ExportHarness) -> None:
    """A reserved or claimed name has a page without files; it goes when the name is released."""
    harness.publish(wheel("demo", "1.0"))
    harness.export()
    harness.index.names.reserve(ALICE, LATER, "starts in spring")
    harness.index.projects.names.claim(BEGUN)

    harness.export()

    for name in (LATER, BEGUN):
        assert f"simple/{name}/index.html" in tree(harness.site)
        assert name.encode() in tree(harness.site)["simple/index.json"]
    harness.assert_fresh()

    for name in (LATER, BEGUN):
        harness.index.names.release(ALICE, name, "")
    harness.export()

    for name in (LATER, BEGUN):
        assert [path for path in tree(harness.site) if f"/{name}/" in path] == []
        assert name.encode() not in tree(harness.site)["simple/index.json"]
    harness.assert_fresh()


def test_a_claimed_name_gets_its_project(harness: ExportHarness) -> None:
    """The page of a claimed name follows its first upload, and that of an emptied one a release."""
    harness.index.projects.names.claim(DEMO)
    harness.export()
    harness.publish(wheel("demo", "1.0"), wheel("app", "1.0", "Requires-Dist: demo"))
    harness.export()
    assert b"demo-1.0" in tree(harness.site)["simple/demo/index.json"]
    harness.assert_fresh()

    delete(harness.index, "demo", "1.0")
    harness.index.names.release(ALICE, DEMO, "")
    harness.export()

    assert [path for path in tree(harness.site) if "demo" in path] == []
    harness.assert_fresh()


@pytest.mark.parametrize("has_pages", [True, False])
def test_released_after_an_interrupted_export(harness: ExportHarness, *, has_pages: bool) -> None:
    """No file stays of a name that was released after its first export was interrupted."""
    harness.publish(wheel("demo", "1.0"))
    harness.export()
    pages = [entry.key for root in ROOTS for entry in harness.site.list(f"{root}demo/")]
    for key in () if has_pages else pages:
        harness.site.delete(key, None)
    manifest = Manifest(options=Options(base_url=BASE), format=FORMAT, lease=Lease("", 0.0))
    harness.site.put(MANIFEST_PATH, encode(manifest), None)
    delete(harness.index, "demo", "1.0")
    harness.index.names.release(ALICE, DEMO, "")

    harness.export()

    assert [path for path in tree(harness.site) if "demo" in path] == []
    harness.assert_fresh()
