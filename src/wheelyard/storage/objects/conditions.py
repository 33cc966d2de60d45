"""
Whether a bucket keeps the conditions of writes, found out by trying.

Some services that speak S3 ignore `If-Match`, so that one writer would silently undo what another
wrote; some refuse every `If-Match`, so that nothing could ever be changed.
"""

from collections.abc import Callable
from functools import partial
from threading import Lock
from typing import Final, Protocol

from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import Unavailable
from wheelyard.storage.base import ABSENT, Key, ObjectVersion
from wheelyard.storage.bucket_store import WRITE_RETRY_SECONDS
from wheelyard.storage.failures import DELETE, NOT_IMPLEMENTED, TRANSIENT, Failure, FailureKind
from wheelyard.storage.location import BucketLocation

STRANGE: Final = ObjectVersion("0123456789abcdef0123456789abcdef")
"""The ETag of no object here."""
NOT_KEPT: Final = "conditions_ignored"
"""The error code for a bucket that does not keep the conditions of writes."""


class Requests(Protocol):
    """The requests of the check; both are sent once, and raise Failure."""

    def write_once(self, name: str, body: bytes, expect: ObjectVersion) -> ObjectVersion:
        """Write an object if it has the version `expect`; return its new version."""
        ...

    def delete_once(self, name: str) -> None:
        """Delete an object."""
        ...

    def name_of(self, key: Key) -> str:
        """Return the name of an object."""
        ...

    def repeat(self, request: Callable[[], bool], seconds: float) -> bool:
        """Return what `request` returns, which is called again after a failure that passes."""
        ...


class ConditionCheck:
    """The check of one bucket, made before the first write of a process; safe between threads."""

    def __init__(self, location: BucketLocation, runtime: Runtime) -> None:
        self._location = location
        self._runtime = runtime
        self._lock = Lock()
        self._is_kept: bool | None = None

    def ensure(self, requests: Requests) -> None:
        """
        Raise Unavailable (`conditions_ignored`) unless the bucket keeps conditions.

        The bucket is asked once. What a lost answer leaves open is asked again with another key for
        some time; then, as after any other error, Failure is raised, and the next write asks again.
        """
        if self._is_kept is None:
            with self._lock:
                if self._is_kept is None:
                    self._is_kept = requests.repeat(
                        partial(self._ask, requests), WRITE_RETRY_SECONDS
                    )
        if not self._is_kept:
            raise Unavailable(
                f"The service of {self._location.root} does not keep the conditions of writes "
                "(If-None-Match and If-Match), so that writers would overwrite each other. Use a "
                "service that does, or a later version of it.",
                code=NOT_KEPT,
            )

    def _ask(self, requests: Requests) -> bool:
        try:
            return self._try(requests)
        except Failure as failure:
            if failure.status == NOT_IMPLEMENTED:  # what some say to a condition
                return False
            raise

    def _try(self, requests: Requests) -> bool:
        key = requests.name_of(Key(f"probe-{self._runtime.new_id()}"))
        try:
            version = requests.write_once(key, b"1", ABSENT)
        except Failure as failure:
            if failure.kind in TRANSIENT:  # it may have been written
                _delete(requests, key)
            raise
        try:
            return (
                _is_refused(requests, key, b"2", ABSENT)
                and _is_refused(requests, key, b"3", STRANGE)
                and not _is_refused(requests, key, b"4", version)
            )
        finally:
            _delete(requests, key)


def _delete(requests: Requests, key: str) -> None:
    try:
        requests.delete_once(key)
    except Failure as failure:
        if failure.kind is not FailureKind.ABSENT:
            failure.right = failure.right or DELETE.s3
            raise


def _is_refused(requests: Requests, key: str, body: bytes, expect: ObjectVersion) -> bool:
    try:
        requests.write_once(key, body, expect)
    except Failure as failure:
        # a service may answer 409 for what exists
        if failure.kind is FailureKind.CONFLICT or (
            failure.kind is FailureKind.BUSY and expect == ABSENT
        ):
            return True
        raise
    return False
