"""Uploads of wheels with a label: taken, refused, and compared with the others of their release."""

import json
from itertools import count
from pathlib import Path
from typing import Final

import pytest
from packaging.utils import NormalizedName
from packaging.version import Version

from tests.distributions import Distribution, make_wheel
from tests.fake_store import Before, FakeStore, Fault, FaultKind, ProcessCrash
from tests.fake_time import Clock, fake_runtime
from tests.operations.fake_sources import FakeFiles, FakeSource
from tests.operations.in_memory_index import ALICE, IndexHarness
from tests.operations.store_copies import copy_whole
from tests.operations.two_indexes import TwoIndexes
from tests.variants.wheels import make_variant, variant_json
from wheelyard.catalog import keys
from wheelyard.errors import Invalid, Unavailable, WheelyardError
from wheelyard.operations.importing.parallel_import import Importer
from wheelyard.operations.lifecycle import Selection
from wheelyard.settings.sections import Settings, UploadSettings
from wheelyard.storage.base import Store, Stores
from wheelyard.storage.memory import MemoryStore
from wheelyard.storage.spool import Spool
from wheelyard.wiring.build import build_index
from wheelyard.wiring.index import Index

TAKES_VARIANTS: Final = Settings(uploads=UploadSettings(wheel_variants=True))
DEMO: Final = NormalizedName("demo")
ONE: Final = Version("1.0")
V2, V3, PLAIN = make_variant("v2"), make_variant("v3"), make_wheel()
OTHER_V3: Final = make_variant(
    "v3", tag="py2-none-any", variants={"v3": {"x86_64": {"level": ["v4"]}}}
)
"""A wheel that says another thing of the same label."""


class Servers:
    """Servers of one store in memory, each with caches of its own."""

    def __init__(self, folder: Path, store: Store | None = None) -> None:
        self.folder = folder
        self.store = store or MemoryStore(lambda: 0.0)
        self._seeds = count(1)

    def index(self, store: Store | None = None, settings: Settings = TAKES_VARIANTS) -> Index:
        """Return the index of a new server."""
        runtime = fake_runtime(Clock(), next(self._seeds))
        stores = Stores.of(store or self.store)
        return build_index(stores, Spool(self.folder), settings, runtime)

    def upload(self, made: Distribution, index: Index | None = None) -> None:
        """Upload a wheel to a server, or to a new one."""
        uploads = (index or self.index()).uploads
        uploads.authorize(made.filename, ALICE)
        uploads.accept(made.arrival(self.folder), ALICE)

    def refusal(self, made: Distribution, index: Index | None = None) -> WheelyardError:
        """Return why a wheel is refused, after which nothing of it is left, and all is well."""
        before = list(self.store.list("files/"))
        with pytest.raises(WheelyardError) as refusal:
            self.upload(made, index)
        assert list(self.store.list("files/")) == before
        assert self.index().server.check.run(rebuild=False).problems == []
        return refusal.value

    def listed(self) -> list[str]:
        """Return the names of the files that are listed."""
        return [file.filename for file in self.index().projects.get(DEMO).files]


@pytest.fixture
def servers(tmp_path: Path) -> Servers:
    """Servers that take wheel variants."""
    return Servers(tmp_path)


def test_wheels_with_a_label_are_listed_beside_others(servers: Servers) -> None:
    """A release has wheels for several machines, and what each is for is kept beside it."""
    for made in (PLAIN, V3, V2, make_variant("null")):
        servers.upload(made)

    index = servers.index()
    files = {file.filename: file for file in index.projects.get(DEMO).files}
    assert sorted(files) == servers.listed()
    assert files[PLAIN.filename].variant == ""
    assert index.files.variant(DEMO, files[V3.filename]) == variant_json("v3")
    key = keys.sidecar(DEMO, files[V3.filename], "variant")
    assert files[V3.filename].variant in key
    assert keys.parse_file_key(key) == keys.parse_file_key(
        keys.distribution(DEMO, V3.sha256, V3.filename)
    )


@pytest.mark.parametrize("is_lenient", [False, True])
def test_while_it_is_off_the_setting_is_named(servers: Servers, *, is_lenient: bool) -> None:
    """An index that takes no wheel variants says what the file is, and which setting takes it."""
    uploads = servers.index(settings=Settings()).uploads
    uploads = uploads.with_waivers if is_lenient else uploads
    for ask in (
        lambda: uploads.authorize(V3.filename, ALICE),
        lambda: uploads.permit(V3.filename, DEMO, ALICE),
    ):
        with pytest.raises(Invalid) as refusal:
            ask()
        assert refusal.value.code == "invalid_filename"
        assert "the label v3 of a wheel variant (PEP 825)" in refusal.value.message
        assert "wheel_variants = true in [uploads]" in refusal.value.message


@pytest.mark.parametrize("settings", [Settings(), TAKES_VARIANTS])
def test_nobody_uploads_the_document(servers: Servers, settings: Settings) -> None:
    """The document about a release is made by the index, which says so."""
    with pytest.raises(Invalid, match="The index makes 'demo-1") as refusal:
        servers.index(settings=settings).uploads.authorize("demo-1.0-variants.json", ALICE)
    assert refusal.value.code == "invalid_filename"


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (make_wheel(label="v3"), "there is none beside METADATA"),
        (make_wheel(label="v3", variant=b"{}"), "$schema is no https URL"),
        (make_wheel(label="v3", variant=b"[" * 10_000), "it is no JSON in UTF-8"),
        (
            make_wheel(label="v3", variant=json.dumps(variant_json("v2")).encode()),
            "has not exactly the label of the filename, 'v3'",
        ),
    ],
)
def test_a_malformed_one_is_refused(servers: Servers, made: Distribution, why: str) -> None:
    """A wheel whose `variant.json` does not describe its label is refused with the reason."""
    refusal = servers.refusal(made)
    assert (refusal.code, why in refusal.message) == ("invalid_variant", True)


def test_a_long_one_is_refused(servers: Servers) -> None:
    """A wheel whose `variant.json` is longer than any real one is refused."""
    assert servers.refusal(make_variant("v3", more="x" * 300_000)).code == "archive_bomb"


def test_a_wheel_that_makes_a_release_too_long_is_refused(servers: Servers) -> None:
    """A wheel is refused with which what the wheels of a release say is longer than 1 MiB."""
    long = "x" * 250_000
    *fitting, surplus = (
        make_wheel(
            content=label.encode(),
            label=label,
            variant=json.dumps(
                variant_json(label, **{"static-properties": {label: long}})
            ).encode(),
        )
        for label in ("v1", "v2", "v3", "v4", "v5")
    )
    for made in fitting:
        servers.upload(made)

    refusal = servers.refusal(surplus)

    assert isinstance(refusal, Invalid)
    assert refusal.code == "variant_conflict"
    assert "together they have more than 1048576 bytes" in refusal.message
    assert servers.listed() == [made.filename for made in fitting]


def test_a_forgotten_label_is_said(servers: Servers) -> None:
    """A wheel for some machines whose filename lacks the label is taken, with a warning."""
    made = make_wheel(variant=json.dumps(variant_json("v3")).encode())
    published = servers.index().uploads.accept(made.arrival(servers.folder), ALICE)
    assert any("no label in its name" in warning for warning in published.warnings)


def test_a_wheel_that_contradicts_another_is_refused(servers: Servers) -> None:
    """Wheels of one release that say different things of a label are not both listed."""
    servers.upload(V3)
    refusal = servers.refusal(OTHER_V3)
    assert isinstance(refusal, Invalid)
    assert refusal.code == "variant_conflict"
    assert "the label 'v3' has other properties" in refusal.message
    # another release may say something else
    servers.upload(make_variant("v3", version="2.0", variants={"v3": {"x86_64": {"l": ["4"]}}}))


def test_of_two_servers_at_once_one_refuses(servers: Servers) -> None:
    """Of two wheels that two servers get at once, and that do not fit, one is refused."""
    servers.upload(PLAIN)
    slow = servers.index()
    slow.projects.get(DEMO)
    before = slow.projects.get_for_update(DEMO)
    upload = OTHER_V3.arrival(servers.folder)
    checked = slow.uploads.validate(upload, ALICE, before)
    servers.upload(V3)  # another server is faster, after the first one has looked
    slow.uploads.store(DEMO, [checked])
    intent = slow.uploads.add_files(before, [checked], ALICE)

    committed = slow.projects.change(DEMO, intent)

    (decision,) = intent.decide(committed.before)
    assert decision.refusal is not None
    assert decision.refusal.code == "variant_conflict"
    assert servers.listed() == [V3.filename, PLAIN.filename]
    assert servers.index().server.check.run(rebuild=False).problems == []


def test_wheels_of_one_commit_have_to_fit_each_other(servers: Servers) -> None:
    """Of wheels that an import adds at once, those that fit are listed, and the others refused."""
    index = servers.index()
    before = index.projects.get_for_update(DEMO)
    files = [
        index.uploads.validate(made.arrival(servers.folder), ALICE, before)
        for made in (V3, OTHER_V3, V2, PLAIN)
    ]
    index.uploads.store(DEMO, files)
    intent = index.uploads.add_files(before, files, ALICE)

    index.projects.change(DEMO, intent)

    assert servers.listed() == sorted([V3.filename, V2.filename, PLAIN.filename])


def test_the_same_upload_again_ends_as_if_once(tmp_path: Path) -> None:
    """Whenever an upload dies, nothing is damaged, and the same one again completes it."""
    for nth in count(1):
        servers = Servers(tmp_path)
        servers.upload(V2)
        faulty = FakeStore(servers.store, Fault(FaultKind.CRASH_AFTER, nth=nth))
        try:
            servers.upload(V3, servers.index(faulty))
        except ProcessCrash:
            assert servers.index().server.check.run(rebuild=False).problems == []
            servers.upload(V3)
        else:
            assert nth > 8
            break
        assert servers.listed() == [V2.filename, V3.filename]
        index = servers.index()
        for file in index.projects.get(DEMO).files:
            assert index.files.variant(DEMO, file)["variants"]


def test_lost_ones_are_named_and_repaired(servers: Servers) -> None:
    """A lost `variant.json` is named by check, and comes back with the same upload."""
    servers.upload(V3)
    (file,) = servers.index().projects.get(DEMO).files
    key = keys.sidecar(DEMO, file, "variant")
    servers.store.delete(key)

    (problem,) = servers.index().server.check.run(rebuild=False).problems
    assert key in problem
    with pytest.raises(Unavailable):
        servers.upload(V2)
    servers.upload(V3)
    servers.upload(V2)

    assert servers.index().server.check.run(rebuild=False).problems == []


def test_restored_wheels_have_to_fit_still(servers: Servers) -> None:
    """A deleted wheel that contradicts what came since is not restored."""
    servers.upload(V3)
    servers.upload(V2)
    lifecycle = servers.index().lifecycle
    lifecycle.change("delete", ALICE, DEMO, Selection(ONE, frozenset({V3.filename})), "gone")
    lifecycle.change("restore", ALICE, DEMO, Selection(ONE, frozenset({V3.filename})), "back")
    assert servers.listed() == [V2.filename, V3.filename]
    lifecycle.change("delete", ALICE, DEMO, Selection(ONE, frozenset({V3.filename})), "gone")
    servers.upload(OTHER_V3)

    with pytest.raises(Invalid) as refusal:
        lifecycle.change("restore", ALICE, DEMO, Selection(ONE, frozenset({V3.filename})), "back")

    assert refusal.value.code == "variant_conflict"
    assert refusal.value.message.startswith(f"'{V3.filename}' cannot be listed here.")
    assert V3.filename not in servers.listed()


def test_promoted_wheels_have_to_fit(harness: IndexHarness) -> None:
    """A release whose wheels contradict those of the other index is not promoted, and one is."""
    indexes = TwoIndexes(harness, settings=TAKES_VARIANTS)
    indexes.upload(V3)
    indexes.upload(OTHER_V3, indexes.prod)
    for dry_run in (True, False):
        with pytest.raises(Invalid) as refusal:
            indexes.promote(dry_run=dry_run)
        assert refusal.value.code == "variant_conflict"
    assert indexes.sources.files[0].promoted_to == ()

    indexes.upload(make_variant("v3", version="2.0"))
    indexes.promote("2.0")

    file = indexes.listed()[make_variant("v3", version="2.0").filename]
    assert indexes.prod.files.variant(DEMO, file) == variant_json("v3")
    assert harness.check().problems == []


def test_a_promotion_looks_again_in_its_commit(harness: IndexHarness) -> None:
    """A release that stops to fit while it is promoted is not listed in the other index."""
    indexes = TwoIndexes(harness, settings=TAKES_VARIANTS)
    indexes.upload(V3)
    # the promotion has looked at the target, and notes it in its source
    contradict = Before(
        lambda: indexes.upload(OTHER_V3, indexes.prod), "put", "indexes/dev/projects/demo.json"
    )

    with pytest.raises(Invalid) as refusal:
        indexes.reopened(FakeStore(harness.store, contradict)).promote()

    assert refusal.value.code == "variant_conflict"
    assert list(indexes.reopened().listed()) == [OTHER_V3.filename]


def test_a_copy_has_them(servers: Servers) -> None:
    """A copy of a store has the `variant.json` of a wheel, and needs no repair."""
    servers.upload(V3)
    target = Servers(servers.folder)
    copy_whole(servers.index(), target.index())
    assert target.index().files.variant(DEMO, target.index().projects.get(DEMO).files[0])
    assert target.index().server.check.run(rebuild=False).problems == []


@pytest.mark.parametrize(
    ("settings", "codes", "listed"),
    [
        (TAKES_VARIANTS, ["variant_conflict"], [V3.filename, PLAIN.filename]),
        (Settings(), ["invalid_filename", "invalid_filename"], [PLAIN.filename]),
    ],
)
def test_an_import_takes_what_fits(
    servers: Servers, settings: Settings, codes: list[str], listed: list[str]
) -> None:
    """An import takes and refuses wheels with a label as an upload does."""
    offered = [FakeFiles().offer(made) for made in (V3, OTHER_V3, PLAIN)]
    report = Importer(servers.index(settings=settings).uploads).run(FakeSource(offered), ALICE)
    assert [refusal.code for refusal in report.refused] == codes
    assert servers.listed() == listed


def test_an_upload_without_a_label_reads_no_more(tmp_path: Path) -> None:
    """A wheel without a label is uploaded with the same calls of the store, whatever is there."""
    calls = list[int]()
    for others in ((), (V2, V3)):
        servers = Servers(tmp_path)
        servers.upload(make_wheel(tag="py2-none-any"))
        for made in others:
            servers.upload(made)
        counting = FakeStore(servers.store)
        servers.upload(PLAIN, servers.index(counting))
        calls.append(len(counting.calls))
    assert calls[0] == calls[1]
