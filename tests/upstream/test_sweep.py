"""Files of upstream indexes that nobody uses are removed, and nothing else is."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from tests.fake_store import FakeStore
from tests.fake_time import Clock, fake_runtime
from tests.refused import refused
from wheelyard.catalog.format import ensure_format
from wheelyard.catalog.store_clock import CLOCK_DIFFERS, StoreClock
from wheelyard.cli.store_commands import usage_command
from wheelyard.cli.token_commands import token_command
from wheelyard.cli.upstream_commands import upstream_command
from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import Invalid, Unavailable
from wheelyard.storage.base import ABSENT, Key, Store
from wheelyard.storage.forwarding import PrefixedStore
from wheelyard.storage.local import LocalStore
from wheelyard.storage.memory import MemoryStore
from wheelyard.upstream.file_cache import FileUses
from wheelyard.upstream.kept_files import KeptSize, SweepRules, UpstreamSweep
from wheelyard.wiring.stores import system_runtime

BELOW = "upstream/public-0123abcd/"
DIGESTS = ["a" * 64, "b" * 64, "c" * 64]
FILES = [f"{BELOW}files/demo/{digest}/demo-{n}.0.tar.gz" for n, digest in enumerate(DIGESTS)]
OTHERS = [
    f"files/demo/{'a' * 64}/demo-0.0.tar.gz",
    "projects.json",
    "projects/demo.json",
    f"{BELOW}digests/demo.json",
    f"{BELOW}pages/demo.json.gz",
    f"{BELOW}pages/files/demo/{'a' * 64}/x",
    "upstream.json",
]


def note_of(key: str) -> str:
    """Return the key of the note that a file is used."""
    return key.replace("/files/", "/uses/")


@pytest.fixture
def clock() -> Clock:
    """Return a clock that stands still."""
    return Clock()


@pytest.fixture
def runtime(clock: Clock) -> Runtime:
    """Return a runtime with that clock."""
    return fake_runtime(clock, 1)


@pytest.fixture
def store(clock: Clock) -> Store:
    """Return a store with three files of 100 bytes, each ten days younger, and private ones."""
    store = MemoryStore(clock.seconds)
    for key in OTHERS:
        store.put(Key(key), b"x" * 1000, ABSENT)
    for key in FILES:
        store.put(Key(key), b"x" * 90, ABSENT)
        store.put(Key(f"{key}.metadata"), b"x" * 10, ABSENT)
        clock.advance(days=10)
    return store


def files_of(store: Store) -> list[str]:
    """Return the files that are still there."""
    return [str(entry.key) for entry in store.list(f"{BELOW}files/")][::2]


@pytest.mark.parametrize(
    ("rules", "left"),
    [
        (SweepRules(unused_for=timedelta(days=31)), 3),
        (SweepRules(unused_for=timedelta(days=30)), 2),
        (SweepRules(unused_for=timedelta(days=11)), 1),
        (SweepRules(max_bytes=300), 3),
        (SweepRules(max_bytes=299), 2),
        (SweepRules(max_bytes=200, unused_for=timedelta(days=25)), 2),
        (SweepRules(max_bytes=100, unused_for=timedelta(days=25)), 1),
        (SweepRules(max_bytes=0), 0),
    ],
)
def test_what_is_removed(store: Store, runtime: Runtime, rules: SweepRules, left: int) -> None:
    """Files go that were unused for long, and of too many those that were unused for longest."""
    sweep = UpstreamSweep(StoreClock(store, runtime))
    expected = sweep.run(rules, dry_run=True)
    assert files_of(store) == FILES

    report = sweep.run(rules)

    assert report == expected
    assert files_of(store) == FILES[3 - left :]
    assert [report.kept, report.kept_bytes] == [left, 100 * left]
    assert [entry.key for entry in store.list("")] == sorted(
        [*OTHERS, *FILES[3 - left :], *(f"{key}.metadata" for key in FILES[3 - left :])]
    )


def test_a_wrong_clock_removes_nothing(store: Store, runtime: Runtime) -> None:
    """A machine whose clock is ahead takes no file for unused."""
    ahead = replace(runtime, now=lambda: runtime.now() + timedelta(days=90))
    sweep = UpstreamSweep(StoreClock(store, ahead))

    assert sweep.run(SweepRules(unused_for=timedelta(days=60)), dry_run=True).removed == ()
    with refused(Unavailable, CLOCK_DIFFERS):
        sweep.run(SweepRules(unused_for=timedelta(days=60)))

    assert files_of(store) == FILES


def test_a_file_that_is_used(store: Store, runtime: Runtime, clock: Clock) -> None:
    """A use, noted once a day, keeps a file, and its note goes with the file."""
    written = list[Callable[[], None]]()

    def submit(work: Callable[[], None]) -> None:
        written.append(work)
        work()

    uses = FileUses(runtime, submit)
    key = Key(FILES[0].removeprefix(BELOW))
    below = PrefixedStore(store, BELOW)
    fetched_at = clock.seconds() - timedelta(days=30).total_seconds()
    for _ in range(3):
        uses.note("public-0123abcd", below, key, fetched_at)
    assert len(written) == 1
    clock.advance(days=1)
    uses.note("public-0123abcd", below, key, fetched_at)
    uses.note("public-0123abcd", below, Key(FILES[2].removeprefix(BELOW)), clock.seconds() - 5)
    assert len(written) == 2
    rules = SweepRules(unused_for=timedelta(days=10))

    assert [each.path for each in UpstreamSweep(StoreClock(store, runtime)).run(rules).removed] == [
        each.removeprefix(f"{BELOW}files/") for each in FILES[1:]
    ]

    assert files_of(store) == FILES[:1]
    UpstreamSweep(StoreClock(store, runtime)).run(SweepRules(max_bytes=0))
    assert [entry.key for entry in store.list("")] == sorted(OTHERS)


def test_the_note_of_another_process(tmp_path: Path) -> None:
    """In a folder, a use that another process has noted today is not noted again."""
    store, runtime = LocalStore(tmp_path, system_runtime().random), system_runtime()
    key = Key(f"files/demo/{'a' * 64}/demo-1.0.tar.gz")
    notes = Key(note_of(f"/{key}")[1:])
    for _ in range(2):
        FileUses(runtime, lambda work: work()).note("public", store, key, 0.0)
        version = store.get(notes)
        FileUses(runtime, lambda work: work()).note("public", store, key, 0.0)
        assert store.get(notes) == version


def test_what_is_kept_is_counted(store: Store, runtime: Runtime, clock: Clock) -> None:
    """Kept files and their core metadata are counted every ten minutes, and none is read."""
    for key in (f"upstream/old-89abcdef/files/demo/{'d' * 64}/demo-9.0.tar.gz", note_of(FILES[0])):
        store.put(Key(key), b"" if "/uses/" in key else b"x" * 500, ABSENT)
    observed = FakeStore(store)
    kept = KeptSize(observed, runtime)

    assert (kept.latest().bytes, kept.latest().at) == (800, clock.now)
    assert [verb for verb, _ in observed.calls] == ["list"]
    UpstreamSweep(StoreClock(store, runtime)).run(SweepRules(max_bytes=0))
    clock.advance(minutes=9)
    assert kept.latest().bytes == 800
    clock.advance(minutes=1)
    assert kept.latest().bytes == 0


def test_usage_has_what_public_packages_take(tmp_path: Path) -> None:
    """`wheelyard usage` counts what is kept, also while no upstream index is configured."""
    place = ["--store", str(tmp_path)]
    CliRunner().invoke(token_command, ["create", "ci", *place], catch_exceptions=False)
    store = LocalStore(tmp_path, system_runtime().random)

    def run() -> str:
        return CliRunner().invoke(usage_command, place, catch_exceptions=False).output

    assert run() == "0 B\t0 files\t0 projects\n"
    for key in FILES:
        store.put(Key(key), bytes(2**20), ABSENT)
    assert run() == "0 B\t0 files\t0 projects\n3.0 MiB\tpublic packages that are kept\n"


def test_the_command_removes_what_it_said(tmp_path: Path) -> None:
    """The command says what it would remove, removes it, and refuses to run without a rule."""
    store = LocalStore(tmp_path, system_runtime().random)
    ensure_format(store)
    for key in FILES:
        store.put(Key(key), bytes(2**20), ABSENT)
    place = ["--store", str(tmp_path)]
    other = LocalStore(tmp_path / "other", system_runtime().random)
    for key in FILES:
        other.put(Key(key), b"", ABSENT)

    def run(*arguments: str, **variables: str) -> str:
        line = ["sweep", *arguments, *place]
        return (
            CliRunner(env=variables).invoke(upstream_command, line, catch_exceptions=False).output
        )

    shown = run("--max-size", "1.5MiB", "--dry-run")
    assert shown.count("last used") == 2
    assert shown.endswith("would remove 2 files, 2.0 MiB; what stays: 1 file, 1.0 MiB\n")
    assert len(list(store.list(BELOW))) == 3
    assert run("--max-size", "1.5MiB") == "removed 2 files, 2.0 MiB; what stays: 1 file, 1.0 MiB\n"
    assert '"kept":1,"kept_bytes":1048576' in run("--unused-for", "1d", "--json")
    elsewhere = str(tmp_path / "other")
    assert "3 files" in run("--max-size", "0B", WHEELYARD_UPSTREAM_BUCKET=elsewhere)
    for wrong in ([], ["--max-size", "12"], ["--unused-for", "never"]):
        with pytest.raises(Invalid, match=r"Say what|no size|no length"):
            run(*wrong)
