"""
What the bucket's faults mean: which pass, how long one call is tried again, and what to tell.

Google's library would try for two minutes, ignore `Retry-After`, and not say whether an earlier try
may have been carried out. Here a call has a bounded time, every pause is jittered, and what is
ambiguous is remembered. A bucket that has not answered somebody for that long is left alone for a
moment, so that not everybody waits for it in turn.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from random import Random
from threading import Lock
from typing import Final, TypeVar

import requests
from google.api_core import exceptions as api
from google.auth import exceptions as auth
from google.cloud.storage import exceptions as storage

from wheelyard.concurrency.runtime import backoff_pauses
from wheelyard.errors import Unavailable
from wheelyard.storage.base import STORAGE_DENIED
from wheelyard.storage.gcs.location import BucketLocation

T = TypeVar("T")

STORAGE_CREDENTIALS: Final = "storage_credentials"
READ_PERMISSION: Final = "storage.objects.get"
"""The permission of a call that may miss an object."""
TOO_MANY_REQUESTS: Final = 429
TRANSIENT_STATUSES: Final = frozenset({408, 429, 500, 502, 503, 504})
"""Statuses that may be another one a moment later."""
OUTAGE_STATUSES: Final = frozenset({500, 502, 503, 504})
"""Statuses that say, when they last, that the bucket is out of order."""
REJECTED_STATUSES: Final = frozenset(range(400, 500)) - {404, 408}
"""Statuses that say that the request itself is wrong."""
CONNECTION_ERRORS: Final = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ContentDecodingError,
    auth.TransportError,
    ConnectionError,
    TimeoutError,
)
"""The bucket, or whoever gives out tokens for it, did not answer, or not to the end."""
GOOGLE_ERRORS: Final = (
    api.GoogleAPIError,
    auth.GoogleAuthError,
    requests.RequestException,
    storage.DataCorruption,
    storage.InvalidResponse,
    ConnectionError,
    TimeoutError,
)
"""Everything that a call of the libraries may raise."""

FIRST_PAUSE_SECONDS: Final = 0.2
MAX_PAUSE_SECONDS: Final = 4.0
"""Seconds between two tries, at most; drawn at random up to a limit that doubles each time."""
READ_RETRY_SECONDS: Final = 8.0
"""Seconds after which a read is not begun again: an installer waits for 15."""
WRITE_RETRY_SECONDS: Final = 20.0
"""Seconds after which a write, or a piece of a large one, is not begun again."""
COOL_DOWN_SECONDS: Final = 2.0
"""Seconds that a bucket which did not answer is left alone."""
PROBE_WINDOW_SECONDS: Final = 15.0
"""Seconds that the one who asks next has to find out."""
PROBE_RETRY_SECONDS: Final = 2.0
"""Seconds after which that one does not try again, as others may wait."""

LOG_IN_HINT: Final = (
    "Run 'gcloud auth application-default login', or name a service account's key file in "
    "GOOGLE_APPLICATION_CREDENTIALS."
)
_PERMISSION: Final = re.compile(r"\bstorage\.[a-z]+\.[a-zA-Z]+\b")


class CircuitOpen(ConnectionError):
    """The bucket has not answered others just now, so it was not asked."""


@dataclass(slots=True)
class CircuitBreaker:
    """Knows whether the bucket has answered lately."""

    monotonic: Callable[[], float]
    _silent_until: float = 0.0
    _lock: Lock = field(default_factory=Lock)

    @property
    def is_open(self) -> bool:
        """Whether the bucket has left somebody without an answer, and answered nobody since."""
        return bool(self._silent_until)

    def check(self, *, is_probe: bool = False) -> bool:
        """
        Return whether the caller asks for all, after a rest; raise SilentBucket if nobody may ask.

        Who `is_probe` already, and tries again, may always ask.
        """
        if is_probe or not self._silent_until:
            return is_probe
        with self._lock:
            now = self.monotonic()
            if now < self._silent_until:
                raise CircuitOpen
            if self._silent_until:
                self._silent_until = now + PROBE_WINDOW_SECONDS
                return True
        return False

    def record_success(self) -> None:
        """Say that the bucket has answered."""
        self._silent_until = 0.0

    def silence(self) -> None:
        """Say that it has not, for as long as somebody was ready to wait."""
        with self._lock:
            self._silent_until = self.monotonic() + COOL_DOWN_SECONDS


@dataclass(frozen=True, slots=True)
class RetryEnvironment:
    """What every retry of a store shares."""

    monotonic: Callable[[], float]
    pause: Callable[[float], None]
    random: Random
    breaker: CircuitBreaker

    def backoff_pauses(self) -> Iterator[float]:
        """Yield the seconds to wait before each further try."""
        return backoff_pauses(self.random, FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS)

    def attempts(self, most: int) -> Iterator[int]:
        """Yield 0, 1, 2 and so on, with a growing pause before each but the first."""
        waits = self.backoff_pauses()
        for attempt in range(most):
            if attempt:
                self.pause(next(waits))
            yield attempt


@dataclass(slots=True, kw_only=True)
class RetryPolicy:
    """
    The tries of one verb.

    It has the shape of the library's own retry objects: called with a function, it returns one that
    tries again.
    """

    retry_env: RetryEnvironment
    retry_seconds: float
    retries_rate_limit: bool = True
    ignores_circuit: bool = False
    """Whether a bucket that is being left alone is asked all the same."""
    may_have_succeeded: bool = False
    """Whether a try that failed may nevertheless have been carried out."""

    def __call__(self, call: Callable[[], T]) -> Callable[[], T]:
        """Return `call`, tried again where that may help."""
        return partial(self.run, call)

    def run(self, call: Callable[[], T]) -> T:
        """Return what `call` returns, at last; raises what the last try raised."""
        begun = self.retry_env.monotonic()
        waits, is_probe = self.retry_env.backoff_pauses(), False
        while True:
            is_probe = self.retry_env.breaker.check(is_probe=is_probe or self.ignores_circuit)
            end = begun + (PROBE_RETRY_SECONDS if is_probe else self.retry_seconds)
            try:
                result = call()
            except GOOGLE_ERRORS as error:
                self._wait_or_raise(error, end, waits)
            else:
                self.retry_env.breaker.record_success()
                return result

    def _wait_or_raise(self, error: Exception, end: float, waits: Iterator[float]) -> None:
        status, is_silence = status_of(error), isinstance(error, CONNECTION_ERRORS)
        is_away = is_silence or status in OUTAGE_STATUSES
        if not is_away and status:
            self.retry_env.breaker.record_success()
        is_passing = (
            is_silence or status in TRANSIENT_STATUSES or isinstance(error, storage.DataCorruption)
        )
        if is_passing and status != TOO_MANY_REQUESTS:
            self.may_have_succeeded = True
        if not is_passing:
            raise error
        if status == TOO_MANY_REQUESTS and not self.retries_rate_limit:
            self.retry_env.pause(min(retry_after(error), MAX_PAUSE_SECONDS))
            raise error
        wait = next(waits) + retry_after(error)
        if self.retry_env.monotonic() + wait >= end:
            if is_away:
                self.retry_env.breaker.silence()
            raise error
        self.retry_env.pause(wait)


def status_of(error: BaseException) -> int:
    """Return the HTTP status that a fault stands for; 0 where there was no answer."""
    if isinstance(error, api.GoogleAPICallError):
        return int(error.code or 0)
    if isinstance(error, storage.InvalidResponse):
        return int(error.response.status_code)
    return 0


def retry_after(error: BaseException) -> float:
    """Return the seconds that an answer asks to wait; 0 where it asks for none."""
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    text = headers.get("Retry-After", "")
    # the other form, a date, is of no use to a program that waits for seconds
    return float(text) if text.isascii() and text.isdigit() else 0.0


def is_missing_bucket(error: BaseException) -> bool:
    """Return whether "not found" is about the bucket, and not about an object in it."""
    return "bucket does not exist" in str(error)


@contextmanager
def bucket_faults(
    place: BucketLocation,
    permission: str,
    log_fault: Callable[[Unavailable], None] = lambda _: None,
) -> Iterator[None]:
    """
    Raise Unavailable for whatever Google's libraries raise inside.

    Args:
        place: The bucket.
        permission: What the calls inside need.
        log_fault: Called with the fault, unless the circuit was open.
    """
    try:
        yield
    except GOOGLE_ERRORS as error:
        fault = unavailable(error, place, permission)
        if not isinstance(error, CircuitOpen):
            log_fault(fault)
        raise fault from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        # what the library says when it is answered by something that is no bucket
        nonsense = requests.ConnectionError("this is no answer of a bucket")
        raise unavailable(nonsense, place, permission) from error


def unavailable(error: BaseException, place: BucketLocation, permission: str) -> Unavailable:
    """
    Return the fault that tells an operator what is wrong, and what to do about it.

    An answer that names another permission than the one that the call needs is believed.
    """
    status, bucket = status_of(error), f"gs://{place.bucket}"
    if isinstance(error, auth.TransportError):
        fault = _silent(f"Google gives out no token for {bucket}: its servers do not answer.")
    elif status == requests.codes.unauthorized or isinstance(error, auth.GoogleAuthError):
        fault = Unavailable(
            f"The Google credentials for {bucket} are not accepted: they are expired, revoked or "
            f"incomplete. {LOG_IN_HINT}",
            code=STORAGE_CREDENTIALS,
            short="The store's credentials are not accepted.",
        )
    elif status == requests.codes.forbidden:
        named = _PERMISSION.search(str(error))
        fault = _denied(bucket, named[0] if named else permission)
    elif is_missing_bucket(error) or (
        status == requests.codes.not_found and permission != READ_PERMISSION
    ):
        fault = _no_bucket(bucket)  # an object that is missing is missed by readers alone
    elif status == TOO_MANY_REQUESTS:
        fault = Unavailable(
            f"The bucket {bucket} takes no more requests for the moment. Try again later.",
            code="overloaded",
            short="Too many writers at once.",
        )
    elif isinstance(error, storage.DataCorruption):
        fault = _silent(f"What came from {bucket}, or went there, was damaged on the way.")
    else:
        fault = _answered(bucket, status)
    return fault


def no_credentials(place: BucketLocation, *, is_file: bool) -> Unavailable:
    """
    Return the fault for a process that has no Google identity at all.

    What the library says is not repeated: it may quote a whole key file.
    """
    why = "the file that should have them is none, or cannot be read" if is_file else "none found"
    return Unavailable(
        f"There are no Google credentials for gs://{place.bucket} ({why}). {LOG_IN_HINT}",
        code=STORAGE_CREDENTIALS,
        short="There are no credentials for the store.",
    )


def _denied(bucket: str, permission: str) -> Unavailable:
    return Unavailable(
        f"These credentials lack the permission {permission} on {bucket}. Grant them "
        "roles/storage.objectUser there (roles/storage.objectViewer is enough for reading).",
        code=STORAGE_DENIED,
        short=f"The server lacks the permission {permission}.",
    )


def _no_bucket(bucket: str) -> Unavailable:
    return Unavailable(
        f"There is no bucket {bucket}, or these credentials may not see it (storage.objects.list "
        "is what they need). Check the name, or create it.",
        code="bucket_missing",
        short="The store's bucket is missing.",
    )


def _answered(bucket: str, status: int) -> Unavailable:
    if not status:
        return _silent(f"The bucket {bucket} does not answer.")
    if status not in REJECTED_STATUSES:
        return _silent(f"The bucket {bucket} answers with status {status}.")
    return Unavailable(
        f"The bucket {bucket} refuses a request with status {status}, and would refuse it again. "
        "Check whether a proxy or an emulator stands between this machine and Cloud Storage; if "
        "none does, update wheelyard, or report it.",
        code="storage_refused",
        short="The store refuses a request.",
    )


def _silent(what: str) -> Unavailable:
    return Unavailable(f"{what} Try again in a moment.", short="Storage is not available.")
