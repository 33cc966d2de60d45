"""Retries of requests after transient failures, with pauses."""

from collections.abc import Callable
from itertools import islice
from typing import Final, TypeVar

from wheelyard.concurrency.runtime import Runtime, backoff_pauses
from wheelyard.http_client.address_policy import FetchError
from wheelyard.http_client.client import ClientResponse

MAX_ATTEMPTS: Final = 5
FIRST_PAUSE, MAX_PAUSE = 0.5, 8.0
MAX_RETRY_AFTER_SECONDS: Final = 60.0
"""Longest pause, in seconds, that a Retry-After header can ask for."""
TRANSIENT_STATUSES: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP statuses after which a request is retried."""

T = TypeVar("T")


def with_retries(call: Callable[[], T], runtime: Runtime, attempts: int = MAX_ATTEMPTS) -> T:
    """Return the result of `call`; after a transient FetchError, pause and call it again."""
    waits = backoff_pauses(runtime.random, FIRST_PAUSE, MAX_PAUSE, at_least=0.5)
    waits = islice(waits, attempts - 1)
    while True:
        try:
            return call()
        except FetchError as fault:
            pause = next(waits, None)
            if pause is None or not fault.is_transient:
                raise
            runtime.pause(max(min(fault.wait, MAX_RETRY_AFTER_SECONDS), pause))


def status_error(response: ClientResponse) -> FetchError:
    """Return the FetchError for a response whose status is an error."""
    text = response.headers.get("retry-after", "")
    wait = float(text) if text.isascii() and text.isdigit() and text else 0.0
    return FetchError(
        f"it answers with status {response.status}",
        status=response.status,
        is_transient=response.status in TRANSIENT_STATUSES,
        wait=wait,
    )
