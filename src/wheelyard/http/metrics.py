"""
`/metrics`: how often this process has asked the store what, in the text form of Prometheus.

It tells nothing of packages, so whoever is on this machine may read it where only this machine can
reach the listener. Elsewhere, and through a proxy, it needs the right to administer, or a token
that opens nothing else.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from hmac import compare_digest
from typing import TYPE_CHECKING, Final

from wheelyard.errors import Forbidden, IndexFault, Unauthenticated
from wheelyard.http.address import is_forwarded
from wheelyard.http.auth import credential_in
from wheelyard.http.desk import Desk
from wheelyard.http.exchange import NO_STORE, Reply, Request, reply
from wheelyard.http.routes import Metrics
from wheelyard.model.access import Action
from wheelyard.settings.sections import Settings
from wheelyard.storage.tally import Tally

if TYPE_CHECKING:
    from prometheus_client.core import CounterMetricFamily

CONTENT_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"
NAME: Final = "wheelyard_storage_operations"
"""Prometheus puts `_total` behind it."""
HELP: Final = (
    "Operations that this process has asked the store for, by kind, and by the class that a "
    "bucket bills them in."
)
HOW: Final = "Send the token that [access] metrics_token has, as Bearer or as a password."


def is_open_to(request: Request, settings: Settings) -> bool:
    """Return whether the metrics are for this request, whoever sends it."""
    server = settings.server
    if server.is_loopback and not server.trusted_proxies and not is_forwarded(request.headers):
        return True
    expected = settings.access.metrics_token.encode()
    header = request.headers.get(b"authorization")
    if header is None or not expected:
        return False
    try:
        given = tuple(credential_in(header).halves)
    except IndexFault:
        return False
    return any(compare_digest(secret.encode(), expected) for secret in given)


async def metrics_for(request: Request, route: Metrics, desk: Desk) -> Reply:
    """
    Answer a caller who has not given the token of the metrics.

    Raises:
        Unauthenticated: Nobody in particular asks.
        Forbidden: This caller may not administer.
    """
    del route
    if request.caller.is_anonymous:
        raise Unauthenticated(f"The metrics are not for everybody. {HOW}")
    if not request.caller.may_everywhere(Action.ADMIN):
        raise Forbidden(f"{request.caller.who} may not read the metrics. {HOW}")
    return await answer_metrics(desk)


async def answer_metrics(desk: Desk) -> Reply:
    """Answer with the metrics as they are now."""
    body = await desk.read(lambda: metrics_text(desk.index.tally))
    return reply(200, CONTENT_TYPE, body, NO_STORE)


def metrics_text(tally: Tally) -> bytes:
    """Return every operation so far as Prometheus reads it."""
    # few are asked for their metrics, and nobody should wait for this at the start
    from prometheus_client import CollectorRegistry, generate_latest  # noqa: PLC0415

    registry = CollectorRegistry()
    registry.register(_Operations(tally))
    return generate_latest(registry)


@dataclass(frozen=True, slots=True, eq=False)  # a registry keeps it by its identity
class _Operations:
    """A tally, as a collector of Prometheus."""

    tally: Tally

    def collect(self) -> "Iterator[CounterMetricFamily]":
        from prometheus_client.core import CounterMetricFamily  # noqa: PLC0415 - as above

        family = CounterMetricFamily(NAME, HELP, labels=("operation", "class"))
        for operation, count in sorted(self.tally.counts().items()):
            family.add_metric((operation.kind, operation.price_class), count)
        yield family
