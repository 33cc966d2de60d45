"""
Plays a scenario in every order, with every fault anywhere, and checks the promises on the way.

Two schedules that lead to the same state (the same objects, and each writer told the same so far)
have the same future, so a state is played on from once. That leaves nothing out.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, fields, replace
from functools import partial
from itertools import count
from pathlib import Path
from random import Random

from tests.catalog.invariants import DEMO, WriteIntent, document, is_named, violations
from tests.catalog.scheduler import CallOutcome, GatedStore, Scheduler, scheduled_futures
from tests.operations.distributions import Made
from tests.operations.in_memory_index import ALICE, Clock, fake_runtime, objects
from wheelyard.archive.distribution_reader import DistributionContents
from wheelyard.errors import WheelyardError
from wheelyard.model.distribution_filename import parse_filename
from wheelyard.operations.lifecycle import Selection
from wheelyard.operations.spooled_upload import SpooledUpload
from wheelyard.operations.upload import Uploads
from wheelyard.settings.sections import Settings
from wheelyard.storage.base import ABSENT, Key, Store
from wheelyard.storage.memory import MemoryStore
from wheelyard.storage.spool import Spool
from wheelyard.wiring.index import Index, build_index
from wheelyard.wiring.stores import StoreTraits

TICK = 1e-6
"""Seconds that pass between two looks at a clock: what is read stays fresh, and is in the past."""

Step = tuple[str, CallOutcome]
Schedule = tuple[Step, ...]
Opener = Callable[[Store, int], Index]


class InvariantViolated(AssertionError):
    """A violated invariant: the schedule, the results so far, and the violations."""


def ticking() -> Callable[[], float]:
    """Return a clock that advances at every reading."""
    ticks = count()
    return lambda: TICK * next(ticks)


class _ReadOnce(Uploads):
    """Uploads that read the archive of a distribution once for all plays."""

    contents: dict[Path, DistributionContents]

    def __init__(self, uploads: Uploads, contents: dict[Path, DistributionContents]) -> None:
        for each in fields(Uploads):
            object.__setattr__(self, each.name, getattr(uploads, each.name))
        object.__setattr__(self, "contents", contents)

    def _read(self, arrival: SpooledUpload) -> DistributionContents:
        if arrival.path not in self.contents:
            self.contents[arrival.path] = super()._read(arrival)
        return self.contents[arrival.path]


@dataclass
class Scenario:
    """
    The intents of all writers, and the initial state.

    Where `together`, all writers live in one process, and share its commits. Where `far`, each
    process believes what it has read, as on a bucket, and all have read before anyone begins.
    """

    folder: Path
    intents: Mapping[str, WriteIntent]
    before: tuple[Made, ...] = ()
    together: bool = False
    far: bool = False
    opener: Opener | None = None
    arrivals: dict[Made, SpooledUpload] = field(default_factory=dict)
    contents: dict[Path, DistributionContents] = field(default_factory=dict)
    """The contents of each distribution, read once for all runs."""
    start: dict[str, bytes] = field(default_factory=dict)
    """Every object that is there before anyone enters."""

    def __post_init__(self) -> None:
        for made in (*self.before, *(wish.made for wish in self.intents.values())):
            self.arrivals[made] = made.arrival(self.folder)
        store = MemoryStore(Clock().seconds)
        for made in self.before:
            self.opened(store, 99).uploads.accept(self.arrivals[made], ALICE)
        self.start.update(objects(store))

    def opened(self, store: Store, seed: int) -> Index:
        """Return an index over a store."""
        if self.opener is not None:
            return self.opener(store, seed)
        runtime = replace(fake_runtime(Clock(), seed), monotonic=ticking())
        traits = StoreTraits(is_local=not self.far)
        index = build_index(store, Spool(self.folder), Settings(), runtime, traits)
        return replace(index, uploads=_ReadOnce(index.uploads, self.contents))

    @contextmanager
    def scheduler(self) -> Iterator[Scheduler]:
        """Yield a stage where every writer waits for its first call."""
        store = MemoryStore(Clock().seconds)
        for key, body in self.start.items():
            store.put(Key(key), body, ABSENT)
        scheduler = Scheduler(store, sociable=self.together)
        gated = GatedStore(scheduler)
        shared = self._informed(gated, 0) if self.together else None
        with scheduled_futures(), closing(scheduler):
            for number, (name, wish) in enumerate(self.intents.items(), 1):
                index = shared or self._informed(gated, number)
                process = "all" if self.together else name
                scheduler.add(name, process, partial(self.fulfil, index, wish))
            yield scheduler

    def _informed(self, store: Store, seed: int) -> Index:
        """Return an index of a process that has read the project, if that is of any use to it."""
        index = self.opened(store, seed)
        if self.far:
            index.projects.get_for_update(DEMO)
        return index

    def fulfil(self, index: Index, wish: WriteIntent) -> None:
        """Do what a writer wants."""
        if wish.delete:
            distribution = parse_filename(wish.made.filename)
            selection = Selection(distribution.version, wish.made.filename)
            index.lifecycle.change("delete", ALICE, distribution.project, selection, "")
        else:
            index.uploads.accept(self.arrivals[wish.made], ALICE)


@dataclass
class ExplorationResult:
    """The size of an exploration."""

    states: int = 0
    ends: int = 0
    answers: set[tuple[str, ...]] = field(default_factory=set)
    """The combinations of results that the writers got."""


@dataclass
class Explorer:
    """One exploration of a scenario with up to so many faults."""

    scenario: Scenario
    faults: int
    result: ExplorationResult = field(default_factory=ExplorationResult)
    _seen: set[object] = field(default_factory=set)
    _healed: set[object] = field(default_factory=set)

    def explore(self) -> ExplorationResult:
        """Play every schedule."""
        stack: list[Schedule] = [()]
        while stack:
            stack += self._play(stack.pop())
        self.result.states = len(self._seen)
        return self.result

    def sample(self, seed: int, schedules: int) -> ExplorationResult:
        """Play so many schedules at random."""
        random = Random(seed)
        for _ in range(schedules):
            with self.scenario.scheduler() as scheduler:
                schedule: Schedule = ()
                while steps := self._steps(scheduler, schedule):
                    smooth = [step for step in steps if step[1] is CallOutcome.DONE]
                    step = random.choice(steps if random.random() < 0.1 else smooth)
                    scheduler.let(*step)
                    schedule += (step,)
                    self._check(scheduler, schedule)
                self._end(scheduler, schedule)
        return self.result

    def _play(self, schedule: Schedule) -> list[Schedule]:
        """Play a schedule and go on smoothly to the end; return the turns that were not taken."""
        turns: list[Schedule] = []
        with self.scenario.scheduler() as scheduler:
            for name, outcome in schedule:
                scheduler.let(name, outcome)
            while True:
                state = (scheduler.state(), _used(schedule))
                if state in self._seen:
                    return turns
                self._seen.add(state)
                self._check(scheduler, schedule)
                steps = self._steps(scheduler, schedule)
                if not steps:
                    self._end(scheduler, schedule)
                    return turns
                turns += [(*schedule, step) for step in steps[1:]]
                scheduler.let(*steps[0])
                schedule = (*schedule, steps[0])

    def _steps(self, scheduler: Scheduler, schedule: Schedule) -> list[Step]:
        may_fail = _used(schedule) < self.faults
        return [
            (name, outcome)
            for name, call in scheduler.waiting().items()
            for outcome in call.outcomes
            if may_fail or outcome is CallOutcome.DONE
        ]

    def _check(self, scheduler: Scheduler, schedule: Schedule) -> None:
        for why in violations(scheduler.store, self.scenario.intents, scheduler.answers()):
            surprises = [each.surprise for each in scheduler.writers.values() if each.surprise]
            raise InvariantViolated(_told(why, schedule, scheduler)) from next(
                iter(surprises), None
            )

    def _end(self, scheduler: Scheduler, schedule: Schedule) -> None:
        """See to it that doing it all again puts everything right."""
        self.result.ends += 1
        for name in self.scenario.intents.keys() - scheduler.answers().keys():
            raise InvariantViolated(_told(f"{name} waits for ever", schedule, scheduler))
        self.result.answers.add(tuple(scheduler.answers()[name] for name in self.scenario.intents))
        state = frozenset(objects(scheduler.store))
        if state not in self._healed:
            self._healed.add(state)
            for why in self._unhealed(scheduler.store):
                raise InvariantViolated(_told(why, schedule, scheduler))

    def _unhealed(self, store: Store) -> Iterator[str]:
        index = self.scenario.opened(store, 77)
        for name, wish in self.scenario.intents.items():
            try:
                self.scenario.fulfil(index, wish)
            except WheelyardError as fault:
                if fault.code not in {"file_exists", "not_found"}:
                    yield f"{name} tried again and met {fault.code}: {fault.message}"
        project = document(store)
        for name, wish in self.scenario.intents.items():
            filename = wish.made.filename
            if filename not in project.by_filename and filename not in project.deleted_filenames:
                yield f"{name} tried again, and {filename} is neither listed nor deleted"
        if not project.files:
            return  # everybody was refused, so nobody has mended the name list
        if not is_named(store):
            yield "the project is not in the list, after everything was tried again"
        findings = index.check.run()
        yield from findings.problems
        yield from findings.repaired


def _used(schedule: Schedule) -> int:
    return sum(outcome is not CallOutcome.DONE for _, outcome in schedule)


def _told(why: str, schedule: Schedule, scheduler: Scheduler) -> str:
    steps = "\n".join(f"  {name}: {outcome}" for name, outcome in schedule)
    return f"{why}\nafter\n{steps}\nanswers {scheduler.answers()}\nwaiting {scheduler.waiting()}"
