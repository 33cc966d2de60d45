"""
Errors of obstore as failures, and whether a bucket keeps the conditions of writes.

Some services that speak S3 ignore `If-Match`, so that one writer would silently undo what another
wrote; some refuse every `If-Match`, so that nothing could ever be changed.

obstore has few classes of errors, and the status and the code of an answer only within a text. That
text may contain a secret, so no exception that leaves this package refers to it.
"""

import re
from threading import Lock
from typing import TYPE_CHECKING, Final

from obstore import exceptions as obstore

from wheelyard.errors import Unavailable
from wheelyard.storage.base import ABSENT, Key, ObjectVersion
from wheelyard.storage.bucket_store import WRITE_RETRY_SECONDS
from wheelyard.storage.failures import (
    DELETE,
    NOT_IMPLEMENTED,
    SERVER_ERROR,
    TRANSIENT,
    Failure,
    FailureKind,
    kind_of_status,
)

if TYPE_CHECKING:
    from wheelyard.storage.objects.store import ObjectStore


STRANGE: Final = ObjectVersion("0123456789abcdef0123456789abcdef")
"""The ETag of no object here."""
NOT_KEPT: Final = "conditions_ignored"
"""The error code for a bucket that does not keep the conditions of writes."""


class ConditionCheck:
    """The check of one bucket, which any thread makes before the first write of a process."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._is_kept: bool | None = None

    def ensure(self, store: "ObjectStore") -> None:
        """
        Raise Unavailable (code `conditions_ignored`) unless the bucket keeps conditions.

        The bucket is asked once. After a lost answer it is asked again for some time, with another
        key. Raises Failure if that does not help, or after any other error: then the next write
        asks again.
        """
        if self._is_kept is None:
            with self._lock:
                if self._is_kept is None:
                    self._is_kept = store.repeat(WRITE_RETRY_SECONDS, self._ask, store)
        if not self._is_kept:
            raise Unavailable(
                f"The service of {store.location.root} does not keep the conditions of writes "
                "(If-None-Match and If-Match), so that writers would overwrite each other. Use a "
                "service that does, or a later version of it.",
                code=NOT_KEPT,
            )

    def _ask(self, store: "ObjectStore") -> bool:
        try:
            return self._try(store)
        except Failure as failure:
            if failure.status == NOT_IMPLEMENTED:  # what some say to a condition
                return False
            raise

    def _try(self, store: "ObjectStore") -> bool:
        key = store.name_of(Key(f"probe-{store.runtime.new_id()}"))
        try:
            version = store.write_once(key, b"1", ABSENT)
        except Failure as failure:
            if failure.kind in TRANSIENT:  # it may have been written
                _delete(store, key)
            raise
        try:
            return (
                _is_refused(store, key, b"2", ABSENT)
                and _is_refused(store, key, b"3", STRANGE)
                and not _is_refused(store, key, b"4", version)
            )
        finally:
            _delete(store, key)


def _delete(store: "ObjectStore", key: str) -> None:
    try:
        store.delete_once(key)
    except Failure as failure:
        if failure.kind is not FailureKind.ABSENT:
            failure.right = failure.right or DELETE.s3
            raise


def _is_refused(store: "ObjectStore", key: str, body: bytes, expect: ObjectVersion) -> bool:
    try:
        store.write_once(key, body, expect)
    except Failure as failure:
        # a service may answer 409 for what exists
        if failure.kind is FailureKind.CONFLICT or (
            failure.kind is FailureKind.BUSY and expect == ABSENT
        ):
            return True
        raise
    return False


OBSTORE_ERRORS: Final = (obstore.BaseError, OSError)
"""All exceptions that a request by obstore may raise; OSError for what does not exist."""
THROTTLED_PAUSE_SECONDS: Final = 1.0
"""The shortest pause after a service has asked for fewer requests; obstore hides for how long."""

_ANSWER: Final = re.compile(r"non-2xx status code: (\d{3})|\(code: (\d{3})\)")
_CODE: Final = re.compile(r"<Code>\s*(\w+)\s*</Code>|\"(?:code|error)\":\s*\"(\w+)\"")
_RIGHT: Final = re.compile(r"not authorized to perform: ([a-z0-9-]+:\w+)")
_LOGIN: Final = re.compile(
    r"Error performing (?:GET|PUT|POST) \S*(?:/latest/api/token|/latest/meta-data|/oauth2/|/token\?"
    r"|//sts[.-]|Action=AssumeRole|169\.254\.170\.)"
)
"""A request for credentials, not to the bucket."""
_KINDS: Final = {
    FailureKind.NO_BUCKET: "NoSuchBucket ContainerNotFound ContainerBeingDeleted ContainerDisabled",
    FailureKind.ABSENT: "NoSuchKey BlobNotFound",
    FailureKind.CONFLICT: "PreconditionFailed ConditionNotMet BlobAlreadyExists",
    FailureKind.THROTTLED: "SlowDown Throttling TooManyRequests RequestLimitExceeded ServerBusy",
    FailureKind.EXPIRED_CREDENTIALS: "ExpiredToken ExpiredTokenException TokenRefreshRequired",
    FailureKind.BAD_CREDENTIALS: "InvalidAccessKeyId SignatureDoesNotMatch InvalidToken "
    "InvalidSecurity AuthenticationFailed InvalidAuthenticationInfo NoAuthenticationInformation "
    "AuthorizationHeaderMalformed UnrecognizedClientException InvalidClientTokenId",
    FailureKind.CLOCK: "RequestTimeTooSkewed RequestExpired",
    FailureKind.ELSEWHERE: "PermanentRedirect TemporaryRedirect IllegalLocationConstraintException",
}
_BY_CODE: Final = {code: kind for kind, codes in _KINDS.items() for code in codes.split()}
_BY_WORDS: Final = (
    ("", "specified container does not exist", FailureKind.NO_BUCKET),  # deletions have no codes
    ("", "Wanted range starting at", FailureKind.OUT_OF_RANGE),  # from the start of an answer
    ("AuthenticationFailed", "Request date header too old", FailureKind.CLOCK),
    ("", "redirect without LOCATION", FailureKind.ELSEWHERE),  # instead of the status, 301
    ("AuthorizationHeaderMalformed", "the region", FailureKind.ELSEWHERE),
)
_BY_CLASS: Final[dict[type[Exception], FailureKind]] = {
    obstore.InvalidPathError: FailureKind.BAD_NAME,
    obstore.NotModifiedError: FailureKind.UNCHANGED,
    obstore.PermissionDeniedError: FailureKind.DENIED,
    obstore.UnauthenticatedError: FailureKind.BAD_CREDENTIALS,
}


def failure_of(error: Exception) -> Failure:
    """Return what an exception of obstore says, by its text or else by its class."""
    text = str(error).partition("\n\nDebug source:")[0]
    answer, named = _ANSWER.search(text), _CODE.search(text)
    status = int(answer[1] or answer[2]) if answer else 0
    code = (named[1] or named[2]) if named and status else ""
    missing, kind = _RIGHT.search(text), _kind(error, text, status, code)
    pause = THROTTLED_PAUSE_SECONDS if kind is FailureKind.THROTTLED else 0.0
    return Failure(kind, status, code, missing[1] if missing else "", retry_after=pause)


def _kind(error: Exception, text: str, status: int, code: str) -> FailureKind:
    if _LOGIN.search(text):
        # what a login server says is about the credentials; without an answer there are none
        return (
            FailureKind.BAD_CREDENTIALS if SERVER_ERROR > status > 0 else FailureKind.NO_CREDENTIALS
        )
    for named_code, words, kind in _BY_WORDS:
        if code == named_code and words in text:
            return kind
    if code in _BY_CODE:
        return _BY_CODE[code]
    if not status:
        return _BY_CLASS.get(type(error), FailureKind.UNCLEAR)
    return kind_of_status(status)
