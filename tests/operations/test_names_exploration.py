"""Claims, releases and uploads of one name, played in every order with a fault anywhere."""

from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

import pytest
from msgspec.structs import asdict, replace
from packaging.utils import NormalizedName

from tests.catalog.explorer import ReadOnce
from tests.catalog.lone_writers import LoneWriters, Position
from tests.catalog.scheduler import CallOutcome, OrdinalStore, Schedule
from tests.distributions import make_wheel
from tests.operations.in_memory_index import ALICE, objects
from tests.operations.upstream_names import GuardedHarness, names_of
from wheelyard.archive.distribution_reader import DistributionContents
from wheelyard.errors import NotFound, WheelyardError
from wheelyard.storage.base import Store
from wheelyard.wiring.index import Index

pytestmark = pytest.mark.slow

DEMO = NormalizedName("demo")

Writer = Callable[[Index], object]


class Play:
    """What several processes do with one name, each with empty caches or with what it has read."""

    def __init__(self, folder: Path, *, is_local: bool, is_reserved: bool = False) -> None:
        self._harness = GuardedHarness(folder, is_local=is_local)
        if is_reserved:
            self._harness.index.names.reserve(ALICE, DEMO, "")
        self._contents = dict[Path, DistributionContents]()
        self._start = dict(objects(self._harness.store))
        self._wheel = make_wheel().arrival(folder)

    def upload(self, index: Index) -> object:
        """Publish a file."""
        index.uploads.authorize(self._wheel.distribution.filename, ALICE)
        return index.uploads.accept(self._wheel, ALICE)

    def release(self, index: Index) -> None:
        """Give the name up."""
        index.names.release(ALICE, DEMO, "")

    def reserve(self, index: Index) -> bool:
        """Reserve the name."""
        return index.names.reserve(ALICE, DEMO, "")

    def opened(self, store: Store) -> Index:
        """Return an index of a process that has seen the name, if it caches that."""
        self._harness.store = store
        index = self._harness.opened(seed=1)
        if not self._harness.is_local:
            index.projects.names.get()
            index.projects.get_for_update(DEMO)
        return replace(index, uploads=ReadOnce(**asdict(index.uploads), contents=self._contents))

    def explore(self, *writers: Writer, faults: int = 0) -> Iterator[LoneWriters]:
        """Yield the end of each order of the store calls of these, with so many faults."""
        start = OrdinalStore(self._start)

        def begun(work: Writer) -> Position:
            def process(store: Store) -> Callable[[], None]:
                index = self.opened(store)
                return lambda: (work(index), None)[1]

            return Position(process, start)

        beginnings = {work.__name__: begun(work) for work in writers}
        stack, seen, checked = [Schedule()], set[object](), set[object]()
        while stack:
            schedule = stack.pop()
            stage = LoneWriters(OrdinalStore(self._start), dict(beginnings))
            stage.replay(schedule)
            used = sum(outcome is not CallOutcome.DONE for _, outcome in schedule)
            state = (stage.state(), used)
            if state in seen:
                continue
            seen.add(state)
            if stage.store.state() not in checked:
                checked.add(stage.store.state())
                self._require_listed_first(stage, schedule)
            steps = [
                (name, outcome)
                for name, call in stage.waiting().items()
                for outcome in call.outcomes
                if used < faults or outcome is CallOutcome.DONE
            ]
            stack += [(*schedule, step) for step in steps]
            if not steps:
                assert "surprised" not in stage.answers().values(), schedule
                yield stage

    def _require_listed_first(self, stage: LoneWriters, schedule: Schedule) -> None:
        """Fail if a file is published under a name that is not private at this moment."""
        index = self.opened(OrdinalStore(dict(objects(stage.store))))
        project = index.projects.get_for_update(DEMO)
        if project.files:
            assert names_of(index).is_private(DEMO), schedule
        if project.files and self.release.__name__ not in stage.writers:
            assert DEMO in index.projects.names.get_current().as_set, schedule


def test_a_new_name_is_listed_before_its_first_file(tmp_path: Path) -> None:
    """A new name is listed before its first file, whatever fails, and also while it is reserved."""
    play = Play(tmp_path, is_local=True)
    orders = (play.explore(play.upload, faults=1), play.explore(play.upload, play.reserve))
    for end in chain.from_iterable(orders):
        index = play.opened(OrdinalStore(dict(objects(end.store))))
        play.upload(index)
        findings = index.server.check.run()
        assert (findings.problems, findings.repaired) == ([], [])


@pytest.mark.parametrize(
    ("is_local", "is_reserved", "faults"), [(True, True, 0), (True, False, 1), (False, True, 1)]
)
def test_of_an_upload_and_a_release_one_wins(
    tmp_path: Path, *, is_local: bool, is_reserved: bool, faults: int
) -> None:
    """Of an upload and a release of one name, one wins: a published file is never unlisted."""
    play = Play(tmp_path, is_local=is_local, is_reserved=is_reserved)
    answers = set[tuple[str, ...]]()
    for end in play.explore(play.upload, play.release, faults=faults):
        said = end.answers()
        answers.add(tuple(said.values()))
        index = play.opened(OrdinalStore(dict(objects(end.store))))
        project = index.projects.get_for_update(DEMO)
        listed = DEMO in index.projects.names.get_current().as_set
        if not faults:
            assert (said["upload"] == "ok") == bool(project.files)
            assert listed or not project.files
            assert said["release"] != "ok" or project.revision
        assert names_of(index).is_private(DEMO) or not project.files
        play.upload(index)  # whatever was left, the same upload again puts it right
        findings = index.server.check.run()
        assert findings.problems == []
        assert index.projects.get(DEMO).files

    assert ("ok", "Conflict conflict") in answers


def test_a_name_reserved_and_released_can_be_released_again(tmp_path: Path) -> None:
    """A name that is reserved and released at the same time can be released for good afterwards."""
    play = Play(tmp_path, is_local=False, is_reserved=True)
    for end in play.explore(play.reserve, play.release, faults=1):
        index = play.opened(OrdinalStore(dict(objects(end.store))))
        try:
            play.release(index)
        except NotFound:
            pass
        except WheelyardError as fault:  # pragma: no cover
            raise AssertionError(end.answers()) from fault
        assert not names_of(index).is_private(DEMO)
