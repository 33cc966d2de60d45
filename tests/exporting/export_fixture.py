"""A store in a folder with something of everything in it, and its exports."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

from msgspec.structs import replace
from packaging.utils import NormalizedName
from packaging.version import Version

from tests.archive.builders import Entry, sdist_bytes, zip_bytes
from tests.exporting.sites import BASE, Log, broken, observed, pages_of, reader, tree
from tests.http.packages import PYTHON, Package, sdist, wheel
from tests.operations.distributions import Made
from tests.operations.fake_sources import FakeFiles, FakeSource
from tests.operations.in_memory_index import ALICE
from wheelyard.model.project import Status
from wheelyard.operations.exporting.incremental_export import IncrementalExport, TaskResults
from wheelyard.operations.exporting.manifest import RequestedOptions, store_fingerprint
from wheelyard.operations.exporting.page_writer import PageWriter
from wheelyard.operations.exporting.project_export import ExportTask
from wheelyard.operations.importing.parallel_import import Importer
from wheelyard.operations.lifecycle import Selection
from wheelyard.settings.sections import Settings, StoreSettings
from wheelyard.wiring.index import Index, open_index
from wheelyard.wiring.site_export import SiteExporter, open_site

AT_BASE = RequestedOptions(base_url=BASE)
THEN = datetime(2014, 5, 6, 7, 8, 9, tzinfo=UTC)
ODD = ("a", "a-b", "a0", "zope-2-x")
"""Names whose order depends on who sorts them."""


@dataclass(frozen=True)
class ExportHarness:
    """
    An index in a folder, opened in this process, and its exported site.

    Args:
        folder: New, or that of an earlier harness.
    """

    folder: Path

    @property
    def store(self) -> Path:
        """The folder of the store."""
        return self.folder / "store"

    @property
    def identity(self) -> str:
        """The store's fingerprint in the manifest of its sites."""
        return store_fingerprint(os.path.realpath(self.store))

    @property
    def site(self) -> Path:
        """The folder of the site."""
        return self.folder / "site"

    @cached_property
    def index(self) -> Index:
        """The index."""
        return open_index(Settings(store=StoreSettings(location=str(self.store))))

    def publish(self, *packages: Package) -> None:
        """Upload packages."""
        publish(self.index, self.folder, *packages)

    def exports(self, site: Path | None = None, asked: RequestedOptions = AT_BASE) -> SiteExporter:
        """Return what brings a site up to date."""
        asked = replace(asked, store=self.identity)
        return SiteExporter(index=self.index, dest=str(site or self.site), requested=asked)

    def export(self, site: Path | None = None, asked: RequestedOptions = AT_BASE) -> PageWriter:
        """Bring a site up to date, and return what that took."""
        export = self.exports(site, asked).open()
        export.run(lambda *_: None)
        return export.writer

    def assert_fresh(self, asked: RequestedOptions = AT_BASE, *, told: object = "") -> None:
        """Fail unless the site is, byte for byte, what an export to a new place makes."""
        with TemporaryDirectory(dir=self.folder) as fresh:
            ExportHarness(self.folder).export(Path(fresh), asked)
            assert tree(self.site) == tree(Path(fresh)), told
        assert broken(reader(self.site), pages_of(self.site)) == [], told

    def log_of(
        self, *names: str, site: Path | None = None, asked: RequestedOptions = AT_BASE
    ) -> Log:
        """Bring a site up to date, or some of its projects, and return what was done to it."""
        log = Log()
        observed_export(self.exports(site, asked), log, *names)
        return log


def observed_export(
    exports: SiteExporter, on_call: Callable[[str, str], None], *names: str, in_order: bool = True
) -> None:
    """Export all changes, or some projects, and report every call on the site."""
    site = observed(open_site(exports.dest, exports.index), on_call)
    export = exports.export_to(site)
    export = one_by_one(export) if in_order else export
    if names:
        export.export_projects(NormalizedName(name) for name in names)
    else:
        export.run(lambda *_: None)


def one_by_one(export: IncrementalExport) -> IncrementalExport:
    """Return an export that does one thing after the other, in this thread."""

    def run_all(tasks: list[ExportTask], known: frozenset[str]) -> TaskResults:
        for task in tasks:
            yield task, export.project.export(task, known)

    return replace(export, run_all=run_all)


def publish(index: Index, spool: Path, *packages: Package) -> None:
    """Upload packages to an index."""
    for package in packages:
        arrival = Made(package.filename, package.data).arrival(spool)
        index.uploads.accept(arrival, ALICE)


def yank(index: Index, name: str, version: str, reason: str = "") -> None:
    """Yank a release."""
    index.lifecycle.change(
        "yank", ALICE, NormalizedName(name), Selection(Version(version), None), reason
    )


def delete(index: Index, name: str, version: str, filename: str | None = None) -> None:
    """Delete a release, or a file of it."""
    index.lifecycle.change(
        "delete", ALICE, NormalizedName(name), Selection(Version(version), filename), ""
    )


def set_status(index: Index, name: str, status: Status, reason: str = "") -> None:
    """Set a project's status."""
    index.lifecycle.set_status(ALICE, NormalizedName(name), status, reason)


def stock(index: Index, spool: Path) -> None:
    """Fill an index with something of everything that pages can show."""
    long = tuple(wheel("many", f"{number}.0") for number in range(30))
    publish(
        index,
        spool,
        wheel("demo", "1.0", f"Requires-Python: {PYTHON}", "Summary: A demo of <b>it</b> & more"),
        sdist("demo", "1.0", f"Requires-Python: {PYTHON}"),
        wheel("demo", "1.1", "Summary: Größer", "Project-URL: Home, https://example.com/?a&b"),
        wheel("demo", "1!2.0+cu121.x", tag="cp311-cp311-manylinux_2_17_x86_64"),
        wheel("gone", "1.0"),
        wheel("half-gone", "1.0"),
        wheel("half-gone", "2.0"),
        wheel("kept-in", "1.0"),
        wheel("old", "1.0"),
        sdist("only-source", "0.1.dev3"),
        *(wheel(name, "1.0") for name in ODD),
        *long,
    )
    yank(index, "demo", "1.1", 'breaks on <Mondays> & "others"')
    yank(index, "many", "29.0")
    delete(index, "gone", "1.0")
    delete(index, "half-gone", "2.0")
    set_status(index, "kept-in", Status.QUARANTINED, "malware?")
    set_status(index, "old", Status.ARCHIVED, "use <demo>")
    _import_old(index)


def _import_old(index: Index) -> None:
    """Import files that no upload could bring: with no metadata, or of another time."""
    source = FakeFiles()
    files = (
        Made("bare-1.0.tar.gz", sdist_bytes(pkg_info=None, top=b"bare-1.0")),
        Made("oldest-1.0-py2.7.egg", zip_bytes([Entry(b"oldest.py", b"")])),
        Made("oldest-1.0.win32-py2.7.exe", b"MZ" + bytes(99)),
    )
    offers = [source.offer(each, uploaded_at=THEN, uploaded_by="<ann>") for each in files]
    report = Importer(index.uploads.with_waivers).run(FakeSource(offers), ALICE)
    assert report.refused == [], report.refused
