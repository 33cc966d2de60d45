"""Exceptions of Google's libraries, as failures."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import requests
from google.api_core import exceptions as api
from google.auth import exceptions as auth
from google.cloud.storage import exceptions as storage
from urllib3.exceptions import HTTPError

from wheelyard.storage.failures import Failure, FailureKind, kind_of_status

GOOGLE_ERRORS: Final = (
    api.GoogleAPIError,
    auth.GoogleAuthError,
    requests.RequestException,
    storage.DataCorruption,
    storage.InvalidResponse,
    HTTPError,
    ConnectionError,
    TimeoutError,
)
"""All exceptions that a call of Google's libraries may raise."""
_PERMISSION: Final = re.compile(r"\bstorage\.[a-z]+\.[a-zA-Z]+\b")


@contextmanager
def google_failures() -> Iterator[None]:
    """Turn every exception of Google's libraries in the block into a Failure."""
    try:
        yield
    except GOOGLE_ERRORS as error:
        raise failure_of(error) from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        # the library raises these if something else than Cloud Storage has answered
        raise Failure(FailureKind.UNCLEAR, 200, "as Cloud Storage never does") from error


def failure_of(error: Exception) -> Failure:
    """Return what an exception of Google's libraries says."""
    if isinstance(error, auth.TransportError):
        return Failure(FailureKind.NO_TOKEN)
    if isinstance(error, auth.GoogleAuthError):
        return Failure(FailureKind.BAD_CREDENTIALS)
    if isinstance(error, storage.DataCorruption):
        return damaged()
    response = getattr(error, "response", None)
    return Failure(FailureKind.UNCLEAR) if response is None else failure_of_response(response)


def damaged() -> Failure:
    """Return the failure for bytes that have another checksum than the bucket says."""
    return Failure(FailureKind.UNCLEAR, 200, "and damaged bytes")


def failure_of_response(response: requests.Response) -> Failure:
    """Return what an answer says that is an error."""
    status, text = response.status_code, response.text[:1000]
    kind = kind_of_status(status)
    if kind is FailureKind.ABSENT and "bucket does not exist" in text:
        kind = FailureKind.NO_BUCKET
    permission, wait = _PERMISSION.search(text), response.headers.get("Retry-After", "")
    return Failure(
        kind,
        status,
        right=permission[0] if permission else "",
        # the header may be a date, which is ignored
        retry_after=float(wait) if wait.isascii() and wait.isdigit() else 0.0,
    )
