"""The newest serials of all projects, as a mirror sees them from several processes."""

from hypothesis import given
from hypothesis import strategies as st
from packaging.utils import NormalizedName

from tests.catalog.invariants import DEMO
from tests.catalog.test_changes import CLOCK, OTHER, Process
from tests.fake_store import After, Before, FakeStore, Fault, FaultKind
from tests.fake_time import Clock
from wheelyard.catalog import keys
from wheelyard.catalog.serials import FRESH_SECONDS, SerialTable
from wheelyard.storage.base import Key, Store, Stored
from wheelyard.storage.memory import MemoryStore


def new_process(store: Store, seed: int = 1, clock: Clock | None = None) -> Process:
    """Return a process over a store, of which the list of names has both projects."""
    process = Process(store, seed, clock)
    process.catalog.projects.names.ensure(DEMO, OTHER)
    return process


def body_of(store: MemoryStore, key: Key) -> bytes:
    """Return the bytes of an object."""
    stored = store.get(key)
    assert isinstance(stored, Stored)
    return stored.body


def test_commit_of_this_process_has_a_serial_at_once() -> None:
    """A commit of this process has its serial in the next list."""
    process = Process(MemoryStore(Clock().seconds), 1)
    serials = process.catalog.serials
    assert serials.listed().serials == {}
    process.commit(DEMO)
    serials.note_commit()  # the commits of an index do it

    assert serials.peek() is None
    assert serials.listed().serials == {DEMO: CLOCK}
    assert serials.peek() is serials.listed()


def test_commit_of_another_process_has_a_serial_after_a_second() -> None:
    """A commit of another process has its serial in the list after a second."""
    store, clock = MemoryStore(Clock().seconds), Clock()
    process, other = new_process(store, 1, clock), new_process(store, 2, clock)
    process.commit(DEMO)
    before = process.catalog.serials.listed()
    other.commit(OTHER)
    process.store.calls.clear()
    assert process.catalog.serials.listed() is before
    assert process.store.calls == []

    clock.advance(seconds=FRESH_SECONDS)
    assert process.catalog.serials.listed().serials == {DEMO: CLOCK, OTHER: CLOCK + 1}
    clock.advance(seconds=FRESH_SECONDS)
    process.store.calls.clear()
    process.catalog.serials.listed()
    assert process.store.calls == [("list", keys.PENDING), ("get", keys.CHANGES)]


def test_serials_for_a_page_cost_one_read() -> None:
    """The serials for a page are those that any process has given, and cost one read."""
    store = MemoryStore(Clock().seconds)
    process, other = new_process(store, 1), new_process(store, 2)
    other.commit(DEMO)
    assert process.catalog.serials.given().serials == {}
    other.catalog.serials.listed()
    other.commit(OTHER)

    table = process.catalog.serials.given()
    assert table.serials == {DEMO: CLOCK}
    process.store.calls.clear()
    assert process.catalog.serials.given() is table
    assert process.store.calls == [("get", keys.CHANGES)]


def test_page_of_a_missing_project_costs_one_read_too() -> None:
    """The page of a project that has no commit gives no serials, and costs one read."""
    process = new_process(MemoryStore(Clock().seconds))
    process.commit(OTHER)
    process.store.calls.clear()

    assert process.catalog.serials.given_to(DEMO, 0).serials == {}

    assert process.store.calls == [("get", keys.CHANGES)]


def test_serials_stay_while_the_store_does_not_answer() -> None:
    """While the store does not answer, or the feed is damaged, the serials stay as they are."""
    store, clock = MemoryStore(Clock().seconds), Clock()
    process = new_process(store, 1, clock)
    process.commit(DEMO)
    before = process.catalog.serials.listed()
    process.commit(OTHER)
    for key in (keys.CHANGES, keys.PROJECT_NAMES):
        clock.advance(seconds=FRESH_SECONDS)
        process.store.follow(Fault(FaultKind.NOT_DONE, "get", key))
        assert process.catalog.serials.listed() is before
    body = body_of(store, keys.CHANGES)
    store.put(keys.CHANGES, b"{", None)
    clock.advance(seconds=FRESH_SECONDS)
    assert process.catalog.serials.listed() is before
    assert process.catalog.serials.given() is before
    store.put(keys.CHANGES, body, None)

    clock.advance(seconds=FRESH_SECONDS)
    assert process.catalog.serials.listed().serials.keys() == {DEMO, OTHER}


def test_pages_do_not_wait_for_a_store_that_does_not_answer() -> None:
    """While the store does not answer, one page in a second asks it for serials."""
    store, clock = MemoryStore(Clock().seconds), Clock()
    process = new_process(store, 1, clock)
    process.commit(DEMO)
    before = process.catalog.serials.listed()
    process.store.follow(Fault(FaultKind.NOT_DONE, "get", keys.CHANGES, times=2))
    process.store.calls.clear()
    for seconds in (0, 0, FRESH_SECONDS, 0):
        clock.advance(seconds=seconds)
        assert process.catalog.serials.given() is before
    assert len(process.store.calls) == 2

    clock.advance(seconds=FRESH_SECONDS)
    assert process.catalog.serials.given().feed


def test_slow_reader_takes_nothing_back() -> None:
    """A thread that has read less than another one meanwhile does not take its serials back."""
    store = MemoryStore(Clock().seconds)
    process, other = new_process(store, 1), new_process(store, 2)
    process.commit(DEMO)
    tables = list[SerialTable]()

    def meanwhile() -> None:
        other.commit(OTHER)
        other.catalog.serials.listed()
        tables.append(serials.given())

    slow = Process(FakeStore(store, Before(meanwhile, "get", keys.PROJECT_NAMES)), 3)
    serials = slow.catalog.serials

    assert serials.listed() is tables[-1]
    assert tables[-1].serials.keys() == {DEMO, OTHER}


def test_page_takes_no_serials_back() -> None:
    """A page whose server has read the feed before serials were given takes none of them back."""
    store, clock = MemoryStore(Clock().seconds), Clock()
    tables = list[SerialTable]()

    def meanwhile() -> None:
        clock.advance(seconds=FRESH_SECONDS)
        tables.append(serials.listed())

    process = new_process(store, 1, clock)
    serials = process.catalog.serials
    process.commit(DEMO)
    tables.append(serials.listed())
    process.commit(OTHER)
    process.store.follow(After(meanwhile, "get", keys.CHANGES))

    assert serials.given().serials == tables[-1].serials
    assert tables[-1].serials.keys() == {DEMO, OTHER}


def test_serials_are_those_of_a_restored_store() -> None:
    """After a restore from a backup, the serials are those of the restored store."""
    store, clock = MemoryStore(Clock().seconds), Clock()
    process = new_process(store, 1, clock)
    process.commit(DEMO)
    process.catalog.serials.listed()
    backup = {entry.key: body_of(store, entry.key) for entry in store.list("")}
    process.commit(OTHER)
    clock.advance(seconds=FRESH_SECONDS)
    assert OTHER in process.catalog.serials.listed().serials

    for entry in list(store.list("")):
        store.delete(entry.key)
    for key, body in backup.items():
        store.put(key, body, None)
    clock.advance(seconds=FRESH_SECONDS)

    assert process.catalog.serials.listed().serials == {DEMO: CLOCK}


STEPS = st.lists(
    st.tuples(st.sampled_from(["commit", "list", "page", "later"]), st.booleans(), st.booleans())
)


@given(STEPS)
def test_mirror_that_asks_any_process_misses_nothing(
    steps: list[tuple[str, bool, bool]],
) -> None:
    """A mirror that takes what is above its highest serial has every change in the end."""
    store, clock = MemoryStore(Clock().seconds), Clock()
    processes = [new_process(store, seed, clock) for seed in (1, 2)]
    synced, mirrored, committed = 0, dict.fromkeys((DEMO, OTHER), 0), set[NormalizedName]()
    end = [("later", False, False), ("list", False, False)]
    for step, second, on_other in (*steps, *end):
        process, name = processes[second], OTHER if on_other else DEMO
        if step == "commit":
            process.commit(name)
            process.catalog.serials.note_commit()
            committed.add(name)
        elif step == "later":
            clock.advance(seconds=FRESH_SECONDS)
        elif step == "page":
            process.catalog.serials.given()
        else:
            listed = process.catalog.serials.listed()
            for each, serial in listed.serials.items():
                if serial > synced:
                    # another process answers for the page, which is not older than the list
                    page = processes[not second].catalog.serials.given()
                    assert page.serials[each] >= serial
                    mirrored[each] = process.catalog.projects.get(each).revision
            synced = max(synced, *listed.serials.values(), 0)

    revisions = {name: processes[0].catalog.projects.get(name).revision for name in committed}
    assert mirrored == dict.fromkeys((DEMO, OTHER), 0) | revisions
