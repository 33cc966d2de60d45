"""Requests for public packages of which no message has told: one message of all, once an hour."""

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
    """What waits for a decision, and what was decided before."""

    requests: Sequence[PackageRequest]
    decided: DecisionList


FindWaiting = Callable[[], WaitingPackages | None]
"""Returns what waits for a decision, or None without an upstream index."""


class PackageNews(Struct, frozen=True):
    """Requests that a message is due about."""

    requests: tuple[PackageRequest, ...]
    """The new ones."""
    waiting: int
    """How many wait in all."""
    announced: dict[str, datetime]
    """When a message has told of each request that waits, once this one is made."""


def find_news(
    webhook: Webhook, state: WebhookState, find_waiting: FindWaiting, now: datetime
) -> PackageNews | None:
    """
    Return what a message about requests is due about, or None if none is due.

    None is due within an hour of the last one, while that waits, or if the webhook is not told of
    requests. Raises what `find_waiting` raises.
    """
    if WebhookEvent.PACKAGE_REQUESTED not in webhook.events or REQUESTS in state.waiting:
        return None
    last = state.last_request_at
    if last is not None and now - last < REQUESTS_EVERY:
        return None
    waiting = find_waiting()
    if waiting is None:
        return None
    news = list[PackageRequest]()
    announced = dict[str, datetime]()
    for request in waiting.requests:
        key = _request_key(request)
        announced_at = _announced_at(webhook, request, state.announced)
        if request.is_new(waiting.decided.for_project(request.project), announced_at):
            news.append(request)
            announced[key] = now
        elif key in state.announced:
            # of requests that do not wait any more, nothing is kept
            announced[key] = state.announced[key]
    if not news:
        return None
    return PackageNews(tuple(news), len(waiting.requests), announced)


def _announced_at(
    webhook: Webhook, request: PackageRequest, announced: Mapping[str, datetime]
) -> datetime | None:
    """Return when the webhook was told of a request, or None if it has to be."""
    announced_at = announced.get(_request_key(request))
    # a webhook begins with what happens after it was added
    if announced_at is None and request.first <= webhook.created:
        return webhook.created
    return announced_at


def _request_key(request: PackageRequest) -> str:
    """Return what stands for a request in the state of a webhook."""
    project, version = request.key
    return f"{project} {version}".rstrip()
