"""Threads that do not keep a process from ending."""

import gc
import weakref
from functools import partial
from threading import Barrier, Event, current_thread, main_thread

import pytest

from tests.waiting import TIMEOUT_SECONDS, until
from wheelyard.concurrency.threads import IDLE_SECONDS, DaemonThreads
from wheelyard.storage.objects.store import answer_of

LIMIT = 3


def test_work_runs_at_the_same_time_up_to_a_limit() -> None:
    """As much work runs at a time as there are threads; the rest follows."""
    threads, gate = DaemonThreads(LIMIT, "test"), Event()
    begun = list[int]()

    def work(number: int) -> str:
        begun.append(number)
        assert gate.wait(TIMEOUT_SECONDS)
        assert current_thread().daemon
        return current_thread().name

    futures = [threads.start(partial(work, number)) for number in range(10)]
    until(lambda: len(begun) == LIMIT)
    assert not any(each.cancel() for each in futures)
    gate.set()

    assert {each.result(TIMEOUT_SECONDS) for each in futures} == {"test"}
    assert sorted(begun) == list(range(10))


def test_threads_that_are_free_are_used_again() -> None:
    """Work that needs all threads at the same time gets them, also after they were idle."""
    threads = DaemonThreads(LIMIT, "test")
    for _ in range(20):
        together = Barrier(LIMIT, timeout=TIMEOUT_SECONDS)
        for each in [threads.start(together.wait) for _ in range(LIMIT)]:
            each.result(TIMEOUT_SECONDS)


def test_a_client_has_half_of_the_threads_of_an_index() -> None:
    """An index has half of the threads, and each client of it half of those."""
    threads, gate = DaemonThreads(8, "test"), Event()
    begun = list[str]()

    def work(name: str) -> None:
        begun.append(name)
        assert gate.wait(TIMEOUT_SECONDS)

    futures = [threads.start(partial(work, "a 1"), "a", "one") for _ in range(4)]
    futures += [threads.start(partial(work, "a 2"), "a", "two") for _ in range(4)]
    futures += [threads.start(partial(work, "b"), "b", "") for _ in range(6)]
    until(lambda: len(begun) == 8)
    assert sorted(begun) == ["a 1"] * 2 + ["a 2"] * 2 + ["b"] * 4
    gate.set()

    for each in futures:
        each.result(TIMEOUT_SECONDS)
    assert len(begun) == 14


def test_a_client_of_a_slow_index_has_threads_of_another() -> None:
    """Work of a client at a slow index takes no threads from its work at another index."""
    threads, gate = DaemonThreads(8, "test"), Event()
    slow = [threads.start(partial(gate.wait, TIMEOUT_SECONDS), "a", "one") for _ in range(9)]

    quick = [threads.start(current_thread, "b", "one") for _ in range(9)]
    assert all(each.result(TIMEOUT_SECONDS) for each in quick)
    assert not any(each.done() for each in slow)
    gate.set()

    assert all(each.result(TIMEOUT_SECONDS) for each in slow)


def test_a_client_has_half_of_the_threads() -> None:
    """The work of one client leaves threads for that of others, and is all done in the end."""
    threads, gate = DaemonThreads(4, "test"), Event()
    begun = list[int]()

    def work(number: int) -> None:
        begun.append(number)
        assert gate.wait(TIMEOUT_SECONDS)

    futures = [threads.start(partial(work, number), "one") for number in range(6)]
    assert threads.start(lambda: "served", "another").result(TIMEOUT_SECONDS) == "served"
    until(lambda: sorted(begun) == [0, 1])
    gate.set()

    for each in futures:
        each.result(TIMEOUT_SECONDS)
    assert sorted(begun) == [*range(6)]


def test_an_error_goes_to_those_who_wait() -> None:
    """An error of the work is raised where its result is asked for, and the thread goes on."""
    threads = DaemonThreads(1, "test")

    with pytest.raises(ZeroDivisionError):
        threads.start(lambda: 1 // 0).result(TIMEOUT_SECONDS)
    assert threads.start(lambda: 1).result(TIMEOUT_SECONDS) == 1


def test_a_thread_keeps_nothing_of_what_is_done() -> None:
    """A thread lets go of what its work has used as soon as the work has ended."""

    class Used:
        """Something that work holds."""

    threads, used = DaemonThreads(1, "test"), Used()
    gone = weakref.ref(used)
    threads.start(partial(id, used)).result(TIMEOUT_SECONDS)
    del used
    gc.collect()

    until(lambda: gone() is None, timeout=IDLE_SECONDS - 1)


def test_the_thread_of_signals_waits_for_no_bucket() -> None:
    """A request to a bucket is made in another thread than the one that a Ctrl-C interrupts."""
    assert answer_of(current_thread) is not main_thread()
