"""
What is done around the single requests of a store in a bucket, whichever service it is.

A request is repeated for some seconds after a failure that passes. A failed precondition is a lost
race; but if an earlier try may have been executed, it may be the result of that. Then the object is
read: if it has the bytes of the write, the write has succeeded, else the outcome is unknown.

While a bucket does not answer, one call in a few seconds asks it, and the others fail at once.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import nullcontext, suppress
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
from wheelyard.storage.base import (
    NOT_MODIFIED,
    Entry,
    FileBody,
    Found,
    Key,
    ObjectVersion,
    Store,
    Stored,
    WebType,
    conflict_message,
)
from wheelyard.storage.failures import (
    DELETE,
    LIST,
    READ,
    SILENCE,
    TRANSIENT,
    WRITE,
    Failure,
    FailureKind,
    Rights,
    unavailable,
)
from wheelyard.storage.filesystem import storage_faults
from wheelyard.storage.location import BucketLocation

Downloads = Literal["auto", "redirect", "proxy", "public"]

URL_CACHE_ENTRIES: Final = 4096
"""Cached URLs, of about 1.3 KB each."""

_Place = tuple[str, timedelta, int]


class PublicUrls(Struct, frozen=True):
    """The URLs of a bucket that everybody may read."""

    base: str
    """Of the bucket, with a slash at the end."""

    def url(self, name: str, lifetime: timedelta) -> str:
        """Return the object's URL, which does not expire."""
        del lifetime
        return self.base + quote(name)


class UrlSigner(Protocol):
    """Signs URLs of downloads, by credentials that can sign."""

    def sign(self, name: str, lifetime: timedelta) -> str | None:
        """
        Return the URL of the object `name`, or None if no URL of it can be signed.

        Raises Unavailable if signing is denied, or if the service does not answer.
        """
        ...


class SignedUrls:
    """
    Signs URLs, and reuses each for at most half of its lifetime, and `longest` seconds.

    Threads may share it. Concurrent callers of one URL share a call of the signer.
    """

    def __init__(self, signer: UrlSigner, now: Clock, longest: float = inf) -> None:
        self._signer = signer
        self._now = now
        self._longest = longest
        self._urls: LruCache[_Place, Future[str | None]] = LruCache(URL_CACHE_ENTRIES)
        self._lock = Lock()

    def url(self, name: str, lifetime: timedelta) -> str | None:
        """
        Return a URL, valid for half of `lifetime` at least, or None if none can be signed.

        Raises Unavailable as `UrlSigner.sign` does. An error is not cached.
        """
        # all calls in one window of time get the same URL, so that a client can cache the download
        window = min(max(1, int(lifetime.total_seconds()) // 2), self._longest)
        place = name, lifetime, int(self._now() // window)
        with self._lock:
            future = self._urls.get(place)
            if is_first := future is None:
                future = Future()
                self._urls.put(place, future, 1)
        if is_first:
            try:
                future.set_result(self._signer.sign(name, lifetime))
            except BaseException as error:  # noqa: BLE001 - raised by `future.result()`
                self._urls.discard(place)
                future.set_exception(error)
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
        downloads: How clients get files.
        public_base: As of `PublicUrls`.
        signer: None if the credentials cannot sign.
        now: The clock, in seconds.
        longest: As of `SignedUrls`.

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


def signing_error(why: str, *, is_denied: bool) -> Unavailable:
    """Return the Unavailable for a URL that cannot be signed, with the sentence `why`."""
    return Unavailable(
        f"Download URLs cannot be signed. {why}",
        code="signing_denied" if is_denied else "signing_unavailable",
        retry_after=None if is_denied else RETRY_AFTER_SECONDS,
    )


P = ParamSpec("P")
T = TypeVar("T")

FIRST_PAUSE_SECONDS: Final = 0.2
"""Upper limit of the first random pause between two tries; the limit doubles each time."""
MAX_PAUSE_SECONDS: Final = 4.0
READ_RETRY_SECONDS: Final = 8.0
"""Seconds after which a read is not repeated: an installer waits for 15."""
WRITE_RETRY_SECONDS: Final = 20.0
"""Seconds after which a write, or a part of a large file, is not repeated."""
FILE_TRIES: Final = 3
"""Tries of a large file as a whole."""
FILE_SETTLED_SECONDS: Final = 3600.0
"""The age up to which a file of the right size is taken for one that was just sent."""
COOL_DOWN_SECONDS: Final = 2.0
"""Seconds for which no request is sent to a bucket after a call had no answer."""
PROBE_SECONDS: Final = 15.0
"""Seconds that the first call after the cool-down has for an answer; other calls fail meanwhile."""
LOG_LINES_PER_MINUTE: Final = 6
TOO_MANY_REQUESTS: Final = 429
"""The status of a request that was not executed, unlike that of 503."""
IMMUTABLE_CACHING: Final = "max-age=31536000, immutable"

logger = logging.getLogger("wheelyard")


class Outage(Struct):
    """Whether a bucket does not answer, as all threads know that share it."""

    monotonic: Clock
    _asked_again_at: float = 0.0
    _status: int = 0
    """That of the failure it began with, and its code, as other calls have no answer to tell of."""
    _code: str = ""
    _lock: Lock = field(default_factory=Lock)

    def take_turn(self) -> bool:
        """
        Return whether this call is the one that asks whether an outage has ended.

        It is False if there is no outage. Raises Failure (OUTAGE) if another call asks, or if it is
        too early to ask.
        """
        # without the lock: a call that misses the beginning of an outage only asks in vain
        if not self._asked_again_at:
            return False
        with self._lock:
            now = self.monotonic()
            if now < self._asked_again_at:
                raise Failure(FailureKind.OUTAGE, self._status, self._code)
            self._asked_again_at = now + PROBE_SECONDS
            return True

    def begin(self, failure: Failure) -> None:
        """Let calls fail for the cool-down: a call has given up on the bucket."""
        self._status, self._code = failure.status, failure.code
        self._asked_again_at = self.monotonic() + COOL_DOWN_SECONDS

    def end(self) -> None:
        """Let calls ask the bucket: it has answered."""
        self._asked_again_at = 0.0


class BucketStore(Store, ABC):
    """
    A store in a bucket.

    A service adds its single requests (`..._once` and `entries`). Each raises Failure if it has no
    success, and is repeated here.
    """

    large_file_bytes: ClassVar[int]
    """Bytes from which a file is sent in parts, which take memory."""
    large_files_at_a_time: ClassVar[int]
    resent_after: ClassVar[frozenset[FailureKind]]
    """Failures after which a file is sent again as a whole."""

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
    def get_once(self, name: str, unless: ObjectVersion | None) -> Stored:
        """
        Return an object, whole.

        Raises Failure, of the kind UNCHANGED if it has the version `unless`, and of the kind ABSENT
        if there is none.
        """

    @abstractmethod
    def stream_once(self, name: str, start: int, stop: int | None) -> Iterator[bytes]:
        """
        Return the chunks of an object, up to `stop`, which is behind `start`, if it is given.

        Raises Failure, of the kind ABSENT if there is none, and OUT_OF_RANGE if it ends before
        `start`. The iterator raises Failure, too.
        """

    @abstractmethod
    def put_once(
        self, name: str, body: bytes, expect: ObjectVersion | None, kind: WebType
    ) -> ObjectVersion:
        """
        Write an object if it has the version `expect`, and return its new version.

        Raises Failure of the kind CONFLICT if it has another version.
        """

    @abstractmethod
    def send_once(self, name: str, path: Path, size: int, kind: WebType) -> None:
        """Write the file at a path."""

    @abstractmethod
    def delete_once(self, name: str) -> None:
        """Delete an object, or raise Failure, of the kind ABSENT if there is none."""

    @abstractmethod
    def entries(self, prefix: str, after: str) -> Iterator[Entry]:
        """Yield the entries of a listing, as `list` does."""

    def name_of(self, key: Key) -> str:
        """Return the name of an object in the bucket, or raise Unavailable if it can have none."""
        return self.location.name_of(key)

    def account_email(self) -> str | None:
        """Return the e-mail of the account, or None until it is known, after the first use."""
        return None

    def before_write(self) -> None:
        """Raise Unavailable if nothing may be written to the bucket."""

    def get(self, key: Key, unless: ObjectVersion | None = None) -> Found:
        """See `Store`."""
        try:
            return self._get(key, unless, READ_RETRY_SECONDS)
        except Failure as failure:
            raise self.fault(failure, READ) from failure

    def read(self, key: Key, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """See `Store`."""
        is_empty = stop is not None and stop <= start
        # no service has empty ranges; that the object exists, its first byte shows as well
        span = (0, 1) if is_empty else (start, stop)
        try:
            chunks = self.repeat(READ_RETRY_SECONDS, self.stream_once, self.name_of(key), *span)
        except Failure as failure:
            if failure.kind is FailureKind.ABSENT:
                raise NotFound(f"The store holds nothing at {key}.") from failure
            if failure.kind is FailureKind.OUT_OF_RANGE:
                return iter(())
            raise self.fault(failure, READ) from failure
        chunks = self._chunks(chunks)
        return islice(chunks, 1, None) if is_empty else chunks

    def put(
        self, key: Key, body: bytes, expect: ObjectVersion | None, kind: WebType | None = None
    ) -> ObjectVersion:
        """See `Store`."""
        self.before_write()
        kind = kind or self._kind(key)
        try:
            name = self.name_of(key)
            return self.repeat(WRITE_RETRY_SECONDS, self.put_once, name, body, expect, kind)
        except Failure as failure:
            return self._version_after(key, body, expect, failure)

    def put_file(self, key: Key, body: FileBody, kind: WebType | None = None) -> None:
        """See `Store`."""
        self.before_write()
        name, kind = self.name_of(key), kind or self._kind(key)
        if isinstance(body, bytes):
            try:
                self.repeat(WRITE_RETRY_SECONDS, self.put_once, name, body, None, kind)
            except Failure as failure:
                # the key has the digest: an object of this size has these bytes
                if not failure.is_unclear or not self._has_just_got(key, len(body)):
                    raise self.fault(failure, WRITE) from failure
            return
        with storage_faults("the upload"):
            size = body.stat().st_size
        with self._large_files if size > self.large_file_bytes else nullcontext():
            pauses = list(islice(self._pauses(), FILE_TRIES - 1))
            while not self._is_sent(key, body, size, kind, is_last=not pauses):
                self.runtime.pause(pauses.pop(0))

    def delete(self, key: Key) -> None:
        """See `Store`."""
        self.before_write()
        try:
            self.repeat(WRITE_RETRY_SECONDS, self.delete_once, self.name_of(key))
        except Failure as failure:
            if failure.kind is not FailureKind.ABSENT:
                raise self.fault(failure, DELETE) from failure

    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        """See `Store`."""
        try:
            yield from self.entries(prefix, after)
        except Failure as failure:
            raise self.fault(failure, LIST) from failure

    def sign(self, key: Key, lifetime: timedelta) -> str | None:
        """See `Store`. It is None if the server streams downloads itself."""
        return self._urls.url(self.name_of(key), lifetime) if self._urls else None

    def bucket_object(self, key: Key) -> tuple[BucketLocation, str]:
        """See `Store`."""
        return self.location, self.name_of(key)

    def repeat(
        self, seconds: float, request: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """
        Return what a request returns, sent again after failures that pass.

        No try begins after `seconds`. During an outage there is one, or none. Raises the Failure of
        the last try, whose `is_unclear` says whether any try may have been executed.
        """
        # the call that asks during an outage has one try: others fail until it has ended
        end = self.runtime.monotonic() + (0.0 if self._outage.take_turn() else seconds)
        is_unclear, pauses = False, self._pauses()
        while True:
            try:
                result = request(*args, **kwargs)
            except Failure as failure:
                is_throttled = failure.kind is FailureKind.THROTTLED
                is_unclear |= failure.is_unclear
                is_unclear |= is_throttled and failure.status != TOO_MANY_REQUESTS
                failure.is_unclear = is_unclear
                if failure.kind not in SILENCE:  # any answer shows that the bucket answers
                    self._outage.end()
                pause = next(pauses) + failure.retry_after
                if failure.kind not in TRANSIENT or self.runtime.monotonic() + pause >= end:
                    raise
            else:
                self._outage.end()
                return result
            self.runtime.pause(pause)

    def fault(self, failure: Failure, rights: Rights) -> Unavailable:
        """Return the Unavailable for a call that is given up, and log it."""
        fault = unavailable(failure, self.location, rights)
        if failure.kind in SILENCE:
            self._outage.begin(failure)
        left_out = None if failure.kind is FailureKind.OUTAGE else self._log_limit.acquire()
        if left_out is not None:
            more = f" ({left_out} more since the last such line)" if left_out else ""
            logger.warning("%s%s", fault.message, more)
        return fault

    def _get(self, key: Key, unless: ObjectVersion | None, seconds: float) -> Found:
        """Return an object as `get` does, by tries for so many seconds, or raise Failure."""
        try:
            return self.repeat(seconds, self.get_once, self.name_of(key), unless)
        except Failure as failure:
            if failure.kind is FailureKind.ABSENT:
                return None
            if failure.kind is FailureKind.UNCHANGED:
                return NOT_MODIFIED
            raise

    def _version_after(
        self, key: Key, body: bytes, expect: ObjectVersion | None, failure: Failure
    ) -> ObjectVersion:
        """
        Return the version that a write has made although it ended with a failure.

        Raises Conflict only if no try of the write can have succeeded. Raises Unavailable if the
        write may have succeeded, or still may.
        """
        # a service may say "absent" of an object that has not the version
        has_lost = failure.kind is FailureKind.CONFLICT or (
            failure.kind is FailureKind.ABSENT and bool(expect)
        )
        if has_lost and not failure.is_unclear:
            raise Conflict(conflict_message(key)) from failure
        answers_reads = False
        if failure.is_unclear:
            # an earlier try may have been executed, and the last may have lost against that one
            with suppress(Failure):
                current = self._get(key, None, READ_RETRY_SECONDS if has_lost else 0.0)
                if isinstance(current, Stored) and current.body == body:
                    return current.version
                answers_reads = True
        if failure.status == TOO_MANY_REQUESTS:  # nobody need have changed it
            failure = Failure(FailureKind.THROTTLED, failure.status)
        elif has_lost:
            raise Unavailable(
                f"Another writer has changed {key}, and whether this change came first is not "
                "known. Read it again.",
                retry_after=RETRY_AFTER_SECONDS,
            ) from failure
        fault = self.fault(failure, WRITE)
        if answers_reads:  # only writes fail, so other calls need not wait
            self._outage.end()
        raise fault from failure

    def _is_sent(self, key: Key, path: Path, size: int, kind: WebType, *, is_last: bool) -> bool:
        """Return whether a file was sent, or raise Unavailable if it need not be tried again."""
        try:
            self.send_once(self.name_of(key), path, size, kind)
        except Failure as failure:
            # after a lost answer the service has no upload any more that could be completed
            is_open = failure.kind in (FailureKind.ABSENT, FailureKind.REFUSED, FailureKind.UNCLEAR)
            if is_open and self._has_just_got(key, size):
                return True
            if is_last or failure.kind not in self.resent_after:
                raise self.fault(failure, WRITE) from failure
            return False
        return True

    def _has_just_got(self, key: Key, size: int) -> bool:
        """Return whether a file of this size was written within the last hour."""
        # an older one may be what another upload has left, which a cleanup is about to delete
        with suppress(Unavailable):
            entry = next(self.list(key), None)
            if entry is not None and (entry.key, entry.size) == (key, size):
                # the clock of a machine that is far behind would make each old one a recent one
                return abs(self.runtime.seconds() - entry.modified) < FILE_SETTLED_SECONDS
        return False

    def _chunks(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        try:
            yield from chunks
        except Failure as failure:
            fault = failure
            # the object is another one now: its bytes must not follow those of the first
            if failure.kind in (FailureKind.ABSENT, FailureKind.CONFLICT):
                fault = Failure(FailureKind.UNCLEAR, failure.status, "when a download goes on")
            raise self.fault(fault, READ) from failure

    def _pauses(self) -> Iterator[float]:
        return backoff_pauses(self.runtime.random, FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS)

    def _kind(self, key: Key) -> WebType:
        content_type = "application/json" if key.endswith(".json") else "application/octet-stream"
        return WebType(content_type, self._caching)
