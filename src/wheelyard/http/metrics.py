"""
`/metrics`: what this server has done so far, in the text form of Prometheus.

How long requests took, how long the store took for what, how often a bucket was asked in which
price class, and what the process itself takes. It tells nothing of packages, so whoever is on this
machine may read it where only this machine can reach the listener. Elsewhere, and through a proxy,
it needs the right to administer, or a token that opens nothing else.
"""

from hmac import compare_digest
from typing import Final

from wheelyard.errors import Forbidden, IndexFault, Unauthenticated
from wheelyard.http.auth import credential_in
from wheelyard.http.circumstances import is_forwarded
from wheelyard.http.desk import Desk
from wheelyard.http.exchange import NO_STORE, Reply, Request, reply
from wheelyard.http.observing import Observer
from wheelyard.model.access import Action
from wheelyard.settings.sections import Settings

CONTENT_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"
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


async def answer_metrics(request: Request, desk: Desk, observer: Observer) -> Reply:
    """
    Answer with the metrics as they are now.

    Raises:
        Unauthenticated: They are not for everybody.
        Forbidden: They are for administrators.
    """
    if not is_open_to(request, desk.index.settings):
        if request.caller.is_anonymous:
            raise Unauthenticated(f"The metrics are not for everybody. {HOW}")
        if not request.caller.may_everywhere(Action.ADMIN):
            raise Forbidden(f"{request.caller.who} may not read the metrics. {HOW}")
    # few are asked for their metrics, and nobody should wait for this at the start
    from wheelyard.http.exposition import exposed  # noqa: PLC0415

    body = await desk.threads.read(lambda: exposed(observer.figures_of_all()))
    return reply(200, CONTENT_TYPE, body, NO_STORE)
