"""
Whether a bucket keeps the conditions of writes, found out by trying.

Some services that speak S3 ignore `If-Match`, so that one writer would silently undo what another
wrote; some refuse every `If-Match`, so that nothing could ever be changed.
"""

from collections.abc import Callable, Iterator
from threading import Lock
from typing import Final, Protocol

from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import Unavailable
from wheelyard.storage.base import ABSENT, Key, ObjectVersion
from wheelyard.storage.location import BucketLocation
from wheelyard.storage.objects.errors import Failure, FailureKind

STRANGE: Final = ObjectVersion("0123456789abcdef0123456789abcdef")
"""The ETag of no object here."""
NOT_KEPT: Final = "conditions_ignored"
"""The error code for a bucket that does not keep the conditions of writes."""


class Requests(Protocol):
    """The requests of the check; each is sent once, and raises Failure."""

    def write_once(self, key: Key, body: bytes, expect: ObjectVersion) -> ObjectVersion:
        """Write an object if it has the version `expect`; return its new version."""
        ...

    def delete_once(self, key: Key) -> None:
        """Delete an object."""
        ...


class ConditionCheck:
    """The check of one bucket, made before the first write of a process; safe between threads."""

    def __init__(self, location: BucketLocation, runtime: Runtime) -> None:
        self._location = location
        self._runtime = runtime
        self._lock = Lock()
        self._is_kept: bool | None = None

    def ensure(self, requests: Requests, pauses: Callable[[], Iterator[float]]) -> None:
        """
        Raise Unavailable (`conditions_ignored`) unless the bucket keeps conditions.

        The bucket is asked once. What a lost answer leaves open is asked again with another key, as
        often as `pauses` yields; then, as after any other error, Failure is raised, and the next
        write asks again.
        """
        if self._is_kept is None:
            with self._lock:
                if self._is_kept is None:
                    self._is_kept = self._ask(requests, pauses())
        if not self._is_kept:
            raise Unavailable(
                f"The service of {self._location.root} does not keep the conditions of writes "
                "(If-None-Match and If-Match), so that writers would overwrite each other. Use a "
                "service that does, or a later version of it.",
                code=NOT_KEPT,
                short="The store does not keep conditions.",
            )

    def _ask(self, requests: Requests, pauses: Iterator[float]) -> bool:
        while True:
            key = Key(f"probe-{self._runtime.new_id()}")
            try:
                return self._try(requests, key)
            except Failure as failure:
                if failure.kind not in (
                    FailureKind.UNCLEAR,
                    FailureKind.THROTTLED,
                    FailureKind.BUSY,
                ):
                    raise
                pause = next(pauses, None)
                if pause is None:
                    raise
                self._runtime.pause(pause)

    def _try(self, requests: Requests, key: Key) -> bool:
        version = requests.write_once(key, b"1", ABSENT)
        try:
            return (
                _is_refused(requests, key, b"2", ABSENT)
                and _is_refused(requests, key, b"3", STRANGE)
                and not _is_refused(requests, key, b"4", version)
            )
        finally:
            requests.delete_once(key)


def _is_refused(requests: Requests, key: Key, body: bytes, expect: ObjectVersion) -> bool:
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
