"""
Whether a bucket keeps the conditions of writes, found out by trying.

Some services that speak S3 ignore `If-Match`, so that one writer would silently undo what another
wrote; some refuse every `If-Match`, so that nothing could ever be changed.
"""

from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Final

from wheelyard.errors import Unavailable
from wheelyard.storage.base import ABSENT, Key, ObjectVersion
from wheelyard.storage.bucket_store import WRITE_RETRY_SECONDS
from wheelyard.storage.failures import DELETE, NOT_IMPLEMENTED, TRANSIENT, Failure, FailureKind

if TYPE_CHECKING:
    from wheelyard.storage.objects.store import ObjectStore

STRANGE: Final = ObjectVersion("0123456789abcdef0123456789abcdef")
"""The ETag of no object here."""
NOT_KEPT: Final = "conditions_ignored"
"""The error code for a bucket that does not keep the conditions of writes."""


class ConditionCheck:
    """The check of one bucket, made before the first write of a process; safe between threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._is_kept: bool | None = None

    def ensure(self, store: "ObjectStore") -> None:
        """
        Raise Unavailable (`conditions_ignored`) unless the bucket keeps conditions.

        The bucket is asked once. What a lost answer leaves open is asked again with another key for
        some time; then, as after any other error, Failure is raised, and the next write asks again.
        """
        if self._is_kept is None:
            with self._lock:
                if self._is_kept is None:
                    self._is_kept = store.repeat(partial(self._ask, store), WRITE_RETRY_SECONDS)
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
