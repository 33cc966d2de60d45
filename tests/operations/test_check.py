"""`check`: the problems that it finds, repairs, and leaves alone."""

import os
from collections.abc import Callable
from pathlib import Path
from tracemalloc import get_traced_memory
from tracemalloc import start as start_tracing
from tracemalloc import stop as stop_tracing

import pytest
from packaging.utils import NormalizedName

from tests.advice import in_terminal, texts_of
from tests.catalog.invariants import commit_key
from tests.distributions import make_sdist, make_wheel
from tests.fake_store import ALWAYS, Before, FakeStore, Fault, FaultKind
from tests.operations.in_memory_index import ALICE, IndexHarness, remove_now
from tests.refused import refused
from wheelyard.catalog import keys
from wheelyard.catalog.files import FileContent
from wheelyard.errors import Invalid, Unavailable
from wheelyard.model.distribution_filename import parse_version
from wheelyard.model.project import Status
from wheelyard.model.stored_indexes import IndexMade
from wheelyard.operations.findings import Findings
from wheelyard.operations.lifecycle import Selection
from wheelyard.settings.sections import Settings, StoreSettings
from wheelyard.storage.base import Key
from wheelyard.wiring.build import open_index
from wheelyard.wiring.index import Index

DEMO = NormalizedName("demo")
WHEEL, SDIST, LOST = make_wheel(), make_sdist(), make_wheel(version="9.0")
WHEEL_KEY = keys.distribution(DEMO, WHEEL.sha256, WHEEL.filename)
METADATA_KEY = keys.core_metadata(DEMO, WHEEL.sha256, WHEEL.filename)
DOCUMENT = keys.project(DEMO)
LAST = 5
LAST_ENTRY = commit_key(DEMO, LAST)


def flip(harness: IndexHarness, key: Key, at: int = -3) -> None:
    """Change one bit of an object."""
    body = bytearray(harness.bytes_at(key))
    body[at] ^= 1
    harness.store.put(key, bytes(body), None)


def remove(harness: IndexHarness, key: Key) -> None:
    """Lose an object."""
    harness.store.delete(key)


def edit(harness: IndexHarness, key: Key, old: bytes, new: bytes) -> None:
    """Change an object in a way that can still be read."""
    body = harness.bytes_at(key)
    assert old in body
    harness.store.put(key, body.replace(old, new, 1), None)


def put(harness: IndexHarness, key: Key, body: bytes) -> None:
    """Plant an object."""
    harness.store.put(key, body, None)


@pytest.fixture
def index_with_history(harness: IndexHarness) -> IndexHarness:
    """A store with a history: two files, one deleted, one yanked, a status."""
    for made in (WHEEL, SDIST):
        harness.upload(made)
        harness.clock.advance(minutes=1)
    life = harness.index.lifecycle
    life.change(
        "yank", ALICE, DEMO, Selection(parse_version("1.0"), frozenset({WHEEL.filename})), "why"
    )
    life.change(
        "delete", ALICE, DEMO, Selection(parse_version("1.0"), frozenset({SDIST.filename})), ""
    )
    life.set_status(ALICE, DEMO, Status.DEPRECATED, "old")
    return harness


Damage = Callable[[IndexHarness], None]
DAMAGES: dict[str, Damage] = {
    "bytes lost": lambda harness: remove(harness, WHEEL_KEY),
    "bytes flipped": lambda harness: flip(harness, WHEEL_KEY),
    "bytes cut": lambda harness: edit(harness, WHEEL_KEY, harness.bytes_at(WHEEL_KEY), b""),
    "metadata lost": lambda harness: remove(harness, METADATA_KEY),
    "metadata flipped": lambda harness: flip(harness, METADATA_KEY),
    "document lost": lambda harness: remove(harness, DOCUMENT),
    "document unreadable": lambda harness: edit(harness, DOCUMENT, b"{", b"["),
    "document changed": lambda harness: edit(harness, DOCUMENT, b"why", b"who"),
    "document of another": lambda harness: edit(harness, DOCUMENT, b'"demo"', b'"dema"'),
    "document behind": lambda harness: edit(harness, DOCUMENT, b'"revision":5', b'"revision":4'),
    "document without a commit": lambda harness: put(harness, DOCUMENT, b'{"name":"demo"}'),
    "document with a blank": lambda harness: edit(harness, DOCUMENT, b"\n", b" \n"),
    "journal entry lost": lambda harness: remove(harness, commit_key(DEMO, 2)),
    "first journal entry lost": lambda harness: remove(harness, commit_key(DEMO, 1)),
    "journal entry unreadable": lambda harness: edit(harness, commit_key(DEMO, 2), b"{", b"["),
    "journal entry changed": lambda harness: edit(harness, commit_key(DEMO, 3), b"why", b"who"),
    "last journal entry changed": lambda harness: edit(harness, LAST_ENTRY, b"old", b"odd"),
    "journal entry with a blank": lambda harness: edit(harness, commit_key(DEMO, 2), b"\n", b" \n"),
    "journal ahead": lambda harness: put(
        harness, commit_key(DEMO, 6), harness.bytes_at(LAST_ENTRY)
    ),
}


def test_a_store_with_a_history_is_clean(index_with_history: IndexHarness) -> None:
    """A check of a healthy store finds nothing, counts what it read, and writes nothing."""
    before = [*index_with_history.store.list("")]

    assert index_with_history.check(rebuild=True).rebuilt == 1
    findings = index_with_history.check()

    assert (findings.problems, findings.notes, findings.repaired) == ([], [], [])
    assert (findings.projects, findings.files) == (1, 1)
    # those of the deleted file, too, as they are kept
    assert findings.size == sum(map(len, index_with_history.snapshot("files/").values()))
    assert [*index_with_history.store.list("")] == before


@pytest.mark.parametrize("damage", list(DAMAGES))
def test_damage_is_found(index_with_history: IndexHarness, damage: str) -> None:
    """Each kind of damage is a problem, and a check does not make it worse."""
    DAMAGES[damage](index_with_history)
    before = index_with_history.snapshot()

    findings = index_with_history.check()

    assert findings.problems
    assert all("demo" in problem for problem in findings.problems)
    assert index_with_history.snapshot() == before


def test_the_document_of_another_project_is_damaged(index_with_history: IndexHarness) -> None:
    """A document that names another project is damaged, also where no journal can tell."""
    for damage in ("document of another", "first journal entry lost"):
        DAMAGES[damage](index_with_history)

    problems = index_with_history.check().problems

    assert any("projects/demo.json is missing or damaged" in problem for problem in problems)


@pytest.mark.parametrize("damage", [damage for damage in DAMAGES if damage.startswith("document")])
def test_a_damaged_document_is_rebuilt_from_its_journal(
    index_with_history: IndexHarness, damage: str
) -> None:
    """A document that is lost or damaged is folded again from its journal, byte for byte."""
    healthy = index_with_history.snapshot()
    DAMAGES[damage](index_with_history)

    findings = index_with_history.check(rebuild=True)

    assert index_with_history.snapshot() == healthy
    assert (findings.rebuilt, len(findings.repaired)) == (1, 1)
    assert index_with_history.check().problems == []


@pytest.mark.parametrize("lost", ["entry", "list", "damaged"])
def test_a_lost_name_is_listed_again(index_with_history: IndexHarness, lost: str) -> None:
    """A name that is missing in the list, or the whole list, is put back."""
    index_with_history.upload(make_wheel("other"))
    healthy = index_with_history.index.projects.names.get_current()
    if lost == "entry":
        edit(index_with_history, keys.PROJECT_NAMES, b'"demo",', b"")
    elif lost == "list":
        remove(index_with_history, keys.PROJECT_NAMES)
    else:
        edit(index_with_history, keys.PROJECT_NAMES, b"{", b"[")

    findings = index_with_history.check()

    assert findings.problems == []
    assert findings.repaired
    mended = index_with_history.opened(seed=3).projects.names.get_current()
    assert (mended.names, mended.write_id == healthy.write_id) == (healthy.names, False)
    assert index_with_history.check().repaired == []


def test_a_name_with_bytes_and_no_document_is_a_problem(index_with_history: IndexHarness) -> None:
    """A listed name with bytes, whose document and journal are lost, is a problem."""
    vanished = NormalizedName("vanished")
    index_with_history.index.projects.names.claim(vanished)
    put(index_with_history, keys.distribution(vanished, "0" * 64, "vanished-1.0.tar.gz"), b"bytes")

    assert index_with_history.check().problems == []  # an upload may be under way
    index_with_history.clock.advance(days=2)
    (problem,) = index_with_history.check().problems

    assert "vanished" in problem


def test_a_claimed_name_is_a_note(index_with_history: IndexHarness) -> None:
    """A name that an upload has claimed, and that has nothing else, is a note."""
    index_with_history.index.projects.names.claim(NormalizedName("claimed"))

    findings = index_with_history.check()

    assert findings.problems == []
    assert any("claimed: private, and nothing" in note for note in texts_of(findings.notes))


@pytest.mark.parametrize("is_there", [True, False])
def test_the_last_journal_entry_is_mended(
    index_with_history: IndexHarness, *, is_there: bool
) -> None:
    """The last journal entry is written from the document: a crash leaves it out, or empty."""
    healthy = index_with_history.snapshot()
    remove(index_with_history, LAST_ENTRY)
    if is_there:
        put(index_with_history, LAST_ENTRY, b"")

    findings = index_with_history.check()

    assert findings.problems == []
    assert len(findings.repaired) == 1
    assert index_with_history.snapshot() == healthy


@pytest.mark.parametrize(
    ("kind", "problems"),
    [
        (FaultKind.LOST_RACE, []),
        (
            FaultKind.NOT_DONE,
            [f"{LAST_ENTRY} could not be repaired: The store did not answer."],
        ),
    ],
    ids=["another process is first", "the store does not answer"],
)
def test_what_is_not_repaired_is_not_called_so(
    index_with_history: IndexHarness, kind: FaultKind, problems: list[str]
) -> None:
    """Only what this check has written is told as repaired, and a failure is a problem."""
    remove(index_with_history, LAST_ENTRY)
    fault = Fault(kind, "put", LAST_ENTRY, times=ALWAYS)
    index_with_history.store = FakeStore(index_with_history.store, fault)

    findings = index_with_history.check()

    assert (findings.problems, findings.repaired) == (problems, [])
    assert index_with_history.store.get(LAST_ENTRY) is None


def test_a_commit_that_nobody_made_is_not_journaled(harness: IndexHarness) -> None:
    """A list of a revision far beyond its journal is a problem, and comes into no journal."""
    harness.index.server.index_administration.add({"name": "dev"}, "local:bo")
    whole = harness.bytes_at(keys.INDEX_LIST)
    made_up = whole.replace(b'"revision":1', b'"revision":9').replace(b'"number":1', b'"number":9')
    harness.store.put(keys.INDEX_LIST, made_up, None)

    for rebuild in (False, True):
        findings = harness.check(rebuild=rebuild)
        assert any("its journal is broken" in problem for problem in findings.problems)
    assert harness.store.get(keys.numbered_entry(keys.INDEX_LIST_JOURNAL, 9)) is None


@pytest.mark.parametrize("damage", ["document lost", "document unreadable"])
def test_a_damaged_document_takes_no_uploads(index_with_history: IndexHarness, damage: str) -> None:
    """A project whose document is lost or damaged is unavailable, and is not begun anew."""
    DAMAGES[damage](index_with_history)
    before = index_with_history.snapshot(keys.PROJECTS)
    for index in (index_with_history.index, index_with_history.opened(9)):
        with pytest.raises(Unavailable) as damaged:
            index.projects.get(DEMO)
        assert "'wheelyard check" in in_terminal(damaged.value)
    with pytest.raises(Unavailable) as caught:
        index_with_history.opened(8).uploads.accept(LOST.arrival(index_with_history.folder), ALICE)

    assert caught.value.code == "damaged_document"
    assert index_with_history.snapshot(keys.PROJECTS) == before
    index_with_history.check(rebuild=True)
    index_with_history.opened(8).uploads.accept(LOST.arrival(index_with_history.folder), ALICE)
    assert index_with_history.check().problems == []
    assert index_with_history.store.get(commit_key(DEMO, LAST + 1)) is not None


def test_foreign_files_are_noted(index_with_history: IndexHarness) -> None:
    """Files that an editor or a person left in the store are noted, and are no damage."""
    strays = ["files/junk", "files/a/b.tmp", "projects/demo.json.bak", "projects/Demo.json"]
    strays += ["journal/demo/0000000001.json~", "journal/x"]
    strays += [f"{keys.TOKENS}note.txt", f"{keys.TOKENS}0123456789/a.json"]
    strays += [f"{keys.SESSIONS}note.txt"]
    for stray in strays:
        index_with_history.store.put(Key(stray), b"?", None)

    findings = index_with_history.check(rebuild=True, sweep=True)

    assert findings.problems == []
    assert {note.message.split(" ")[0] for note in findings.notes} >= set(strays)
    document = Key("projects/readme.json")  # which makes no project
    put(index_with_history, document, b"hello")
    assert index_with_history.check().problems
    remove(index_with_history, document)
    assert index_with_history.check().problems == []


def test_an_index_with_the_name_of_a_project_is_a_problem(
    index_with_history: IndexHarness,
) -> None:
    """An index whose page hides that of a project of main is a problem that says what to do."""
    made = IndexMade(at=index_with_history.clock.now, by=ALICE.principal, keys={"name": "demo"})
    index_with_history.index.catalog.index_records.change(lambda _: (made,))

    (problem,) = index_with_history.check().problems

    assert problem == (
        "index demo: a project of main has this name, too; its page at /demo/ is that of the "
        "index; remove one of them"
    )


def test_a_damaged_token_is_a_problem(index_with_history: IndexHarness) -> None:
    """A token's record that cannot be read is a problem that says what to do."""
    index_with_history.store.put(keys.token("0123456789"), b"?", None)

    (problem,) = index_with_history.check().problems

    assert "remove it" in problem


def test_damaged_people_are_problems(index_with_history: IndexHarness) -> None:
    """Records and names of people that cannot be read are problems; what is none is named."""
    index_with_history.store.put(keys.person("acme", "0" * 32), b"?", None)
    index_with_history.store.put(keys.person_name("acme", "0" * 64), b"{}", None)
    for foreign in ("people/acme/ana.json", "person-names/acme.json"):
        index_with_history.store.put(Key(f"credentials/{foreign}"), b"{}", None)

    found = index_with_history.check()

    assert [problem.partition(", so ")[0] for problem in found.problems] == [
        f"credentials/people/acme/{'0' * 32}.json is damaged",
        f"credentials/person-names/acme/{'0' * 64}.json is damaged",
    ]
    assert all("sign-in" in problem or "comes" in problem for problem in found.problems)
    assert "credentials/people/acme/ana.json" in str(found.notes)
    assert "credentials/person-names/acme.json" in str(found.notes)


@pytest.mark.parametrize("what", [keys.distribution, keys.core_metadata])
def test_the_same_file_again_brings_lost_bytes_back(
    index_with_history: IndexHarness, what: Callable[[NormalizedName, str, str], Key]
) -> None:
    """Uploading a listed file again restores what the store has lost of it."""
    made = make_wheel(version="7.0")
    file = index_with_history.upload(made)
    key = what(DEMO, file.sha256, file.filename)
    for damage in (None, b"changed"):
        if damage is None:
            index_with_history.store.delete(key)
        else:
            index_with_history.store.put(key, damage, None)
        assert index_with_history.check().problems != []

        assert index_with_history.upload(made) == file
        assert index_with_history.check().problems == []


def test_a_document_behind_its_journal_takes_no_commit(index_with_history: IndexHarness) -> None:
    """A document that a restore left behind its journal takes no commit before it is folded."""
    document = index_with_history.bytes_at(DOCUMENT)
    index_with_history.upload(make_wheel(version="7.0"))
    newer = index_with_history.bytes_at(DOCUMENT)
    index_with_history.store.put(DOCUMENT, document, None)
    restored = index_with_history.opened(seed=5)
    arrival = make_wheel(version="8.0").arrival(index_with_history.folder)

    with pytest.raises(Unavailable) as caught:
        restored.uploads.accept(arrival, ALICE)

    assert caught.value.code == "damaged_document"
    assert index_with_history.bytes_at(DOCUMENT) == document
    assert len(index_with_history.check().problems) == 1
    assert index_with_history.check(rebuild=True).problems == []
    assert index_with_history.bytes_at(DOCUMENT) == newer


def test_an_entry_out_of_the_chain_is_damaged(index_with_history: IndexHarness) -> None:
    """A journal entry that does not follow the one before it is damaged, and not missing."""
    entry = commit_key(DEMO, 2)
    index_with_history.store.put(
        entry, index_with_history.bytes_at(commit_key(DEMO, 3)).replace(b"3", b"2"), None
    )

    problems = index_with_history.check().problems

    assert any(f"{entry} is damaged" in problem for problem in problems), problems


def test_a_contradiction_is_not_written_over(index_with_history: IndexHarness) -> None:
    """Where document and journal contradict each other, neither is written over."""
    number = index_with_history.index.projects.get_for_update(DEMO).revision
    entry = commit_key(DEMO, number)
    other = IndexHarness(folder=index_with_history.folder)
    other.clock.advance(hours=1)
    for version in range(number):
        other.upload(make_wheel(version=f"{version + 1}.0", content=b"other"))
    index_with_history.store.put(entry, other.bytes_at(entry), None)
    before = index_with_history.snapshot(keys.PROJECTS)

    findings = index_with_history.check(rebuild=True, sweep=True)

    assert any("different commits" in problem for problem in findings.problems)
    assert index_with_history.snapshot(keys.PROJECTS) == before
    with pytest.raises(Unavailable):
        index_with_history.opened(seed=6).uploads.accept(
            make_wheel(version="8.0").arrival(index_with_history.folder), ALICE
        )


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda harness: remove(harness, keys.FORMAT), "no wheelyard.json. Restore it"),
        (
            lambda harness: put(harness, keys.FORMAT, b"?"),
            'wheelyard.json of this store is damaged. Restore it from a backup: {"format":3}',
        ),
    ],
    ids=["lost", "damaged"],
)
def test_a_store_without_its_format_is_refused(
    index_with_history: IndexHarness, damage: Damage, message: str
) -> None:
    """A store that has lost `wheelyard.json` is not taken for a new one."""
    damage(index_with_history)
    before = index_with_history.snapshot()

    with refused(Invalid, "damaged_document", message):
        index_with_history.opened(seed=7)

    assert index_with_history.snapshot() == before


def test_a_file_is_no_place_of_a_store(tmp_path: Path) -> None:
    """Who names a file as the store is told that it cannot be one, not that a store is missing."""
    (tmp_path / "file").touch()
    settings = Settings(store=StoreSettings(location=str(tmp_path / "file")))

    with pytest.raises(Unavailable, match="cannot be a store"):
        open_index(settings, create=False)


def orphan(harness: IndexHarness) -> None:
    """Leave the bytes of an upload that died before its commit."""
    index = harness.opened(7)
    scratch = IndexHarness(harness.folder)
    file = scratch.upload(LOST)
    index.files.put(DEMO, [FileContent(file, LOST.arrival(harness.folder).path, b"metadata")])


def test_a_sweep_removes_orphans_of_a_day(index_with_history: IndexHarness) -> None:
    """Orphans are a note; a sweep removes those older than a day, and not a single listed file."""
    healthy = index_with_history.snapshot()
    orphan(index_with_history)
    index_with_history.clock.advance(hours=23)
    assert index_with_history.check(sweep=True).swept == 0

    index_with_history.clock.advance(hours=2)
    unasked = index_with_history.check()
    assert (unasked.problems, len(unasked.notes)) == ([], 1)

    assert index_with_history.check(sweep=True).swept == 2
    assert index_with_history.snapshot() == healthy
    assert index_with_history.check(sweep=True).swept == 0


def test_bytes_of_a_deleted_file_are_swept_at_once(index_with_history: IndexHarness) -> None:
    """Bytes of a file that is not kept, left by a delete that died, are removed at once."""
    remove_now(index_with_history.index, SDIST.sha256)
    healthy = index_with_history.snapshot()
    put(index_with_history, keys.distribution(DEMO, SDIST.sha256, SDIST.filename), SDIST.body)

    assert index_with_history.check(sweep=True).swept == 1
    assert index_with_history.snapshot() == healthy


def test_old_scratch_files_are_swept(index_with_history: IndexHarness) -> None:
    """Scratch files that a killed process left are removed after a day, younger ones are noted."""
    path, sink = index_with_history.index.server.spool.create()
    sink.close()
    foreign = index_with_history.folder / "somebody-elses"
    foreign.touch()
    index_with_history.clock.advance(days=32)
    os.utime(path, (index_with_history.index.server.spool.time() - 90_000,) * 2)
    assert (
        index_with_history.opened(3).server.sweep.run(index_with_history.clock.now) == 2
    )  # of the deleted file
    assert any("scratch" in note for note in texts_of(index_with_history.check().notes))

    assert index_with_history.check(sweep=True).swept == 1
    assert not path.exists()
    assert foreign.exists()


def test_an_upload_renews_old_orphans(index_with_history: IndexHarness) -> None:
    """An upload that finds its bytes there writes them again, so that no sweep takes them."""
    orphan(index_with_history)
    index_with_history.clock.advance(hours=48)
    index_with_history.index.lifecycle.set_status(ALICE, DEMO, Status.ACTIVE, "")

    index_with_history.upload(LOST)

    key = keys.distribution(DEMO, LOST.sha256, LOST.filename)
    (entry,) = [entry for entry in index_with_history.store.list(key) if entry.key == key]
    assert entry.modified >= index_with_history.clock.seconds()
    assert index_with_history.check(sweep=True).swept == 0
    assert index_with_history.bytes_at(key) == LOST.body


def test_a_sweep_spares_what_may_be_listed(index_with_history: IndexHarness) -> None:
    """While a project's document is missing, no sweep touches its bytes, however old."""
    key = keys.project(DEMO)
    document = index_with_history.bytes_at(key)
    before = index_with_history.snapshot(keys.FILES)
    index_with_history.store.delete(key)
    index_with_history.clock.advance(days=3)

    assert index_with_history.check(sweep=True).problems != []
    assert index_with_history.snapshot(keys.FILES) == before
    assert index_with_history.check(rebuild=True, sweep=True).problems == []
    assert index_with_history.bytes_at(key) == document


def test_a_sweep_spares_what_an_unread_commit_may_list(index_with_history: IndexHarness) -> None:
    """Bytes that a commit may list which cannot be read are kept, and are no leftovers."""
    orphan(index_with_history)
    index_with_history.clock.advance(days=3)
    before = index_with_history.snapshot(keys.FILES)
    entry = commit_key(DEMO, LAST + 1)
    put(index_with_history, entry, b"{")
    store = index_with_history.store
    fault = Fault(FaultKind.NOT_DONE, "get", entry, times=ALWAYS)
    index_with_history.store = FakeStore(store, fault)

    findings = index_with_history.check(sweep=True)

    assert (findings.swept, findings.notes) == (0, [])
    assert any(f"{entry} cannot be read" in problem for problem in findings.problems)
    index_with_history.store = store
    assert index_with_history.snapshot(keys.FILES) == before


def test_a_sweep_of_a_store_without_projects(index_with_history: IndexHarness) -> None:
    """Where all documents and journals are lost, the bytes are kept, and are no leftovers."""
    before = index_with_history.snapshot(keys.FILES)
    for prefix in (keys.PROJECTS, keys.JOURNAL, keys.PROJECT_NAMES):
        for entry in index_with_history.store.list(prefix):
            index_with_history.store.delete(entry.key)
    index_with_history.clock.advance(days=3)

    findings = index_with_history.check(sweep=True)

    assert index_with_history.snapshot(keys.FILES) == before
    assert not any("belong to no listed file" in note for note in texts_of(findings.notes))


def test_a_sweep_spares_a_listed_project_that_is_lost(index_with_history: IndexHarness) -> None:
    """While a project is in the list and nothing else is left of it, its bytes are kept."""
    other = index_with_history.upload(make_wheel("other"))
    for prefix in (keys.project(NormalizedName("other")), keys.journal(NormalizedName("other"))):
        for entry in index_with_history.store.list(prefix):
            index_with_history.store.delete(entry.key)
    index_with_history.clock.advance(days=3)
    key = keys.distribution(NormalizedName("other"), other.sha256, other.filename)

    findings = index_with_history.check(sweep=True)

    (problem,) = findings.problems
    assert "document and journal are gone" in problem
    assert index_with_history.bytes_at(key)
    assert not any("belong to no listed file" in note for note in texts_of(findings.notes))


PROJECTS = ("first", "second", "third")


def index_at(folder: Path) -> Index:
    """Return an index that has some projects."""
    index = open_index(Settings(store=StoreSettings(location=str(folder))))
    for name in PROJECTS:
        path = make_wheel(name).write(folder.parent)
        index.uploads.accept_path(path, ALICE, lambda _: None)
    return index


def check(index: Index) -> Findings:
    """Check everything."""
    return index.server.check.run(rebuild=True, sweep=True)


def test_one_unreadable_object_is_one_problem(tmp_path: Path) -> None:
    """One object that cannot be read is a problem by itself; the rest is checked all the same."""
    folder = tmp_path / "store"
    index = index_at(folder)
    document = folder / "projects" / "first.json"
    document.unlink()
    document.mkdir()
    (folder / "journal" / "second" / "0000000009.json").symlink_to("/etc/passwd")
    (folder / "projects" / "evil.json").symlink_to("/etc/passwd")
    (folder / "credentials" / "tokens").mkdir(parents=True)
    (folder / "credentials" / "tokens" / "0123456789.json").symlink_to("/etc/passwd")
    (third,) = folder.glob("files/third/*/*.whl")
    third.write_bytes(b"changed")

    findings = check(index)

    for what in ("projects/first.json", "0000000009", "evil", "0123456789", third.name):
        assert any(what in problem for problem in findings.problems), what
    assert findings.files == 2  # of the second and the third project
    with pytest.raises(Unavailable, match="is a link"):
        index.tokens.all()


def test_memory_does_not_grow_with_files(harness: IndexHarness) -> None:
    """A check keeps nothing of a file that is intact, however many a store has."""
    projects, memory = 5, list[int]()
    for number in range(8):
        for project in range(projects):
            harness.upload(make_wheel(f"p{project}", f"1.{number}"))

    # before and after the projects are looked at
    listings = (keys.PROJECTS, keys.SEALED_CHANGES)
    measure = [
        Before(lambda: memory.append(get_traced_memory()[0]), "list", prefix, times=ALWAYS)
        for prefix in listings
    ]
    index = harness.opened(2, store=FakeStore(harness.store, *measure))
    harness.check()  # what is made once for a process is there then
    start_tracing()
    try:
        findings = index.server.check.run()
    finally:
        stop_tracing()

    assert (findings.projects, findings.problems) == (projects, [])
    before, after = memory[:2]
    assert after - before < projects * 8_000
