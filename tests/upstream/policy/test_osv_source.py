"""The OSV database of an operator: a file, a zip or a folder that changes."""

import json
import os
from collections.abc import Callable
from errno import EACCES
from pathlib import Path
from random import Random
from zipfile import ZIP_DEFLATED, ZipFile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fake_time import Clock
from tests.upstream.policy.pages import DEMO
from wheelyard.catalog import keys
from wheelyard.errors import Invalid
from wheelyard.repository.rule_facts import Advisories
from wheelyard.storage.base import Store
from wheelyard.storage.forwarding import ReadOnlyStore
from wheelyard.storage.memory import MemoryStore
from wheelyard.upstream.policy import osv_source
from wheelyard.upstream.policy.advisories import OsvReader
from wheelyard.upstream.policy.osv_source import AcceptedOsvRecord, OsvSource


def malware(version: str) -> bytes:
    """Return an entry about a malicious version of `demo`."""
    package = {"ecosystem": "PyPI", "name": "demo"}
    entry = {"id": f"MAL-{version}", "affected": [{"package": package, "versions": [version]}]}
    return json.dumps(entry).encode()


def hits(source: OsvSource) -> list[str]:
    """Return which versions of `demo` are malicious."""
    return sorted(source.current().hits(DEMO, ["1", "2", "3"]))


def in_file(at: Path) -> None:
    """Write one JSON file with a list."""
    at.write_bytes(b"[" + b",".join(map(malware, "12")) + b"]")


def in_zip(at: Path) -> None:
    """Write a zip, as OSV exports it."""
    with ZipFile(f"{at}.zip", "w", ZIP_DEFLATED) as archive:
        for version in "12":
            archive.writestr(f"MAL-{version}.json", malware(version))
        archive.writestr("README", "{")


def in_folder(at: Path) -> None:
    """Write a folder with a zip, notes, a hidden folder, and folders in folders."""
    deep = at / "a" / "b"
    deep.mkdir(parents=True)
    (deep / "1.json").write_bytes(malware("1"))
    (at / ".git").mkdir()
    (at / ".git" / "3.json").write_bytes(malware("3"))
    (at / "README.md").write_bytes(b"{")
    with ZipFile(at / "more.zip", "w") as archive:
        archive.writestr("2.json", malware("2"))


@pytest.mark.parametrize(("write", "suffix"), [(in_file, ""), (in_zip, ".zip"), (in_folder, "")])
def test_a_file_a_zip_and_a_folder_are_read_alike(
    tmp_path: Path, write: Callable[[Path], None], suffix: str
) -> None:
    """A file, a zip and a folder are read alike, and what is beside the JSON files is no fault."""
    write(tmp_path / "osv")
    source = OsvSource(Path(f"{tmp_path / 'osv'}{suffix}"), 0.0, Clock().seconds)

    assert hits(source) == ["1", "2"]
    assert source.in_force.skipped == 0


def test_a_folder_that_changes(tmp_path: Path) -> None:
    """Files that come, change or go are noticed, links are followed; broken ones are skipped."""
    folder, clock = tmp_path / "osv", Clock()
    in_folder(folder)
    source = OsvSource(folder, 0.0, clock.seconds)

    def after(change: Callable[[], object]) -> list[str]:
        change()
        clock.advance(seconds=5)
        return hits(source)

    assert hits(source) == ["1", "2"]
    (tmp_path / "3.json").write_bytes(malware("3"))
    assert after(lambda: (folder / "3.json").symlink_to(tmp_path / "3.json")) == ["1", "2", "3"]
    assert after((folder / "more.zip").unlink) == ["1", "3"]
    broken = folder / "more.zip"
    assert after(lambda: broken.write_bytes(b"PK\x03\x04")) == ["1", "3"]
    assert (source.error, source.in_force.skipped) == ("", 1)
    assert after(lambda: os.truncate(tmp_path / "3.json", 3)) == ["1"]
    assert source.warnings == ("upstream.osv: entries that are malformed and skipped: 2.",)
    broken.unlink()
    (tmp_path / "3.json").write_bytes(malware("2"))
    assert after(lambda: None) == ["1", "2"]
    assert not source.warnings


def test_nothing_is_read_twice(tmp_path: Path) -> None:
    """The database is looked at every few seconds, and is not read again without a change."""
    clock, path = Clock(), tmp_path / "osv.json"
    in_file(path)
    source = OsvSource(path, 0.0, clock.seconds)
    table = source.current()
    path.write_bytes(malware("3"))
    assert source.current() is table
    clock.advance(seconds=5)
    assert source.peek() is None
    later = source.current()
    assert later.generation != table.generation
    clock.advance(seconds=5)
    assert source.current() is later is source.peek()


def test_a_database_that_stays_broken(tmp_path: Path) -> None:
    """While the database of an index is broken, the one before it stays in force at each look."""
    clock, path = Clock(), tmp_path / "osv.json"
    in_file(path)
    source = OsvSource(path, 0.0, clock.seconds)
    assert hits(source) == ["1", "2"]
    path.write_bytes(b"[")
    for _ in range(3):
        clock.advance(seconds=5)
        assert hits(source) == ["1", "2"]
        assert source.error


@pytest.mark.parametrize("name", ["missing", "empty", "notes.json"])
def test_what_is_no_database_is_an_error(tmp_path: Path, name: str) -> None:
    """What is no database is an error, so that nobody believes to be protected."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.json").write_text('{"note": "soon"}')
    with pytest.raises(Invalid, match=r"upstream\.osv: "):
        OsvSource(tmp_path / name, 0.0, Clock().seconds).load()


def test_a_part_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    """If a file of a folder cannot be read, the rest of the folder is not taken for all of it."""
    folder = tmp_path / "osv"
    in_folder(folder)
    (folder / "3.json").symlink_to(tmp_path / "missing.json")

    with pytest.raises(Invalid, match=r"upstream\.osv: .*/osv: it cannot be read: No such file"):
        OsvSource(folder, 0.0, Clock().seconds).load()


def test_an_archive_that_is_damaged_in_part(tmp_path: Path) -> None:
    """The entry of an archive that is damaged is counted as left out, and the others are read."""
    path = tmp_path / "osv.zip"
    with ZipFile(path, "w") as archive:
        for version in "12":
            archive.writestr(f"MAL-{version}.json", malware(version))
    path.write_bytes(path.read_bytes().replace(b'MAL-2"', b'MAL-3"'))
    source = OsvSource(path, 0.0, Clock().seconds)

    source.load()

    assert hits(source) == ["1"]
    assert source.in_force.skipped == 1
    assert "the archive is damaged: Bad CRC-32" in source.in_force.first_skipped


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that the server may not read is no database, and the error says so."""
    path = tmp_path / "osv.json"
    path.write_bytes(malware("1"))

    def refuse(_: Path) -> bytes:
        raise PermissionError(EACCES, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)

    with pytest.raises(Invalid, match=r"osv\.json: it cannot be read: Permission denied"):
        OsvSource(path, 0.0, Clock().seconds).load()


def test_an_entry_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an archive as in a folder, an entry above the limit is skipped, and is counted."""
    monkeypatch.setattr(osv_source, "ENTRY_LIMIT_BYTES", len(malware("1")))
    folder = tmp_path / "osv"
    folder.mkdir()
    (folder / "large.json").write_bytes(malware("1") + b" ")
    with ZipFile(folder / "more.zip", "w") as archive:
        archive.writestr("2.json", malware("2"))
        archive.writestr("large.json", malware("3") + b" ")
    source = OsvSource(folder, 0.0, Clock().seconds)

    assert hits(source) == ["2"]
    assert source.in_force.skipped == 2


def entries(*versions: int) -> bytes:
    """Return a database with an entry for each of these versions of `demo`."""
    return b"[" + b",".join(malware(str(version)) for version in versions) + b"]"


def opened(path: Path, store: Store, clock: Clock) -> OsvSource:
    """Return the database as a process has it that has just been started."""
    return OsvSource(path, 0.0, clock.seconds, AcceptedOsvRecord(store))


def malicious(source: OsvSource) -> int:
    """Return how many versions are malicious."""
    return len(source.current().hits(DEMO, map(str, range(200))))


@given(
    good=st.integers(1, 8),
    bad=st.lists(
        st.sampled_from(["null", '"text"', "7", "[]", '{"id": 1}', '{"id": "x", "severity": 5}']),
        max_size=4,
    ),
    seed=st.randoms(use_true_random=False),
)
def test_bad_entries_among_good_ones(good: int, bad: list[str], seed: Random) -> None:
    """A malformed entry takes no other one with it, wherever it stands, and is counted."""
    parts = [*(malware(str(version)).decode() for version in range(good)), *bad]
    seed.shuffle(parts)
    reader = OsvReader(0.0)
    reader.read(f"[{','.join(parts)}]".encode(), "osv.json")

    assert (reader.entries, reader.skipped) == (good, len(bad))
    assert len(reader.by_name[DEMO]) == good


def test_what_no_rule_asks_for() -> None:
    """An entry counts, whatever else its events say."""
    entry = json.loads(malware("1"))
    events = [{"introduced": "0", "database_specific": {"by": "somebody"}}]
    entry["affected"][0]["ranges"] = [{"type": "ECOSYSTEM", "events": events}]
    reader = OsvReader(0.0)
    reader.read(json.dumps(entry).encode(), "osv.json")

    assert (reader.entries, reader.skipped) == (1, 0)
    assert [each.ranges for each in reader.by_name[DEMO]] == ["introduced 0"]


def test_a_database_that_has_shrunk(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A database that has lost more than a tenth is refused until somebody accepts it."""
    path, clock = tmp_path / "osv.json", Clock()
    store = MemoryStore(clock.seconds)
    path.write_bytes(entries(*range(100)))
    running = opened(path, store, clock)
    assert malicious(running) == 100

    path.write_bytes(entries(*range(90)))
    clock.advance(seconds=5)
    assert (malicious(running), running.error) == (90, "")
    path.write_bytes(entries(*range(78), 150, 151))
    clock.advance(seconds=5)
    assert malicious(running) == 90
    assert "80 usable entries, and the one that was accepted last had 90" in running.error
    assert "upstream accept-osv" in caplog.text

    started = opened(path, store, clock)
    assert malicious(started) == 92  # what was hidden, and what is new
    assert started.warnings == running.warnings
    path.unlink()
    assert malicious(opened(path, store, clock)) == 90

    path.write_bytes(entries(*range(78), 150, 151))
    before, now = opened(path, store, clock).accept()
    assert (before and before.entries, now.entries) == (90, 80)
    clock.advance(seconds=5)
    assert (malicious(running), malicious(started)) == (80, 80)
    assert not running.warnings
    assert not started.warnings


def test_what_was_accepted_elsewhere_holds_for_a_running_server(tmp_path: Path) -> None:
    """A server that has refused a database takes it once it was accepted at another server."""
    path, clock = tmp_path / "osv.json", Clock()
    store = MemoryStore(clock.seconds)
    path.write_bytes(entries(*range(10)))
    running = opened(path, store, clock)
    assert malicious(running) == 10
    path.write_bytes(entries(1))
    for _ in range(2):
        clock.advance(seconds=5)
        assert (malicious(running), "accept-osv" in running.error) == (10, True)

    opened(path, store, clock).accept()
    clock.advance(seconds=5)

    assert (malicious(running), running.error) == (1, "")


def test_a_server_that_only_reads(tmp_path: Path) -> None:
    """A read-only server compares with what others have accepted, and writes nothing."""
    path, clock = tmp_path / "osv.json", Clock()
    store = MemoryStore(clock.seconds)
    path.write_bytes(entries(*range(10)))
    reader = opened(path, ReadOnlyStore(store), clock)
    assert (malicious(reader), list(store.list(""))) == (10, [])
    assert malicious(opened(path, store, clock)) == 10
    path.write_bytes(entries(1))
    clock.advance(seconds=5)

    assert malicious(reader) == 10
    assert "accept-osv" in reader.error


def test_a_damaged_record(tmp_path: Path) -> None:
    """A record that cannot be read is written anew, and keeps no server from its start."""
    path, clock = tmp_path / "osv.json", Clock()
    store = MemoryStore(clock.seconds)
    store.put(keys.UPSTREAM_ADVISORIES, b"no record", None)
    path.write_bytes(entries(1, 2))

    assert malicious(opened(path, store, clock)) == 2

    accepted = AcceptedOsvRecord(store).load()
    assert accepted is not None
    assert accepted.entries == 2


@pytest.mark.parametrize("size", [10, 1])
def test_an_index_with_more_vulnerabilities(tmp_path: Path, size: int) -> None:
    """An index that looks at more vulnerabilities knows none if the database was refused."""
    path, clock = tmp_path / "osv.json", Clock()
    store = MemoryStore(clock.seconds)
    path.write_bytes(entries(*range(10)))
    opened(path, store, clock).load()
    path.write_bytes(entries(*range(size)))
    of_upstream = opened(path, store, clock)
    of_upstream.load()

    found = Advisories(of_upstream, OsvSource(path, 0.0, clock.seconds)).current()

    assert bool(of_upstream.error) == (size == 1)
    assert (found is None) == (size == 1)
