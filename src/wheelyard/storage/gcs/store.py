"""
The storage contract over a Google Cloud Storage bucket.

An object's version is its generation. Every conditional write names a generation as its
precondition, so the bucket itself decides races.

Where the answer to a write was lost, or was that a precondition failed, the object is read, and
tells what has become of the write. Every write carries a random mark, so that one whose answer was
lost is known again. It also says which version it was to replace: as only one write replaces a
version, who finds another one's there knows that they lost. And where the object still has the
version that was expected, the precondition held: then no race was lost, and the answer is wrong.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import timedelta
from threading import BoundedSemaphore
from typing import Any, Final

import requests
from google.api_core import exceptions as api
from google.api_core.page_iterator import HTTPIterator
from google.cloud.storage import Blob, Bucket, Client

from wheelyard.concurrency.log_rate_limit import LogRateLimit
from wheelyard.errors import Conflict, NotFound, Unavailable
from wheelyard.storage.base import (
    ABSENT,
    NOT_MODIFIED,
    Entry,
    Found,
    Key,
    ObjectBody,
    ObjectVersion,
    Store,
    Stored,
    WebType,
    conflict,
)
from wheelyard.storage.disk import storage_faults
from wheelyard.storage.gcs.location import BucketLocation
from wheelyard.storage.gcs.object_stream import ResumableDownload
from wheelyard.storage.gcs.retry import (
    GOOGLE_FAULTS,
    PROBE_PATIENCE,
    READ,
    READ_PATIENCE,
    WRITE_PATIENCE,
    RetryPolicy,
    RetryTiming,
    bucket_faults,
    is_missing_bucket,
    unavailable,
)

ONE_REQUEST: Final = 4 * 1024**2
"""Bytes of a body up to which it is one request; above that, of each piece."""
SENDERS: Final = 16
"""Bodies from disk that are sent at a time: each takes a piece or three of memory."""
SETTLING: Final = (2.0, 2.0)
READING: Final = (3.0, 6.0)
WRITING: Final = (3.0, 10.0)
SENDING: Final = (3.0, 60.0)
"""Seconds: to connect, and to wait for an answer, which is late where much is sent."""
LITTLE: Final = 256 * 1024
"""Bytes of a body up to which it is sent at once."""
FORGOTTEN: Final = frozenset({404, 410})
"""Statuses of a piece whose upload the bucket has forgotten; it begins anew, once."""
LINES: Final = 6
"""Lines a minute in the log about what is wrong with a bucket."""
CONTRADICTIONS: Final = 2
"""Tries after which a precondition that fails, though the object does not change, is an error."""
LOST: Final = 1000
"""Lost races that are remembered, at most."""
EMPTY_PAGES: Final = 100
"""Pages of a listing without an entry that may come one after the other."""
LISTED: Final = "items(name,generation,size,timeCreated),nextPageToken"
MARK: Final = "write-id"
"""The name of the mark of a write, in an object's own metadata."""
REPLACED: Final = "write-over"
"""The name of the generation that a conditional write replaced, 0 for none; there too."""
NOBODYS: Final = 1
"""A generation that no object has: they count microseconds since 1970."""
DIGITS: Final = 18
"""Of a generation, at most."""

logger = logging.getLogger("wheelyard")

Links = Callable[[str, str, timedelta], str]
"""Returns the URL of an object, of a bucket and a name, for a time; may raise Unavailable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImmutablePrefix:
    """Objects whose bytes never change, and what caches on the way to a client are told of them."""

    prefix: str
    """Of their keys."""
    cache_control: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A write or a deletion that is to be made."""

    key: Key
    expect: ObjectVersion | None
    """The version that it replaces; None for any."""
    retrying: RetryPolicy
    mark: str = ""
    """Of a write; a deletion leaves none."""

    @property
    def common(self) -> dict[str, Any]:
        """What each of the library's verbs is told of it."""
        return {"if_generation_match": generation_of(self.expect), "retry": self.retrying}

    def settled(self, found: Blob | None, error: Exception) -> ObjectVersion | None:
        """
        Return the version that the change has made, None where the answer contradicts the object.

        Args:
            found: The object as it is now, after the last try.
            error: What the last try has raised; raised again where it is about no precondition.

        Raises:
            Conflict: Something else was there before it.
            Unavailable: It cannot be told.
        """
        metadata = (found and found.metadata) or {}
        if found is not None and metadata.get(MARK) == self.mark:
            return version_of(found)
        if not isinstance(error, api.PreconditionFailed):
            raise error
        expected = generation_of(self.expect)
        if expected is None or expected == (0 if found is None else found.generation):
            return None
        if not self.retrying.may_have_landed or metadata.get(REPLACED) == str(expected):
            raise Conflict(conflict(self.key)) from error
        raise Unavailable(
            f"Somebody else has changed {self.key} meanwhile, and whether this change came first "
            "is not known. Read it again.",
            short="Too many writers at once.",
        ) from error


class CloudStore(Store):
    """A store in a bucket; safe to share between threads, not across a fork."""

    def __init__(
        self,
        client: Client,
        place: BucketLocation,
        pacing: RetryTiming,
        links: Links | None,
        unchanging: ImmutablePrefix,
    ) -> None:
        self._client = client
        self._place = place
        self._bucket: Bucket = client.bucket(place.bucket)
        self._pacing = pacing
        self._links = links
        self._unchanging = unchanging
        self._senders = BoundedSemaphore(SENDERS)
        self._rations = defaultdict[str, LogRateLimit](
            lambda: LogRateLimit(LINES, pacing.monotonic)
        )
        """By the code of a fault, so that a frequent one does not hide another."""
        self._lost: dict[Key, ObjectVersion | None] = {}
        """What was expected where a race was lost, and no write has succeeded since."""

    def get(self, key: Key, unless_version: ObjectVersion | None = None) -> Found:
        """See `Store`."""
        unless = generation_of(unless_version) or None
        with self._faults(READ):
            try:
                found = self._stream(key).whole(unless)
            except api.NotFound as error:
                if is_missing_bucket(error):
                    raise
                return None
        # an emulator may not know the condition
        if found is None or found[1] == unless_version:
            return NOT_MODIFIED
        return Stored(found[0], ObjectVersion(found[1]))

    def read(self, key: Key, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Return a stream of part of an object, which goes on where it was cut off."""
        stream = self._stream(key)
        with self._faults(READ):
            is_there = stream.open(start, stop)
        if not is_there:
            raise NotFound(f"The store holds nothing at {key}.")
        return self._chunks(stream)

    def put(
        self, key: Key, body: ObjectBody, expect: ObjectVersion | None, kind: WebType | None = None
    ) -> ObjectVersion:
        """See `Store`."""
        # who expects a version has to read again after somebody else's write, not to wait
        change = self._change(key, expect, waits_for_turn=expect is None or expect == ABSENT)
        blob = self._described(change, kind or self._usual_kind(key))
        with self._faults("storage.objects.create"):
            return self._made(change, lambda: self._send(blob, body, change)) or version_of(blob)

    def copy(
        self,
        source: BucketLocation,
        name: str,
        key: Key,
        expect: ObjectVersion | None,
        kind: WebType,
    ) -> ObjectVersion:
        """
        Have the bucket copy an object of this or another bucket, and return the copy's version.

        Args:
            source: Where it is; only the bucket counts.
            name: Its whole name there; NotFound is raised if there is no such object.
            key: Where the copy goes.
            expect: As in `put`.
            kind: What is to be said of the copy.
        """
        change = self._change(key, expect)
        blob, original = (
            self._described(change, kind),
            self._client.bucket(source.bucket).blob(name),
        )

        def rewrite() -> None:
            token, is_done = None, False
            try:
                while not is_done:  # between places far apart it takes several requests
                    more = blob.rewrite(original, token=token, timeout=SENDING, **change.common)
                    token = more[0]
                    is_done = token is None
            except api.NotFound as error:
                if is_missing_bucket(error):
                    raise
                raise NotFound(f"There is nothing at {name} in gs://{source.bucket}.") from error
            except api.Forbidden as error:
                if READ not in str(error):
                    raise
                raise unavailable(error, source, READ) from error

        with self._faults("storage.objects.create"):
            return self._made(change, rewrite) or version_of(blob)

    def delete(self, key: Key, expect: ObjectVersion | None) -> None:
        """See `Store`."""
        change = replace(self._change(key, expect), mark="")

        def remove() -> None:
            try:
                self._bucket.blob(self._place.name_of(key)).delete(timeout=READING, **change.common)
            except api.NotFound as error:
                if is_missing_bucket(error):
                    raise
                # after a lost answer: the version that was to go is gone
                if expect and not change.retrying.may_have_landed:
                    raise Conflict(conflict(key)) from error

        with self._faults("storage.objects.delete"):
            self._made(change, remove)

    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        """See `Store`."""
        blobs = self._client.list_blobs(
            self._bucket,
            prefix=self._place.name_of(prefix),
            start_offset=self._place.name_of(after) if after else None,
            fields=LISTED,
            timeout=READING,
            retry=RetryPolicy(pacing=self._pacing, patience=READ_PATIENCE),
        )
        last = after
        with self._faults("storage.objects.list"):
            for blob in _listed(blobs):
                key = Key(blob.name.removeprefix(self._place.prefix))
                if key == after:
                    continue
                if key <= last:  # a listing that goes round in circles would never end
                    raise requests.ConnectionError("the listing repeats itself")
                last = key
                yield Entry(key, blob.size, version_of(blob), blob.time_created.timestamp())

    def sign(self, key: Key, lifetime: timedelta) -> str | None:
        """Return a URL that the bucket answers, or None where the bytes go through us."""
        if self._links is None:
            return None
        return self._links(self._place.bucket, self._place.name_of(key), lifetime)

    def _send(self, blob: Blob, body: ObjectBody, change: Change) -> None:
        with storage_faults("the upload"):
            size = len(body) if isinstance(body, bytes) else body.stat().st_size
        common = change.common | {"timeout": WRITING if size <= LITTLE else SENDING}
        if isinstance(body, bytes):
            # the library would say that these bytes are text, and the bucket refuse them for that
            blob.upload_from_string(body, content_type=blob.content_type, **common)
            return
        with storage_faults("the upload"):
            file = body.open("rb")
        with file, self._senders:
            if size <= ONE_REQUEST:
                blob.upload_from_file(file, size=size, **common)
                return
            # without a size the library sends pieces, of so many bytes
            blob.chunk_size = ONE_REQUEST
            try:
                blob.upload_from_file(file, **common)
            except api.ClientError as error:
                if error.code not in FORGOTTEN:
                    raise
                blob.upload_from_file(file, rewind=True, **common)
            except ValueError as error:
                # the bucket may keep a part of a piece, and the library cannot go on from there
                raise ConnectionError from error

    def _made(self, change: Change, make: Callable[[], None]) -> ObjectVersion | None:
        """
        Make a change; where its answer does not tell, find out by reading what it has led to.

        Returns the version that was found then. A precondition that fails is a lost race; where the
        same one fails again, it is looked at.
        """
        for _ in self._pacing.attempts(CONTRADICTIONS):
            try:
                make()
            except GOOGLE_FAULTS as error:
                has_failed = isinstance(error, api.PreconditionFailed)
                # of a deletion no mark is left that a look would find
                if not (change.retrying.may_have_landed and (change.mark or has_failed)):
                    self._raise_unless_odd(change, error)
                landed = change.settled(self._as_it_is(change.key), error)
                if landed is not None:
                    return landed
            else:
                self._lost.pop(change.key, None)
                return None
        raise _contradicted(change.key, self._place)

    def _raise_unless_odd(self, change: Change, error: Exception) -> None:
        """Return if a precondition failed again that failed before, or that nobody has set."""
        retrying = change.retrying
        if isinstance(error, api.TooManyRequests) and not retrying.waits_for_turn:
            raise Conflict(conflict(change.key)) from error
        if not isinstance(error, api.PreconditionFailed):
            raise error
        if change.expect is None or self._lost.get(change.key) == change.expect:
            return
        if len(self._lost) >= LOST:
            self._lost.clear()
        self._lost[change.key] = change.expect
        raise Conflict(conflict(change.key)) from error

    def _as_it_is(self, key: Key) -> Blob | None:
        # so short that a bucket which answers nobody keeps nobody much longer
        settling = RetryPolicy(pacing=self._pacing, patience=PROBE_PATIENCE, asks_anyway=True)
        return self._bucket.get_blob(self._place.name_of(key), timeout=SETTLING, retry=settling)

    def _chunks(self, stream: ResumableDownload) -> Iterator[bytes]:
        with self._faults(READ):
            yield from stream.chunks()

    def _stream(self, key: Key) -> ResumableDownload:
        retrying = RetryPolicy(pacing=self._pacing, patience=READ_PATIENCE)
        return ResumableDownload(self._client, self._place, self._place.name_of(key), retrying)

    def _change(
        self, key: Key, expect: ObjectVersion | None, *, waits_for_turn: bool = True
    ) -> Change:
        mark = f"{self._pacing.random.getrandbits(128):032x}"
        retrying = RetryPolicy(
            pacing=self._pacing, patience=WRITE_PATIENCE, waits_for_turn=waits_for_turn
        )
        return Change(key=key, expect=expect, retrying=retrying, mark=mark)

    def _usual_kind(self, key: Key) -> WebType:
        content_type = "application/json" if key.endswith(".json") else "application/octet-stream"
        is_unchanging = key.startswith(self._unchanging.prefix)
        caching = self._unchanging.cache_control if is_unchanging else ""
        return WebType(content_type, caching)

    def _described(self, change: Change, kind: WebType) -> Blob:
        over = {} if change.expect is None else {REPLACED: str(generation_of(change.expect))}
        blob = self._bucket.blob(self._place.name_of(change.key))
        blob.metadata = {MARK: change.mark} | over
        blob.content_type = kind.content_type
        if kind.cache_control:
            blob.cache_control = kind.cache_control
        return blob

    def _faults(self, permission: str) -> AbstractContextManager[None]:
        return bucket_faults(self._place, permission, self._say)

    def _say(self, fault: Unavailable) -> None:
        left_out = self._rations[fault.code].take()
        if left_out is not None:
            more = f" ({left_out} more since the last such line)" if left_out else ""
            logger.warning("%s%s", fault.message, more)


def _listed(blobs: HTTPIterator) -> Iterator[Blob]:
    empty = 0
    for page in blobs.pages:
        empty = 0 if page.num_items else empty + 1
        if empty > EMPTY_PAGES:
            raise requests.ConnectionError("the listing never ends")
        for blob in page:
            if blob.time_created is None or blob.size is None:
                raise requests.ConnectionError("the listing lacks what was asked for")
            yield blob


def generation_of(version: ObjectVersion | None) -> int | None:
    """Return the generation that a version names: 0 for absent, None for any."""
    if version is None:
        return None
    if not version:
        return 0
    # a version of another store is no generation, and matches none; the bucket refuses to hear it
    is_ours = version.isascii() and version.isdigit() and len(version) <= DIGITS
    return int(version) if is_ours else NOBODYS


def version_of(blob: Blob) -> ObjectVersion:
    """Return the version that an object has."""
    return ObjectVersion(str(blob.generation))


def _contradicted(key: Key, place: BucketLocation) -> Unavailable:
    return Unavailable(
        f"The bucket gs://{place.bucket} answers each write of {key} with 412 (a precondition "
        "failed) although nobody changes that object: check whether a proxy or an emulator that "
        "alters requests stands between this machine and Cloud Storage.",
        code="precondition_failed",
        short="The store refuses to write.",
    )
