"""Whatever upstream indexes do, a name stays with its owner in each index, also after restarts."""

from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest
from packaging.utils import canonicalize_name

from tests.distributions import make_wheel
from tests.fake_time import Clock
from tests.http.in_process import InProcessServer
from tests.upstream.chains import BACK, FIRST, ONE, OVER, SECOND, chained, page
from tests.upstream.fake_upstream import FakeUpstream
from tests.upstream.public_packages import public_wheel
from wheelyard.storage.memory import MemoryStore

pytestmark = pytest.mark.integration

INDEXES = ("", "one", "back", "over", "mixed")
MIXED = {"name": "mixed", "layers": ["mixed", FIRST, SECOND], "merge": ["x-*"], "read": "anyone"}
NAMES = ("lib", "x-torch")
PRIVATE = "acme-core"
STEPS, RESTARTS = 60, 3


@dataclass
class Model:
    """What upstream indexes do, and what has been seen."""

    random: Random
    places: dict[str, FakeUpstream]
    owners: dict[tuple[str, str], str] = field(default_factory=dict)
    """Which upstream index a name is from in an index, as its files have shown."""
    digests: dict[tuple[str, str], str] = field(default_factory=dict)
    """The digest of each file that an index has shown."""
    origins: dict[str, str] = field(default_factory=dict)
    """Which upstream index has published a file, by its digest."""
    made: int = 0
    seen: int = 0
    """Pages with files."""

    def step(self, server: InProcessServer) -> None:
        """Let something happen, and then look at a page."""
        place = self.random.choice([*self.places])
        upstream, name = self.places[place], self.random.choice(NAMES)
        match self.random.randrange(6):
            case 0 | 1:
                self.made += 1
                # of both indexes, some files have one name and other bytes
                version = f"{self.random.randrange(1, 4)}.0"
                if self.random.random() < 0.5:
                    version = f"{self.made}.0+{place}"
                package = public_wheel(name, version, f"Summary: of {place}")
                if package.filename not in self._filenames(upstream, name):
                    upstream.publish(package)
                    self.origins[package.sha256] = place
            case 2 if name in upstream.projects:
                upstream.drop(name)
            case 3 if name in upstream.projects:
                upstream.behave(name, *self.random.choice([(), (), (503,)]))
            case 4:
                server.clock.advance(seconds=self.random.choice([5, 61, 601]))
            case _:
                self.forget(server, name)
        self.look(server, self.random.choice(INDEXES), self.random.choice(NAMES))
        assert page(server, self.random.choice(["one", "over"]), PRIVATE).status == 200

    @staticmethod
    def _filenames(upstream: FakeUpstream, name: str) -> set[str]:
        project = upstream.projects.get(name)
        return {file.filename for file in project.files} if project else set()

    def forget(self, server: InProcessServer, name: str) -> None:
        """Forget the owner of a name, now and then, and wait until all know it."""
        if self.random.random() < 0.3 and server.index.upstream is not None:
            server.index.upstream.pages.forget(canonicalize_name(name))
            server.clock.advance(seconds=6)
            for index in INDEXES:
                self.owners.pop((index, name), None)
            self.digests.clear()

    def look(self, server: InProcessServer, index: str, name: str) -> None:
        """Look at a page: one index owns its files, which keep their digests."""
        shown = page(server, index, name)
        assert shown.status in {200, 404, 503}, (shown.status, shown.body)
        if shown.status != 200 or not shown.files:
            return
        self.seen += 1
        origins = set[str]()
        for filename, file in shown.files.items():
            digest = str(file["hashes"]["sha256"])
            before = self.digests.get((index, filename), digest)
            if index == "mixed" and name.startswith("x-") and self.origins[before] == SECOND:
                before = digest  # the first layer may get a file later
            assert digest == before, filename
            self.digests[index, filename] = digest
            origins.add(self.origins[digest])
        if index == "mixed" and name.startswith("x-"):
            return
        (origin,) = origins
        assert self.owners.setdefault((index, name), origin) == origin, (index, name)
        assert index != "one" or origin == SECOND


@pytest.mark.parametrize("seed", range(6))
def test_owners_at_random(
    upstream: FakeUpstream, second_upstream: FakeUpstream, tmp_path: Path, seed: int
) -> None:
    """Files of a name come from its owner alone, or from all where it is merged, and stay equal."""
    model = Model(Random(seed), {FIRST: upstream, SECOND: second_upstream})
    store, clock = MemoryStore(Clock().seconds), Clock()
    for each in (upstream, second_upstream):
        each.publish(public_wheel(PRIVATE, "99.0"))
    for _ in range(RESTARTS):
        with chained(
            *(tmp_path, upstream, second_upstream, ONE, BACK, OVER, MIXED),
            store=store,
            check_upload=False,
        ) as server:
            if model.made == 0:
                server.publish_to("one", make_wheel("acme_core", "1.0"))
            server.clock.now = clock.now
            for _ in range(STEPS):
                model.step(server)
            clock.now = server.clock.now
            assert server.index.upstream is not None
            server.index.upstream.pages.flush()
    assert model.seen > 20
    assert upstream.asked(PRIVATE) == second_upstream.asked(PRIVATE) == []
