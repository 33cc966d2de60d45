"""Translation of the exceptions of Google's libraries into `Unavailable`, with advice."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import requests
from google.api_core import exceptions as api
from google.auth import exceptions as auth
from google.cloud.storage import exceptions as storage

from wheelyard.errors import RETRY_AFTER_SECONDS, Unavailable
from wheelyard.storage.base import STORAGE_DENIED
from wheelyard.storage.circuit_breaker import CircuitOpen
from wheelyard.storage.location import BucketLocation

STORAGE_CREDENTIALS: Final = "storage_credentials"
"""The error code for Google credentials that are missing or not accepted."""
READ_PERMISSION: Final = "storage.objects.get"
"""The IAM permission of the calls for which a missing object is a usual answer."""
TOO_MANY_REQUESTS: Final = 429
REJECTED_STATUSES: Final = frozenset(range(400, 500)) - {404, 408}
"""HTTP statuses that would come again if the same request were sent again."""
CONNECTION_ERRORS: Final = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ContentDecodingError,
    auth.TransportError,
    ConnectionError,
    TimeoutError,
)
"""Exceptions for a missing or incomplete answer, of the bucket or of Google's token server."""
GOOGLE_ERRORS: Final = (
    api.GoogleAPIError,
    auth.GoogleAuthError,
    requests.RequestException,
    storage.DataCorruption,
    storage.InvalidResponse,
    ConnectionError,
    TimeoutError,
)
"""All exceptions that a call of Google's libraries may raise."""
LOG_IN_HINT: Final = (
    "Run 'gcloud auth application-default login', or name a service account's key file in "
    "GOOGLE_APPLICATION_CREDENTIALS."
)
_PERMISSION: Final = re.compile(r"\bstorage\.[a-z]+\.[a-zA-Z]+\b")


def status_of(error: BaseException) -> int:
    """Return the HTTP status of an error of Google's libraries; 0 if it has none."""
    if isinstance(error, api.GoogleAPICallError):
        return int(error.code or 0)
    if isinstance(error, storage.InvalidResponse):
        return int(error.response.status_code)
    return 0


def retry_after(error: BaseException) -> float:
    """Return the seconds in the `Retry-After` header of an error's response; else 0."""
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    text = headers.get("Retry-After", "")
    # the header may be a date, which is ignored
    return float(text) if text.isascii() and text.isdigit() else 0.0


def is_missing_bucket(error: BaseException) -> bool:
    """Return whether a "not found" error is about the bucket, not about an object in it."""
    return "bucket does not exist" in str(error)


@contextmanager
def bucket_faults(
    location: BucketLocation,
    permission: str,
    log_fault: Callable[[Unavailable], None] = lambda _: None,
) -> Iterator[None]:
    """
    Turn every exception of Google's libraries in the block into Unavailable.

    `permission` is the IAM permission that the block's calls need. `log_fault` is called with the
    Unavailable, unless the circuit was open.
    """
    try:
        yield
    except GOOGLE_ERRORS as error:
        fault = unavailable(error, location, permission)
        if not isinstance(error, CircuitOpen):
            log_fault(fault)
        raise fault from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        # the library raises these if something else than Cloud Storage has answered
        malformed = requests.ConnectionError("the answer is not from Cloud Storage")
        raise unavailable(malformed, location, permission) from error


def unavailable(error: BaseException, location: BucketLocation, permission: str) -> Unavailable:
    """
    Return the Unavailable for an error of a bucket: what is wrong, and what an operator can do.

    If a permission is missing, the message has the one in the bucket's answer, else `permission`.
    """
    status, bucket = status_of(error), f"gs://{location.bucket}"
    if isinstance(error, auth.TransportError):
        fault = _no_answer(f"Google gives out no token for {bucket}: its servers do not answer.")
    elif status == requests.codes.unauthorized or isinstance(error, auth.GoogleAuthError):
        fault = Unavailable(
            f"The Google credentials for {bucket} are not accepted: they are expired, revoked or "
            f"incomplete. {LOG_IN_HINT}",
            code=STORAGE_CREDENTIALS,
            short="The store's credentials are not accepted.",
        )
    elif status == requests.codes.forbidden:
        named = _PERMISSION.search(str(error))
        permission = named[0] if named else permission
        fault = Unavailable(
            f"These credentials lack the permission {permission} on {bucket}. Grant them "
            "roles/storage.objectUser there (roles/storage.objectViewer is enough for reading).",
            code=STORAGE_DENIED,
            short=f"The server lacks the permission {permission}.",
        )
    elif is_missing_bucket(error) or (
        status == requests.codes.not_found and permission != READ_PERMISSION
    ):
        # for other calls than reads, "not found" is never about an object
        fault = Unavailable(
            f"There is no bucket {bucket}, or these credentials may not see it "
            "(storage.objects.list is what they need). Check the name, or create it.",
            code="bucket_missing",
            short="The store's bucket is missing.",
        )
    elif status == TOO_MANY_REQUESTS:
        fault = Unavailable(
            f"The bucket {bucket} takes no more requests for the moment.",
            code="overloaded",
            short="Too many writers at once.",
            retry_after=RETRY_AFTER_SECONDS,
        )
    elif isinstance(error, storage.DataCorruption):
        fault = _no_answer(f"What came from {bucket}, or went there, was damaged on the way.")
    else:
        fault = _unexpected_status(bucket, status)
    return fault


def no_credentials(location: BucketLocation, *, is_file: bool) -> Unavailable:
    """
    Return the Unavailable for missing Google credentials; `is_file`: a file should have had them.

    The message of Google's library is left out: it may quote a whole key file.
    """
    why = "their file cannot be read, or is malformed" if is_file else "none found"
    return Unavailable(
        f"There are no Google credentials for gs://{location.bucket} ({why}). {LOG_IN_HINT}",
        code=STORAGE_CREDENTIALS,
        short="There are no credentials for the store.",
    )


def _unexpected_status(bucket: str, status: int) -> Unavailable:
    if not status:
        return _no_answer(f"The bucket {bucket} does not answer.")
    if status not in REJECTED_STATUSES:
        return _no_answer(f"The bucket {bucket} answers with status {status}.")
    return Unavailable(
        f"The bucket {bucket} refuses a request with status {status}, and would refuse it again. "
        "Check whether a proxy or an emulator stands between this machine and Cloud Storage; if "
        "none does, update wheelyard, or report it.",
        code="storage_refused",
        short="The store refuses a request.",
    )


def _no_answer(what: str) -> Unavailable:
    short = "Storage is not available."
    return Unavailable(what, short=short, retry_after=RETRY_AFTER_SECONDS)
