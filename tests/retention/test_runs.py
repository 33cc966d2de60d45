"""Runs over a store: what they delete and read, races, crashes, and what cannot be read."""

from collections.abc import Callable, Mapping
from threading import Event, current_thread

import pytest
from msgspec.structs import replace
from packaging.utils import NormalizedName
from packaging.version import Version

from tests.distributions import make_wheel
from tests.fake_store import ALWAYS, Before, FakeStore, Fault, FaultKind, ProcessCrash
from tests.index_tables import put_rules, toml_of
from tests.operations.in_memory_index import ALICE, IndexHarness, code_of, history
from tests.operations.two_indexes import DEMO, ONE, TwoIndexes
from tests.refused import refused
from tests.waiting import TIMEOUT_SECONDS
from wheelyard.catalog import keys
from wheelyard.errors import Conflict, Forbidden, NotFound, Unavailable, WheelyardError
from wheelyard.model.access import EVERY_PROJECT, Action, Caller, Scope
from wheelyard.model.index_name import MAIN
from wheelyard.model.retention_report import RetentionReport
from wheelyard.operations.lifecycle import Selection
from wheelyard.retention.daily import DAILY, EVERY, DailyRetention
from wheelyard.retention.runs import Retention
from wheelyard.settings.sections import DownloadSettings, ServerSettings, Settings
from wheelyard.storage.base import Key, Store
from wheelyard.wiring.index import Index

Rule = Mapping[str, object]
OLD: Rule = {"older_than_days": 30}
LAST: Rule = {"keep_last": 1}
VERSIONS = ("1.0", "2.0", "3.0")


def retention_of(index: Index) -> Retention:
    """Return what deletes by the rules of an index."""
    retention = index.server.retention
    assert retention is not None
    return retention


def put(harness: IndexHarness, *rules: Rule) -> None:
    """Put rules into the store in place of those that it has."""
    put_rules(harness.index, rules, ALICE.principal)


def daily_of(index: Index) -> DailyRetention:
    """Return what applies the rules daily in the process of an index."""
    return DailyRetention(lambda: index.server.retention, index.server.runtime)


def filled(
    harness: IndexHarness,
    rule: Rule = LAST,
    settings: Settings | None = None,
    store: Store | None = None,
) -> Index:
    """Return an index with three releases of two projects and a rule, opened through a store."""
    put(harness, rule)
    for name in ("demo", "other"):
        for version in VERSIONS:
            harness.upload(make_wheel(name, version))
    harness.clock.advance(days=40)
    return harness.opened(3, store, settings)


def deleted(report: RetentionReport | None) -> list[str]:
    """Return what a report says was deleted."""
    assert report is not None
    return [f"{release.project} {release.version}" for release in report.deleted]


def test_releases_go_into_the_trash(harness: IndexHarness) -> None:
    """What a run deletes in one commit can be restored, and is then pinned until it is unpinned."""
    index = filled(harness)
    before = index.projects.read_for_update(DEMO)
    retention = retention_of(index)
    planned = ["demo 2.0", "demo 1.0", "other 2.0", "other 1.0"]

    assert deleted(retention.preview(ALICE)) == planned
    assert index.projects.read_for_update(DEMO) == before
    assert deleted(retention.run(ALICE)) == planned
    assert deleted(retention.run(ALICE)) == []

    commit = history(index, DEMO)[-1]
    assert commit.number == before.revision + 1
    (event,) = commit.events
    assert (event.by, event.reason) == ("local:alice", "retention rule 1: not among the last 1")
    assert retention.last_run() == harness.clock.now
    index.lifecycle.change("restore", ALICE, DEMO, Selection(ONE), "still needed")
    (name,) = (name for name in before.by_filename if name.startswith("demo-1.0"))
    pinned = "restored after retention rule 1: not among the last 1"
    restored = index.projects.read_for_update(DEMO).by_filename[name]
    assert restored == replace(before.by_filename[name], pinned=pinned)
    assert deleted(retention.run(ALICE)) == []
    index.lifecycle.change("unpin", ALICE, DEMO, Selection(ONE), "")
    assert deleted(retention.run(ALICE)) == ["demo 1.0"]


def test_a_rule_is_about_one_index(harness: IndexHarness) -> None:
    """A rule deletes only from its own index, and none of what was promoted from or to it."""
    indexes = TwoIndexes(harness)
    for version in VERSIONS:
        indexes.upload(make_wheel(version=version))
        indexes.upload(make_wheel(version=version), indexes.prod)
    indexes.upload(make_wheel(version="1.5"))
    indexes.promote("1.5")
    rules = ({"index": "dev", **LAST}, {"index": "gone", **LAST}, {"index": "view", **LAST})
    tables = ({"name": "dev"}, {"name": "prod"}, {"name": "view", "layers": ["dev"]})
    put(harness, *rules)
    root = harness.opened(5, tables=toml_of(index=tables))

    report = retention_of(root).run(ALICE, with_kept=True)

    assert report is not None
    assert [(release.index, release.version) for release in report.deleted] == [
        ("dev", "2.0"),
        ("dev", "1.0"),
    ]
    kept = {release.version: release.why for release in report.kept}
    assert kept["1.5"] == ("promoted to another index",)
    assert [bool(rule.hindrance) for rule in report.rules] == [False, True, True]
    assert len(root.named("prod").projects.read_for_update(DEMO).files) == 4


@pytest.mark.parametrize("change", ["pin", "promote", "upload"])
def test_what_changed_meanwhile_is_judged_anew(harness: IndexHarness, change: str) -> None:
    """A release that is pinned, promoted or uploaded to while a run is under way stays."""
    indexes = TwoIndexes(harness)
    for version in VERSIONS:
        indexes.upload(make_wheel(version=version))
    harness.clock.advance(days=40)
    acts: dict[str, Callable[[], object]] = {
        "pin": lambda: indexes.dev.lifecycle.change("pin", ALICE, DEMO, Selection(ONE), ""),
        "promote": lambda: indexes.promote("1.0"),
        "upload": lambda: indexes.upload(make_wheel(version="1.0", tag="py2-none-any")),
    }
    document = f"{keys.index_folder('dev')}{keys.project(DEMO)}"
    store = FakeStore(harness.store, Before(acts[change], "put", document))
    put(harness, {"index": "dev", **OLD})

    report = retention_of(harness.opened(7, store)).run(ALICE)

    assert store.count("put", document)
    assert deleted(report) == ["demo 2.0"]
    versions = {file.version for file in indexes.sources.files}
    assert versions == {"1.0", "3.0"}
    assert harness.check().problems == []


def test_a_run_keeps_to_its_plan(harness: IndexHarness) -> None:
    """A run of what somebody has seen leaves what an upload adds to it at the last moment."""
    filled(harness)
    upload = Before(lambda: harness.upload(make_wheel(version="4.0")), "put", keys.project(DEMO))
    retention = retention_of(harness.opened(7, FakeStore(harness.store, upload)))
    plan = retention.preview(ALICE).plan

    report = retention.run(ALICE, plan=plan)

    assert deleted(report) == ["demo 2.0", "demo 1.0", "other 2.0", "other 1.0"]
    versions = {file.version for file in harness.opened(8).projects.get(DEMO).files}
    assert versions == {"3.0", "4.0"}
    with pytest.raises(Conflict):
        retention.run(ALICE, plan=plan)


def test_a_promotion_of_what_was_deleted_fails(harness: IndexHarness) -> None:
    """A promotion that comes after the deletion promotes nothing, and says so."""
    indexes = TwoIndexes(harness)
    for version in VERSIONS:
        indexes.upload(make_wheel(version=version))
    put(harness, {"index": "dev", **LAST})
    retention = retention_of(harness.opened(7))
    done = list[RetentionReport | None]()
    note = f"{keys.index_folder('dev')}{keys.project(DEMO)}"
    run = Before(lambda: done.append(retention.run(ALICE)), "put", note)
    other = indexes.reopened(FakeStore(harness.store, run))
    with pytest.raises(WheelyardError):
        other.promote("1.0")

    assert deleted(done[0]) == ["demo 2.0", "demo 1.0"]
    assert indexes.reopened().listed() == {}


@pytest.mark.parametrize("kind", [FaultKind.CRASH, FaultKind.CRASH_AFTER])
def test_a_killed_run_is_gone_on_with(harness: IndexHarness, kind: FaultKind) -> None:
    """After a crash at any write of a run, the next deletes the rest, and nothing is damaged."""
    index = filled(harness)
    for number in range(1, 40):
        copy = IndexHarness(harness.folder, harness.clock)
        for key, body in harness.snapshot().items():
            copy.store.put(key, body, None)  # type: ignore[arg-type] # keys of the same store
        faulty = FakeStore(copy.store, Fault(kind, "put", nth=number))
        killed = copy.opened(4, faulty)
        killed.search.start = lambda refresh: refresh()  # a process is killed with its threads
        try:
            retention_of(killed).run(ALICE)
        except ProcessCrash:
            harness.clock.advance(minutes=11)
            retention_of(copy.opened(5)).run(ALICE)
            files = copy.opened(6).projects.read_for_update(DEMO).files
            assert [file.version for file in files] == ["3.0"]
            assert copy.check(rebuild=True).problems == []
        else:
            break
    else:
        pytest.fail("a run has too many writes")
    assert number > 4
    assert len(index.projects.read_for_update(DEMO).files) == 3


def test_a_run_reads_each_document_once_and_no_file(harness: IndexHarness) -> None:
    """A run reads each document that a rule names once, and of files core metadata at most."""
    store = FakeStore(harness.store)
    index = filled(harness, store=store)
    put(harness, {"projects": ["demo"], **LAST}, {"projects": ["d*"], **OLD})
    index.search.table()
    store.calls.clear()

    retention_of(index).preview(ALICE)

    of_indexes = (keys.INDEX_LIST, keys.INDEX_LIST_JOURNAL)
    of_packages = [
        (verb, key)
        for verb, key in store.calls
        if verb != "time" and not key.startswith(of_indexes)
    ]
    assert of_packages == [("get", keys.PROJECT_NAMES), ("get", keys.project(DEMO))]
    store.calls.clear()
    retention_of(index).run(ALICE)
    files = [key for _, key in store.calls if key.startswith(keys.FILES)]
    assert [key for key in files if not key.endswith(".metadata")] == []
    # the lease, a mark of a commit, the document, its journal, the lease
    assert store.count("put") == 5


def test_a_damaged_document_is_left_alone(harness: IndexHarness) -> None:
    """A project whose document is damaged is skipped, and the report says so."""
    index = filled(harness)
    harness.store.put(keys.project(DEMO), b"{", None)

    report = retention_of(index).run(ALICE)

    assert deleted(report) == ["other 2.0", "other 1.0"]
    assert report is not None
    assert [project.project for project in report.skipped] == [DEMO]


def test_a_damaged_journal_is_left_alone(harness: IndexHarness) -> None:
    """A project that takes no commit, as its journal is damaged, is skipped, and others are not."""
    index = filled(harness)
    harness.store.put(keys.commit(DEMO, 4), b"{", None)

    report = retention_of(index).run(ALICE)

    assert deleted(report) == ["other 2.0", "other 1.0"]
    assert report is not None
    (skipped,) = report.skipped
    assert skipped.project == DEMO
    assert "projects/demo.json and its journal disagree about commit 4" in skipped.why
    assert len(index.projects.read_for_update(DEMO).files) == 3


def test_a_run_for_one_index_leaves_the_daily_one_to_do(harness: IndexHarness) -> None:
    """A run for one index, or for one that is not there, hinders no other run, also at once."""
    index = filled(harness)
    retention = retention_of(index)

    with refused(NotFound, "not_found", "gone"):
        retention.run(ALICE, "gone")
    other_process = retention_of(harness.opened(6))
    assert deleted(other_process.run(ALICE, MAIN)) == [
        *("demo 2.0", "demo 1.0", "other 2.0", "other 1.0")
    ]
    assert other_process.last_run() is None

    harness.upload(make_wheel(version="4.0"))
    assert deleted(retention_of(harness.opened(7)).run(DAILY, every=EVERY)) == ["demo 3.0"]


def test_names_without_a_release(harness: IndexHarness) -> None:
    """A name whose first upload broke off, or whose files were all deleted, hinders no run."""
    index = filled(harness)
    index.projects.names.ensure(NormalizedName("begun"))
    for version in VERSIONS:
        index.lifecycle.change("delete", ALICE, DEMO, Selection(Version(version)), "")

    report = retention_of(index).run(ALICE, with_kept=True)

    assert deleted(report) == ["other 2.0", "other 1.0"]
    assert report is not None
    assert [(release.project, release.version) for release in report.kept] == [("other", "3.0")]
    assert report.skipped == ()


@pytest.mark.parametrize(
    ("verb", "key"),
    [("get", keys.PROJECT_NAMES), ("get", keys.project(DEMO)), ("put", keys.project(DEMO))],
    ids=["names", "document", "deletion"],
)
def test_a_store_that_does_not_answer_ends_a_run(
    harness: IndexHarness, verb: str, key: str
) -> None:
    """A run ends where the store does not answer, and is no complete one; the next does it all."""
    filled(harness)
    store = FakeStore(harness.store, Fault(FaultKind.NOT_DONE, verb, key, times=ALWAYS))
    retention = retention_of(harness.opened(7, store))

    with pytest.raises(Unavailable, match=r"The store did not answer\."):
        retention.run(ALICE)
    assert retention.last_run() is None
    store.follow()
    harness.clock.advance(minutes=11)

    assert deleted(retention.run(ALICE)) == ["demo 2.0", "demo 1.0", "other 2.0", "other 1.0"]


def test_rules_about_downloads_need_counts(harness: IndexHarness) -> None:
    """A rule about downloads deletes nothing until they were counted for so long, and says so."""
    index = filled(harness, {"not_downloaded_days": 30})
    served = harness.opened(8)
    report = retention_of(index).run(ALICE)
    assert report is not None
    assert (report.deleted, "not counted" in report.rules[0].hindrance) == ((), True)

    counter = _counter(served, harness)
    counter("demo", "3.0")
    harness.clock.advance(days=29)
    counter("demo", "1.0")
    harness.clock.advance(days=2)

    report = retention_of(harness.opened(9)).run(ALICE, with_kept=True)
    assert deleted(report) == ["demo 2.0", "other 2.0", "other 1.0"]


def _counter(index: Index, harness: IndexHarness) -> Callable[[str, str], None]:
    from wheelyard.downloads.counter import DownloadCounter  # noqa: PLC0415

    def count(name: str, version: str) -> None:
        counter = DownloadCounter(index.stores.documents, index.server.runtime)
        counter.note(NormalizedName(name), version)
        counter.close()
        assert harness.store is not None

    return count


def test_an_index_whose_names_are_damaged_keeps_no_other(harness: IndexHarness) -> None:
    """An index whose list of names is damaged is left alone, and its rule says why."""
    tables = toml_of(index=({"name": "dev"}, {"name": "prod"}))
    harness.index = harness.opened(4, tables=tables)
    put(harness, {"index": "dev", **LAST}, {"index": "prod", **LAST})
    for name in ("dev", "prod"):
        for version in VERSIONS:
            made = make_wheel(version=version)
            harness.index.named(name).uploads.accept(made.arrival(harness.folder), ALICE)
    harness.store.put(Key(f"{keys.index_folder('dev')}{keys.PROJECT_NAMES}"), b"?", None)

    report = retention_of(harness.opened(5)).run(ALICE)

    assert deleted(report) == ["demo 2.0", "demo 1.0"]
    assert report is not None
    assert {release.index for release in report.deleted} == {"prod"}
    hindrances = {rule.index: rule.hindrance for rule in report.rules}
    assert hindrances["prod"] == ""
    assert "indexes/dev/projects.json is damaged" in hindrances["dev"]


def test_counts_that_are_off_or_damaged(harness: IndexHarness) -> None:
    """Where downloads are not counted, or cannot be read, a rule about them deletes nothing."""
    off = Settings(downloads=DownloadSettings(count=False))
    index = filled(harness, {"not_downloaded_days": 30}, off)
    report = retention_of(index).run(ALICE)
    assert report is not None
    assert (report.deleted, "[downloads] count" in report.rules[0].hindrance) == ((), True)

    harness.store.put(keys.downloads_of_month("2026-02"), b"x", None)
    report = retention_of(harness.opened(6)).run(ALICE)
    assert report is not None
    assert (report.deleted, "cannot be read" in report.rules[0].hindrance) == ((), True)


def test_who_may_run_it_and_where(harness: IndexHarness) -> None:
    """Only administrators see and run the rules, and never on a read-only server."""
    index = filled(harness)
    manager = Caller("local:bo", (Scope(Action.MANAGE.with_implied, (EVERY_PROJECT,), (MAIN,)),))
    for caller in (manager, Caller("anonymous", (Scope(Action.READ, (EVERY_PROJECT,), (MAIN,)),))):
        with pytest.raises(WheelyardError):
            retention_of(index).preview(caller)
        with pytest.raises(WheelyardError):
            retention_of(index).run(caller)

    only_reads = Settings(server=ServerSettings(read_only=True))
    with pytest.raises(Forbidden):
        retention_of(harness.opened(6, settings=only_reads)).run(ALICE)
    assert len(index.projects.read_for_update(DEMO).files) == 3


def test_one_of_many_servers_runs_it_daily(
    harness: IndexHarness, caplog: pytest.LogCaptureFixture
) -> None:
    """Once a day one server applies the rules, as the journal says, and the others say nothing."""
    index = filled(harness)
    servers = [daily_of(index), *(daily_of(harness.opened(seed)) for seed in (11, 12))]
    for server in servers:
        server.run_if_due()
    assert len(index.projects.read_for_update(DEMO).files) == 3
    harness.clock.advance(hours=1)
    for server in servers:
        server.run_if_due()
    (event,) = history(index, DEMO)[-1].events
    assert event.by == DAILY.principal == "local:retention"
    assert "no complete run" not in caplog.text

    harness.upload(make_wheel(version="4.0"))
    servers[1].run_if_due()
    assert len(index.projects.read_for_update(DEMO).files) == 2
    harness.clock.advance(days=1, minutes=1)
    servers[2].run_if_due()
    assert len(index.projects.read_for_update(DEMO).files) == 1


def test_a_daily_run_warns(harness: IndexHarness, caplog: pytest.LogCaptureFixture) -> None:
    """The log of a server says which release lacks what it requires since the daily run."""
    required = b"Metadata-Version: 2.2\nName: core\nVersion: 1.2\nRequires-Dist: demo<2\n"
    harness.upload(make_wheel("core", "1.2", metadata=required))
    index = filled(harness)

    daily_of(index).announce()
    harness.clock.advance(hours=1)
    daily_of(index).run_if_due()

    after = "After this, core 1.2 has no demo<2 in main."
    assert f"retention: {after}" in caplog.messages


def test_a_daily_run_says_which_rule_does_nothing(
    harness: IndexHarness, caplog: pytest.LogCaptureFixture
) -> None:
    """The log of a server says once which rule the daily run cannot apply, and why."""
    off = Settings(downloads=DownloadSettings(count=False))
    daily = daily_of(filled(harness, {"not_downloaded_days": 30}, off))
    daily.announce()
    harness.clock.advance(hours=1)

    daily.run_if_due()
    harness.clock.advance(days=1, minutes=1)
    daily.run_if_due()

    why = "Downloads are not counted: set [downloads] count, or change the rule."
    assert caplog.messages.count(f"retention: rule 1: {why}") == 1


@pytest.mark.parametrize("is_away", [False, True], ids=["a store", "a store that is away"])
def test_a_server_looks_for_the_daily_run_for_ever(
    harness: IndexHarness, caplog: pytest.LogCaptureFixture, *, is_away: bool
) -> None:
    """A server notes new rules at its start, looks often in their first hour, and seldom then."""
    filled(harness)
    store = FakeStore(harness.store)
    index = harness.opened(7, store)
    if is_away:
        store.follow(Fault(FaultKind.NOT_DONE, "*", keys.lease("retention-rules")))
    pauses = list[float]()

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if sum(pauses) > 2 * 86_400:
            raise ProcessCrash
        harness.clock.advance(seconds=seconds)

    looks = list[float]()

    def find_retention() -> Retention | None:
        looks.append(harness.clock.elapsed)
        if len(looks) > 200:
            raise ProcessCrash
        return index.server.retention

    runtime = replace(index.server.runtime, pause=pause)
    began = harness.clock.elapsed
    with pytest.raises(ProcessCrash):
        DailyRetention(find_retention, runtime).run()

    assert looks[0] == began
    assert looks[1] >= began + 60
    assert len(index.projects.read_for_update(DEMO).files) == 1
    in_first_hour = [seconds for seconds in pauses if seconds < 1800]
    assert all(60 <= seconds <= 300 for seconds in in_first_hour)
    assert pauses[: len(in_first_hour)] == in_first_hour
    assert 3600 <= sum(in_first_hour) <= 3600 + 2 * 300
    assert all(1800 <= seconds <= 3600 for seconds in pauses[len(in_first_hour) :])
    assert ("retention: The store did not answer." in caplog.messages) is is_away


def test_the_daily_run_is_beside_the_server(
    harness: IndexHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that starts its daily runs goes on, and a thread makes them."""
    runs, is_over = list[str](), Event()

    def run(_: DailyRetention) -> None:
        runs.append(current_thread().name)
        is_over.set()

    monkeypatch.setattr(DailyRetention, "run", run)

    daily_of(harness.index).start()

    assert is_over.wait(TIMEOUT_SECONDS)
    assert runs == ["retention"]


def test_no_two_at_a_time(harness: IndexHarness) -> None:
    """While a run is under way, another one is refused, until the first is known to be dead."""
    index = filled(harness)
    codes = list[tuple[str, str]]()

    def run_another() -> None:
        with pytest.raises(Conflict) as refused:
            retention_of(index).run(ALICE)
        codes.append(code_of(refused.value))

    store = FakeStore(harness.store, Before(run_another, "put", keys.project(DEMO)))
    retention_of(harness.opened(6, store)).run(ALICE)

    assert codes == [("Conflict", "retention_running")]


def test_a_run_that_stood_still_deletes_nothing_more(harness: IndexHarness) -> None:
    """A run that stands still until another one has run leaves what a person then restores."""
    filled(harness)
    other = NormalizedName("other")

    def stand_still() -> None:
        harness.clock.advance(hours=1)
        index = harness.opened(7)
        retention_of(index).run(ALICE)
        index.lifecycle.change("restore", ALICE, other, Selection(Version("1.0")), "")
        index.lifecycle.change("unpin", ALICE, other, Selection(Version("1.0")), "")

    store = FakeStore(harness.store, Before(stand_still, "get", keys.project(other)))
    with pytest.raises(Conflict):
        retention_of(harness.opened(6, store)).run(ALICE)

    versions = {file.version for file in harness.opened(8).projects.get(other).files}
    assert versions == {"1.0", "3.0"}


def test_a_pin_is_kept_and_taken_back(harness: IndexHarness) -> None:
    """A pin has a reason, which another pin changes, and a restored release is pinned as before."""
    index = filled(harness)
    life, one = index.lifecycle, Selection(Version("1"))

    def pins() -> set[str | None]:
        files = index.projects.read_for_update(DEMO).files
        return {file.pinned for file in files if file.version == "1.0"}

    life.change("pin", ALICE, DEMO, one, "audit")
    assert life.change("pin", ALICE, DEMO, one, "").files == ()
    life.change("pin", ALICE, DEMO, one, "customer")
    life.change("delete", ALICE, DEMO, one, "")
    life.change("restore", ALICE, DEMO, one, "")
    assert pins() == {"customer"}
    life.change("unpin", ALICE, DEMO, one, "")
    assert pins() == {None}
    assert [event.what for event in history(index, DEMO)[-1].events] == ["unpinned"]
    assert harness.check(rebuild=True).problems == []
