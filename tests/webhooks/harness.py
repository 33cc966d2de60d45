"""An index in memory whose webhooks lead to a receiver, and a clock that stands still."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.in_process_network import NetworkOrPorts
from tests.operations.in_memory_index import IndexHarness
from tests.upstream.settings import close
from tests.webhooks.receivers import Receiver, running_receiver
from wheelyard.api.package_request_operations import find_waiting
from wheelyard.model.webhook_state import WebhookState
from wheelyard.operations.webhooks import Webhooks
from wheelyard.settings.sections import Settings
from wheelyard.wiring.index import Index
from wheelyard.wiring.webhook_building import build_dispatcher

BY = "local:alice"


@dataclass
class WebhookHarness:
    """An index, a receiver, and one server after the other that delivers."""

    index: IndexHarness
    receiver: Receiver
    servers: "list[DeliveringServer]" = field(default_factory=list["DeliveringServer"])
    settings: Settings = field(default_factory=Settings)
    """Those of the servers that deliver."""

    @property
    def webhooks(self) -> Webhooks:
        """The webhooks of the store."""
        return self.index.index.server.webhooks

    def add(self, name: str = "builds", **keys: object) -> str:
        """Add a webhook that leads to the receiver, and return its secret."""
        added = self.webhooks.add({"name": name, "url": self.receiver.url, **keys}, BY)
        if not self.receiver.secret:
            self.receiver.secret = added.secret
        return added.secret

    def server(self) -> "DeliveringServer":
        """Return another server over the same store, with empty caches."""
        server = DeliveringServer(
            self.index.opened(seed=100 + len(self.servers), settings=self.settings)
        )
        self.servers.append(server)
        return server

    def deliver(self) -> None:
        """Have another server deliver what is due."""
        self.server().deliver()

    def state(self, name: str = "builds") -> WebhookState:
        """Return how far the deliveries of a webhook are."""
        webhook = self.webhooks.find(name)
        return self.webhooks.states.read_stored(name, webhook.created)


class DeliveringServer:
    """A server that delivers when a test says so."""

    def __init__(self, index: Index) -> None:
        self.index = index
        self.dispatcher = build_dispatcher(index.server, partial(find_waiting, index))

    def deliver(self) -> float:
        """Deliver what is due, and return after how many seconds to look again."""
        return self.dispatcher.deliver_if_due()

    def close(self) -> None:
        """Close its connections."""
        self.index.server.webhook_sender.close()
        close(self.index)


@contextmanager
def running_webhooks(folder: Path, network: NetworkOrPorts = None) -> Iterator[WebhookHarness]:
    """Run a receiver for the webhooks of a new index in a folder."""
    with running_receiver(network) as receiver:
        harness = WebhookHarness(IndexHarness(folder), receiver)
        try:
            yield harness
        finally:
            for server in harness.servers:
                server.close()
