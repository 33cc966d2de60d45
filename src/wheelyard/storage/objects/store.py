"""
The store in an S3 bucket or an Azure container.

A version is the ETag. obstore would repeat a conditional write whose answer was lost, and then
report the lost race against itself as a conflict. So these writes are sent by a client that repeats
nothing, and are repeated here, where it is known whether an earlier try may have been executed. If
one may have been, and then the condition fails, the object is read. If it has the bytes of this
write, the write has succeeded; else nobody knows.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from datetime import timedelta
from functools import partial
from threading import BoundedSemaphore
from typing import TYPE_CHECKING, Final, TypeVar

import obstore

from wheelyard.concurrency.runtime import Runtime, backoff_pauses
from wheelyard.errors import RETRY_AFTER_SECONDS, Conflict, Invalid, NotFound, Unavailable
from wheelyard.storage.base import (
    ABSENT,
    CHUNK_BYTES,
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
from wheelyard.storage.circuit_breaker import CircuitBreaker, CircuitOpen
from wheelyard.storage.filesystem import storage_faults
from wheelyard.storage.instrumented import Operation, OperationCounter
from wheelyard.storage.location import AZURE, S3, BucketLocation
from wheelyard.storage.objects.calls import answer_of
from wheelyard.storage.objects.clients import Clients
from wheelyard.storage.objects.conditions import ConditionCheck
from wheelyard.storage.objects.download_urls import DownloadUrls
from wheelyard.storage.objects.errors import (
    DELETE,
    LIST,
    READ,
    WRITE,
    Failure,
    FailureKind,
    Rights,
    unavailable,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from obstore import Attributes, BytesStream, GetOptions, ListStream, ObjectMeta, PutMode

T = TypeVar("T")

PART_BYTES: Final = 8 * 1024**2
"""Bytes of each part of a larger file; S3 takes at most 10,000 parts."""
PARTS_AT_A_TIME: Final = 3
LARGE_FILES_AT_A_TIME: Final = 4
"""Files of several parts that are sent at a time; each takes 24 MiB of memory."""
PAGE_ENTRIES: Final = {S3: 1000, AZURE: 5000}
"""Entries of a page of a listing: what the service sends in one answer."""
FIRST_PAUSE_SECONDS: Final = 0.2
MAX_PAUSE_SECONDS: Final = 4.0
WRITE_RETRY_SECONDS: Final = 20.0
"""Seconds after which a write is not tried again."""
THROTTLED_PAUSE_SECONDS: Final = 1.0
"""The shortest pause after a service has asked for fewer requests; obstore hides for how long."""
BODY_TRIES: Final = 3
"""Tries of a small read whose object changes while its body is sent."""
FILE_TRIES: Final = 3
"""Tries of a file as a whole; obstore repeats only some of the requests of an upload."""
SETTLED_WITHIN: Final = timedelta(hours=1)
"""The age up to which a file of the right size is taken for one that was just sent."""
INSERT: Final = Operation("insert", "A")
PIECE: Final = Operation("piece", "A")
LISTED: Final = Operation("list", "A")
GET: Final = Operation("get", "B")
STREAM: Final = Operation("read", "B")
DELETED: Final = Operation("delete", "free")
TOO_MANY_REQUESTS: Final = 429
"""The status of a request that was not executed, unlike that of 503."""
TRANSIENT: Final = frozenset({FailureKind.BUSY, FailureKind.THROTTLED, FailureKind.UNCLEAR})
LAST_CHARACTER: Final = "\U0010ffff"
_NAME: Final = re.compile(
    r"(?!\.{1,2}(?:/|\Z))[^/\0-\x1f\x7f]+(?:/(?!\.{1,2}(?:/|\Z))[^/\0-\x1f\x7f]+)*"
)


class ObjectStore(Store):
    """
    A store in a bucket; safe to share between threads.

    No process may fork after the first call: in the child every call waits forever, also that of a
    new store. Processes are spawned.
    """

    def __init__(  # noqa: PLR0913 - what connect.py has made for it
        self,
        clients: Clients,
        location: BucketLocation,
        runtime: Runtime,
        counter: OperationCounter,
        check: ConditionCheck,
        *,
        urls: DownloadUrls | None,
        caching: str,
    ) -> None:
        self._clients = clients
        self._location = location
        self._runtime = runtime
        self._counter = counter
        self._check = check
        self._breaker = CircuitBreaker(runtime.monotonic)
        self._urls = urls
        self._caching = caching
        self._large_files = BoundedSemaphore(LARGE_FILES_AT_A_TIME)

    def get(self, key: Key, unless: ObjectVersion | None = None) -> Found:
        """See `Store`."""
        self._enter()
        options: GetOptions = {"if_none_match": f'"{unless}"'} if unless else {}
        request = partial(obstore.get, self._clients.reads, self._name(key), options=options)
        tries_left = BODY_TRIES
        while True:
            tries_left -= 1
            try:
                answer = self._ask(GET, request)
            except Failure as failure:
                if failure.kind is FailureKind.ABSENT:
                    return None
                if failure.kind is FailureKind.UNCHANGED:
                    return NOT_MODIFIED
                raise self._fault(failure, READ) from failure
            try:
                body = answer_of(answer.bytes).to_bytes()
            except Failure as failure:
                # obstore resumes a broken answer, unless the object has changed since
                if not tries_left:
                    raise self._fault(failure, READ) from failure
            else:
                return Stored(body, _version_of(answer.meta["e_tag"]))

    def put(
        self, key: Key, body: bytes, expect: ObjectVersion | None, kind: WebType | None = None
    ) -> ObjectVersion:
        """See `Store`."""
        self._begin_write()
        may_be_written, pauses = False, self._pauses()
        while True:
            try:
                return self.write_once(key, body, expect, kind)
            except Failure as failure:
                lost, reason = failure, failure.kind
            if reason is FailureKind.BUSY and expect == ABSENT and self.get(key) is not None:
                reason = FailureKind.CONFLICT  # a service that answers so for what exists
            if reason is FailureKind.CONFLICT or (reason is FailureKind.ABSENT and expect):
                if not may_be_written:
                    raise Conflict(conflict_message(key))
                return self._settled(key, body)
            pause = next(pauses, None)
            if reason not in TRANSIENT or pause is None:
                raise self._fault(lost, WRITE) from lost
            may_be_written |= lost.status != TOO_MANY_REQUESTS and reason is not FailureKind.BUSY
            throttled = THROTTLED_PAUSE_SECONDS if reason is FailureKind.THROTTLED else 0.0
            self._runtime.pause(max(pause, throttled))

    def write_once(
        self, key: Key, body: bytes, expect: ObjectVersion | None, kind: WebType | None = None
    ) -> ObjectVersion:
        """Send one request that writes a document; return its version, or raise Failure."""
        mode: PutMode = "overwrite" if expect is None else "create"
        if expect:
            mode = {"e_tag": f'"{expect}"'}
        request = partial(
            obstore.put,
            self._clients.writes,
            self._name(key),
            body,
            attributes=self._attributes(kind),
            mode=mode,
            use_multipart=False,
        )
        return _version_of(self._ask(INSERT, request)["e_tag"])

    def put_file(self, key: Key, body: FileBody, kind: WebType | None = None) -> None:
        """See `Store`."""
        self._begin_write()
        with storage_faults("the upload"):
            size = len(body) if isinstance(body, bytes) else body.stat().st_size
        parts = -(-size // PART_BYTES)
        request = partial(
            obstore.put,
            self._clients.uploads,
            self._name(key),
            body,
            attributes=self._attributes(kind),
            mode="overwrite",
            use_multipart=parts > 1,
            chunk_size=PART_BYTES,
            max_concurrency=PARTS_AT_A_TIME,
        )
        if parts > 1:
            for _ in range(parts + 1):  # and one that begins the upload; the insert completes it
                self._counter.add(PIECE)
        with self._large_files if parts > 1 else nullcontext():
            self._send_file(request, key, size)

    def read(self, key: Key, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """See `Store`; the stream resumes after a broken connection."""
        self._enter()
        name, client = self._name(key), self._clients.downloads
        options: GetOptions = {"range": {"offset": start}} if start else {}
        if stop is not None:
            options = {"range": (start, stop)}
        try:
            if stop is not None and start >= stop:
                self._ask(GET, partial(obstore.head, self._clients.reads, name))
                return iter(())
            answer = self._ask(STREAM, partial(obstore.get, client, name, options=options))
        except Failure as failure:
            if failure.kind is FailureKind.ABSENT:
                raise NotFound(f"The store holds nothing at {key}.") from failure
            if failure.kind is FailureKind.OUT_OF_RANGE:
                return iter(())
            raise self._fault(failure, READ) from failure
        return self._chunks(answer.stream(CHUNK_BYTES))

    def delete(self, key: Key) -> None:
        """See `Store`."""
        self._begin_write()
        try:
            self.delete_once(key)
        except Failure as failure:
            raise self._fault(failure, DELETE) from failure

    def delete_once(self, key: Key) -> None:
        """Delete an object, or raise Failure; a missing one is no failure."""
        try:
            self._ask(DELETED, partial(obstore.delete, self._clients.reads, self._name(key)))
        except Failure as failure:
            if failure.kind is not FailureKind.ABSENT:
                raise

    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        """See `Store`."""
        self._enter()
        limit = PAGE_ENTRIES[self._location.scheme]
        pages = obstore.list(
            self._clients.reads,
            self._location.name_of(prefix).rpartition("/")[0] or None,
            offset=self._offset(prefix, after),
            chunk_size=limit,
        )
        last, is_more = after, True
        while is_more:
            page = self._page(pages)
            is_more = len(page) == limit
            for found in page:
                key = found["path"].removeprefix(self._location.prefix)
                # obstore lists a whole folder, and Azure from its beginning
                if key <= after or not key.startswith(prefix):
                    if key > prefix and key > after:
                        return
                    continue
                if key <= last:
                    raise self._fault(
                        Failure(FailureKind.REFUSED, 200, "an unsorted listing"), LIST
                    )
                last = key
                yield Entry(Key(key), found["size"], found["last_modified"].timestamp())

    def sign(self, key: Key, lifetime: timedelta) -> str | None:
        """See `Store`; None if the server streams downloads itself."""
        return self._urls.url(self._name(key), lifetime) if self._urls else None

    def _send_file(self, request: Callable[[], object], key: Key, size: int) -> None:
        """Send a file, again if that fails; raise Unavailable."""
        pauses = backoff_pauses(self._runtime.random, FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS)
        for tries_left in reversed(range(FILE_TRIES)):
            try:
                self._ask(INSERT, request)
            except Failure as failure:
                # after a lost answer the service has no upload any more that could be completed
                is_open = failure.kind in (
                    FailureKind.ABSENT,
                    FailureKind.REFUSED,
                    FailureKind.UNCLEAR,
                )
                if is_open and self._has_just_got(key, size):
                    return
                if not tries_left or failure.kind not in (FailureKind.ABSENT, *TRANSIENT):
                    raise self._fault(failure, WRITE) from failure
            else:
                return
            self._runtime.pause(next(pauses))

    def _page(self, pages: "ListStream[Sequence[ObjectMeta]]") -> "Sequence[ObjectMeta]":
        """Return the next page of a listing; empty at its end."""
        try:
            return self._ask(LISTED, partial(next, pages, ()))
        except Failure as failure:
            raise self._fault(failure, LIST) from failure

    def _offset(self, prefix: str, after: str) -> str | None:
        """Return the name after which a listing begins; None for the beginning of the folder."""
        if self._location.scheme == AZURE:  # which takes only what begins with the folder
            return self._location.name_of(after) if after.startswith(prefix) and after else None
        if prefix[-1:] not in ("", "/") and prefix > after:
            after = prefix[:-1] + chr(ord(prefix[-1]) - 1) + LAST_CHARACTER
        return self._location.name_of(after) if after else None

    def _chunks(self, stream: "BytesStream") -> Iterator[bytes]:
        while True:
            try:
                chunk = answer_of(partial(next, stream, None))
            except Failure as failure:
                raise self._fault(failure, READ) from failure
            if chunk is None:
                return
            whole = memoryview(chunk)  # obstore's may be larger
            for at in range(0, len(whole), CHUNK_BYTES):
                yield bytes(whole[at : at + CHUNK_BYTES])

    def _settled(self, key: Key, body: bytes) -> ObjectVersion:
        """
        Return the version that a write has made although its condition failed in the end.

        Raises Unavailable if another write's bytes are there: which came first is unknown.
        """
        found = self.get(key)
        if isinstance(found, Stored) and found.body == body:
            return found.version
        raise Unavailable(
            f"Another writer has changed {key}, and whether this change came first is not known. "
            "Read it again.",
            short="Too many writers at once.",
            retry_after=RETRY_AFTER_SECONDS,
        )

    def _has_just_got(self, key: Key, size: int) -> bool:
        """Return whether a file of this size was written within the last hour."""
        try:
            found = self._ask(GET, partial(obstore.head, self._clients.reads, self._name(key)))
        except Failure:
            return False
        age = self._runtime.now() - found["last_modified"]
        return found["size"] == size and age < SETTLED_WITHIN

    def _begin_write(self) -> None:
        self._enter()
        try:
            self._check.ensure(self, self._pauses)
        except Failure as failure:
            raise self._fault(failure, WRITE) from failure

    def _pauses(self) -> Iterator[float]:
        """Yield the seconds to wait before each further try of a write, until its time is up."""
        end = self._runtime.monotonic() + WRITE_RETRY_SECONDS
        for pause in backoff_pauses(self._runtime.random, FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS):
            if self._runtime.monotonic() + pause >= end:
                return
            yield pause

    def _name(self, key: str) -> str:
        if not _NAME.fullmatch(key):  # obstore would strip some slashes, and refuse the rest
            raise Invalid(
                "A key of an object in this bucket may not have an empty part, '.', '..', or a "
                "control character."
            )
        return self._location.name_of(key)

    def _attributes(self, kind: WebType | None) -> "Attributes":
        kind = kind or WebType("application/octet-stream", self._caching)
        headers = {"Content-Type": kind.content_type, "Cache-Control": kind.cache_control}
        return {name: value for name, value in headers.items() if value}

    def _ask(self, operation: Operation, request: Callable[[], T]) -> T:
        """Count a request, and return its answer; raise Failure."""
        self._counter.add(operation)
        try:
            answer = answer_of(request)
        except Failure as failure:
            if failure.kind is not FailureKind.UNCLEAR:
                self._breaker.record_success()
            raise
        self._breaker.record_success()
        return answer

    def _enter(self) -> None:
        """Begin a call; raise Unavailable, without a request, while the service does not answer."""
        try:
            self._breaker.acquire()
        except CircuitOpen as error:
            raise unavailable(Failure(FailureKind.UNCLEAR), self._location, READ) from error

    def _fault(self, failure: Failure, rights: Rights) -> Unavailable:
        """Return what a call raises that has given up."""
        if failure.kind is FailureKind.UNCLEAR:
            self._breaker.record_failure()
        return unavailable(failure, self._location, rights)


def _version_of(etag: str | None) -> ObjectVersion:
    return ObjectVersion((etag or "").strip('"'))  # Azure's listings have no quotes
