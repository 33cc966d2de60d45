"""The pages of upstream indexes in a test: in this thread, with a clock that the test moves."""

from collections.abc import Callable
from concurrent.futures import Future
from ipaddress import ip_network

from msgspec.structs import replace
from packaging.utils import canonicalize_name

from tests.fake_time import Clock, fake_runtime
from tests.metrics import samples
from tests.upstream.fake_upstream import FakeUpstream
from wheelyard.http_client.urls import parse_url
from wheelyard.storage.base import Store
from wheelyard.storage.memory import MemoryStore
from wheelyard.upstream.chain import UpstreamChain
from wheelyard.upstream.observation import Observation
from wheelyard.upstream.page_lookup import StoredPages
from wheelyard.upstream.pages import FoundPage, UpstreamPages
from wheelyard.upstream.settings import UpstreamConfig, UpstreamServer
from wheelyard.upstream.upstream_client import UpstreamClients

LOOPBACK = (ip_network("127.0.0.0/8"),)


def run_now(work: Callable[[], None]) -> Future[None]:
    """Run work in this thread."""
    done: Future[None] = Future()
    work()
    done.set_result(None)
    return done


def server_of(upstream: FakeUpstream, label: str = "public") -> UpstreamServer:
    """Return what an operator says about a fake upstream."""
    url = parse_url(upstream.url)
    return UpstreamServer(url=url, label=label, file_hosts=(upstream.file_host,))


class Asking:
    """The pages of some upstream indexes, as one process has them; `config` is without indexes."""

    def __init__(
        self,
        servers: tuple[UpstreamServer, ...],
        *,
        clock: Clock | None = None,
        store: Store | None = None,
        config: UpstreamConfig | None = None,
    ) -> None:
        self.servers = servers
        self._others = list[Asking]()
        self.clock = clock or Clock()
        self.store = store or MemoryStore(self.clock.seconds)
        self.config = replace(
            config or UpstreamConfig(servers=(), allow_private_networks=LOOPBACK), servers=servers
        )
        runtime = fake_runtime(self.clock, 1)
        self.observation = Observation(runtime)
        self.clients = UpstreamClients(self.config, runtime, self.observation)
        stored = StoredPages(self.store)
        self.of_each = UpstreamPages(
            self.config, self.clients, stored, runtime, self.observation, run_now
        )
        self.pages = UpstreamChain(self.of_each, self.clients)

    def again(self, *, store: Store | None = None, offline: bool = False) -> "Asking":
        """Return another process, over the same store unless another one is given."""
        config, store = replace(self.config, offline=offline), store or self.store
        other = Asking(self.servers, clock=self.clock, store=store, config=config)
        self._others.append(other)
        return other

    def close(self) -> None:
        """Close the connections of this process, and of those that were made of it."""
        self.clients.close()
        for each in self._others:
            each.close()

    def found(self, name: str) -> FoundPage | None:
        """Return what is found for a name."""
        return self.pages.ask_if_due(canonicalize_name(name))

    def page(self, name: str) -> FoundPage:
        """Return the page of a name that is there."""
        found = self.found(name)
        assert found is not None
        return found

    def filenames(self, name: str) -> list[str]:
        """Return the filenames on the page of a name that is there."""
        return [file.filename for file in self.page(name).page.files]

    def counted(self, metric: str) -> int:
        """Return how often something was counted, whatever its labels."""
        name = f"wheelyard_upstream_{metric}_total"
        return int(sum(samples(self.observation.registry, name).values()))
