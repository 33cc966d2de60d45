"""
Plays a scenario in every order, with every fault anywhere, and checks the promises on the way.

It plays one order in a few hundredths of a second: tables of these are among the fast tests.

Two schedules that lead to the same state (the same objects, and each writer told the same so far)
have the same future, so a state is played on from once. That leaves nothing out.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from fnmatch import fnmatchcase
from functools import cached_property, partial
from itertools import count
from pathlib import Path
from random import Random
from typing import Protocol

from msgspec.structs import asdict, replace

from tests.catalog.invariants import (
    DEMO,
    PROD,
    AnyIntent,
    CopyIntent,
    DoneByThemselves,
    RecordIntent,
    Seen,
    WriteIntent,
    document,
    is_named,
    violations,
)
from tests.catalog.lone_writers import LoneWriters, Position, is_immediate
from tests.catalog.scheduler import (
    Call,
    CallOutcome,
    GatedStore,
    OrdinalStore,
    Schedule,
    Scheduler,
    Step,
    Work,
    WriterThread,
    scheduled_futures,
)
from tests.distributions import Distribution
from tests.fake_time import START, Clock, fake_runtime
from tests.index_tables import put_tables, toml_of
from tests.operations.in_memory_index import ALICE, OPEN_MAIN, objects
from wheelyard.archive.distribution_reader import DistributionContents
from wheelyard.catalog import keys
from wheelyard.catalog.changes import NO_SERIAL
from wheelyard.errors import WheelyardError
from wheelyard.model.distribution_filename import parse_filename
from wheelyard.operations.immediate_deletion import LISTED_ELSEWHERE
from wheelyard.operations.lifecycle import ReleaseAction, Selection
from wheelyard.operations.promotion import REFUSED
from wheelyard.operations.spooled_upload import SpooledUpload
from wheelyard.operations.uploads import Uploads
from wheelyard.settings.sections import Settings
from wheelyard.storage.base import Store, Stores
from wheelyard.storage.memory import MemoryStore
from wheelyard.storage.spool import Spool
from wheelyard.wiring.build import build_index
from wheelyard.wiring.index import Index
from wheelyard.wiring.stores import StoreTraits

TICK = 1e-6
"""Seconds that pass between two looks at a clock: what is read stays fresh, and is in the past."""

APART = (keys.INDEX_LIST, keys.CREDENTIALS, keys.DERIVED, keys.PENDING)
"""
Beginnings of keys by which uploads, promotions and removals in indexes that stay do not meet.

Nobody follows the marks there. For an exploration without faults: a read of such a key may fail.
"""

NOWHERE = Call("", "")
"""Where a writer stops that goes on to its end."""

Stop = tuple[str, Call]
"""A writer, and the call at which it stops: its verb, and the beginning of its key."""

Stage = LoneWriters | Scheduler
"""Where a schedule is played."""


class Explorable(Protocol):
    """What can be explored: writers, and what is promised about them."""

    @property
    def together(self) -> bool:
        """Whether all writers live in one process."""

    @property
    def late(self) -> bool:
        """Whether a write may happen after its writer was told that the answer is lost."""

    def stage(self) -> AbstractContextManager[Stage]:
        """Return a stage where every writer waits for its first call."""

    def violations(self, store: Store, answers: Mapping[str, str]) -> Iterator[str]:
        """Yield every promise that this state breaks."""

    def unhealed(self, store: Store) -> Iterator[str]:
        """Do it all again with these objects, and yield what that does not put right."""


class InvariantViolated(AssertionError):
    """A violated invariant: the schedule, the results so far, and the violations."""


def ticking() -> Callable[[], float]:
    """Return a clock that advances at every reading."""
    ticks = count()
    return lambda: TICK * next(ticks)


class ReadOnce(Uploads, frozen=True, kw_only=True):
    """Uploads that read the archive of a distribution once for all plays."""

    contents: dict[Path, DistributionContents]

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
    `leftovers` are uploads that died before their commit, two days ago.
    """

    folder: Path
    intents: Mapping[str, AnyIntent]
    before: tuple[Distribution | RecordIntent, ...] = ()
    deleted: tuple[Distribution, ...] = ()
    """Those of `before` that were deleted then."""
    leftovers: tuple[Distribution, ...] = ()
    damaged: tuple[Distribution, ...] = ()
    """Those of `before` whose bytes were damaged since."""
    together: bool = False
    far: bool = False
    others: Mapping[str, Callable[[Index], str | None]] = field(default_factory=dict)
    """What others do who write no project, such as `follow`; each has a process of its own."""
    has_prod: bool = False
    """Whether there is an index `prod` beside main."""
    in_prod: tuple[Distribution, ...] = ()
    """What was uploaded to `prod` before: what begins to be there does not have to be found."""
    late: bool = False
    """Whether a write may happen after its writer was told that the answer is lost."""
    apart: tuple[str, ...] = ()
    """Beginnings of keys by which no writer meets another one: their calls wait for nobody."""
    arrivals: dict[Distribution, SpooledUpload] = field(default_factory=dict)
    contents: dict[Path, DistributionContents] = field(default_factory=dict)
    """The contents of each distribution, read once for all runs."""
    start: dict[str, bytes] = field(default_factory=dict)
    """Every object that is there before anyone enters."""

    def __post_init__(self) -> None:
        for made in (*self.before, *(wish.made for wish in self.writes.values())):
            if isinstance(made, Distribution):
                self.arrivals[made] = made.arrival(self.folder)
        store = OrdinalStore({})
        index = self.opened(store, 99)
        if self.has_prod:
            put_tables(index, toml_of(main=OPEN_MAIN, index=({"name": "prod"},)))
            index = self.opened(store, 99)
        for made in self.in_prod:
            index.named("prod").uploads.accept(made.arrival(self.folder), ALICE)
        for made in self.before:
            if isinstance(made, Distribution):
                index.uploads.accept(self.arrivals[made], ALICE)
            else:
                made.fulfil(index)
        for made in self.deleted:
            self.fulfil(index, WriteIntent(made, delete=True))
        if self.before:
            index.changes.since(0)
        self.start.update(objects(store))
        for made in self.leftovers:
            key = keys.distribution(DEMO, made.sha256, made.filename)
            self.start |= {key: made.body, f"{key}.metadata": b""}
        for made in self.damaged:
            key = keys.distribution(DEMO, made.sha256, made.filename)
            self.start[key] = made.body[::-1]

    def opened(self, store: Store, seed: int, days: float = 0) -> Index:
        """Return an index over a store, by whose clock it is so many days later."""
        clock = Clock(START + timedelta(days=days))
        runtime = replace(fake_runtime(clock, seed), monotonic=ticking())
        traits = StoreTraits(is_local=not self.far)
        settings, spool = Settings(), Spool(self.folder)
        index = build_index(Stores.of(store), spool, settings, runtime, traits)
        # a store has one clock, but what a writer does may be days after another one began
        index.lifecycle.removal.clock.store = MemoryStore(clock.seconds)
        return replace(index, uploads=self._reading_once(index.uploads))

    @contextmanager
    def stage(self) -> Iterator[Stage]:
        """Yield a stage where every writer waits for its first call."""
        store = OrdinalStore(self.start)
        if not self.together:
            yield LoneWriters(store, dict(self._beginnings))
            return
        scheduler = Scheduler(store)
        index = self._informed(GatedStore(scheduler), 0)
        with scheduled_futures(), closing(scheduler):
            for name, wish in self.intents.items():
                scheduler.add(name, partial(self.fulfil, index, wish))
            yield scheduler

    @cached_property
    def _beginnings(self) -> dict[str, Position]:
        """Where each writer begins that has a process of its own."""
        start = OrdinalStore(self.start)
        works: dict[str, Callable[[Index], str | None]] = {
            name: partial(self.fulfil, wish=wish) for name, wish in self.intents.items()
        }
        works |= self.others
        return {
            name: Position(
                partial(self._process, number, work, self._days(name)),
                start,
                (),
                self._is_immediate,
            )
            for number, (name, work) in enumerate(works.items(), 1)
        }

    def _is_immediate(self, call: Call) -> bool:
        if call == Call("list", keys.INDEXES) and self.in_prod and self.apart:
            return True  # the first object of each index is there, and stays
        return is_immediate(call) or call.key.removeprefix(PROD).startswith(self.apart)

    def _days(self, name: str) -> float:
        return self.writes[name].days if name in self.writes else 0

    def _process(
        self, number: int, work: Callable[[Index], str | None], days: float, store: Store
    ) -> Work:
        return partial(work, self._informed(store, number, days))

    def _informed(self, store: Store, seed: int, days: float = 0) -> Index:
        """Return an index of a process that has read the project, if that is of any use to it."""
        index = self.opened(store, seed, days)
        if self.far:
            index.projects.get_for_update(DEMO)
            index.server.access.load()
            index.server.decisions.get()
        return index

    @cached_property
    def writes(self) -> dict[str, WriteIntent]:
        """The intents about the project."""
        return {n: wish for n, wish in self.intents.items() if isinstance(wish, WriteIntent)}

    def fulfil(self, index: Index, wish: AnyIntent) -> None:
        """Do what a writer wants."""
        if isinstance(wish, DoneByThemselves):
            wish.fulfil(index)
        elif wish.sweep:
            index.server.sweep.run(START + timedelta(days=wish.days))
        elif wish.delete or wish.restore:
            distribution = parse_filename(wish.made.filename)
            filenames = None if wish.whole else frozenset({wish.made.filename})
            selection = Selection(distribution.version, filenames)
            action: ReleaseAction = "restore" if wish.restore else "delete"
            index.lifecycle.change(action, ALICE, distribution.project, selection, "")
        elif wish.in_prod:
            self._reading_once(index.named("prod").uploads).accept(self.arrivals[wish.made], ALICE)
        else:
            index.uploads.accept(self.arrivals[wish.made], ALICE)

    def _reading_once(self, uploads: Uploads) -> ReadOnce:
        return ReadOnce(**asdict(uploads), contents=self.contents)

    def violations(self, store: Store, answers: Mapping[str, str]) -> Iterator[str]:
        """Yield every promise that this state breaks."""
        yield from violations(store, self.intents, answers)

    def unhealed(self, store: Store) -> Iterator[str]:
        """Do it all again with these objects, and yield what that does not put right."""
        index = self.opened(store, 77)
        for name, wish in self.intents.items():
            try:
                self.fulfil(index, wish)
            except WheelyardError as fault:
                is_refused = self.damaged or isinstance(wish, CopyIntent)
                others = {"conflict", "not_intact"} if is_refused else set[str]()
                refusals = {"file_exists", "not_found", "not_kept", LISTED_ELSEWHERE, REFUSED}
                expected = refusals | others
                if fault.code not in expected:
                    yield f"{name} tried again and met {fault.code}: {fault.message}"
        for name, wish in self.writes.items():
            project = document(wish.documents(store))
            filename = wish.made.filename
            is_there = filename in project.by_filename or filename in project.deleted_filenames
            if not is_there and not wish.sweep:
                yield f"{name} tried again, and {filename} is neither listed nor deleted"
        project = document(store)
        # if everybody was refused, nobody has mended the name list
        if project.files and not is_named(store):
            yield "the project is not in the list, after everything was tried again"
        if not self.damaged and (project.files or not self.writes):
            # who is refused now, as another index has the bytes, has left that for the check
            is_refused = self.has_prod
            yield from _unsound(index, project.revision, is_refused=is_refused)
        # a grant or a decision is made once more by who asks for it again
        if not any(isinstance(wish, RecordIntent) for wish in self.intents.values()):
            yield from self.violations(store, dict.fromkeys(self.intents, "tried again"))


def are_like(told: tuple[str, ...], patterns: tuple[str, ...]) -> bool:
    """Return whether each text that a writer was told matches its pattern, with `*` for any."""
    return all(fnmatchcase(text, like) for text, like in zip(told, patterns, strict=True))


def follow(index: Index) -> str:
    """Ask for all changes, and then for those after them; return what was seen."""
    made = index.projects.get_for_update(DEMO).revision
    entries, newest = index.changes.since(0)
    assert made <= max((entry.revision for entry in entries), default=0), "a commit is missing"
    later, last = index.changes.since(newest)
    numbered = [each for each in later if each.serial != NO_SERIAL]
    assert all(each.serial > newest for each in numbered), "a change came at a serial that was seen"
    return Seen(last, tuple(entry for entry in (*entries, *numbered) if entry.serial)).text


def verify(index: Index) -> None:
    """See that each commit has a serial or a mark, as a check does."""
    made = index.projects.get_for_update(DEMO).revision
    assert index.changes.unmarked({DEMO: made}) == {}


@dataclass(frozen=True)
class Turn:
    """A schedule that is not played yet."""

    schedule: Schedule
    before: LoneWriters | None = None
    """The stage before its last step; None where all has to be played from the start."""


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

    scenario: Explorable
    faults: int
    result: ExplorationResult = field(default_factory=ExplorationResult)
    _seen: set[object] = field(default_factory=set)
    _checked: set[object] = field(default_factory=set)
    _healed: set[object] = field(default_factory=set)

    def explore(self) -> ExplorationResult:
        """Play every schedule."""
        stack = [Turn(())]
        while stack:
            stack += self._play(stack.pop())
        self.result.states = len(self._seen)
        return self.result

    def sample(self, seed: int, schedules: int) -> ExplorationResult:
        """Play so many schedules at random."""
        random = Random(seed)
        for _ in range(schedules):
            with self.scenario.stage() as stage:
                schedule: Schedule = ()
                while steps := self._steps(stage, schedule):
                    smooth = [step for step in steps if step[1] is CallOutcome.DONE]
                    step = random.choice(steps if random.random() < 0.1 else smooth)
                    stage.let(*step)
                    schedule += (step,)
                    self._check(stage, schedule)
                self._end(stage, schedule)
        return self.result

    def play(self, *stops: Stop) -> tuple[str, ...]:
        """
        Play one order, and return what each writer was told, with the message of a refusal.

        In turn, writers go on to where they stop. Then the others do all that they want, and at
        last those who stopped go on to their ends, the first of them first.
        """
        with self.scenario.stage() as stage:
            stopped = [name for name, _ in stops]
            others = [name for name in stage.writers if name not in stopped]
            schedule: Schedule = ()
            for name, stop in (*stops, *((name, NOWHERE) for name in (*others, *stopped))):
                while (call := stage.waiting().get(name)) and not call.is_like(stop):
                    stage.let(name, CallOutcome.DONE)
                    schedule += ((name, CallOutcome.DONE),)
                    self._check(stage, schedule)
                if call is None and stop != NOWHERE:
                    raise InvariantViolated(_told(f"{name} never stops at {stop}", schedule, stage))
            self._end(stage, schedule)
            return tuple(_with_message(each) for each in stage.writers.values())

    def _play(self, turn: Turn) -> list[Turn]:
        """Play a schedule and go on smoothly to the end; return the turns that were not taken."""
        turns = list[Turn]()
        schedule = turn.schedule
        with self._stage(turn) as stage:
            while True:
                state = (stage.state(), _used(schedule))
                if state in self._seen:
                    return turns
                self._seen.add(state)
                self._check(stage, schedule)
                steps = self._steps(stage, schedule)
                if not steps:
                    self._end(stage, schedule)
                    return turns
                if self.scenario.together and _used(schedule) < self.faults:
                    self._heal(stage, schedule)  # as after a crash: it would end all writers
                    steps = [step for step in steps if step[1] is not CallOutcome.CRASH]
                before = stage.copy() if isinstance(stage, LoneWriters) and steps[1:] else None
                turns += [Turn((*schedule, step), before) for step in steps[1:]]
                stage.let(*steps[0])
                schedule = (*schedule, steps[0])

    @contextmanager
    def _stage(self, turn: Turn) -> Iterator[Stage]:
        """Yield the stage after a schedule."""
        if turn.before is not None:
            stage = turn.before.copy()
            stage.let(*turn.schedule[-1])
            yield stage
            return
        with self.scenario.stage() as first:
            first.replay(turn.schedule)
            yield first

    def _steps(self, stage: Stage, schedule: Schedule) -> list[Step]:
        may_fail = _used(schedule) < self.faults
        return [
            (name, outcome)
            for name, call in stage.waiting().items()
            for outcome in (*call.outcomes, *self._late(call))
            if may_fail or outcome is CallOutcome.DONE
        ]

    def _late(self, call: Call) -> tuple[CallOutcome, ...]:
        return (CallOutcome.LATE,) if self.scenario.late and call.verb == "put" else ()

    def _check(self, stage: Stage, schedule: Schedule) -> None:
        state = (stage.store.state(), tuple(stage.answers().items()))
        if state in self._checked:
            return
        self._checked.add(state)
        for why in self.scenario.violations(stage.store, stage.answers()):
            errors = [each.error for each in stage.writers.values() if each.answer == "surprised"]
            raise InvariantViolated(_told(why, schedule, stage)) from next(iter(errors), None)

    def _end(self, stage: Stage, schedule: Schedule) -> None:
        """See to it that every writer has an answer, and that doing it all again helps."""
        self._check(stage, schedule)
        self.result.ends += 1
        for name in stage.writers.keys() - stage.answers().keys():
            raise InvariantViolated(_told(f"{name} waits for ever", schedule, stage))
        self.result.answers.add(tuple(stage.answers()[name] for name in stage.writers))
        self._heal(stage, schedule)

    def _heal(self, stage: Stage, schedule: Schedule) -> None:
        """See to it that doing it all again, with these objects, puts everything right."""
        bodies = dict(objects(stage.store))
        state = frozenset(bodies.items())
        if state not in self._healed:
            self._healed.add(state)
            for why in self.scenario.unhealed(OrdinalStore(bodies)):
                raise InvariantViolated(_told(why, schedule, stage))


def _unsound(index: Index, revision: int, *, is_refused: bool) -> Iterator[str]:
    """
    Yield what a check finds, and whether the last commit is not the newest change.

    Where writers are refused, what a check repairs is left out.
    """
    findings = index.server.check.run()
    entries, _ = index.changes.since(0)
    if revision != max((entry.revision for entry in entries), default=0):
        yield "the newest change is not that of the last commit"
    yield from findings.problems
    yield from () if is_refused else findings.repaired


def _with_message(writer: Position | WriterThread) -> str:
    return f"{writer.answer}: {writer.error}" if writer.error else f"{writer.answer}"


def _used(schedule: Schedule) -> int:
    return sum(outcome is not CallOutcome.DONE for _, outcome in schedule)


def _told(why: str, schedule: Schedule, stage: Stage) -> str:
    steps = "\n".join(f"  {name}: {outcome}" for name, outcome in schedule)
    return f"{why}\nafter\n{steps}\nanswers {stage.answers()}\nwaiting {stage.waiting()}"
