"""Promotion of releases: what is listed and noted, what is refused, and what a crash leaves."""

import logging
from collections.abc import Callable
from functools import partial

import pytest
from msgspec.structs import replace
from packaging.version import Version

from tests.distributions import make_sdist, make_wheel
from tests.fake_store import FakeStore, Fault, FaultKind, ProcessCrash
from tests.index_tables import toml_of
from tests.operations.in_memory_index import ALICE, IndexHarness, code_of, history
from tests.operations.old_files import EGG, list_old_file
from tests.operations.two_indexes import BO, DEMO, ONE, TwoIndexes
from tests.operations.upstream_names import PublicNames
from tests.refused import refused
from wheelyard.catalog import keys
from wheelyard.catalog.private_names import PrivateNames
from wheelyard.errors import (
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    TooLarge,
    Unavailable,
    WheelyardError,
)
from wheelyard.model.access import EVERY_PROJECT, NO_PATTERNS, Action, Caller, Scope
from wheelyard.model.index_name import MAIN
from wheelyard.model.project import EventKind, Status
from wheelyard.model.project_json import JournalEntry
from wheelyard.operations.journal_reader import JournalReader, StoreJournals
from wheelyard.operations.lifecycle import Selection
from wheelyard.operations.names import NameClaims
from wheelyard.operations.promotion import IndexSide
from wheelyard.rendering.feeds import latest_entries
from wheelyard.rendering.web.admin.journal_entries import entry_rows
from wheelyard.rendering.web.project_overview import changes_of

WHEEL, SDIST, LATER = make_wheel(), make_sdist(), make_wheel(tag="py2-none-any")
RELEASE = Selection(ONE)


@pytest.fixture
def indexes(harness: IndexHarness) -> TwoIndexes:
    """A release of two files in `dev`, two days old."""
    both = TwoIndexes(harness)
    both.upload(WHEEL)
    both.upload(SDIST)
    harness.clock.advance(days=2)
    return both


def with_rules(indexes: TwoIndexes, **rules: object) -> TwoIndexes:
    """Return the indexes where `prod` demands something."""
    return TwoIndexes(indexes.harness, rules)


def refusal(act: Callable[[], object]) -> str:
    """Return the class and code of the error of what must fail."""
    with pytest.raises(WheelyardError) as caught:
        act()
    return " ".join(code_of(caught.value))


def test_a_promoted_release_keeps_its_facts(indexes: TwoIndexes) -> None:
    """A promoted file has the time and uploader it had, and says who promoted it from where."""
    before = indexes.sources.by_filename

    promoted = indexes.promote(caller=BO)

    listed = indexes.listed()
    assert sorted(file.filename for file in promoted.new) == sorted(before) == sorted(listed)
    for filename, file in listed.items():
        assert (file.promoted_from, file.promoted_by) == ("dev", "local:bo")
        assert file.promoted_at == indexes.harness.clock.now
        at_source = replace(file, promoted_at=None, promoted_from="", promoted_by="")
        assert at_source == before[filename]
    assert indexes.prod.projects.get(DEMO).summary == indexes.sources.summary
    assert DEMO in indexes.prod.names.listed()


@pytest.mark.parametrize("rule", ["attested", "verified"])
def test_a_rule_that_hides_the_release_is_a_warning(indexes: TwoIndexes, rule: str) -> None:
    """A promotion to an index that hides files without attestations warns of such files."""
    indexes.upload(make_wheel(version="2.0"))
    warning = "The index prod hides files without attestations: {}. Upload again with attestations"
    ruled = with_rules(indexes, **{rule: True})

    (trial,) = ruled.promote(dry_run=True).warnings
    (promoted,) = ruled.promote().warnings
    (later,) = ruled.promote("2.0").warnings

    assert trial == promoted
    assert promoted.startswith(warning.format("2 files of this release"))
    assert later.startswith(warning.format(make_wheel(version="2.0").filename))
    assert with_rules(indexes).promote().warnings == ()


def test_both_journals_name_who_promoted(indexes: TwoIndexes) -> None:
    """The journals of both indexes have one commit about all files, by whoever promoted them."""
    indexes.promote(caller=BO)

    (arrival,) = history(indexes.prod, DEMO)
    note = history(indexes.dev, DEMO)[-1]
    assert [event.by for event in arrival.events] == ["local:bo", "local:bo"]
    assert {event.what for event in arrival.events} == {EventKind.UPLOADED}
    (event,) = note.events
    assert (event.what, event.by, event.promotion.to) == ("promoted-to", "local:bo", "prod")
    assert sorted(event.files) == sorted(indexes.listed())
    assert {file.promoted_to for file in indexes.sources.files} == {("prod",)}


def test_no_bytes_are_copied(indexes: TwoIndexes) -> None:
    """The files stay the same objects: nothing below `files/` changes."""
    before = indexes.harness.snapshot(keys.FILES)

    indexes.promote()

    assert indexes.harness.snapshot(keys.FILES) == before
    assert not indexes.harness.check().problems


def test_a_second_promotion_writes_nothing(indexes: TwoIndexes) -> None:
    """Promoting a release again changes no object, and says that its files are there."""
    indexes.promote()
    # rules that would forbid it now are about what is missing
    ruled = with_rules(indexes, promote_from=("test",))
    before = indexes.harness.snapshot()

    again = ruled.promote(caller=BO)

    assert (len(again.new), len(again.present)) == (0, 2)
    assert indexes.harness.snapshot() == before


def test_a_promotion_that_dies_is_noted_once(indexes: TwoIndexes) -> None:
    """After a crash the same promotion lists the release, and the source notes it once."""
    crash = Fault(FaultKind.CRASH, "put", "indexes/prod/projects/*")
    with pytest.raises(ProcessCrash):
        indexes.reopened(FakeStore(indexes.harness.store, crash)).promote()
    noted = history(indexes.dev, DEMO)
    assert noted[-1].events[0].what == "promoted-to"
    assert not indexes.listed()

    indexes.reopened().promote()

    assert len(indexes.reopened().listed()) == 2
    assert history(indexes.dev, DEMO) == noted


def test_a_dry_run_writes_nothing(indexes: TwoIndexes) -> None:
    """A dry run names the files that would be new, and changes no object."""
    before = indexes.harness.snapshot()

    assert len(indexes.promote(dry_run=True).new) == 2

    assert indexes.harness.snapshot() == before


def test_a_later_promotion_adds_later_files(indexes: TwoIndexes) -> None:
    """A file that came to the release since then is added by promoting the release again."""
    indexes.promote()
    indexes.upload(LATER)

    later = indexes.promote(caller=BO)

    assert [file.filename for file in later.new] == [LATER.filename]
    assert {file.promoted_by for file in later.present} == {"local:alice"}
    assert len(indexes.listed()) == 3


def test_forty_files_take_seven_writes(harness: IndexHarness) -> None:
    """A release of forty files is promoted by two commits, however many files it has."""
    indexes = TwoIndexes(harness)
    for number in range(40):
        indexes.upload(make_wheel(tag=f"cp3{number}-none-any"))
    store = FakeStore(harness.store)
    indexes.reopened(store).promote()

    assert len(indexes.listed()) == 40
    # of each commit the mark, the document and the entry, and the list of names of `prod`
    assert (store.count("put"), store.count("put_file"), store.count("delete")) == (7, 0, 0)
    assert store.count("get|read|list") < 20


def delete_in(indexes: TwoIndexes, which: str) -> None:
    """Delete the release in one of the indexes."""
    index = indexes.prod if which == "prod" else indexes.dev
    index.lifecycle.change("delete", ALICE, DEMO, RELEASE, "")


def other_bytes(indexes: TwoIndexes) -> None:
    """Publish another wheel of the same name in prod."""
    indexes.upload(make_wheel(content=b"other"), indexes.prod)


def deleted_before(indexes: TwoIndexes) -> None:
    """Delete the wheel in prod, which has come by an upload."""
    indexes.upload(WHEEL, indexes.prod)
    delete_in(indexes, "prod")
    indexes.upload(WHEEL)  # an ordinary delete may have taken the bytes of an older version


def archived(indexes: TwoIndexes) -> None:
    """Archive the project in prod."""
    indexes.upload(make_wheel(version="0.1"), indexes.prod)
    indexes.prod.lifecycle.set_status(ALICE, DEMO, Status.ARCHIVED, "")


def quarantined(indexes: TwoIndexes) -> None:
    """Put the project of dev in quarantine."""
    indexes.dev.lifecycle.set_status(ALICE, DEMO, Status.QUARANTINED, "")


def yanked(indexes: TwoIndexes) -> None:
    """Yank one file of the release in dev."""
    selection = Selection(ONE, frozenset({WHEEL.filename}))
    indexes.dev.lifecycle.change("yank", ALICE, DEMO, selection, "broken")


def gone(indexes: TwoIndexes) -> None:
    """Delete the release in dev."""
    delete_in(indexes, "dev")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (other_bytes, "Conflict file_exists"),
        (deleted_before, "Conflict file_exists"),
        (archived, "Forbidden forbidden"),
        (quarantined, "Forbidden forbidden"),
        (yanked, "Forbidden promotion_refused"),
        (gone, "NotFound not_found"),
    ],
)
def test_a_release_is_promoted_as_a_whole_or_not_at_all(
    indexes: TwoIndexes, change: Callable[[TwoIndexes], None], expected: str
) -> None:
    """If one file cannot be promoted, none is, and nothing is written in either index."""
    change(indexes)
    before = indexes.harness.snapshot()

    for dry_run in (True, False):
        assert refusal(partial(indexes.promote, dry_run=dry_run)) == expected

    assert indexes.harness.snapshot() == before


def test_a_release_that_has_lost_its_metadata_is_not_promoted(indexes: TwoIndexes) -> None:
    """A release whose metadata the store has lost is not promoted, and that is said."""
    for made in (WHEEL, SDIST):
        indexes.harness.store.delete(keys.core_metadata(DEMO, made.sha256, made.filename))

    with refused(Unavailable, "damaged_document", r"The core metadata of demo-1\.0.* are lost"):
        indexes.promote()

    assert indexes.listed() == {}


def test_an_old_file_without_metadata_is_promoted(harness: IndexHarness) -> None:
    """A release that has no metadata at all is promoted, and has no summary."""
    indexes = TwoIndexes(harness)
    list_old_file(indexes.dev.uploads, EGG, harness.folder, harness.clock.now)

    promoted = indexes.promote()

    assert [file.filename for file in promoted.new] == list(indexes.listed()) == [EGG.filename]
    assert promoted.project.summary == ""


def test_nothing_is_promoted_from_an_index_of_a_day(indexes: TwoIndexes) -> None:
    """An index as it was on a day has no packages to promote, and the message says whose are."""
    day = indexes.dev.as_of(indexes.harness.clock.now.date())
    promotion = indexes.promotion()
    source = replace(promotion.source, uploads=day.uploads)

    with pytest.raises(NotFound, match="Promote from the one that has 'demo'"):
        replace(promotion, source=source).promote(DEMO, ONE)

    assert indexes.listed() == {}


def test_a_deleted_filename_of_dev_is_left_out(indexes: TwoIndexes) -> None:
    """Files that dev has deleted do not count: what it lists of the release is promoted."""
    selection = Selection(ONE, frozenset({SDIST.filename}))
    indexes.dev.lifecycle.change("delete", ALICE, DEMO, selection, "")

    indexes.promote()

    assert list(indexes.listed()) == [WHEEL.filename]


def test_a_quota_counts_all_files(indexes: TwoIndexes) -> None:
    """A release is not promoted if a quota has room for some of its files alone."""
    with pytest.raises(TooLarge, match="file") as caught:
        with_rules(indexes, project_files=1).promote()

    assert caught.value.code == "quota_exceeded"
    assert {file.promoted_to for file in indexes.sources.files} == {()}
    with_rules(indexes, project_files=2).promote()


def test_a_public_name_is_refused_as_with_an_upload(indexes: TwoIndexes) -> None:
    """A project that is new in prod hides no public package before its name is reserved."""
    public, root = PublicNames({"demo"}), indexes.prod.named(MAIN).stores.documents
    private = PrivateNames(indexes.prod.projects, NO_PATTERNS, root, is_local=True, index="prod")
    claims = NameClaims(names=private, upstream=public, shadow=NO_PATTERNS)
    guarded = replace(indexes.prod.uploads, claims=claims)
    promotion = indexes.promotion()
    target = replace(promotion.target, uploads=guarded)

    with pytest.raises(Forbidden, match="administrator reserves the name in this index"):
        replace(promotion, target=target).promote(DEMO, ONE)

    assert {file.promoted_to for file in indexes.sources.files} == {()}
    indexes.prod.names.reserve(ALICE, DEMO, "")
    replace(promotion, target=target).promote(DEMO, ONE)


NOBODY = Caller("local:eve", ())
READER = Caller("local:eve", (Scope(Action.READ, (EVERY_PROJECT,), (MAIN,)),))
UPLOADER = Caller("local:eve", (Scope(Action.UPLOAD.with_implied, (EVERY_PROJECT,), (MAIN,)),))


@pytest.mark.parametrize(
    ("in_source", "in_target", "expected"),
    [
        (NOBODY, UPLOADER, "NotFound not_found"),
        (READER, READER, "Forbidden forbidden"),
        (UPLOADER, READER, "Forbidden forbidden"),
        (NOBODY, NOBODY, "NotFound not_found"),
    ],
)
def test_rights_in_both_indexes_count(
    indexes: TwoIndexes, in_source: Caller, in_target: Caller, expected: str
) -> None:
    """Whoever promotes has to read in the one index, and to upload to the other."""
    promotion = indexes.promotion(in_target, in_source)

    assert refusal(lambda: promotion.promote(DEMO, ONE)) == expected


def test_who_reads_here_and_uploads_there_promotes(indexes: TwoIndexes) -> None:
    """Who may read in the one index, and upload to the other, needs no further right."""
    promotion = indexes.promotion(UPLOADER, READER)

    new = promotion.promote(DEMO, ONE).new
    assert {file.filename for file in new} == {WHEEL.filename, SDIST.filename}


def test_a_refusal_names_a_token_for_both_indexes(indexes: TwoIndexes) -> None:
    """Who may not upload to the target hears of a token that has rights in both indexes."""
    with pytest.raises(Forbidden) as refused:
        indexes.promotion(READER, READER).promote(DEMO, ONE)

    assert refused.value.advice is not None
    assert refused.value.advice.index == "dev,prod"


def test_an_index_is_not_promoted_to_itself(indexes: TwoIndexes) -> None:
    """The two indexes have to be different ones."""
    promotion = indexes.promotion()

    with pytest.raises(Invalid, match="both dev"):
        replace(promotion, target=promotion.source).promote(DEMO, ONE)


def test_only_from_some_indexes(indexes: TwoIndexes) -> None:
    """An index that takes releases from another one refuses those of dev."""
    with pytest.raises(Forbidden, match="Promote it from test or main"):
        with_rules(indexes, promote_from=("test", "")).promote()

    with_rules(indexes, promote_from=("test", "dev")).promote()


def test_an_index_that_takes_promotions_alone(indexes: TwoIndexes) -> None:
    """Such an index refuses uploads and imports, and takes releases that are promoted."""
    indexes = with_rules(indexes, promote_only=True, promote_from=("dev",))

    uploads = indexes.prod.uploads
    arrival = LATER.arrival(indexes.harness.folder)
    for act in (
        lambda: uploads.accept(arrival, ALICE),
        lambda: uploads.authorize(LATER.filename, ALICE),
        lambda: uploads.with_waivers.permit(LATER.filename, DEMO, ALICE),
    ):
        with pytest.raises(Forbidden, match=r"The index prod takes no uploads: upload to dev"):
            act()

    assert len(indexes.promote().new) == 2


def test_rules_of_main(harness: IndexHarness) -> None:
    """Main has rules of promotion as another index has."""
    harness.opened(3, tables=toml_of(main={"promote_from": ["prod"], "promote_only": True}))
    indexes = TwoIndexes(harness)
    indexes.upload(WHEEL)
    indexes.promote()
    root = indexes.dev.named(MAIN)

    with pytest.raises(Forbidden, match="The index main takes no uploads"):
        root.uploads.accept(LATER.arrival(harness.folder), ALICE)
    promotions = {
        index.name: replace(
            indexes.promotion(),
            source=IndexSide(uploads=index.uploads, caller=ALICE),
            target=IndexSide(uploads=root.uploads, caller=ALICE),
        )
        for index in (indexes.dev, indexes.prod)
    }
    with pytest.raises(Forbidden, match="The index main takes no releases from dev"):
        promotions["dev"].promote(DEMO, ONE)
    assert len(promotions["prod"].promote(DEMO, ONE).new) == 1


def test_a_version_that_is_not_there(indexes: TwoIndexes) -> None:
    """A version or a project that dev does not have is not found."""
    with pytest.raises(NotFound, match="no version 3"):
        indexes.promotion().promote(DEMO, Version("3"))


def test_journals_pages_and_feeds_tell_of_it(
    indexes: TwoIndexes, caplog: pytest.LogCaptureFixture
) -> None:
    """Journal, history, feed and audit log of each index say what was promoted from or to where."""
    caplog.set_level(logging.INFO, "wheelyard.audit")
    indexes.promote()

    told, entries = list[str](), list[JournalEntry]()
    for index in (indexes.dev, indexes.prod):
        source = StoreJournals(index.projects, index.changes, index.tokens.records, DEMO)
        part = JournalReader(source).read(lambda *_: None)
        told += [f"{entry.done} {entry.other_index}".rstrip() for entry in part.entries]
        entries += [entry for entry in part.entries if entry.other_index]
    assert told == [
        *("uploaded", "uploaded", "promoted to prod"),
        *("promoted from dev", "promoted from dev"),
    ]
    words = ["promoted 1.0 from dev", "promoted 1.0 to prod"]
    assert [change.what for change in changes_of(entries)] == words
    assert [row.what for row in entry_rows(reversed(entries))] == words
    feed = latest_entries(indexes.sources)
    assert [entry.title for entry in feed] == ["demo 1.0", "demo 1.0 promoted to prod"]
    (release,) = latest_entries(indexes.prod.projects.get(DEMO))
    assert release.published == indexes.harness.clock.now
    lines = [record.getMessage() for record in caplog.records][-3:]
    assert "promoted to by local:alice" in lines[0]
    assert all("promoted by local:alice" in line for line in lines[1:])


def test_a_refusal_names_the_index(harness: IndexHarness) -> None:
    """An error says which of both indexes lacks the project, or refuses the release."""
    indexes = TwoIndexes(harness)
    with pytest.raises(NotFound, match="The index dev has no project 'demo'"):
        indexes.promote()

    indexes.upload(make_wheel())
    indexes.upload(make_wheel(content=b"other"), indexes.prod)
    with pytest.raises(Conflict, match="The index prod refuses it: File already exists"):
        indexes.promote()
