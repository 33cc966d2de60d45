"""Counts of downloads: nothing is counted twice or lost, and little is written."""

from collections import Counter
from contextlib import suppress
from datetime import date, timedelta
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from packaging.utils import NormalizedName

from tests.download_counts.processes import DEMO, CountedStore
from tests.fake_store import Before, FakeStore, Fault, FaultKind, ProcessCrash
from tests.fake_time import fake_runtime
from wheelyard.catalog import keys
from wheelyard.downloads import counter
from wheelyard.downloads.folding import SETTLED_SECONDS, fold
from wheelyard.downloads.reading import LOCAL_SECONDS, Downloads
from wheelyard.errors import Unavailable, WheelyardError
from wheelyard.model.downloads import DownloadKey, ProjectCounts, report_of
from wheelyard.storage.base import ABSENT, Key, Stored


def test_one_object_an_hour_at_most() -> None:
    """A process writes one object an hour while there are downloads, and none when idle."""
    stored = CountedStore()
    process = stored.process()
    assert process.timers.planned == []
    for _ in range(3):
        process.note()
        process.note("2.0")
        process.pass_an_hour()
    for _ in range(3):
        process.pass_an_hour()
    process.counter.close()

    assert len(stored.listed()) == 3
    assert stored.versions() == {"1.0": 3, "2.0": 3}


def test_the_end_of_a_process_loses_nothing() -> None:
    """A process that ends in order writes what it has counted."""
    stored = CountedStore()
    process = stored.process()
    process.note()
    planned = process.timers.planned[0]
    process.counter.close()
    process.note()

    assert planned.is_cancelled
    assert stored.versions() == {"1.0": 1}
    assert len(process.timers.planned) == 1


@pytest.mark.parametrize("kind", [FaultKind.NOT_DONE, FaultKind.DONE])
def test_a_failed_write_loses_nothing(kind: FaultKind, caplog: pytest.LogCaptureFixture) -> None:
    """A failed write is logged, made again later, and counts once though it had succeeded."""
    stored = CountedStore()
    process = stored.process(store=FakeStore(stored.memory, Fault(kind, "put", times=2)))
    process.note()
    process.pass_an_hour()
    assert "downloads of this process are not written yet, but are kept: " in caplog.text
    process.note("2.0")
    stored.fold()
    process.pass_an_hour()
    process.pass_an_hour()
    process.counter.close()
    stored.fold()

    assert stored.versions() == {"1.0": 1, "2.0": 1}
    assert [key for key in stored.listed() if key.startswith(keys.NEW_DOWNLOADS)] == []


def test_the_end_of_a_process_writes_what_followed_a_failed_write() -> None:
    """A process that ends after a failed write writes that batch, and what it counted later."""
    stored = CountedStore()
    process = stored.process(store=FakeStore(stored.memory, Fault(FaultKind.NOT_DONE, "put")))
    process.note()
    process.pass_an_hour()
    process.note("2.0")
    assert stored.listed() == []

    process.counter.close()

    assert stored.versions() == {"1.0": 1, "2.0": 1}


def test_a_failed_write_is_repeated_without_downloads() -> None:
    """A failed write is repeated an hour later without any further download."""
    stored = CountedStore()
    away = FakeStore(stored.memory, Fault(FaultKind.NOT_DONE, "put"))
    process = stored.process(store=away)
    process.note()
    process.pass_an_hour()
    assert stored.listed() == []

    process.pass_an_hour()

    assert stored.versions() == {"1.0": 1}
    assert process.timers.planned == []


def test_a_young_batch_waits() -> None:
    """A batch is not added up before it is an hour old."""
    stored = CountedStore()
    process = stored.process()
    process.note()
    process.counter.close()
    stored.clock.advance(seconds=SETTLED_SECONDS - 1)
    fold(stored.memory, stored.clock.seconds())

    assert [key.startswith(keys.NEW_DOWNLOADS) for key in stored.listed()] == [True]


def test_many_versions_are_counted_by_project_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """When too many versions are downloaded in an hour, the rest counts for the project alone."""
    monkeypatch.setattr(counter, "MAX_KEYS", 2)
    stored = CountedStore()
    process = stored.process()
    for version in ("1.0", "2.0", "3.0", "4.0", "1.0"):
        process.note(version)
    process.note("2.0")
    process.counter.close()

    last = stored.process(seed=2).downloads.last_downloads(1)
    assert stored.versions() == {"1.0": 2, "2.0": 2, "": 2}
    # any version may have been downloaded
    assert last.of(DEMO, "3.0") == stored.clock.now.date()
    assert last.of(NormalizedName("other"), "3.0") is None


def test_batches_become_one_object_a_month() -> None:
    """What all processes have written is added up into one object a month, read by few reads."""
    stored = CountedStore()
    total = Counter[str]()
    for day in range(70):
        processes = [stored.process(seed=10 * day + number) for number in range(2)]
        for process in processes:
            process.note(f"1.{day % 3}")
            total[f"1.{day % 3}"] += 1
            process.counter.close()
        stored.clock.advance(hours=22.9)
        stored.fold()

    assert stored.versions() == total
    months = [keys.downloads_of_month(month) for month in ("2026-01", "2026-02", "2026-03")]
    assert stored.listed() == months
    observed = FakeStore(stored.memory)
    downloads = stored.process(seed=1, store=observed).downloads
    lists = [("list", keys.MONTHS_OF_DOWNLOADS), ("list", keys.NEW_DOWNLOADS)]
    reads = [("get", months[1]), ("get", months[2]), *lists]
    for expected in (reads, lists):  # a month that has not changed is not read again
        stored.clock.advance(hours=1)
        observed.calls.clear()
        downloads.report(DEMO, 30)
        assert sorted(observed.calls) == expected


def test_counts_are_kept_for_more_than_a_year() -> None:
    """A month is deleted when all of its days are more than 400 days ago."""
    stored = CountedStore()
    process = stored.process()
    process.note()
    process.counter.close()
    stored.fold()
    stored.clock.advance(days=430)
    stored.fold()
    assert stored.listed() == [keys.downloads_of_month("2026-01")]

    stored.clock.advance(days=2)
    stored.fold()

    assert stored.listed() == []


@pytest.mark.parametrize("kind", [*FaultKind])
def test_folding_may_stop_anywhere(kind: FaultKind) -> None:
    """Wherever folding fails or is killed, every download counts exactly once."""
    for number in count(1):
        stored = CountedStore()
        stored.clock.advance(days=30, hours=23.5)  # the batches have counts of two months
        processes = [stored.process(seed) for seed in (1, 2)]
        for _ in range(3):
            for process in processes:
                process.note()
                process.note("2.0")
            stored.clock.advance(minutes=20)
        for process in processes:
            process.counter.close()
        faulty = FakeStore(stored.memory, Fault(kind, nth=number))
        with suppress(WheelyardError, ProcessCrash):
            stored.fold(faulty)
        assert stored.versions() == {"1.0": 6, "2.0": 6}, number
        stored.fold()
        assert stored.versions() == {"1.0": 6, "2.0": 6}, number
        assert not [key for key in stored.listed() if key.startswith(keys.NEW_DOWNLOADS)]
        if len(faulty.calls) < number:
            break


Step = tuple[str, int, int]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["note", "write", "fold", "broken fold", "broken write", "end"]),
        st.integers(0, 2),
        st.integers(1, 8),
    ),
    max_size=25,
)


@given(STEPS)
def test_nothing_is_lost_or_counted_twice(steps: list[Step]) -> None:
    """However writes, foldings and failures follow each other, each download counts once."""
    stored, total = CountedStore(), 0
    stored.clock.advance(days=30, hours=20)
    faulty = [FakeStore(stored.memory) for _ in range(3)]
    processes = [stored.process(number, store) for number, store in enumerate(faulty)]
    for step, number, nth in steps:
        process = processes[number]
        match step:
            case "note":
                process.note()
                total += 1
            case "write":
                process.pass_an_hour()
            case "broken write":
                kind = FaultKind.DONE if nth % 2 else FaultKind.NOT_DONE
                faulty[number].follow(Fault(kind, "put"))
                process.pass_an_hour()
                faulty[number].follow()  # it had its chance
            case "fold":
                stored.fold()
            case "broken fold":
                kind = [*FaultKind][nth % len(FaultKind)]
                with suppress(WheelyardError, ProcessCrash):
                    stored.fold(FakeStore(stored.memory, Fault(kind, nth=nth)))
            case "end":
                process.counter.close()
                processes[number] = stored.process(10 * total + number + 3, faulty[number])
    for process in processes:
        process.counter.close()
        process.counter.close()  # perhaps a batch that failed, and one more

    assert stored.versions().total() == total
    stored.fold()
    assert stored.versions().total() == total


def test_what_is_not_written_is_shown() -> None:
    """A page shows at once what its process has counted, and a minute later what followed."""
    stored = CountedStore()
    process = stored.process()
    process.note()
    first, until = process.downloads.report(DEMO, 30)
    process.note()
    same, _ = process.downloads.report(DEMO, 30)
    process.pass_an_hour()
    process.note()
    last, _ = process.downloads.report(DEMO, 30)

    assert until == stored.clock.seconds() - 3600 + LOCAL_SECONDS
    assert [report.downloads for report in (first, same, last)] == [1, 1, 3]


def test_all_projects_are_added_up_at_once() -> None:
    """The downloads of each project are those of its report, also while batches are added up."""
    stored = CountedStore()
    process = stored.process()
    process.note(name="first")
    stored.clock.advance(days=40)
    for name in ("first", "second", "second"):
        process.note(name=name)
    process.pass_an_hour()
    process.note(name="third")

    def totals() -> dict[NormalizedName, int]:
        stored.clock.advance(seconds=LOCAL_SECONDS)
        totals, _ = process.downloads.totals(30)
        by_day = Counter[int]()
        for name, number in totals.projects.items():
            report, _ = process.downloads.report(name, 30)
            assert report.downloads == number
            for position, day in enumerate(report.days):
                by_day[position] += day.downloads
        assert totals.days == tuple(by_day[position] for position in range(30))
        return dict(totals.projects)

    assert totals() == {"first": 1, "second": 2, "third": 1}
    kept = {key: stored.memory.get(key) for key in map(Key, stored.listed())}
    stored.fold()
    process.note(name="third")
    assert totals() == {"first": 1, "second": 2, "third": 2}
    for key, batch in kept.items():  # one that is not deleted yet
        assert isinstance(batch, Stored)
        stored.memory.put(key, batch.body, ABSENT)
    assert totals() == {"first": 1, "second": 2, "third": 2}


def test_unchanged_totals_are_not_added_up_again() -> None:
    """The downloads of all projects are added up once for each number of days that is asked for."""
    stored = CountedStore()
    process = stored.process()
    process.note()
    stored.clock.advance(days=10)
    process.note()
    month, _ = process.downloads.totals(30)

    assert process.downloads.totals(30)[0] is month
    assert process.downloads.totals(7)[0].projects == {DEMO: 1}
    assert process.downloads.totals(30)[0].projects == {DEMO: 2}


def test_an_unchanged_report_is_not_made_again() -> None:
    """The report of a project is made once for each number of days that is asked for."""
    stored = CountedStore()
    process = stored.process()
    process.note()
    month, _ = process.downloads.report(DEMO, 30)

    assert process.downloads.report(DEMO, 30)[0] is month
    assert len(process.downloads.report(DEMO, 7)[0].days) == 7
    process.note()
    stored.clock.advance(seconds=LOCAL_SECONDS)
    assert process.downloads.report(DEMO, 30)[0].downloads == 2


def test_a_longer_time_is_read_at_once() -> None:
    """Counts of a few days, read a moment ago, are not shown as those of a longer time."""
    stored = CountedStore()
    process = stored.process()
    process.note()
    process.pass_an_hour()
    stored.clock.advance(days=40)
    stored.fold()
    downloads = stored.process(2).downloads

    assert downloads.report(DEMO, 7)[0].downloads == 0
    assert downloads.report(DEMO, 90)[0].downloads == 1


def test_a_day_ends_at_once() -> None:
    """Counts that were read a moment before midnight are not shown as those of the new day."""
    stored = CountedStore()
    process = stored.process()
    now = stored.clock.now
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(1)
    stored.clock.advance(seconds=(midnight - now).total_seconds() - 1)
    process.note()
    assert process.downloads.report(DEMO, 1)[0].downloads == 1

    stored.clock.advance(seconds=1)

    assert process.downloads.report(DEMO, 1)[0].downloads == 0
    assert process.downloads.report(DEMO, 2)[0].downloads == 1


def test_a_batch_is_read_once() -> None:
    """A process reads what others have counted once, and later only what they have added."""
    stored = CountedStore()
    other = stored.process()
    store = FakeStore(stored.memory)
    downloads = stored.process(2, store).downloads
    for number in (1, 2):
        other.note()
        other.pass_an_hour()

        assert downloads.report(DEMO, 30)[0].downloads == number
        assert store.count("get", f"{keys.NEW_DOWNLOADS}*") == number


def test_old_counts_are_shown_while_the_store_does_not_answer() -> None:
    """While the store does not answer, a page shows what was known before, or nothing."""
    stored = CountedStore()
    away = FakeStore(stored.memory)
    process = stored.process(store=away)
    process.note()
    process.downloads.report(DEMO, 30)
    stored.clock.advance(minutes=5)
    away.follow(Fault(FaultKind.NOT_DONE, times=1000))
    new = stored.process(2, away)

    assert process.downloads.report(DEMO, 30)[0].downloads == 1
    assert new.downloads.shown_report(DEMO, 30)[0] is None
    with pytest.raises(Unavailable):
        new.downloads.report(DEMO, 30)


def test_a_month_that_is_deleted_meanwhile_has_no_counts() -> None:
    """A month that a sweep deletes while it is being read counts nothing, and is no error."""
    stored = CountedStore()
    process = stored.process()
    process.note()
    process.counter.close()
    stored.fold()
    month = keys.downloads_of_month("2026-01")
    store = FakeStore(stored.memory, Before(lambda: stored.memory.delete(month), "get", month))

    report, _ = stored.process(2, store).downloads.report(DEMO, 30)

    assert (store.count("get", month), report.downloads) == (1, 0)


def test_counts_that_another_thread_has_just_read_are_not_read_again() -> None:
    """If another thread reads the counts between the look at them and the lock, those are shown."""
    stored = CountedStore()
    store = FakeStore(stored.memory)
    others = list[Downloads]()

    def monotonic() -> float:
        now = stored.clock.seconds()
        if others:
            others.pop().report(DEMO, 30)
        return now

    runtime = replace(fake_runtime(stored.clock, 1), monotonic=monotonic)
    downloads = Downloads(store, runtime, None, is_local=True)
    downloads.report(DEMO, 30)
    stored.clock.advance(seconds=LOCAL_SECONDS + 1)
    store.calls.clear()
    others.append(downloads)

    downloads.report(DEMO, 30)

    assert (others, store.count("list", keys.NEW_DOWNLOADS)) == ([], 1)


def test_the_last_download_of_each_version_is_known() -> None:
    """The day of the last download of each version is known, and whether days are missing."""
    stored = CountedStore()
    process = stored.process()
    process.note("1.0")
    process.note("1.0", name="other")
    process.counter.close()
    stored.clock.advance(days=40)
    stored.fold()
    process = stored.process(2)
    process.note("2.0")

    last, longer = (process.downloads.last_downloads(days) for days in (30, 60))

    today, first = stored.clock.now.date(), date(2026, 1, 1)
    assert last.is_complete
    assert not longer.is_complete
    assert last.versions == {(DEMO, "2.0"): today}
    assert longer.of(DEMO, "1.0") == first
    assert longer.of(NormalizedName("other"), "1.0") == first


def test_a_damaged_batch_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    """A batch that cannot be read is logged, and the others are added up."""
    stored = CountedStore()
    process = stored.process()
    process.note()
    process.counter.close()
    broken = keys.DownloadBatch("0" * 16, 1).key
    stored.memory.put(broken, b'{"projects":{"demo":{"1.0":7}}}', None)
    assert stored.process(7).downloads.shown_report(DEMO, 30)[0] is not None

    stored.fold()

    assert stored.versions() == {"1.0": 1}
    assert broken in caplog.text


DAYS = st.dates(date(2026, 1, 1), date(2026, 3, 31))
COUNTS = st.dictionaries(
    st.builds(DownloadKey, DAYS, st.sampled_from(["1.0", "2.0"])),
    st.integers(1, 9),
    max_size=8,
).map(ProjectCounts)


@given(COUNTS, DAYS, st.integers(1, 60))
def test_a_report_adds_up(counts: ProjectCounts, today: date, days: int) -> None:
    """A report has the same sum by day and by version."""
    report = report_of(counts, today, days)

    expected = sum(number for key, number in counts.items() if key.day >= report.since)
    assert (today - report.since).days == days - 1
    assert len(report.days) == days
    sums = [report.downloads]
    sums += [sum(part.downloads for part in parts) for parts in (report.days, report.versions)]
    assert sums == [expected] * 3
