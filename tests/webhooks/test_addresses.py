"""Where webhooks may lead: what is checked when a connection is made, after the name lookup."""

import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.fake_time import START
from tests.in_process_network import NetworkOrPorts
from tests.operations.in_memory_index import IndexHarness
from tests.webhooks.harness import WebhookHarness, running_webhooks
from wheelyard.http_client import hosts
from wheelyard.model.access import describe_principal
from wheelyard.model.stored_webhooks import Webhook, WebhookVariables, parse_webhook
from wheelyard.model.webhook_messages import MessageUrls
from wheelyard.model.webhook_state import DeliveryAttempt
from wheelyard.operations.webhook_endpoints import WebhookEndpoints
from wheelyard.webhooks.sender import WebhookSender

NAME = "hooks.example"
PRIVATE = "its host hooks.example has an address that is not public"
REFUSED = "has an address that is not public"


@dataclass
class Names:
    """A name server, and the connections that were tried."""

    addresses: list[list[str]] = field(default_factory=list[list[str]])
    """What a name leads to, one answer after the other; the last one remains."""
    connected: list[str] = field(default_factory=list[str])

    def resolve(self, _host: str, _port: int) -> list[str]:
        """Return the next answer."""
        if len(self.addresses) > 1:
            return self.addresses.pop(0)
        return self.addresses[0]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """A name server that says what a test wants, on a machine without a network."""
    server = Names()

    def connect(address: tuple[str, int], *_: object, **__: object) -> socket.socket:
        server.connected.append(address[0])
        raise ConnectionRefusedError

    # each sender has policies of its own, which are made with this resolver
    monkeypatch.setattr(
        hosts.AddressPolicy,
        "__init__",
        _with_resolver(hosts.AddressPolicy.__init__, server),
    )
    monkeypatch.setattr(socket, "create_connection", connect)
    return server


def _with_resolver(init: object, server: Names) -> object:
    def initialise(policy: hosts.AddressPolicy, *args: object, **keys: object) -> None:
        init(policy, *args, **keys, resolve=server.resolve)  # type: ignore[operator]

    return initialise


def webhook(url: str, *, allow_private: bool = False) -> Webhook:
    """Return a webhook that leads to a URL."""
    keys = {"name": "builds", "url": url, "allow_private": allow_private}
    return parse_webhook(keys, datetime(2026, 1, 1, tzinfo=UTC))


def tried(index: IndexHarness, target: Webhook, *networks: str) -> DeliveryAttempt:
    """Try to send to a webhook, where these private networks are allowed."""
    server = index.index.server
    endpoints = WebhookEndpoints(
        server.webhooks.endpoints.secrets,
        WebhookVariables(secrets={"BUILDS": "whsec_" + "QUFB" * 8}),
        server.runtime,
    )
    sender = WebhookSender(
        endpoints,
        networks,
        MessageUrls("http://here.example"),
        server.runtime,
        lambda principal: describe_principal(principal, ""),
    )
    try:
        return sender.test(target, "local:alice")
    finally:
        sender.close()


@pytest.fixture
def index(tmp_path: Path) -> IndexHarness:
    """An index."""
    return IndexHarness(tmp_path)


@pytest.mark.parametrize(
    "address",
    ["10.0.0.1", "127.0.0.1", "192.168.1.1", "::1", "fd00::1", "::ffff:10.0.0.1", "64:ff9b::a00:1"],
)
def test_a_name_that_leads_to_a_private_address_is_refused(
    index: IndexHarness, names: Names, address: str
) -> None:
    """A webhook whose name leads into the private network is not connected to."""
    names.addresses = [[address]]

    attempt = tried(index, webhook(f"https://{NAME}/"))

    assert PRIVATE in attempt.error
    assert names.connected == []


def test_a_name_that_leads_elsewhere_later_is_refused(index: IndexHarness, names: Names) -> None:
    """A public name whose owner has it lead to a private address later reaches nothing there."""
    names.addresses = [["93.184.216.34"], ["10.0.0.1"]]
    target = webhook(f"https://{NAME}/")

    assert "cannot be reached" in tried(index, target).error
    assert names.connected == ["93.184.216.34"]
    assert PRIVATE in tried(index, target).error
    assert names.connected == ["93.184.216.34"]


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "169.254.1.1",
        "::ffff:169.254.169.254",
        "::ffff:169.254.1.1",
        "64:ff9b::a9fe:a9fe",
        "fe80::1",
        "fe80::1%lo",
    ],
)
@pytest.mark.parametrize("allow_private", [False, True])
def test_link_local_addresses_are_never_connected_to(
    index: IndexHarness, names: Names, address: str, *, allow_private: bool
) -> None:
    """The metadata of a cloud and link-local addresses are refused, whatever is allowed."""
    names.addresses = [[address]]
    networks = ("169.254.0.0/16", "fe80::/10", "::ffff:0:0/96", "64:ff9b::/96")

    attempt = tried(index, webhook(f"https://{NAME}/", allow_private=allow_private), *networks)

    assert REFUSED in attempt.error
    assert names.connected == []


@pytest.mark.parametrize("allow_private", [False, True])
@pytest.mark.parametrize("address", ["10.0.0.1", "93.184.216.34"])
def test_http_is_for_this_machine_alone(
    index: IndexHarness, names: Names, address: str, *, allow_private: bool
) -> None:
    """A message without encryption goes to no other machine, also if its name is a local one."""
    names.addresses = [[address]]

    attempt = tried(
        index, webhook("http://localhost:8000/", allow_private=allow_private), "10.0.0.0/8"
    )

    assert attempt.error == "its URL is http, and localhost is not this machine"
    assert names.connected == []


def test_private_networks_are_for_webhooks_that_ask_for_them(
    index: IndexHarness, names: Names
) -> None:
    """A private address needs both the network in the settings and `allow_private`."""
    names.addresses = [["10.0.0.1"]]
    url = f"https://{NAME}/"

    assert PRIVATE in tried(index, webhook(url, allow_private=True)).error
    assert PRIVATE in tried(index, webhook(url, allow_private=True), "10.1.0.0/16").error
    assert PRIVATE in tried(index, webhook(url), "10.0.0.0/8").error
    assert names.connected == []
    tried(index, webhook(url, allow_private=True), "10.0.0.0/8")
    assert names.connected == ["10.0.0.1"]


def test_only_the_allowed_ones_of_several_addresses_are_connected_to(
    index: IndexHarness, names: Names
) -> None:
    """Of a name with a public and a private address, the public one alone is connected to."""
    names.addresses = [["10.0.0.1", "93.184.216.34"]]

    tried(index, webhook(f"https://{NAME}/"))

    assert names.connected == ["93.184.216.34"]


@pytest.fixture
def hooks(tmp_path: Path, network: NetworkOrPorts) -> Iterator[WebhookHarness]:
    """An index, and a receiver."""
    with running_webhooks(tmp_path, network) as harness:
        yield harness


def test_the_url_of_a_variable_is_not_kept(hooks: WebhookHarness, tmp_path: Path) -> None:
    """A URL that a variable has is used, and neither the store nor a failure shows it."""
    hooks.webhooks.add({"name": "builds"}, "local:alice")
    urls = {"BUILDS": hooks.receiver.url}
    hooks.settings = type(hooks.settings)(webhook_variables=WebhookVariables(urls=urls))
    server = hooks.server()
    hooks.receiver.text = hooks.receiver.url.encode()
    hooks.receiver.answer = lambda _: 500

    attempt = server.index.server.webhook_sender.test(hooks.webhooks.find("builds"), "local:alice")

    assert (attempt.at, attempt.status, attempt.answer) == (START, 500, "***")
    assert len(hooks.receiver.asked) == 1
    assert b"T0PS3CRET" not in b"".join(hooks.index.snapshot().values())
    # a server without the variable says so
    other = hooks.index.opened(seed=77)
    failed = other.server.webhook_sender.test(hooks.webhooks.find("builds"), "local:alice")
    assert "WHEELYARD_WEBHOOK_BUILDS_URL" in failed.error
    del tmp_path
