"""
The check whether a bucket keeps the conditions of writes.

Some services that speak S3 ignore `If-Match`: then one writer would silently undo what another one
has written. Some services refuse every `If-Match`: then no document could ever be changed.
"""

from collections.abc import Callable
from threading import Lock
from typing import Final, ParamSpec, Protocol, TypeVar

from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import Unavailable
from wheelyard.storage import failures
from wheelyard.storage.base import ABSENT, Key, ObjectVersion
from wheelyard.storage.bucket_store import WRITE_RETRY_SECONDS
from wheelyard.storage.failures import Failure, FailureKind
from wheelyard.storage.location import BucketLocation

P = ParamSpec("P")
T = TypeVar("T")

UNKNOWN_VERSION: Final = ObjectVersion("0123456789abcdef0123456789abcdef")
"""An ETag that no object of the check has."""
NOT_KEPT: Final = "conditions_ignored"
"""The error code for a bucket that does not keep the conditions of writes."""


class ConditionalStore(Protocol):
    """What the check needs of the store in a bucket: single requests, and their repetition."""

    location: BucketLocation
    runtime: Runtime

    def name_of(self, key: Key) -> str:
        """Return the name of an object in the bucket."""
        ...

    def write_once(self, name: str, body: bytes, expect: ObjectVersion | None) -> ObjectVersion:
        """Send one request that writes an object, and return its version, or raise Failure."""
        ...

    def delete_once(self, name: str) -> None:
        """Delete an object. Raises Failure, of the kind ABSENT if there is no such object."""
        ...

    def repeat(
        self, seconds: float, request: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Return what a request returns, sent again for some seconds, or raise Failure."""
        ...


class ConditionCheck:
    """The check of one bucket, which any thread makes before the first write of a process."""

    def __init__(self) -> None:
        # held while the bucket is asked: one thread asks, and all other writers wait
        self._lock = Lock()
        self._keeps_conditions: bool | None = None
        """Whether the bucket keeps conditions. None until it has answered."""

    def ensure(self, store: ConditionalStore) -> None:
        """
        Raise Unavailable (code `conditions_ignored`) unless the bucket keeps conditions.

        The bucket is asked once, by writes of an object that is deleted again. If an answer is
        lost, the bucket is asked again for some time, each time with another key. Raises Failure
        after that time, or after any other error. Then the next write asks again.
        """
        if self._keeps_conditions is None:
            with self._lock:
                # another thread may have got the answer meanwhile
                if self._keeps_conditions is None:
                    self._keeps_conditions = store.repeat(WRITE_RETRY_SECONDS, self._ask, store)
        if not self._keeps_conditions:
            raise Unavailable(
                f"The service of {store.location.root} does not keep the conditions of writes "
                "(If-None-Match and If-Match), so that writers would overwrite each other. Use a "
                "service that does, or a later version of it.",
                code=NOT_KEPT,
            )

    def _ask(self, store: ConditionalStore) -> bool:
        """Return whether the bucket keeps conditions. Raises Failure if it does not answer that."""
        try:
            return self._try_conditions(store)
        except Failure as failure:
            if failure.status == failures.NOT_IMPLEMENTED:  # the answer of some to a condition
                return False
            raise

    def _try_conditions(self, store: ConditionalStore) -> bool:
        """Write an object four times, and return whether each condition has been kept."""
        # each time another key, as an object that an earlier try has left would change the answers
        key = store.name_of(Key(f"probe-{store.runtime.new_id()}"))
        try:
            version = store.write_once(key, b"1", ABSENT)
        except Failure as failure:
            if failure.kind in failures.TRANSIENT:  # it may have been written
                _delete(store, key)
            raise
        try:
            return (
                _is_refused(store, key, b"2", ABSENT)
                and _is_refused(store, key, b"3", UNKNOWN_VERSION)
                and not _is_refused(store, key, b"4", version)
            )
        finally:
            _delete(store, key)


def _delete(store: ConditionalStore, key: str) -> None:
    """Delete the object of the check. Raises Failure, which names the right to delete."""
    try:
        store.delete_once(key)
    except Failure as failure:
        if failure.kind is not FailureKind.ABSENT:
            # otherwise the message would name the right to write, which is not missing
            failure.right = failure.right or failures.DELETE.s3
            raise


def _is_refused(store: ConditionalStore, key: str, body: bytes, expect: ObjectVersion) -> bool:
    """Return whether a write with this condition is refused, or raise Failure."""
    try:
        store.write_once(key, body, expect)
    except Failure as failure:
        # a service may answer 409 if the object exists
        exists = failure.kind is FailureKind.BUSY and expect == ABSENT
        if failure.kind is FailureKind.CONFLICT or exists:
            return True
        raise
    return False
