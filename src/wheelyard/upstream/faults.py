"""What clients are told when an upstream index gives no answer, or none that can be used."""

from http import HTTPStatus
from math import ceil
from typing import Final

from packaging.utils import NormalizedName

from wheelyard.errors import BAD_UPSTREAM, UPSTREAM_UNAVAILABLE, UPSTREAM_UNPROVEN, Unavailable
from wheelyard.http_client.address_policy import FetchError
from wheelyard.upstream.config import UpstreamServer

OUTAGE_SECONDS: Final = 2
"""Seconds after which a client may try again; pip does so five times before it says anything."""
MAX_TOLD_PAUSE_SECONDS: Final = 30
"""Longest pause, in seconds, that an upstream index wants and that a client is told of."""


def is_outage(fault: FetchError) -> bool:
    """Return whether an upstream has not answered, so that it may answer later."""
    busy = fault.status == HTTPStatus.TOO_MANY_REQUESTS
    is_broken = fault.status >= HTTPStatus.INTERNAL_SERVER_ERROR
    return fault.is_transient or fault.is_unreachable or busy or is_broken


def unanswered(label: str, name: NormalizedName, fault: FetchError) -> Unavailable:
    """Return the error for a request about a project that an upstream index has not answered."""
    if is_outage(fault):
        wait = min(ceil(fault.wait), MAX_TOLD_PAUSE_SECONDS) or OUTAGE_SECONDS
        return Unavailable(
            f"The upstream index {label} does not say what it has of {name}: {fault.why}.",
            code=UPSTREAM_UNAVAILABLE,
            retry_after=wait,
        )
    return Unavailable(
        f"What the upstream index {label} answers about {name} cannot be used: {fault.why}. Tell "
        "the operator of this index.",
        code=BAD_UPSTREAM,
    )


def unproven(server: UpstreamServer, why: str) -> Unavailable:
    """Return the error for a new name that only an index without a proof says is free."""
    return Unavailable(
        f"{not_proven(server, why)}. Until then no new name can be uploaded, as it may be public; "
        "one that matches upstream.private can.",
        code=UPSTREAM_UNPROVEN,
    )


def not_proven(server: UpstreamServer, why: str) -> str:
    """Return why an index is not proven to be one, and what to do, without a full stop."""
    return (
        f"{server.url.redacted} of the upstream index {server.label} has not shown that it is an "
        f"index: {why}. Correct the url; if it is right, open one page of it first, as 'wheelyard "
        "upstream why PROJECT' does"
    )


def is_offline(what: str) -> Unavailable:
    """Return the error for a project or a file that would need a connection, which is forbidden."""
    return Unavailable(
        f"This index opens no connection to others (upstream.offline), and {what} is not in it. "
        "Ask the operator to bring it, with 'wheelyard upstream prefetch' where there is a "
        "connection.",
        code=UPSTREAM_UNAVAILABLE,
    )
