"""Builds what delivers to webhooks."""

from typing import TYPE_CHECKING

from wheelyard.model.access import describe_principal
from wheelyard.model.webhook_messages import MessageUrls
from wheelyard.webhooks.delivery import DeliveryTools
from wheelyard.webhooks.dispatcher import LIST_SECONDS, LOOK_SECONDS, WebhookDispatcher
from wheelyard.webhooks.lease import DeliveryLease
from wheelyard.webhooks.messages import MessageSource
from wheelyard.webhooks.package_news import FindWaiting
from wheelyard.webhooks.sender import WebhookSender

if TYPE_CHECKING:
    from wheelyard.wiring.server import Server


def build_sender(server: "Server") -> WebhookSender:
    """Return what sends messages to webhooks."""
    records = server.authenticator.tokens.records

    def describe(principal: str) -> str:
        name = ""
        if principal.startswith("token:"):
            name = records.name_of(principal)
        return describe_principal(principal, name)

    return WebhookSender(
        server.webhooks.endpoints,
        server.settings.webhooks.allow_private_networks,
        MessageUrls(server.settings.base_url),
        server.runtime,
        describe,
    )


def build_dispatcher(server: "Server", find_waiting: FindWaiting) -> WebhookDispatcher:
    """Return what has webhooks told of what is new. `find_waiting` says which packages wait."""
    lease = DeliveryLease(server.stores.documents, server.runtime)
    tools = DeliveryTools(
        source=MessageSource(
            server.index_journals, server.access_journals, MessageUrls(server.settings.base_url)
        ),
        sender=server.webhook_sender,
        states=server.catalog.webhook_states,
        runtime=server.runtime,
        may_send=lease.is_held_for,
        find_waiting=find_waiting,
        metrics=server.webhook_metrics,
    )
    list_seconds = LIST_SECONDS
    if server.is_local:  # where a look costs nothing
        list_seconds = LOOK_SECONDS
    return WebhookDispatcher(
        server.webhooks, tools, lease, server.runtime, server.committed, list_seconds
    )
