"""Imports: the outcome for each file of a source."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import chain, repeat
from threading import Event
from typing import NoReturn

import pytest
from msgspec import structs
from packaging.utils import NormalizedName

from tests.distributions import Distribution, make_sdist, make_wheel
from tests.fake_store import ALWAYS, FakeStore, Fault, FaultKind
from tests.fake_time import START
from tests.operations.fake_sources import (
    DEMO,
    LONG_AGO,
    FakeFiles,
    FakeSource,
    counted,
    importer,
    taken,
)
from tests.operations.in_memory_index import ALICE, IndexHarness, history
from wheelyard.catalog import keys
from wheelyard.errors import Unavailable
from wheelyard.model.distribution_filename import known_filename_readings, parse_version
from wheelyard.model.project import Status
from wheelyard.operations.importing import parallel_import
from wheelyard.operations.importing.parallel_import import (
    LOCAL_BATCH_FILES,
    MAX_PENDING_FILES,
    REMOTE_BATCH_FILES,
    Importer,
)
from wheelyard.operations.importing.project_import import (
    READ_ATTEMPTS,
    FileStatus,
    ImportContext,
    ImportProgress,
    SourceFile,
    import_batch,
)
from wheelyard.operations.lifecycle import Selection
from wheelyard.sources.candidate import Candidate, Skipped


def test_what_a_source_knows_is_kept(harness: IndexHarness, files: FakeFiles) -> None:
    """Upload time, uploader and yank are the source's; the journal says who imported it, when."""
    offer = files.offer(make_wheel(), uploaded_at=LONG_AGO, uploaded_by="ann", yanked="too\nslow")

    report = taken(harness, offer)

    assert report.counts == counted(new=1)
    (file,) = harness.index.projects.get(DEMO).files
    assert (file.uploaded_at, file.uploaded_by, file.yanked) == (LONG_AGO, "ann", "too slow")
    assert file.imported_at == START
    ((event,),) = [commit.events for commit in history(harness.index, DEMO)]
    assert (event.at, event.by) == (START, "local:alice")
    assert harness.check().problems == []


def test_a_file_without_facts_was_uploaded_now(harness: IndexHarness, files: FakeFiles) -> None:
    """Where a source tells nothing, even when asked, the file was uploaded now, by the importer."""
    asked = replace(files.offer(make_wheel("asked")), last_modified=lambda: LONG_AGO)
    taken(harness, files.offer(make_wheel()), asked)

    (file,) = harness.index.projects.get(DEMO).files
    assert (file.uploaded_at, file.uploaded_by, file.yanked) == (START, "local:alice", None)
    assert file.imported_at == START
    assert harness.index.projects.get(NormalizedName("asked")).files[0].uploaded_at == LONG_AGO


@pytest.mark.parametrize("said", [None, LONG_AGO, START + timedelta(days=9)])
def test_an_unchanged_file_is_not_read_again(
    harness: IndexHarness, files: FakeFiles, said: datetime | None
) -> None:
    """An unchanged file is not read again, whatever its source says about its upload."""
    offer = replace(files.offer(make_wheel(), uploaded_at=said), changed_at=LONG_AGO.timestamp())
    taken(harness, offer)
    read = list(files.read)
    harness.clock.advance(seconds=1)

    report = taken(harness, offer)

    assert report.counts == counted(there=1)
    assert files.read == read


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (START + timedelta(days=9), START),
        (datetime(1066, 10, 14, tzinfo=UTC), datetime(1970, 1, 1, tzinfo=UTC)),
        (datetime(2014, 5, 6, 7, 8, 9), LONG_AGO),  # noqa: DTZ001 - what is being tested
    ],
)
def test_no_upload_time_is_in_the_future_or_too_old(
    harness: IndexHarness, files: FakeFiles, said: datetime, kept: datetime
) -> None:
    """No file was uploaded in the future, or before there were any; without a zone it is UTC."""
    taken(harness, files.offer(make_wheel(), uploaded_at=said))

    assert harness.index.projects.get(DEMO).files[0].uploaded_at == kept


def test_importing_again_changes_nothing(harness: IndexHarness, files: FakeFiles) -> None:
    """Importing again changes nothing, and reads no file whose SHA-256 the source tells."""
    candidates = [
        files.offer(make_wheel(), algorithms=("sha256",), uploaded_at=LONG_AGO),
        files.offer(make_sdist(), algorithms=("md5",)),
    ]
    taken(harness, *candidates)
    before = harness.snapshot()
    files.read.clear()
    harness.clock.advance(days=1)
    other = files.offer(make_wheel(content=b"other"), algorithms=("sha256",))

    report = taken(harness, *(replace(candidate, yanked="now") for candidate in candidates), other)

    assert report.counts == counted(there=2, refused=1)
    assert [refusal.code for refusal in report.refused] == ["file_exists"]
    assert files.read == ["demo-1.0.tar.gz"]
    assert harness.snapshot() == before


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512", "blake2b", "sha1", "md5"])
def test_wrong_digest_is_refused(harness: IndexHarness, files: FakeFiles, algorithm: str) -> None:
    """Bytes that have not the digest or size that the source says are refused, and not stored."""
    good = files.offer(make_wheel(), algorithms=(algorithm,))
    other = hashlib.new(algorithm, b"other", usedforsecurity=False).hexdigest()
    before = harness.snapshot()

    report = taken(harness, replace(good, hashes={algorithm: other}), replace(good, size=5))

    assert [refusal.code for refusal in report.refused] == ["digest_mismatch"] * 2
    assert harness.snapshot() == before
    upper = {algorithm: good.hashes[algorithm].upper(), "crc32": "12345678"}
    assert taken(harness, replace(good, hashes=upper)).counts == counted(new=1)


def test_a_file_over_the_limit_is_refused_unread(harness: IndexHarness, files: FakeFiles) -> None:
    """A file over the limit is refused, unread where its size is told."""
    harness.index = structs.replace(
        harness.index,
        uploads=structs.replace(
            harness.index.uploads, rules=structs.replace(harness.index.uploads.rules, max_size=200)
        ),
    )
    offer = files.offer(make_wheel())

    assert [refusal.code for refusal in taken(harness, offer).refused] == ["too_large"]
    assert files.read == []
    assert [refusal.code for refusal in taken(harness, replace(offer, size=None)).refused] == [
        "too_large"
    ]


def test_the_first_good_file_of_a_name_wins(harness: IndexHarness, files: FakeFiles) -> None:
    """Of files of one name the first good one is taken, wherever the others lie."""
    made = [make_wheel(version=f"{number}.0") for number in range(150)]
    bad, other = (
        Distribution(made[0].filename, b"no archive"),
        make_wheel(version="0.0", content=b"other"),
    )
    candidates = [
        files.offer(distribution) for distribution in (bad, *made[:1], other, *made[1:], other)
    ]

    report = taken(harness, *candidates)

    assert report.counts == counted(new=150, refused=3)
    assert [refusal.code for refusal in report.refused].count("file_exists") == 2
    listed = harness.index.projects.get(DEMO).by_filename[other.filename]
    assert listed.sha256 == made[0].sha256
    assert harness.check().notes == []


@pytest.mark.slow
def test_the_first_file_wins_however_slow(harness: IndexHarness, files: FakeFiles) -> None:
    """The first of two files of one name wins, however long it takes to be read."""
    is_overtaken = Event()
    made = [make_wheel(version=f"{number}.0") for number in range(LOCAL_BATCH_FILES)]
    first, *others = (files.offer(distribution) for distribution in made)
    second = files.offer(make_wheel(version="0.0", content=b"second"), location="second")

    @contextmanager
    def slow() -> Iterator[Iterator[bytes]]:
        is_overtaken.wait(0.5)
        with first.read() as pieces:
            yield pieces

    @contextmanager
    def quick() -> Iterator[Iterator[bytes]]:
        with second.read() as pieces:
            yield pieces
        is_overtaken.set()

    report = taken(harness, replace(first, read=slow), *others, replace(second, read=quick))

    assert [refusal.location for refusal in report.refused] == ["second"]


def test_deleted_stays_deleted(harness: IndexHarness, files: FakeFiles) -> None:
    """A file that was deleted from the index does not come back."""
    taken(harness, files.offer(make_wheel()), files.offer(make_sdist()))
    selection = Selection(parse_version("1.0"), frozenset({"demo-1.0.tar.gz"}))
    harness.index.lifecycle.change("delete", ALICE, DEMO, selection, "")

    report = taken(harness, files.offer(make_wheel()), files.offer(make_sdist()))

    assert report.counts == counted(there=1, deleted=1)


@pytest.mark.parametrize("is_local", [True, False])
def test_files_share_commits(harness: IndexHarness, files: FakeFiles, *, is_local: bool) -> None:
    """Files of one project share commits, also with others in between, or in a remote store."""
    made = [make_wheel(name, f"{number}.0") for number in range(20) for name in ("a", "b", "c")]
    candidates = [files.offer(distribution) for distribution in made]

    assert Importer(harness.index.uploads, is_local).run(
        FakeSource(candidates), ALICE
    ).counts == counted(new=60)

    projects = [harness.index.projects.get(NormalizedName(name)) for name in "abc"]
    assert [len(project.files) for project in projects] == [20, 20, 20]
    assert sum(project.revision for project in projects) < 30
    assert harness.check().problems == []


def test_a_large_project_is_imported_in_pieces(harness: IndexHarness, files: FakeFiles) -> None:
    """Of a project with many files, as many as a batch takes are imported at a time."""
    made = [make_wheel(version=f"{number}.0") for number in range(2 * REMOTE_BATCH_FILES + 1)]
    source = FakeSource([files.offer(distribution) for distribution in made])

    Importer(harness.index.uploads, is_local=False).run(source, ALICE)

    assert harness.index.projects.get(DEMO).revision == 3


def test_an_import_that_is_stopped_goes_on_with_no_further_file(
    harness: IndexHarness, files: FakeFiles
) -> None:
    """An import that is stopped ends after the file that it is reading, and lists no more."""

    class Stopping(ImportProgress):
        def read(self, size: int) -> None:
            del size
            context.stopped.set()

    context = ImportContext(
        uploads=harness.index.uploads,
        caller=ALICE,
        started_at=START,
        progress=Stopping(),
        dry_run_projects=None,
    )
    batch = list[SourceFile]()
    for made in (make_wheel(), make_sdist()):
        distribution, *_ = known_filename_readings(made.filename)
        batch.append(SourceFile(files.offer(made), distribution))

    assert import_batch(context, batch) == []

    assert files.read == [make_wheel().filename]
    assert not harness.index.projects.read_for_update(DEMO).files


def test_a_long_import_lists_names_on_its_way(
    harness: IndexHarness, files: FakeFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A source is not far ahead of what was done, and the list of names has what was imported."""
    monkeypatch.setattr(parallel_import, "MAX_PENDING_FILES", 20)
    monkeypatch.setattr(parallel_import, "NAMES_PER_WRITE", 10)
    listed, outcomes = list[int](), list[object]()

    class Watcher(ImportProgress):
        def done(self, outcome: object) -> None:
            outcomes.append(outcome)

    def candidates() -> Iterator[Candidate]:
        for number in range(100):
            yield files.offer(make_wheel(f"p{number}"))
            assert number - len(outcomes) < 60
            listed.append(len(harness.index.projects.names.get_current().names))

    importer(harness).run(FakeSource(candidates()), ALICE, progress=Watcher())

    assert 0 < listed[-1] < 100
    assert len(harness.index.projects.names.get_current().names) == 100


@pytest.mark.slow
def test_a_source_is_never_far_ahead(harness: IndexHarness, files: FakeFiles) -> None:
    """A source is never far ahead of what was done, however much it has."""
    offered, done, ahead = 0, 0, list[int]()

    class Watcher(ImportProgress):
        def done(self, outcome: object) -> None:
            nonlocal done
            del outcome
            done += 1

    def candidates() -> Iterator[Candidate]:
        nonlocal offered
        for number in range(3 * MAX_PENDING_FILES):
            offered += 1
            ahead.append(offered - done)
            made = Distribution(f"p{number % 700}-{number}.0.tar.gz", b"no archive")
            yield files.offer(made)

    importer(harness).run(FakeSource(candidates()), ALICE, progress=Watcher())

    assert done == 3 * MAX_PENDING_FILES
    assert max(ahead) < MAX_PENDING_FILES + 100


def test_a_dry_run_writes_nothing(harness: IndexHarness, files: FakeFiles) -> None:
    """A dry run finds out everything, and writes nothing at all."""
    harness.upload(make_wheel(version="0.1"))
    before, spooled = harness.snapshot(), sorted(harness.folder.iterdir())
    candidates = [
        files.offer(make_wheel(version="0.1")),
        files.offer(make_wheel()),
        files.offer(make_wheel(content=b"other"), location="elsewhere"),
        files.offer(make_wheel(), location="twice"),
        files.offer(Distribution("demo-2.0.tar.gz", b"no archive")),
    ]

    candidates += [
        files.offer(make_wheel(version=f"3.{number}")) for number in range(LOCAL_BATCH_FILES)
    ]
    candidates += [files.offer(make_wheel(version="3.0", content=b"other"))]

    report = importer(harness).run(FakeSource(candidates), ALICE, dry_run=True)

    assert report.counts == counted(there=2, new=1 + LOCAL_BATCH_FILES, refused=3)
    assert (harness.snapshot(), sorted(harness.folder.iterdir())) == (before, spooled)


def test_what_is_no_distribution_is_passed_over(harness: IndexHarness, files: FakeFiles) -> None:
    """What is no distribution is counted; what ought to have been one is refused."""
    report = taken(
        harness,
        Skipped("there/README", "it is no package"),
        Skipped("there/list:7", "it is damaged", is_error=True),
        files.offer(Distribution("demo-1.0.rpm", b"")),
        files.offer(Distribution("simple-1.0.tar.gz", b"")),
    )

    assert report.counts == counted(passed_over=1, refused=3)
    assert {refusal.location: refusal.code for refusal in report.refused} == {
        "there/list:7": "bad_source",
        "there/demo-1.0.rpm": "invalid_filename",
        "there/simple-1.0.tar.gz": "invalid_name",
    }
    assert not any(refusal.is_retryable for refusal in report.refused)


def test_an_unreadable_file_is_refused_alone(harness: IndexHarness, files: FakeFiles) -> None:
    """A file that the source cannot give is refused, and the others are taken."""

    @contextmanager
    def broken() -> Iterator[Iterator[bytes]]:
        yield iter(_breaking())

    def _breaking() -> Iterator[bytes]:
        yield b"PK"
        raise OSError(5, "Input/output error")

    def silent() -> NoReturn:
        raise Unavailable("That server does not answer.", code="source_unavailable")

    report = taken(
        harness,
        replace(files.offer(make_wheel("broken")), read=broken),
        replace(files.offer(make_wheel("silent")), read=silent),
        files.offer(make_wheel()),
    )

    assert report.counts == counted(new=1, refused=2)
    assert {refusal.code: refusal.is_retryable for refusal in report.refused} == {
        "unreadable_file": True,
        "source_unavailable": True,
    }
    assert list(harness.folder.iterdir()) == []


def on_a_busy_machine(harness: IndexHarness, reads: int) -> Importer:
    """Return an importer on a machine that is too busy for the first so many reads of a file."""
    # each read asks the clock before it begins, and soon after
    moments = chain((700.0 * number for number in range(2 * reads)), repeat(0.0))
    uploads = harness.index.uploads
    busy = structs.replace(uploads.runtime, monotonic=lambda: next(moments))
    return Importer(structs.replace(uploads, runtime=busy))


def test_a_busy_machine_reads_a_file_again(harness: IndexHarness, files: FakeFiles) -> None:
    """A file that the machine was twice too busy to read is imported, and fetched once."""
    report = on_a_busy_machine(harness, 2).run(FakeSource([files.offer(make_wheel())]), ALICE)

    assert report.counts == counted(new=1)
    assert len(files.read) == 1


def test_a_file_that_was_never_read_in_time_may_be_tried_again(
    harness: IndexHarness, files: FakeFiles
) -> None:
    """If the machine stays too busy for a file, that is no fault of it, and the others come."""
    offers = [files.offer(made) for made in (make_wheel(), make_wheel(version="2.0"))]

    report = on_a_busy_machine(harness, READ_ATTEMPTS).run(FakeSource(offers), ALICE)

    assert report.counts == counted(new=1, refused=1)
    (refusal,) = report.refused
    assert (refusal.code, refusal.is_retryable) == ("too_busy", True)
    assert "within 10 minutes" in refusal.why
    assert list(harness.folder.iterdir()) == []


def test_only_a_busy_machine_reads_a_file_again(harness: IndexHarness, files: FakeFiles) -> None:
    """A store that does not answer for a file is asked about it once, and the import ends."""
    offer = files.offer(make_wheel())
    taken(harness, offer)
    fault = Fault(FaultKind.NOT_DONE, key="files/*", times=ALWAYS)
    store = FakeStore(harness.store, fault)

    with pytest.raises(Unavailable, match="The store did not answer"):
        Importer(harness.opened(5, store).uploads).run(FakeSource([offer]), ALICE)

    assert store.count("*", "files/*") == 1
    assert list(harness.folder.iterdir()) == []


@pytest.mark.parametrize("code", ["damaged_document", "forbidden"])
def test_a_closed_project_is_told_alone(harness: IndexHarness, files: FakeFiles, code: str) -> None:
    """A project that is closed or damaged is told of, and the others are imported."""
    harness.upload(make_wheel())
    if code == "forbidden":
        harness.index.lifecycle.set_status(ALICE, DEMO, Status.ARCHIVED, "")
    else:
        harness.store.put(keys.project(DEMO), b"{", None)
    harness.index = harness.opened(3)
    candidates = [make_wheel(version="2.0"), make_wheel(version="3.0"), make_wheel("other")]

    report = taken(harness, *(files.offer(candidate) for candidate in candidates))

    assert report.counts == counted(new=1, refused=2)
    assert {refusal.code for refusal in report.refused} == {code}


@pytest.mark.parametrize("after", range(1, 34, 4))
def test_import_goes_on_after_outage(harness: IndexHarness, files: FakeFiles, after: int) -> None:
    """Where the store takes nothing any more the import ends; run again, it goes on from there."""
    made = [make_wheel(name, f"{number}.0") for name in ("a", "b", "c") for number in range(3)]
    candidates = [files.offer(distribution, algorithms=("sha256",)) for distribution in made]
    fault = Fault(FaultKind.NOT_DONE, verb="put*", nth=after, times=1000)
    broken = harness.opened(5, FakeStore(harness.store, fault))

    try:
        Importer(broken.uploads).run(FakeSource(candidates), ALICE)
    except Unavailable:
        is_cut = True
    else:
        is_cut = False
    harness.index = harness.opened(6)
    report = taken(harness, *candidates)

    # 18 objects, then a document and a journal entry for each project, then the list of names
    assert is_cut is (after <= 18 + 3 * 2 + 1)
    assert report.counts[FileStatus.NEW] + report.counts[FileStatus.THERE] == 9
    assert is_cut or report.counts == counted(there=9)
    names = harness.index.projects.names.get().value
    assert names is not None
    assert names.names == ("a", "b", "c")
    assert harness.check().problems == []
    assert list(harness.folder.iterdir()) == []


def test_files_before_a_failure_are_imported(harness: IndexHarness, files: FakeFiles) -> None:
    """What a source has offered before it failed is imported and found, or can be again."""

    def candidates() -> Iterator[Candidate]:
        yield files.offer(make_wheel("first"))
        for number in range(600):
            yield files.offer(Distribution(f"x{number}-1.0.tar.gz", b"no archive"))
        raise Unavailable("That server does not answer any more.")

    with pytest.raises(Unavailable, match="any more"):
        importer(harness).run(FakeSource(candidates()), ALICE)

    assert len(harness.opened(3).projects.get(NormalizedName("first")).files) == 1
    assert list(harness.folder.iterdir()) == []


def test_an_import_lists_a_lost_name(harness: IndexHarness, files: FakeFiles) -> None:
    """A project whose name a crash has kept out of the list is in it after the next import."""
    offer = files.offer(make_wheel(), algorithms=("sha256",))
    taken(harness, offer)
    harness.store.delete(keys.PROJECT_NAMES)
    harness.index = harness.opened(3)

    assert taken(harness, offer).counts == counted(there=1)
    assert harness.opened(4).projects.get(DEMO).files
