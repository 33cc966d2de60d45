"""Finds the requests for public packages that a webhook has to be told of, once an hour."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

from wheelyard.model.package_requests import PackageRequest
from wheelyard.model.public_packages import DecisionList
from wheelyard.model.stored_webhooks import Webhook, WebhookEvent
from wheelyard.model.webhook_state import REQUESTS, WebhookState

REQUESTS_EVERY: Final = timedelta(hours=1)
"""The least time from one message about requests to the next."""


class WaitingPackages(Struct, frozen=True):
    """The requests that wait for a decision, and the decisions that were made before."""

    requests: Sequence[PackageRequest]
    decisions: DecisionList


FindWaiting = Callable[[], WaitingPackages | None]
"""Returns the requests that wait for a decision, or None without an upstream index."""


class PackageNews(Struct, frozen=True):
    """The content of the next message about requests, and what is remembered of them."""

    requests: tuple[PackageRequest, ...]
    """The new requests, which the message is about."""
    waiting: int
    """How many requests wait for a decision in all."""
    announced: dict[str, datetime]
    """By `_request_key`: when a message has told of each request, with this message."""


def find_news(
    webhook: Webhook, state: WebhookState, find_waiting: FindWaiting, now: datetime
) -> PackageNews | None:
    """
    Return the requests that a message is due about, or None if no message is due.

    No message is due within an hour of the last one, while the last one is not delivered, without
    new requests, or if the webhook is not told of requests. Raises what `find_waiting` raises.
    """
    if WebhookEvent.PACKAGE_REQUESTED not in webhook.events:
        return None
    is_last_message_waiting = REQUESTS in state.waiting
    if is_last_message_waiting:
        return None
    last_message_at = state.last_request_at
    if last_message_at is not None and now - last_message_at < REQUESTS_EVERY:
        return None
    waiting_packages = find_waiting()
    if waiting_packages is None:
        return None
    new_requests = list[PackageRequest]()
    announced = dict[str, datetime]()
    for request in waiting_packages.requests:
        key = _request_key(request)
        announced_at = _announced_at(webhook, request, state.announced)
        project_decisions = waiting_packages.decisions.for_project(request.project)
        if request.is_new(project_decisions, announced_at):
            new_requests.append(request)
            announced[key] = now
        elif key in state.announced:
            # requests that do not wait any more are forgotten
            announced[key] = state.announced[key]
    if not new_requests:
        return None
    return PackageNews(tuple(new_requests), len(waiting_packages.requests), announced)


def _announced_at(
    webhook: Webhook, request: PackageRequest, announced: Mapping[str, datetime]
) -> datetime | None:
    """
    Return when the webhook was told of a request, or None if it was not.

    For a request that is older than the webhook, return when the webhook was added.
    """
    announced_at = announced.get(_request_key(request))
    # a webhook begins with what happens after it was added
    if announced_at is None and request.first <= webhook.created:
        return webhook.created
    return announced_at


def _request_key(request: PackageRequest) -> str:
    """Return the key of a request in the state of a webhook: `PROJECT VERSION` or `PROJECT`."""
    project, version = request.key
    return f"{project} {version}".rstrip()
