"""The lease of deliveries: of all servers, one at a time believes to have it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import product
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from tests.fake_store import ALWAYS, Before, FakeStore
from tests.fake_time import Clock, fake_runtime
from wheelyard.errors import Conflict
from wheelyard.storage.memory import MemoryStore
from wheelyard.webhooks.lease import DeliveryLease

MOVES = ("take", "renew", "give_back")


@dataclass
class Servers:
    """Servers on one store, each with a lease, and what another one does in between."""

    clock: Clock = field(default_factory=Clock)
    between: list[Callable[[], None]] = field(default_factory=list[Callable[[], None]])
    """What happens before the next calls of the store, one each."""
    is_between: bool = False
    leases: list[DeliveryLease] = field(default_factory=list[DeliveryLease])

    def __post_init__(self) -> None:
        step = Before(self._happen, times=ALWAYS)
        store = FakeStore(MemoryStore(self.clock.seconds), step)
        self.leases += (DeliveryLease(store, fake_runtime(self.clock, seed)) for seed in (1, 2, 3))

    def _happen(self) -> None:
        if self.between and not self.is_between:
            self.is_between = True
            self.between.pop()()
            self.is_between = False
            self.check()

    def move(self, server: int, move: str) -> None:
        """Have a server do something with its lease."""
        lease = self.leases[server]
        try:
            if move == "take":
                lease.take()
            elif move == "renew" and lease.is_held_for(0):
                lease.renew()
            elif move == "give_back" and lease.is_held_for(0):
                lease.give_back()
        except Conflict:
            pass
        self.check()

    def check(self) -> None:
        """Expect that at most one server may send."""
        assert sum(lease.is_held_for(0) for lease in self.leases) <= 1


def test_two_servers_never_have_it_in_any_order() -> None:
    """In all orders in which two servers take turns at the store, one at a time may send."""
    for first, second, between, third in product(MOVES, MOVES, MOVES, MOVES):
        for seconds, turn in product((0, 8, 29, 30), range(3)):
            servers = Servers()
            servers.move(0, "take")
            servers.move(1, "take")
            servers.clock.advance(seconds=seconds)
            servers.between += [lambda s=servers, m=between: s.move(0, m)] + [lambda: None] * turn
            servers.move(1, first)
            servers.between.clear()
            servers.move(0, second)
            servers.move(1, third)


def test_a_lease_is_written_again_only_when_it_gets_old() -> None:
    """A server that ends many deliveries in a row writes its lease once in eight seconds."""
    clock = Clock()
    store = FakeStore(MemoryStore(clock.seconds))
    lease = DeliveryLease(store, fake_runtime(clock, 1))
    lease.take()
    written = list[int]()
    for seconds in (0, 7, 1):
        clock.advance(seconds=seconds)
        lease.renew()
        written.append(store.count("put"))

    assert written == [1, 1, 2]


def test_a_slow_look_counts_from_its_end() -> None:
    """A lease that was written while another server's look at it took long is not over early."""
    servers = Servers()

    def write_late() -> None:
        servers.clock.advance(seconds=31)
        servers.move(1, "take")

    servers.between = [write_late]
    servers.move(0, "take")
    servers.move(0, "take")

    assert servers.leases[1].is_held_for(0)


TURNS = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(MOVES), st.integers(0, 31), st.integers(0, 2**16)),
    max_size=20,
)


@given(TURNS)
def test_servers_never_have_it_together(turns: list[tuple[int, str, int, int]]) -> None:
    """Whatever servers do, and however long they stand still at a call, one at a time may send."""
    servers = Servers()
    for server, move, seconds, seed in turns:
        random = Random(seed)

        def happen(random: Random = random, server: int = server) -> None:
            servers.clock.advance(seconds=random.choice((0, 1, 8, 31)))
            # a server has one thread that changes its lease
            servers.move((server + random.randint(1, 2)) % 3, random.choice(MOVES))

        servers.between = [happen] * random.randrange(3)
        servers.move(server, move)
        servers.between = []
        servers.clock.advance(seconds=seconds)
