"""The feed, played in every order: writers beside those who give serials and read changes."""

from pathlib import Path

import pytest

from tests.catalog.explorer import Explorer, Scenario, follow, verify
from tests.catalog.invariants import DEMO, AnyIntent, CopyIntent, WriteIntent
from tests.catalog.scheduler import OrdinalStore
from tests.catalog.test_exploration import ONE, OTHER_BYTES, THREE, TWO
from tests.operations.in_memory_index import ALICE
from wheelyard.catalog import changes
from wheelyard.model.project import Status

pytestmark = pytest.mark.slow

UPLOAD: dict[str, AnyIntent] = {"A": WriteIntent(TWO)}


@pytest.fixture
def _seals_each_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "MOST_ENTRIES", 1)
    monkeypatch.setattr(changes, "SEALED_ENTRIES", 1)
    monkeypatch.setattr(changes, "BATCH", 1)


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize(
    ("faults", "late", "fewest"),
    [(1, True, 500), pytest.param(2, False, 900, marks=pytest.mark.weekly)],
)
def test_a_commit_gets_its_serial_wherever_somebody_fails(
    tmp_path: Path, faults: int, fewest: int, *, is_first: bool, late: bool
) -> None:
    """A commit gets its serial, wherever writer and follower fail, also if a write comes late."""
    before = () if is_first else (ONE,)
    scenario = Scenario(tmp_path, UPLOAD, before, others={"F": follow}, late=late)

    assert Explorer(scenario, faults).explore().states >= fewest


@pytest.mark.weekly
@pytest.mark.usefixtures("_seals_each_entry")
def test_two_followers_agree_about_each_serial(tmp_path: Path) -> None:
    """Two followers who give serials at once agree about each, also while entries are sealed."""
    scenario = Scenario(tmp_path, UPLOAD, (ONE,), others={"F": follow, "G": follow})

    assert Explorer(scenario, faults=0).explore().states >= 8_000


@pytest.mark.usefixtures("_seals_each_entry")
def test_a_check_never_misses_a_serial_or_mark(tmp_path: Path) -> None:
    """A check never takes a commit for one without serial or mark."""
    scenario = Scenario(tmp_path, UPLOAD, (ONE,), others={"F": follow, "C": verify})

    assert Explorer(scenario, faults=0).explore().states >= 1_000


def copying(folder: Path, number: int) -> CopyIntent:
    """Return the intent to add so many commits of another store, whose first one is the same."""
    scenario = Scenario(folder, {}, (ONE,))
    index = scenario.opened(OrdinalStore(scenario.start), 55 + number)
    for status in (Status.ARCHIVED, Status.ACTIVE, Status.DEPRECATED)[:number]:
        index.lifecycle.set_status(ALICE, DEMO, status, "")
    project = index.projects.get_for_update(DEMO)
    journal = index.projects.journal(project)
    return CopyIntent(tuple(journal.read(number) for number in range(2, project.revision + 1)))


@pytest.mark.parametrize(
    ("faults", "late", "fewest"),
    [(1, True, 400), pytest.param(2, False, 400, marks=pytest.mark.weekly)],
)
def test_no_commit_of_copy_is_lost(tmp_path: Path, faults: int, fewest: int, *, late: bool) -> None:
    """Of several commits that a copy adds none is lost, wherever the copy or a follower fails."""
    intents: dict[str, AnyIntent] = {"K": copying(tmp_path, 3)}
    scenario = Scenario(tmp_path, intents, (ONE,), others={"F": follow}, late=late)

    assert Explorer(scenario, faults).explore().states >= fewest


def test_a_copy_and_an_upload_are_never_mixed(tmp_path: Path) -> None:
    """Either the commits of a copy arrive, or the upload that was faster, and never a mixture."""
    intents = UPLOAD | {"K": copying(tmp_path, 3)}

    result = Explorer(Scenario(tmp_path, intents, (ONE,)), faults=1).explore()

    assert {("ok", "ok"), ("ok", "Conflict conflict")} < result.answers


@pytest.mark.weekly
def test_copies_and_an_upload_leave_one_history(tmp_path: Path) -> None:
    """Two copies of different commits and an upload leave one history, at random."""
    intents = UPLOAD | {"K": copying(tmp_path, 3), "L": copying(tmp_path, 2)}
    scenario = Scenario(tmp_path, intents, (ONE,), others={"F": follow}, late=True)

    result = Explorer(scenario, faults=3).sample(seed=1, schedules=200)

    assert len(result.answers) > 10


@pytest.mark.usefixtures("_seals_each_entry")
def test_two_followers_agree_though_they_fail(tmp_path: Path) -> None:
    """Two followers agree about each serial, wherever they fail, in schedules drawn at random."""
    scenario = Scenario(tmp_path, UPLOAD, (ONE,), others={"F": follow, "G": follow}, late=True)

    assert len(Explorer(scenario, faults=3).sample(seed=1, schedules=300).answers) > 10


def test_three_writers_and_two_followers_keep_every_promise(tmp_path: Path) -> None:
    """Three writers and two followers with three faults keep every promise, at random."""
    intents = {
        "A": WriteIntent(ONE),
        "B": WriteIntent(OTHER_BYTES),
        "C": WriteIntent(THREE),
        "D": WriteIntent(TWO, delete=True),
    }
    scenario = Scenario(tmp_path, intents, (TWO,), others={"F": follow, "G": follow}, late=True)

    result = Explorer(scenario, faults=3).sample(seed=1, schedules=100)

    assert len(result.answers) > 10
