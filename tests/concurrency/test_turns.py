"""Turns: threads compute one after the other, and wait at the same time."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from threading import Barrier, Event

import pytest

from wheelyard.concurrency import threads
from wheelyard.concurrency.threads import Turns, waiting

MINUTE_SECONDS = 60.0
MOMENT_SECONDS = 0.1


def run_both(*works: Callable[[], object]) -> None:
    """Run two works in turn, each in a thread of its own."""
    taking = Turns(lambda: 0.0)
    with ThreadPoolExecutor(len(works)) as pool:
        for done in [pool.submit(taking.run, work) for work in works]:
            done.result()


def test_one_computes_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """While one thread computes, the next one waits for its turn."""
    monkeypatch.setattr(threads, "TURN_SECONDS", MINUTE_SECONDS)
    has_begun, ends = Event(), list[str]()

    def first() -> None:
        has_begun.wait(MOMENT_SECONDS)
        ends.append("first")

    def second() -> None:
        has_begun.set()
        ends.append("second")

    run_both(first, second)

    assert ends == ["first", "second"]


def test_several_wait_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that wait for the disk do so at the same time."""
    monkeypatch.setattr(threads, "TURN_SECONDS", MINUTE_SECONDS)
    disk = Barrier(2, timeout=MINUTE_SECONDS)

    def write() -> None:
        with waiting():
            disk.wait()

    run_both(write, write)

    assert not disk.broken


def test_a_long_turn() -> None:
    """A thread that computes for long holds up another one only for a while."""
    has_begun = Event()

    run_both(lambda: has_begun.wait(MINUTE_SECONDS), has_begun.set)

    assert has_begun.is_set()


def test_an_old_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that has computed for long already holds up nobody."""
    monkeypatch.setattr(threads, "TURN_SECONDS", MINUTE_SECONDS)
    times = iter([0.0, MINUTE_SECONDS, MINUTE_SECONDS])
    taking, answers = Turns(lambda: next(times)), list[bool]()

    assert taking.take()
    with ThreadPoolExecutor(1) as pool:
        answers.append(pool.submit(taking.take).result())

    assert answers == [False]


def test_a_turn_that_ends_is_passed_on() -> None:
    """Who waits for a turn has it as soon as it ends, however short turns are."""
    looks = count()

    def monotonic() -> float:
        if next(looks) == 1:  # the look of who begins to wait
            taking.give_up()
        return 0.0

    taking = Turns(monotonic)

    assert taking.take()
    assert taking.take()


def test_without_callers_there_are_no_turns() -> None:
    """Waiting outside of turns fails at nothing."""
    with waiting():
        pass
