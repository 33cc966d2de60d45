"""How many threads wait for one upstream index."""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from tests.fake_time import Clock
from tests.http.in_process import in_process
from tests.upstream.fake_upstream import FakeUpstream
from tests.upstream.public_packages import public_wheel
from tests.upstream.settings import upstream_section
from wheelyard.http import upstream_reader
from wheelyard.http_client.hosts import FetchError
from wheelyard.settings.sections import Settings
from wheelyard.upstream.index_slots import CURRENT_LOOKUP, IndexSlots, Lookup


def slots_of(clock: Clock, size: int = 4) -> IndexSlots:
    """Return the slots of an index with a time limit of a minute."""
    slots = IndexSlots(clock.seconds, 60)
    slots.limit(size)
    return slots


def hold(slots: IndexSlots, held: ExitStack, client: str) -> None:
    """Take a slot for a client, as a thread does, until `held` ends."""
    token = CURRENT_LOOKUP.set(Lookup(client))
    try:
        held.enter_context(slots.hold())
    finally:
        CURRENT_LOOKUP.reset(token)


def noting(calls: list[str], client: str) -> Callable[[], None]:
    """Return what notes that a client may have a slot."""
    return partial(calls.append, client)


def test_clients_share_the_slots() -> None:
    """One client has half of the slots, the next one half of the rest, and so on."""
    slots = slots_of(Clock(), 8)
    with ExitStack() as held:
        for client, number in (("one", 4), ("two", 2), ("three", 1), ("four", 1)):
            for _ in range(number):
                hold(slots, held, client)
            with pytest.raises(FetchError, match="other requests wait for it"):
                hold(slots, held, client)
    assert slots.has_room("one")


def test_the_wait_ends_when_the_oldest_request_does() -> None:
    """Whoever gets no slot is told when the oldest request has its answer, or has failed."""
    clock = Clock()
    slots = slots_of(clock, 2)
    with ExitStack() as held:
        hold(slots, held, "one")
        clock.advance(seconds=20)
        hold(slots, held, "two")
        clock.advance(seconds=25)
        with pytest.raises(FetchError) as found:
            hold(slots, held, "three")
        assert (found.value.wait, found.value.is_busy, found.value.is_asked) == (15, True, False)
        clock.advance(seconds=600)  # its body is long
        with pytest.raises(FetchError) as found:
            hold(slots, held, "three")
        assert found.value.wait == 1


def test_a_free_slot_goes_to_the_first_who_may_have_it() -> None:
    """A slot that is given back wakes one lookup, of a client that may have another slot."""
    slots, calls = slots_of(Clock()), list[str]()
    with ExitStack() as first, ExitStack() as second:
        for _ in range(2):
            hold(slots, first, "one")
        hold(slots, second, "two")
        hold(slots, second, "three")
        for client in ("one", "one", "two", "four"):
            slots.when_free(client, noting(calls, client))
        assert calls == []
        second.close()
        assert calls == ["four", "two"]
        gone = noting(calls, "gone")
        slots.when_free("one", gone)
        slots.forget(gone)
        first.close()
    assert calls == ["four", "two", "one", "one"]


def test_a_lookup_that_has_left_wakes_the_next_one() -> None:
    """A slot that a lookup was given which has left meanwhile goes to the next one."""
    slots, calls = slots_of(Clock(), 1), list[str]()
    with ExitStack() as held:
        hold(slots, held, "one")
        left, other = noting(calls, "left"), noting(calls, "other")
        slots.when_free("two", left)
        slots.when_free("three", other)
        held.close()
        assert calls == ["left"]
        slots.forget(left)
    assert calls == ["left", "other"]


def test_a_lookup_knows_which_index_had_no_slot() -> None:
    """A lookup that may ask several indexes waits for the one that had no slot for it."""
    free, full, lookup = slots_of(Clock()), slots_of(Clock(), 1), Lookup("one")
    token = CURRENT_LOOKUP.set(lookup)
    try:
        with ExitStack() as held, free.hold():
            hold(full, held, "two")
            assert lookup.refused_by is None
            with pytest.raises(FetchError), full.hold():
                pass
    finally:
        CURRENT_LOOKUP.reset(token)
    assert lookup.refused_by is full


def test_lookups_that_have_waited_wait_no_longer(
    tmp_path: Path, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where one lookup may wait for a slot, one after the other waits and gets its page."""
    held, when_free = ExitStack(), IndexSlots.when_free

    def free_what_is_waited_for(slots: IndexSlots, client: str, call: Callable[[], object]) -> None:
        when_free(slots, client, call)
        held.close()

    monkeypatch.setattr(upstream_reader, "MAX_WAITING", 1)
    monkeypatch.setattr(IndexSlots, "when_free", free_what_is_waited_for)
    names = ("first", "second", "third")
    settings = Settings(upstream=upstream_section(upstream))
    statuses = list[int]()
    with in_process(tmp_path, settings) as server:
        assert server.index.upstream is not None
        (client,) = server.index.upstream.clients.in_order
        client.slots.limit(1)
        for name in names:
            upstream.publish(public_wheel(name, "1.0"))
            held.enter_context(client.slots.hold())
            statuses.append(server.get(f"/simple/{name}/").status)

    assert statuses == [200] * 3
    assert [len(upstream.asked_pages(name)) for name in names] == [1] * 3
