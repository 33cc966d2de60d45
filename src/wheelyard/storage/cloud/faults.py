"""Turns what Google's libraries raise into the storage contract's own words."""

import re
from typing import Final

import requests
from google.api_core import exceptions as api
from google.auth import exceptions as auth
from google.cloud.storage import exceptions as storage

from wheelyard.errors import Unavailable
from wheelyard.storage.cloud.location import BucketLocation
from wheelyard.storage.faults import DENIED

CREDENTIALS: Final = "storage_credentials"
NO_BUCKET: Final = "bucket_missing"
READ: Final = "storage.objects.get"
"""The permission of a call that may miss an object."""
REFUSED: Final = "storage_refused"
SILENT: Final = "storage_unavailable"
REFUSALS: Final = frozenset(range(400, 500)) - {404, 408}
"""Statuses that say that the request itself is wrong, where no other one is known to say more."""

GOOGLE_FAULTS: Final = (
    api.GoogleAPIError,
    auth.GoogleAuthError,
    requests.RequestException,
    storage.DataCorruption,
    storage.InvalidResponse,
    ConnectionError,
    TimeoutError,
)
"""Everything that a call of the libraries may raise."""

_PERMISSION: Final = re.compile(r"\bstorage\.[a-z]+\.[a-zA-Z]+\b")
_NO_BUCKET: Final = "bucket does not exist"

SILENCE: Final = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ContentDecodingError,
    auth.TransportError,
    ConnectionError,
    TimeoutError,
)
"""The bucket, or whoever gives out tokens for it, did not answer, or not to the end."""


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
    return _NO_BUCKET in str(error)


def unavailable(error: BaseException, place: BucketLocation, permission: str) -> Unavailable:
    """
    Return the fault that tells an operator what is wrong, and what to do about it.

    Args:
        error: What was raised.
        place: The bucket.
        permission: What the call needs; an answer that names another one is believed.
    """
    status, bucket = status_of(error), f"gs://{place.bucket}"
    if isinstance(error, auth.TransportError):
        fault = _silent(f"Google gives out no token for {bucket}: its servers do not answer.")
    elif status == requests.codes.unauthorized or isinstance(error, auth.GoogleAuthError):
        fault = _not_accepted(bucket)
    elif status == requests.codes.forbidden:
        named = _PERMISSION.search(str(error))
        fault = _denied(bucket, named[0] if named else permission)
    elif is_missing_bucket(error) or (status == requests.codes.not_found and permission != READ):
        fault = _no_bucket(bucket)  # an object that is missing is missed by readers alone
    elif status == requests.codes.too_many_requests:
        fault = _too_often(bucket)
    elif isinstance(error, storage.DataCorruption):
        fault = _silent(f"What came from {bucket}, or went there, was damaged on the way.")
    elif status:
        fault = _answered(bucket, status)
    else:
        fault = _silent(f"The bucket {bucket} does not answer.")
    return fault


def no_credentials(place: BucketLocation, *, is_file: bool) -> Unavailable:
    """
    Return the fault for a process that has no Google identity at all.

    What the library says is not repeated: it may quote a whole key file.

    Args:
        place: The bucket.
        is_file: Whether there is a file that should have them, and has not.
    """
    why = "the file that should have them is none, or cannot be read" if is_file else "none found"
    return Unavailable(
        f"There are no Google credentials for gs://{place.bucket} ({why}). Run 'gcloud auth "
        "application-default login', or name a service account's key file in "
        "GOOGLE_APPLICATION_CREDENTIALS.",
        code=CREDENTIALS,
        short="There are no credentials for the store.",
    )


def _not_accepted(bucket: str) -> Unavailable:
    return Unavailable(
        f"The Google credentials for {bucket} are not accepted: they are expired, revoked or "
        "incomplete. Run 'gcloud auth application-default login', or name a service account's key "
        "file in GOOGLE_APPLICATION_CREDENTIALS.",
        code=CREDENTIALS,
        short="The store's credentials are not accepted.",
    )


def _denied(bucket: str, permission: str) -> Unavailable:
    return Unavailable(
        f"These credentials lack the permission {permission} on {bucket}. Grant them "
        "roles/storage.objectUser there (roles/storage.objectViewer is enough for reading).",
        code=DENIED,
        short=f"The server lacks the permission {permission}.",
    )


def _no_bucket(bucket: str) -> Unavailable:
    return Unavailable(
        f"There is no bucket {bucket}, or these credentials may not see it (storage.objects.list "
        "is what they need). Check the name, or create it.",
        code=NO_BUCKET,
        short="The store's bucket is missing.",
    )


def _too_often(bucket: str) -> Unavailable:
    return Unavailable(
        f"The bucket {bucket} takes no more requests for the moment. Try again later.",
        code="overloaded",
        short="Too many writers at once.",
    )


def _answered(bucket: str, status: int) -> Unavailable:
    if status not in REFUSALS:
        return _silent(f"The bucket {bucket} answers with status {status}.")
    return Unavailable(
        f"The bucket {bucket} refuses a request with status {status}, and would refuse it again. "
        "Check whether a proxy or an emulator stands between this machine and Cloud Storage; if "
        "none does, update wheelyard, or report it.",
        code=REFUSED,
        short="The store refuses a request.",
    )


def _silent(what: str) -> Unavailable:
    return Unavailable(
        f"{what} Try again in a moment.", code=SILENT, short="Storage is not available."
    )
