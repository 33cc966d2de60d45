"""Reads of a project whose document is not cached, or is stale."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.catalog.invariants import DEMO
from tests.distributions import make_wheel
from tests.fake_store import ALWAYS, Before, FakeStore, Fault, FaultKind
from tests.operations.in_memory_index import ALICE, IndexHarness
from tests.rendering.examples import FILES, NOON, TEXT, file
from wheelyard.catalog import keys
from wheelyard.catalog.document_cache import Codec
from wheelyard.catalog.journaled_documents import ProjectCodec
from wheelyard.catalog.projects import Projects
from wheelyard.errors import NotFound
from wheelyard.model.project import Event, EventKind, File, Project, Status
from wheelyard.model.project_changes import apply
from wheelyard.settings.sections import Settings, StoreSettings


def far_reader(harness: IndexHarness) -> Projects:
    """Return the projects of a process with a remote store and stale-if-error."""
    settings = Settings(store=StoreSettings(stale_if_error=60))
    return harness.opened(2, settings=settings, is_local=False).projects


def test_a_listed_project_is_found_at_once(tmp_path: Path) -> None:
    """A project is found as soon as its name is listed, though just now it was missing."""
    harness = IndexHarness(tmp_path)
    reader = far_reader(harness)

    assert reader.documents.get(keys.project(DEMO)).value is None
    harness.upload(make_wheel())

    assert reader.load(DEMO).value is not None


def test_all_processes_show_a_new_project_from_the_same_moment_on(tmp_path: Path) -> None:
    """Once one process shows a new project of a folder, every other one has it, too."""
    harness, looks = IndexHarness(tmp_path), list[tuple[bool, ...]]()

    def look() -> None:
        processes = (writer, harness.opened(3).projects, reader)
        found = [is_gotten(projects) for projects in processes]
        found += [projects.load(DEMO).value is not None for projects in processes]
        looks.append(tuple(found))

    store = FakeStore(harness.store, Before(look, "put", times=ALWAYS))
    writer = harness.opened(2, store=store).projects
    reader = harness.opened(4).projects  # it has the list of names in memory, and looks again
    event = Event.uploaded(file("1.0"), "", at=NOON, by="ana")
    writer.change(DEMO, lambda _project: (event,))

    assert set(looks) == {(False,) * 6, (True,) * 6}


def is_gotten(projects: Projects) -> bool:
    """Return whether a process has a project."""
    try:
        return bool(projects.get(DEMO))
    except NotFound:
        return False


@pytest.mark.parametrize("reader", ["page", "search"])
@pytest.mark.parametrize("verb", ["get", "list"])
@pytest.mark.parametrize("skipped", range(4))
def test_a_project_that_is_being_made_is_not_lost(
    tmp_path: Path, reader: str, verb: str, skipped: int
) -> None:
    """A reader that meets the first upload of a listed name anywhere finds it, or no files yet."""
    harness = IndexHarness(tmp_path)
    harness.index.projects.names.claim(DEMO)
    store = FakeStore(harness.store)
    index = harness.opened(2, store=store, is_local=False)
    store.follow(Before(lambda: harness.upload(make_wheel()), verb, nth=skipped + 1))
    if reader == "page":
        project = index.projects.load(DEMO).value
    else:
        project = index.search.reader.document(DEMO) or Project(name=DEMO)

    assert project is not None
    assert len(project.files) in {0, 1}


def test_a_listed_project_is_never_said_to_be_missing(tmp_path: Path) -> None:
    """While the store is away, only a name that the list lacks counts as missing."""
    harness = IndexHarness(tmp_path)
    before, after = far_reader(harness), far_reader(harness)

    assert before.peek(DEMO, "stale") is None
    before.names.get()
    harness.upload(make_wheel())
    after.names.get()

    missing = before.peek(DEMO, "stale")
    assert missing is not None
    assert missing.value is None
    assert after.peek(DEMO, "stale") is None


def test_a_released_name_that_is_still_listed_has_no_files(tmp_path: Path) -> None:
    """A name whose release was cut off before the list is read at once, without its journal."""
    harness = IndexHarness(tmp_path)
    harness.index.names.reserve(ALICE, DEMO, "")
    harness.index.names.release(ALICE, DEMO, "")
    harness.index.projects.names.claim(DEMO)
    store = FakeStore(harness.store)

    project = harness.opened(2, store).projects.load(DEMO).value

    assert project is not None
    assert (project.is_released, project.files) == (True, ())
    assert store.count("list", keys.journal(DEMO)) == 0


HOSTILE = TEXT | st.sampled_from(['{"filename":"demo-1.0.tar.gz",', '"files":[{"filename":"', "[]"])
Step = tuple[File, str]
KINDS = ("upload", "upload", "upload", "yank", "delete", "status")
STEPS = st.tuples(FILES, st.sampled_from(KINDS))


def event_of(step: Step, project: Project, text: str) -> Event | None:
    """Return the event of a step, if the project accepts it."""
    file, what = step
    is_listed = file.filename in project.by_filename
    if what == "status":
        return Event.status_set(Status.DEPRECATED, text, at=NOON, by=text)
    if what == "upload" and not is_listed and file.filename not in project.deleted_filenames:
        return Event.uploaded(file, text, at=NOON, by=text)
    if what in ("yank", "delete") and is_listed:
        kind = EventKind.YANKED if what == "yank" else EventKind.DELETED
        return Event(what=kind, at=NOON, by=text, files=(file.filename,), reason=text)
    return None


@given(st.lists(STEPS, max_size=12), HOSTILE)
def test_a_document_is_encoded_in_parts(steps: list[Step], text: str) -> None:
    """A document has the same bytes, and finds the same files, whatever was computed before it."""
    codec, whole, project = ProjectCodec(), Codec(Project), Project(name=DEMO)
    for step in steps:
        event = event_of(step, project, text)
        project = project if event is None else apply(project, event)
        body = codec.encode(project)
        read = whole.decode(keys.project(DEMO), body)

        assert body == whole.encode(read)
        assert read == project
        assert read.by_filename == project.by_filename
        assert {each: len(found) for each, found in read.by_release.items()} == {
            each: len(found) for each, found in project.by_release.items()
        }
        assert read.deleted_keys == project.deleted_keys


def test_a_list_whose_answer_was_lost_is_written_once(tmp_path: Path) -> None:
    """A list is written once, though its answer was lost, and each write has another id."""
    harness = IndexHarness(tmp_path)
    fault = Fault(FaultKind.DONE, "put", keys.PROJECT_NAMES)
    store = FakeStore(harness.store, fault)
    names = harness.opened(2, store).projects.names

    names.claim(DEMO)
    first = names.get_current()
    for _ in range(2):  # a name that the list lacks is not written again
        names.remove(DEMO)
    second = names.get_current()

    assert store.calls.count(("put", keys.PROJECT_NAMES)) == 2
    assert [(each.names, each.revision) for each in (first, second)] == [((DEMO,), 1), ((), 2)]
    assert first.write_id != second.write_id
