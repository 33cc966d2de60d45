"""Stores with something of everything in them, and exports of them."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from itertools import count
from pathlib import Path
from random import Random

from msgspec.structs import replace
from packaging.utils import NormalizedName
from packaging.version import Version

from tests.archive.builders import sdist_bytes
from tests.distributions import Distribution, make_sdist, make_wheel
from tests.exporting.sites import BASE, MANIFEST, broken, tree
from tests.fake_store import FakeStore
from tests.fake_time import Clock
from tests.http.packages import PYTHON
from tests.operations.fake_sources import FakeFiles, FakeSource
from tests.operations.in_memory_index import ALICE, objects
from tests.operations.old_files import EGG, INSTALLER, list_old_file
from wheelyard.catalog import keys
from wheelyard.concurrency.runtime import Runtime
from wheelyard.exporting.export import Export, ExportResult, open_export
from wheelyard.exporting.site_folder import RequestedOptions, SiteLease
from wheelyard.exporting.site_pages import SitePlace
from wheelyard.model.project import Status
from wheelyard.operations.importing.parallel_import import Importer
from wheelyard.operations.lifecycle import Selection
from wheelyard.settings.sections import Settings, StoreSettings
from wheelyard.storage.base import Store, Stores
from wheelyard.storage.memory import MemoryStore
from wheelyard.storage.spool import Spool
from wheelyard.wiring.build import build_index, open_index
from wheelyard.wiring.index import Index
from wheelyard.wiring.stores import StoreTraits

AT_BASE = RequestedOptions(base_url=BASE)
WRITES = frozenset({"put", "put_file", "delete"})

Calls = list[tuple[str, str]]
"""Calls on a store: verb and key."""


def ignore(*_: object) -> None:
    """Do nothing with what an export says."""


def export_to(
    index: Index, dest: Path | str, requested: RequestedOptions = AT_BASE
) -> ExportResult:
    """Export an index as the command does, without its output."""
    return open_export(index, str(dest), requested, ignore).run(ignore)


def clocked(clock: Clock, random: Random) -> Runtime:
    """Return a runtime whose clock moves while something pauses, and else not."""
    return Runtime(
        now=lambda: clock.now,
        monotonic=clock.seconds,
        thread_time=clock.seconds,
        pause=lambda seconds: clock.advance(seconds=seconds),
        random=random,
    )


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

    def objects(self) -> dict[str, bytes]:
        """Return every object of the store."""
        return dict(objects(self.index.server.catalog.stores.documents))

    def publish(self, *packages: Distribution) -> None:
        """Upload packages."""
        publish(self.index, self.folder, *packages)

    def fresh(self, requested: RequestedOptions = AT_BASE) -> dict[str, bytes]:
        """Return what an export to a new folder makes."""
        export_to(self.index, self.folder / "fresh", requested)
        return tree(self.folder / "fresh")

    def export_patiently(self, site: Path) -> tuple[ExportResult, int]:
        """Export, waiting for others on a clock that a wait moves; return how often it waited."""
        waits, clock = list[int](), Clock(self.index.server.runtime.now())
        export = open_export(self.index, str(site), AT_BASE, ignore)
        runtime = clocked(clock, self.index.server.runtime.random)
        lease = SiteLease(export.place.store, runtime, lambda: waits.append(1))
        return replace(export, lease=lease).run(ignore), len(waits)


@dataclass
class ExportHarness:
    """An index in memory, and sites of it; the clock moves while something pauses, and else not."""

    folder: Path
    clock: Clock = field(default_factory=Clock)
    options: RequestedOptions = AT_BASE
    near: bool = True
    """Whether the store is one that answers at once, and not a bucket."""
    waits: int = 0
    """How often an export has said that it waits for another one."""

    def __post_init__(self) -> None:
        self._seeds = count(1)
        self.store = MemoryStore(self.clock.seconds)
        self.site = MemoryStore(self.clock.seconds)
        self.index = self.opened(self.store)

    def opened(self, store: Store) -> Index:
        """Return the index over a store, as another process has it."""
        runtime = clocked(self.clock, Random(next(self._seeds)))
        traits = StoreTraits(is_local=self.near)
        return build_index(Stores.of(store), Spool(self.folder), Settings(), runtime, traits)

    def publish(self, *packages: Distribution) -> None:
        """Upload packages."""
        publish(self.index, self.folder, *packages)

    def opened_export(self, site: Store, store: Store | None = None) -> Export:
        """Return the export to a site, as another process has it."""
        index = self.opened(store or self.store)
        return Export(
            index=index,
            place=SitePlace(site, index.server.spool, "memory"),
            lease=SiteLease(site, index.server.runtime, self._note_wait),
            requested=self.options,
        )

    def export(self, site: Store | None = None, *, everything: bool = False) -> Calls:
        """Bring a site up to date; return what was written to it but for the manifest."""
        there, here = FakeStore(site or self.site), FakeStore(self.store)
        self.result = self.opened_export(there, here).run(ignore, everything=everything)
        written = {key for verb, key in here.calls if verb in WRITES}
        assert not [key for key in written - {keys.CHANGES} if not key.startswith(keys.PENDING)]
        return [call for call in there.calls if call[0] in WRITES and call[1] != MANIFEST]

    def fresh(self) -> dict[str, bytes]:
        """Return what an export to a new site makes."""
        site = MemoryStore(self.clock.seconds)
        self.export(site)
        return tree(site)

    def assert_fresh(self, told: object = "") -> None:
        """Fail unless the site is what an export to a new one makes, and stays as it is."""
        site = tree(self.site)
        assert site == self.fresh(), told
        assert broken(site) == [], told
        assert self.export() == [], told

    def _note_wait(self) -> None:
        self.waits += 1


def publish(index: Index, spool: Path, *packages: Distribution) -> None:
    """Upload packages to an index."""
    for package in packages:
        arrival = package.arrival(spool)
        index.uploads.accept(arrival, ALICE)


def yank(index: Index, name: str, version: str, reason: str = "") -> None:
    """Yank a release."""
    selection = Selection(Version(version), None)
    index.lifecycle.change("yank", ALICE, NormalizedName(name), selection, reason)


def delete(index: Index, name: str, version: str, filename: str | None = None) -> None:
    """Delete a release, or a file of it."""
    selection = Selection(Version(version), frozenset({filename}) if filename else None)
    index.lifecycle.change("delete", ALICE, NormalizedName(name), selection, "")


def set_status(index: Index, name: str, status: Status, reason: str = "") -> None:
    """Set a project's status."""
    index.lifecycle.set_status(ALICE, NormalizedName(name), status, reason)


def stock(index: Index, spool: Path) -> None:
    """Fill an index with something of everything that pages can show."""
    publish(
        index,
        spool,
        make_wheel(
            "demo", "1.0", f"Requires-Python: {PYTHON}", "Summary: A demo of <b>it</b> & more"
        ),
        make_sdist("demo", "1.0", f"Requires-Python: {PYTHON}"),
        make_wheel("demo", "1.1", "Summary: Größer", "Project-URL: Home, https://example.com/?a&b"),
        make_wheel("demo", "1!2.0+cu121.x", tag="cp311-cp311-manylinux_2_17_x86_64"),
        make_wheel("half-gone", "2.0"),
        make_sdist("only-source", "0.1.dev3"),
        # the order of some depends on who sorts them
        *(make_wheel(name) for name in ("a", "a-b", "a0", "gone", "half-gone", "kept-in", "old")),
        make_wheel("zope-2-x"),
        *(make_wheel("many", f"{number}.0") for number in range(30)),
    )
    yank(index, "demo", "1.1", 'breaks on <Mondays> & "others"')
    yank(index, "many", "29.0")
    delete(index, "gone", "1.0")
    delete(index, "half-gone", "2.0")
    set_status(index, "kept-in", Status.QUARANTINED, "malware?")
    set_status(index, "old", Status.ARCHIVED, "use <demo>")
    then, source = datetime(2014, 5, 6, 7, 8, 9, tzinfo=UTC), FakeFiles()
    # what no upload could bring: with no metadata, or of another time
    bare = Distribution("bare-1.0.tar.gz", sdist_bytes(pkg_info=None, top=b"bare-1.0"))
    offers = [source.offer(bare, uploaded_at=then, uploaded_by="<ann>")]
    report = Importer(index.uploads.with_waivers).run(FakeSource(offers), ALICE)
    assert report.refused == [], report.refused
    for old in (EGG, INSTALLER):
        named = Distribution(old.filename.replace("demo", "oldest"), old.body)
        list_old_file(index.uploads, named, spool, then)
