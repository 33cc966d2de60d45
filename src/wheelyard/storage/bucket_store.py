"""
The store in a bucket of any service, made of the single requests that the service adds.

A request is repeated for some seconds after a failure that passes. A failed precondition is a lost
race. But if an earlier try of the same write may have been executed, the precondition may have
failed because of that try. Then the object is read: if it has the bytes of the write, the write has
succeeded, or else the outcome is unknown.

While a bucket does not answer, one call in a few seconds asks it, and all other calls fail at once.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import timedelta
from itertools import islice
from math import inf
from pathlib import Path
from threading import BoundedSemaphore, Lock
from typing import ClassVar, Final, Literal, ParamSpec, Protocol, TypeVar
from urllib.parse import quote

from msgspec import Struct, field

from wheelyard.concurrency.caches import LruCache
from wheelyard.concurrency.runtime import Clock, LogRateLimit, Runtime, backoff_pauses
from wheelyard.errors import RETRY_AFTER_SECONDS, Conflict, Invalid, NotFound, Unavailable
from wheelyard.storage import base, failures
from wheelyard.storage.base import Key
from wheelyard.storage.failures import Failure, FailureKind
from wheelyard.storage.filesystem import storage_faults
from wheelyard.storage.location import BucketLocation

logger = logging.getLogger("wheelyard")

P = ParamSpec("P")
T = TypeVar("T")

Downloads = Literal["auto", "redirect", "proxy", "public"]

URL_CACHE_ENTRIES: Final = 4096
"""How many URLs, of about 1.3 KB each, are cached."""
FIRST_PAUSE_SECONDS: Final = 0.2
"""Upper limit of the first random pause between two tries. The limit doubles each time."""
MAX_PAUSE_SECONDS: Final = 4.0
"""Upper limit of all random pauses between two tries."""
READ_RETRY_SECONDS: Final = 8.0
"""Seconds after which a read is not repeated: an installer waits for 15."""
WRITE_RETRY_SECONDS: Final = 20.0
"""Seconds after which a write, or a part of a large file, is not repeated."""
FILE_TRIES: Final = 3
"""How often a large file is sent as a whole."""
FILE_SETTLED_SECONDS: Final = 3600.0
"""The age up to which a file of the right size counts as the file that was just sent."""
COOL_DOWN_SECONDS: Final = 2.0
"""Seconds for which no request is sent to a bucket after a call had no answer."""
PROBE_SECONDS: Final = 15.0
"""Seconds that the first call after the cool-down has for an answer. Other calls fail meanwhile."""
LOG_LINES_PER_MINUTE: Final = 6
TOO_MANY_REQUESTS: Final = 429
"""The status of a request that was not executed. A request with the status 503 may have been."""
IMMUTABLE_CACHING: Final = "max-age=31536000, immutable"


class PublicUrls(Struct, frozen=True):
    """The URLs of a bucket that everybody may read."""

    base: str
    """The URL of the bucket, with a slash at its end."""

    def url(self, name: str, lifetime: timedelta) -> str:
        """Return the object's URL, which does not expire."""
        del lifetime
        return self.base + quote(name)


class UrlSigner(Protocol):
    """Signs URLs of downloads, by credentials that can sign."""

    def sign(self, name: str, lifetime: timedelta) -> str | None:
        """
        Return the URL of the object `name`, or None if no URL of it can be signed.

        Raises Unavailable if signing is denied (code `signing_denied`), or if the service does not
        answer (code `signing_unavailable`).
        """
        ...


class SignedUrls:
    """
    Signs URLs, and reuses a URL for at most half of its lifetime, and at most `longest` seconds.

    Threads may share it. Callers that want one URL at the same time share a call of the signer.
    """

    def __init__(self, signer: UrlSigner, now: Clock, longest: float = inf) -> None:
        self._signer = signer
        self._now = now
        self._longest = longest
        self._urls: LruCache[tuple[str, timedelta, int], Future[str | None]]
        """The URLs by object name, lifetime, and number of the window of time."""
        self._urls = LruCache(URL_CACHE_ENTRIES)
        # held while the cache is used, and never while a signer asks its service
        self._lock = Lock()

    def url(self, name: str, lifetime: timedelta) -> str | None:
        """
        Return the URL of an object, valid for half of `lifetime` at least.

        None means that no URL can be signed for the object.

        Raises Unavailable if signing is denied (code `signing_denied`), or if the service does not
        answer (code `signing_unavailable`). An error is not cached.
        """
        # all calls in one window of time get the same URL, so that a client can cache the download
        half_seconds = int(lifetime.total_seconds()) // 2
        window_seconds = min(half_seconds, self._longest)
        window_number = int(self._now() // window_seconds)
        cache_key = (name, lifetime, window_number)
        new_future: Future[str | None] | None = None
        with self._lock:
            future = self._urls.get(cache_key)
            if future is None:
                new_future = future = Future()
                self._urls.put(cache_key, future, 1)
        # the thread that has made the future signs, and all others wait for its result
        if new_future is not None:
            try:
                new_future.set_result(self._signer.sign(name, lifetime))
            except BaseException as error:  # noqa: BLE001 - raised by `future.result()`
                # out of the cache before that, so that the next caller asks again
                self._urls.discard(cache_key)
                new_future.set_exception(error)
        return future.result()


DownloadUrls = PublicUrls | SignedUrls
"""Makes the URLs from which clients download objects directly."""


def download_urls(
    downloads: Downloads,
    public_base: str,
    signer: UrlSigner | None,
    now: Clock,
    longest: float = inf,
) -> DownloadUrls | None:
    """
    Return the URLs of a bucket, or None if the server streams its files.

    Args:
        downloads: How clients get files. With `auto` the server streams if nothing can sign.
        public_base: The URL of the bucket, with a slash at the end.
        signer: None if the credentials cannot sign.
        now: The clock, in seconds.
        longest: Seconds after which a signed URL is not reused.

    Raises Invalid (code `bad_setting`) if `redirect` needs signed URLs, and nothing can sign them.
    """
    if downloads == "public":
        return PublicUrls(public_base)
    if downloads == "redirect" and signer is None:
        raise Invalid(
            "store.downloads: these credentials cannot sign a URL to redirect to. Use those of a "
            'service account, an account key or an identity, or downloads = "proxy".',
            code="bad_setting",
        )
    if downloads == "proxy" or signer is None:
        return None
    return SignedUrls(signer, now, longest)


def signing_error(reason: str, *, is_denied: bool) -> Unavailable:
    """Return the Unavailable for a URL that cannot be signed, for a reason, which is a sentence."""
    message = f"Download URLs cannot be signed. {reason}"
    if is_denied:  # without `retry_after`, as an operator has to give the right first
        return Unavailable(message, code="signing_denied")
    return Unavailable(message, code="signing_unavailable", retry_after=RETRY_AFTER_SECONDS)


class Outage(Struct):
    """Whether a bucket does not answer, as all threads that use it have found out."""

    monotonic: Clock
    _next_probe_at: float = 0.0
    """When a call may ask the bucket again, by the monotonic clock. 0 if there is no outage."""
    _status: int = 0
    """The status of the failure with which the outage began, for the errors of other calls."""
    _code: str = ""
    """The code of that failure."""
    _lock: Lock = field(default_factory=Lock)

    def take_turn(self) -> bool:
        """
        Return whether this call is the one that asks whether an outage has ended.

        Returns False if there is no outage. After True, other calls fail until `end` is called, or
        for `PROBE_SECONDS`. Raises Failure (OUTAGE) if another call asks, or if it is too early to
        ask.
        """
        # without the lock: a call that misses the beginning of an outage only asks in vain
        if not self._next_probe_at:
            return False
        with self._lock:
            now = self.monotonic()
            if now < self._next_probe_at:
                raise Failure(FailureKind.OUTAGE, self._status, self._code)
            # if this call gets no answer at all, another call asks after this time
            self._next_probe_at = now + PROBE_SECONDS
            return True

    def begin(self, failure: Failure) -> None:
        """Let calls fail for the cool-down, as a call had no answer from the bucket."""
        # without the lock, as in `end`: the values of two threads at once differ by moments
        self._status = failure.status
        self._code = failure.code
        # last, so that a call which sees the outage also sees the failure
        self._next_probe_at = self.monotonic() + COOL_DOWN_SECONDS

    def end(self) -> None:
        """Let calls ask the bucket, as it has answered."""
        self._next_probe_at = 0.0


class BucketStore(base.Store, ABC):
    """
    A store in a bucket.

    A service adds its single requests (`..._once` and `entries`). A request raises Failure if it
    does not succeed, and is repeated here.
    """

    large_file_bytes: ClassVar[int]
    """The size from which a file is sent in parts, which take memory."""
    large_files_at_a_time: ClassVar[int]
    """How many of such files are sent at a time."""
    resent_after: ClassVar[frozenset[FailureKind]]
    """The failures after which a file is sent again as a whole."""

    def __init__(
        self,
        location: BucketLocation,
        runtime: Runtime,
        urls: DownloadUrls | None,
        caching: str,
    ) -> None:
        self.location = location
        self.runtime = runtime
        self._urls = urls
        self._caching = caching
        self._outage = Outage(runtime.monotonic)
        self._large_files = BoundedSemaphore(self.large_files_at_a_time)
        self._log_limit = LogRateLimit(LOG_LINES_PER_MINUTE, runtime.monotonic)

    @abstractmethod
    def get_once(self, name: str, unless: base.ObjectVersion | None) -> base.Stored:
        """
        Return an object, whole.

        Raises Failure, of the kind UNCHANGED if the object has the version `unless`, and of the
        kind ABSENT if there is no such object.
        """

    @abstractmethod
    def stream_once(self, name: str, start: int, stop: int | None) -> Iterator[bytes]:
        """
        Return the chunks of an object from `start` up to `stop`, or to its end without a `stop`.

        `stop` is greater than `start`. Raises Failure, of the kind ABSENT if there is no such
        object, and OUT_OF_RANGE if the object ends before `start`. The iterator raises Failure,
        too.
        """

    @abstractmethod
    def put_once(
        self, name: str, body: bytes, expect: base.ObjectVersion | None, kind: base.WebType
    ) -> base.ObjectVersion:
        """
        Write an object if it has the version `expect`, and return its new version.

        Raises Failure, of the kind CONFLICT if the object has another version.
        """

    @abstractmethod
    def send_once(self, name: str, path: Path, size: int, kind: base.WebType) -> None:
        """Write the file at a path, or raise Failure."""

    @abstractmethod
    def delete_once(self, name: str) -> None:
        """Delete an object. Raises Failure, of the kind ABSENT if there is no such object."""

    @abstractmethod
    def entries(self, prefix: str, after: str) -> Iterator[base.Entry]:
        """
        Yield the entries whose key begins with `prefix` and is greater than `after`, sorted.

        Raises Failure.
        """

    def name_of(self, key: Key) -> str:
        """Return the name of an object in the bucket. Raises Unavailable if no name is possible."""
        return self.location.name_of(key)

    def account_email(self) -> str | None:
        """Return the e-mail of the account, or None if it is unknown, as before the first use."""
        return None

    def before_write(self) -> None:
        """Raise Unavailable if nothing may be written to the bucket."""

    def get(self, key: Key, unless: base.ObjectVersion | None = None) -> base.Found:
        """Return a document, NOT_MODIFIED if its version is `unless`, or None if it is absent."""
        try:
            return self._get(key, unless, READ_RETRY_SECONDS)
        except Failure as failure:
            raise self.fault(failure, failures.READ) from failure

    def read(self, key: Key, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """
        Return an iterator of the bytes from `start` up to `stop`.

        Raises NotFound, before it returns, if the object does not exist. The iterator raises
        Unavailable if the download breaks off, such as when the object was replaced meanwhile.
        """
        is_empty = stop is not None and stop <= start
        if is_empty:
            # no service has empty ranges, so the first byte shows whether the object exists
            start = 0
            stop = 1
        name = self.name_of(key)
        try:
            chunks = self.repeat(READ_RETRY_SECONDS, self.stream_once, name, start, stop)
        except Failure as failure:
            if failure.kind is FailureKind.ABSENT:
                raise NotFound(f"The store holds nothing at {key}.") from failure
            # the object exists, and has no bytes behind its end (RFC 9110, status 416)
            if failure.kind is FailureKind.OUT_OF_RANGE:
                return iter(())
            raise self.fault(failure, failures.READ) from failure
        chunks = self._with_faults(chunks)
        if is_empty:
            # without the chunk with the first byte
            return islice(chunks, 1, None)
        return chunks

    def put(
        self,
        key: Key,
        body: bytes,
        expect: base.ObjectVersion | None,
        kind: base.WebType | None = None,
    ) -> base.ObjectVersion:
        """
        Write a document if it has the version `expect`, and return its new version.

        Raises Conflict if the object has another version. After Unavailable the write may have
        happened, or may still happen.
        """
        self.before_write()
        kind = kind or self._web_type(key)
        try:
            name = self.name_of(key)
            return self.repeat(WRITE_RETRY_SECONDS, self.put_once, name, body, expect, kind)
        except Failure as failure:
            return self._version_after(key, body, expect, failure)

    def put_file(self, key: Key, body: base.FileBody, kind: base.WebType | None = None) -> None:
        """
        Write a file: bytes by one request, and a file on disk by one or several requests.

        `large_files_at_a_time` large files are sent at a time, and others wait.
        """
        self.before_write()
        name = self.name_of(key)
        kind = kind or self._web_type(key)
        if isinstance(body, bytes):
            try:
                self.repeat(WRITE_RETRY_SECONDS, self.put_once, name, body, None, kind)
            except Failure as failure:
                # the key has the digest: an object of this size has these bytes
                if not failure.is_unclear or not self._was_just_written(key, len(body)):
                    raise self.fault(failure, failures.WRITE) from failure
            return
        with storage_faults("the upload"):
            size = body.stat().st_size
        memory: AbstractContextManager[object] = nullcontext()
        if size > self.large_file_bytes:
            # each upload has parts of its file in memory, so further ones wait here
            memory = self._large_files
        with memory:
            pauses = list(islice(self._pauses(), FILE_TRIES - 1))
            while not self._is_sent(key, body, size, kind, is_last=not pauses):
                self.runtime.pause(pauses.pop(0))

    def delete(self, key: Key) -> None:
        """Delete an object, whatever its version, or do nothing if it is absent."""
        self.before_write()
        try:
            self.repeat(WRITE_RETRY_SECONDS, self.delete_once, self.name_of(key))
        except Failure as failure:
            # absent is no error: an earlier try, whose answer was lost, may have deleted it
            if failure.kind is not FailureKind.ABSENT:
                raise self.fault(failure, failures.DELETE) from failure

    def list(self, prefix: str, after: str = "") -> Iterator[base.Entry]:
        """Yield the entries whose key begins with `prefix` and is greater than `after`, sorted."""
        try:
            yield from self.entries(prefix, after)
        except Failure as failure:
            raise self.fault(failure, failures.LIST) from failure

    def sign(self, key: Key, lifetime: timedelta) -> str | None:
        """
        Return a URL for the download of an object, or None if the server has to stream it.

        The server streams all objects of some buckets, and an object whose URL cannot be signed.
        Raises Unavailable if signing is denied (code `signing_denied`), or if the service does not
        answer (code `signing_unavailable`).
        """
        if self._urls is None:
            return None
        return self._urls.url(self.name_of(key), lifetime)

    def bucket_object(self, key: Key) -> tuple[BucketLocation, str]:
        """Return the bucket of the object and its name there."""
        return self.location, self.name_of(key)

    def repeat(
        self, seconds: float, request: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """
        Return the result of a request, which is sent again after failures that pass.

        No try begins after `seconds`. During an outage there is one try at most. Any answer of the
        bucket ends the outage. Raises the Failure of the last try, whose `is_unclear` says whether
        any try may have been executed, or Failure (OUTAGE) without a try.
        """
        last_try_at = self.runtime.monotonic()

        # a call that asks during an outage has one try, as other calls fail until it has ended
        if not self._outage.take_turn():
            last_try_at += seconds
        is_unclear = False
        pauses = self._pauses()
        while True:
            try:
                result = request(*args, **kwargs)
            except Failure as failure:
                # a 503 may come after the request was executed, but a 429 does not
                if failure.kind is FailureKind.THROTTLED and failure.status != TOO_MANY_REQUESTS:
                    is_unclear = True
                # of all tries: the last one may have conflicted with the write of an earlier one
                is_unclear |= failure.is_unclear
                failure.is_unclear = is_unclear
                if failure.kind not in failures.SILENCE:  # the bucket has answered
                    self._outage.end()
                pause = next(pauses) + failure.retry_after
                is_too_late = self.runtime.monotonic() + pause >= last_try_at
                if failure.kind not in failures.TRANSIENT or is_too_late:
                    raise
            else:
                self._outage.end()
                return result
            self.runtime.pause(pause)

    def fault(self, failure: Failure, rights: failures.Rights) -> Unavailable:
        """
        Return the Unavailable for a call that is given up, and log it.

        If the bucket did not answer, an outage begins. Some lines a minute are logged, and none for
        a call that failed because of an outage.
        """
        fault = failures.unavailable(failure, self.location, rights)
        if failure.kind in failures.SILENCE:
            self._outage.begin(failure)
        if failure.kind is FailureKind.OUTAGE:  # the call with which it began has logged it
            return fault
        unlogged = self._log_limit.acquire()
        if unlogged is not None:
            suffix = f" ({unlogged} more since the last such line)" if unlogged else ""
            logger.warning("%s%s", fault.message, suffix)
        return fault

    def _get(self, key: Key, unless: base.ObjectVersion | None, seconds: float) -> base.Found:
        """
        Return a document, NOT_MODIFIED if its version is `unless`, or None if it is absent.

        No try begins after `seconds`. Raises Failure.
        """
        try:
            return self.repeat(seconds, self.get_once, self.name_of(key), unless)
        except Failure as failure:
            if failure.kind is FailureKind.ABSENT:
                return None
            if failure.kind is FailureKind.UNCHANGED:
                return base.NOT_MODIFIED
            raise

    def _version_after(
        self, key: Key, body: bytes, expect: base.ObjectVersion | None, failure: Failure
    ) -> base.ObjectVersion:
        """
        Return the version that a write has made, although its last try has failed.

        Raises Conflict only if no try of the write can have succeeded. Raises Unavailable if the
        write may have succeeded, or may still succeed.
        """
        is_conflict = failure.kind is FailureKind.CONFLICT
        if failure.kind is FailureKind.ABSENT and expect:
            is_conflict = True  # the answer of some services if the object has another version
        if is_conflict and not failure.is_unclear:
            raise Conflict(base.conflict_message(key)) from failure
        answers_reads = False
        if failure.is_unclear:
            # if the write had no answer, a read may have none either, so there is one try
            seconds = READ_RETRY_SECONDS if is_conflict else 0.0
            # an earlier try may have been executed: then the object has these bytes
            with suppress(Failure):
                current = self._get(key, None, seconds)
                if isinstance(current, base.Stored) and current.body == body:
                    return current.version
                answers_reads = True
        if failure.status == TOO_MANY_REQUESTS:  # perhaps nobody else has changed the object
            failure = Failure(FailureKind.THROTTLED, failure.status)
        elif is_conflict:
            raise Unavailable(
                f"Another writer has changed {key}, and whether this change came first is not "
                "known. Read it again.",
                retry_after=RETRY_AFTER_SECONDS,
            ) from failure
        fault = self.fault(failure, failures.WRITE)
        if answers_reads:  # only writes fail, so other calls need not wait
            self._outage.end()
        raise fault from failure

    def _is_sent(
        self, key: Key, path: Path, size: int, kind: base.WebType, *, is_last: bool
    ) -> bool:
        """
        Send a file, and return whether it has arrived.

        Raises Unavailable if it has not arrived, and may not be sent again, as after the last try.
        """
        try:
            self.send_once(self.name_of(key), path, size, kind)
        except Failure as failure:
            # the upload may be complete: if that answer was lost, the service then knows no upload
            may_have_arrived = failure.kind in (
                FailureKind.ABSENT,
                FailureKind.REFUSED,
                FailureKind.UNCLEAR,
            )
            if may_have_arrived and self._was_just_written(key, size):
                return True
            if is_last or failure.kind not in self.resent_after:
                raise self.fault(failure, failures.WRITE) from failure
            return False
        return True

    def _was_just_written(self, key: Key, size: int) -> bool:
        """Return whether a file of this size was written within the last hour."""
        # an older file may be the leftover of another upload, which a sweep is about to delete
        with suppress(Unavailable):
            # a listing tells the size without the bytes; the first entry may have a longer key
            entry = next(self.list(key), None)
            if entry is not None and entry.key == key and entry.size == size:
                # `abs`: to a clock that is far behind, each old file would be a recent one
                return abs(self.runtime.seconds() - entry.modified) < FILE_SETTLED_SECONDS
        return False

    def _with_faults(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Yield the chunks of a download, or raise Unavailable if it breaks off."""
        try:
            yield from chunks
        except Failure as failure:
            reported_failure = failure
            # another object has the name now, whose bytes must not follow those of the first one
            if failure.kind in (FailureKind.ABSENT, FailureKind.CONFLICT):
                reported_failure = Failure(
                    FailureKind.UNCLEAR, failure.status, "when a download goes on"
                )
            raise self.fault(reported_failure, failures.READ) from failure

    def _pauses(self) -> Iterator[float]:
        return backoff_pauses(self.runtime.random, FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS)

    def _web_type(self, key: Key) -> base.WebType:
        """Return the headers of a download if the caller names none."""
        if key.endswith(".json"):
            return base.WebType("application/json", self._caching)
        return base.WebType("application/octet-stream", self._caching)
