"""Builds the dispatcher, which delivers messages to webhooks."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from wheelyard.model.webhook_messages import MessageUrls
from wheelyard.webhooks.delivery import DeliveryTools
from wheelyard.webhooks.dispatcher import LIST_SECONDS, LOOK_SECONDS, WebhookDispatcher
from wheelyard.webhooks.journal_messages import MessageSource
from wheelyard.webhooks.lease import DeliveryLease
from wheelyard.webhooks.package_news import FindWaiting

if TYPE_CHECKING:
    from wheelyard.wiring.server import Server


def build_dispatcher(server: "Server[Any]", find_waiting: FindWaiting) -> WebhookDispatcher:
    """
    Return the dispatcher of a server.

    `find_waiting` returns the requests for public packages that wait for a decision.
    """
    lease = DeliveryLease(server.stores.documents, server.runtime)
    tools = build_tools(server, find_waiting, lease.is_held_for)
    list_seconds = LIST_SECONDS
    # in a folder, a read costs nothing
    if server.is_local:
        list_seconds = LOOK_SECONDS
    return WebhookDispatcher(
        server.webhooks, tools, lease, server.runtime, server.committed, list_seconds
    )


def build_tools(
    server: "Server[Any]", find_waiting: FindWaiting, may_send: Callable[[float], bool]
) -> DeliveryTools:
    """
    Return what the deliveries of a server share.

    `may_send` returns whether this process alone may send for a number of seconds.
    """
    urls = MessageUrls(server.settings.base_url)
    return DeliveryTools(
        source=MessageSource(server.index_journals, server.access_journals, urls),
        sender=server.webhook_sender,
        states=server.catalog.webhook_states,
        runtime=server.runtime,
        may_send=may_send,
        find_waiting=find_waiting,
        metrics=server.webhook_metrics,
    )
