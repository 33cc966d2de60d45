"""Leases: which process does a job that one does at a time."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from tests.fake_store import Before, FakeStore
from tests.fake_time import Clock, fake_runtime
from wheelyard.catalog import keys
from wheelyard.catalog.store_clock import StoreClock
from wheelyard.errors import Conflict
from wheelyard.operations.job_lease import LEASE_TIME, JobLease
from wheelyard.storage.memory import MemoryStore

DAY = timedelta(days=1)
NOW = timedelta()


class Instances:
    """Processes that share a store, each with its lease of one job."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.store = MemoryStore(self.clock.seconds)
        self.first, self.second = self.lease(1), self.lease(2)

    def lease(self, seed: int) -> JobLease:
        """Return the lease of another process."""
        return JobLease(self.store, "job", StoreClock(self.store, fake_runtime(self.clock, seed)))


@pytest.fixture
def instances() -> Instances:
    """Two processes, none of which has done anything."""
    return Instances()


def test_one_process_at_a_time_has_the_lease(instances: Instances) -> None:
    """While a process has the lease, another one learns how long to wait."""
    assert instances.first.take(DAY) == NOW
    instances.clock.advance(minutes=1)

    assert instances.second.take(DAY) == LEASE_TIME - timedelta(minutes=1)


def test_a_lease_ends_by_the_clock_of_the_store(instances: Instances) -> None:
    """A process whose clock is ahead takes no lease that another one has."""
    assert instances.first.take(DAY) == NOW
    runtime = fake_runtime(instances.clock, 3)
    ahead = replace(runtime, now=lambda: instances.clock.now + timedelta(hours=6))

    late = JobLease(instances.store, "job", StoreClock(instances.store, ahead))
    assert late.take(DAY) == LEASE_TIME


def test_a_job_is_done_once_a_day(instances: Instances) -> None:
    """A job that was completed can be taken again by any process a day later."""
    assert instances.first.take(DAY) == NOW
    instances.first.complete()
    instances.clock.advance(hours=23)

    for lease in (instances.first, instances.second, instances.lease(3)):
        assert lease.take(DAY) == timedelta(hours=1)
    instances.clock.advance(hours=1)
    assert instances.second.take(DAY) == NOW


def test_the_lease_of_a_dead_process_can_be_taken_at_its_end(instances: Instances) -> None:
    """The lease of a process that died can be taken at its end, and not before."""
    assert instances.first.take(DAY) == NOW
    instances.clock.advance(seconds=LEASE_TIME.total_seconds() - 1)
    assert instances.second.take(DAY) != NOW
    instances.clock.advance(seconds=1)

    assert instances.second.take(DAY) == NOW


def test_a_long_job_keeps_its_lease(instances: Instances) -> None:
    """A lease that is renewed stays with its holder, at a write in two minutes."""
    assert instances.first.take(DAY) == NOW
    for _ in range(180):
        instances.clock.advance(seconds=20)
        instances.first.renew()
        assert instances.second.take(DAY) != NOW
    stored_object = instances.store.get(keys.lease("job"))
    assert b'"revision":31,' in getattr(stored_object, "body", b"")


def test_a_process_that_lost_its_lease_neither_renews_nor_completes(instances: Instances) -> None:
    """A process that wakes up after its lease was taken neither renews it nor completes the job."""
    assert instances.first.take(DAY) == NOW
    instances.clock.advance(hours=1)
    assert instances.second.take(DAY) == NOW

    with pytest.raises(Conflict):
        instances.first.renew()
    with pytest.raises(Conflict):
        instances.first.complete()
    instances.second.complete()


def test_of_two_processes_at_once_one_gets_the_lease(instances: Instances) -> None:
    """Of two processes that look at the same moment, one gets the lease."""
    taken = list[timedelta]()
    step = Before(lambda: taken.append(instances.first.take(DAY)), "put", keys.lease("job"))
    store = FakeStore(instances.store, step)
    late = JobLease(store, "job", StoreClock(store, fake_runtime(instances.clock, 3)))

    assert late.take(DAY) == LEASE_TIME
    assert taken == [NOW]
    assert len([*instances.store.list(keys.LEASES)]) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no lease",
        b'{"holder":"x","ends":"2036-01-01T00:00:00Z"}',
        b'{"completed":"2036-01-01T00:00:00Z"}',
    ],
)
def test_a_damaged_lease_stops_no_job(instances: Instances, body: bytes) -> None:
    """A damaged lease, or one by a clock that is years ahead, keeps no job from being done."""
    instances.store.put(keys.lease("job"), body, None)

    assert instances.first.take(DAY) == NOW
    instances.first.complete()
    assert instances.second.take(DAY) == DAY
