"""Stores with something of everything in them, and exports of them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from itertools import count
from pathlib import Path
from random import Random

from packaging.utils import NormalizedName
from packaging.version import Version

from tests.archive.builders import Entry, sdist_bytes, zip_bytes
from tests.exporting.sites import BASE, MANIFEST, broken, tree
from tests.http.packages import PYTHON, Package, sdist, wheel
from tests.operations.distributions import Made
from tests.operations.fake_sources import FakeFiles, FakeSource
from tests.operations.in_memory_index import ALICE, Clock
from tests.storage.wrapping import ObservedStore
from wheelyard.concurrency.runtime import Runtime
from wheelyard.exporting.destination import open_export
from wheelyard.exporting.export import Export, ExportResult
from wheelyard.exporting.manifest import RequestedOptions, SiteLease
from wheelyard.exporting.site import FileStore, SitePlace
from wheelyard.model.project import Status
from wheelyard.operations.importing.parallel_import import Importer
from wheelyard.operations.lifecycle import Selection
from wheelyard.settings.sections import Settings, StoreSettings
from wheelyard.storage.base import Store
from wheelyard.storage.memory import MemoryStore
from wheelyard.storage.spool import Spool
from wheelyard.wiring.index import Index, build_index, open_index

THEN = datetime(2014, 5, 6, 7, 8, 9, tzinfo=UTC)
ODD = ("a", "a-b", "a0", "zope-2-x")
"""Names whose order depends on who sorts them."""
WRITES = frozenset({"put", "delete"})
STORE_WRITES = frozenset({"store put", "store delete"})

Calls = list[tuple[str, str]]
"""Calls on a store: verb and key."""
OnCall = Callable[[str, str], None]
"""Called before each of them; what it raises, the call does."""


def export_to(
    index: Index, dest: Path | str, requested: RequestedOptions, *, everything: bool = False
) -> ExportResult:
    """Export an index as the command does, without its output."""
    export = open_export(index, str(dest), requested, lambda: None)
    return export.run(lambda *_: None, everything=everything)


@dataclass(frozen=True)
class StoreFolder:
    """A store in a folder, and a folder for its site."""

    folder: Path

    @property
    def store(self) -> Path:
        """The folder of the store."""
        return self.folder / "store"

    @property
    def site(self) -> Path:
        """The folder of the site."""
        return self.folder / "site"

    @cached_property
    def index(self) -> Index:
        """The index, opened in this process."""
        return open_index(Settings(store=StoreSettings(location=str(self.store))))

    def publish(self, *packages: Package) -> None:
        """Upload packages."""
        publish(self.index, self.folder, *packages)


@dataclass
class ExportHarness:
    """An index in memory, and sites of it; the clock moves while something pauses, and else not."""

    folder: Path
    clock: Clock = field(default_factory=Clock)
    waits: int = 0
    """How often an export has said that it waits for another one."""

    def __post_init__(self) -> None:
        self._seeds = count(1)
        self.store = MemoryStore(self.clock.seconds)
        self.site = MemoryStore(self.clock.seconds)
        self.index = self.opened(self.store)

    def opened(self, store: Store, clock: Clock | None = None) -> Index:
        """Return the index over a store, as another process has it, perhaps with another clock."""
        time = clock or self.clock
        runtime = Runtime(
            now=lambda: time.now,
            monotonic=time.seconds,
            pause=lambda seconds: time.advance(seconds=seconds),
            random=Random(next(self._seeds)),
        )
        return build_index(store, Spool(self.folder), Settings(), runtime)

    def publish(self, *packages: Package) -> None:
        """Upload packages."""
        publish(self.index, self.folder, *packages)

    def opened_export(
        self,
        site: Store,
        on_call: OnCall = lambda *_: None,
        *,
        clock: Clock | None = None,
        is_gzipped: bool = False,
    ) -> Export:
        """
        Return the export to a site in memory, as another process has it.

        Before each call on the site `on_call` is called, and before each one on the store, whose
        verb begins with `store `.
        """
        store = ObservedStore(self.store, lambda verb, key: on_call(f"store {verb}", key))
        index, site = self.opened(store, clock), ObservedStore(site, on_call)
        return Export(
            index=index,
            place=SitePlace(site, index.spool, is_bucket=False),
            lease=SiteLease(site, index.runtime, self._note_wait),
            requested=RequestedOptions(base_url=BASE, is_gzipped=is_gzipped),
            file_store=FileStore,
        )

    def export(
        self, site: Store | None = None, *, everything: bool = False, is_gzipped: bool = False
    ) -> Calls:
        """Bring a site up to date; return what was written to it but for the manifest."""
        calls = Calls()
        export = self.opened_export(
            site or self.site,
            lambda verb, key: calls.append((verb, key)),
            is_gzipped=is_gzipped,
        )
        self.result = export.run(lambda *_: None, everything=everything)
        assert not [call for call in calls if call[0] in STORE_WRITES]
        return [call for call in calls if call[0] in WRITES and call[1] != MANIFEST]

    def fresh(self, *, is_gzipped: bool = False) -> dict[str, bytes]:
        """Return what an export to a new site makes."""
        site = MemoryStore(self.clock.seconds)
        self.export(site, is_gzipped=is_gzipped)
        return tree(site)

    def assert_fresh(self, told: object = "") -> None:
        """Fail unless the site is what an export to a new one makes, and stays as it is."""
        site = tree(self.site)
        assert site == self.fresh(), told
        assert broken(site) == [], told
        assert self.export() == [], told

    def _note_wait(self) -> None:
        self.waits += 1


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
