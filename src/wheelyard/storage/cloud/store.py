"""
The storage contract over a Google Cloud Storage bucket.

An object's version is its generation. Every conditional write names a generation as its
precondition, so the bucket itself decides races. Where its answer was lost, or was that a
precondition failed, the object is read, and `settling.py` says what has become of the write.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from threading import BoundedSemaphore
from typing import Any, Final, Protocol

import requests
from google.api_core import exceptions as api
from google.api_core.page_iterator import HTTPIterator
from google.cloud.storage import Blob, Bucket, Client

from wheelyard.errors import Conflict, NotFound
from wheelyard.storage.base import (
    ABSENT,
    NOT_MODIFIED,
    Entry,
    Key,
    NotModified,
    ObjectVersion,
    Store,
    Stored,
    WebType,
    conflict,
)
from wheelyard.storage.cloud.faults import GOOGLE_FAULTS, READ, is_missing_bucket, unavailable
from wheelyard.storage.cloud.location import BucketLocation
from wheelyard.storage.cloud.retrying import (
    PROBE_PATIENCE,
    READ_PATIENCE,
    WRITE_PATIENCE,
    Pacing,
    Retrying,
    SilentBucket,
)
from wheelyard.storage.cloud.settling import Change, contradicted, generation_of, version_of
from wheelyard.storage.cloud.streams import BucketStream, read_whole
from wheelyard.storage.faults import storage_faults

ONE_REQUEST: Final = 4 * 1024**2
"""Bytes of a body up to which it goes out in one request; above that in pieces of this size."""
SENDERS: Final = 16
"""Bodies from disk that are sent at a time: each takes a piece or three of memory."""
SETTLING: Final = (2.0, 2.0)
READING: Final = (3.0, 6.0)
WRITING: Final = (3.0, 10.0)
SENDING: Final = (3.0, 60.0)
"""Seconds: to connect, and to wait for an answer, which comes late where much has to be sent."""
LITTLE: Final = 256 * 1024
"""Bytes of a body up to which it is sent at once."""
FORGOTTEN: Final = frozenset({404, 410})
"""Statuses of a piece whose upload the bucket does not know any more; it begins anew, once."""
EMPTY_PAGES: Final = 100
"""Pages of a listing with nothing on them, one after the other."""
SAID_AGAIN: Final = 10.0
"""Seconds after which the log repeats what is wrong with a bucket."""
CONTRADICTIONS: Final = 2
"""Tries after which a precondition that fails, though the object does not change, is an error."""
LOST: Final = 1000
"""Lost races that are remembered, at most."""
LISTED: Final = "items(name,generation,size,timeCreated),nextPageToken"

logger = logging.getLogger("wheelyard")


class Links(Protocol):
    """Makes URLs that the bucket itself answers."""

    def url(self, bucket: str, name: str, method: str, lifetime: timedelta) -> str:
        """
        Return the URL of an object.

        Raises:
            Unavailable: Nobody signs it just now.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Unchanging:
    """Objects whose bytes never change, and what caches on the way to a client are told of them."""

    prefix: str
    """Of their keys."""
    cache_control: str


class CloudStore(Store):
    """
    A store in a bucket; safe to share between threads, not across a fork.

    Args:
        client: Google's client, with the credentials.
        place: The bucket, and the prefix in it.
        pacing: Clock, pauses and chance of every retry.
        links: What makes URLs; None where the bytes go through us.
        unchanging: Which objects may be cached for ever.
    """

    def __init__(
        self,
        client: Client,
        place: BucketLocation,
        pacing: Pacing,
        links: Links | None,
        unchanging: Unchanging,
    ) -> None:
        self._client = client
        self._place = place
        self._bucket: Bucket = client.bucket(place.bucket)
        self._pacing = pacing
        self._links = links
        self._unchanging = unchanging
        self._senders = BoundedSemaphore(SENDERS)
        self._said, self._said_at = "", 0.0
        self._lost: dict[Key, ObjectVersion | None] = {}
        """What was expected where a race was lost, and no write has succeeded since."""

    def get(
        self, key: Key, unless_version: ObjectVersion | None = None
    ) -> Stored | NotModified | None:
        """Return a small object whole, NOT_MODIFIED if it has that version, None if absent."""
        name, unless = self._place.name_of(key), generation_of(unless_version) or None
        breaker = self._pacing.breaker

        def read() -> tuple[bytes, str] | None:
            silent = breaker.is_silent
            return read_whole(
                self._client,
                self._place,
                name,
                unless,
                is_silent=silent,
                monotonic=self._pacing.monotonic,
            )

        with self._faults("storage.objects.get"):
            try:
                found = self._reading().run(read)
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
        name = self._place.name_of(key)
        stream = BucketStream(self._client, self._place, name, self._reading())
        with self._faults("storage.objects.get"):
            is_there = stream.open(start, stop)
        if not is_there:
            raise NotFound(f"The store holds nothing at {key}.")
        return self._chunks(stream)

    def put(
        self,
        key: Key,
        body: bytes | Path,
        expect: ObjectVersion | None,
        kind: WebType | None = None,
    ) -> ObjectVersion:
        """Store `body` whole and return its version."""
        # who expects a version has to read again after somebody else's write, not to wait
        retrying = self._writing(waits_for_turn=expect is None or expect == ABSENT)
        change = Change(key=key, expect=expect, mark=self._new_mark())
        blob = self._described(change, kind or self._usual_kind(key))
        with self._faults("storage.objects.create"):
            landed = self._made(change, retrying, lambda: self._send(blob, body, expect, retrying))
        return landed or version_of(blob)

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
            name: Its whole name there.
            key: Where the copy goes.
            expect: As in `put`.
            kind: What is to be said of the copy.

        Raises:
            Conflict: The key holds another version than `expect`.
            NotFound: There is no such object.
        """
        retrying = self._writing(waits_for_turn=True)
        change = Change(key=key, expect=expect, mark=self._new_mark())
        blob = self._described(change, kind)

        def rewrite() -> None:
            try:
                self._rewrite(blob, self._client.bucket(source.bucket).blob(name), expect, retrying)
            except api.NotFound as error:
                if is_missing_bucket(error):
                    raise
                raise NotFound(f"There is nothing at {name} in gs://{source.bucket}.") from error
            except api.Forbidden as error:
                if READ not in str(error):
                    raise
                raise unavailable(error, source, READ) from error

        with self._faults("storage.objects.create"):
            landed = self._made(change, retrying, rewrite)
        return landed or version_of(blob)

    def delete(self, key: Key, expect: ObjectVersion | None) -> None:
        """Remove the object."""
        retrying = self._writing(waits_for_turn=True)
        with self._faults("storage.objects.delete"):
            self._made(
                Change(key=key, expect=expect),
                retrying,
                lambda: self._remove(key, expect, retrying),
            )

    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        """Yield the entries whose key starts with `prefix` and is above `after`, in order."""
        blobs = self._client.list_blobs(
            self._bucket,
            prefix=self._place.name_of(prefix),
            start_offset=self._place.name_of(after) if after else None,
            fields=LISTED,
            timeout=READING,
            retry=self._reading(),
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

    def sign(self, key: Key, method: str, lifetime: timedelta) -> str | None:
        """Return a URL that the bucket answers, or None where the bytes go through us."""
        if self._links is None:
            return None
        name = self._place.name_of(key)
        return self._links.url(self._place.bucket, name, method, lifetime)

    def _send(
        self, blob: Blob, body: bytes | Path, expect: ObjectVersion | None, retrying: Retrying
    ) -> None:
        with storage_faults("the upload"):
            size = len(body) if isinstance(body, bytes) else body.stat().st_size
        common: dict[str, Any] = {
            "if_generation_match": generation_of(expect),
            "timeout": WRITING if size <= LITTLE else SENDING,
            "retry": retrying,
        }
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

    def _rewrite(
        self, blob: Blob, source: Blob, expect: ObjectVersion | None, retrying: Retrying
    ) -> None:
        """Copy, which between places far apart takes several requests."""
        token, is_done = None, False
        while not is_done:
            token, _, _ = blob.rewrite(
                source,
                token=token,
                if_generation_match=generation_of(expect),
                timeout=SENDING,
                retry=retrying,
            )
            is_done = token is None

    def _remove(self, key: Key, expect: ObjectVersion | None, retrying: Retrying) -> None:
        try:
            self._blob(key).delete(
                if_generation_match=generation_of(expect), timeout=READING, retry=retrying
            )
        except api.NotFound as error:
            if is_missing_bucket(error):
                raise
            # after a lost answer: the version that was to go is gone
            if expect and not retrying.may_have_landed:
                raise Conflict(conflict(key)) from error

    def _made(
        self, change: Change, retrying: Retrying, make: Callable[[], None]
    ) -> ObjectVersion | None:
        """
        Make a change; where its answer does not tell, find out by reading what it has led to.

        A precondition that fails is a lost race; where the same one fails again, it is looked at.

        Returns:
            The version that was found to be made by this change; None where the answer tells it.

        Raises:
            Conflict: Something else was there before it.
            Unavailable: It cannot be told, or the bucket contradicts itself.
        """
        for _ in self._pacing.attempts(CONTRADICTIONS):
            try:
                make()
            except GOOGLE_FAULTS as error:
                has_failed = isinstance(error, api.PreconditionFailed)
                # of a deletion no mark is left that a look would find
                if not (retrying.may_have_landed and (change.mark or has_failed)):
                    self._raise_unless_odd(change, retrying, error)
                landed = change.settled(
                    self._as_it_is(change.key), error, may_have_landed=retrying.may_have_landed
                )
                if landed is not None:
                    return landed
            else:
                self._lost.pop(change.key, None)
                return None
        raise contradicted(change.key, self._place)

    def _raise_unless_odd(self, change: Change, retrying: Retrying, error: Exception) -> None:
        """
        Return if a precondition has failed again that has failed before, or that nobody has set.

        Raises:
            Conflict: Somebody else was first.
            Exception: `error`, where it is about something else.
        """
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
        settling = Retrying(pacing=self._pacing, patience=PROBE_PATIENCE, asks_anyway=True)
        return self._bucket.get_blob(self._place.name_of(key), timeout=SETTLING, retry=settling)

    def _chunks(self, stream: BucketStream) -> Iterator[bytes]:
        with self._faults("storage.objects.get"):
            yield from stream.chunks()

    def _blob(self, key: Key) -> Blob:
        return self._bucket.blob(self._place.name_of(key))

    def _new_mark(self) -> str:
        return f"{self._pacing.random.getrandbits(128):032x}"

    def _usual_kind(self, key: Key) -> WebType:
        content_type = "application/json" if key.endswith(".json") else "application/octet-stream"
        is_unchanging = key.startswith(self._unchanging.prefix)
        caching = self._unchanging.cache_control if is_unchanging else ""
        return WebType(content_type, caching)

    def _described(self, change: Change, kind: WebType) -> Blob:
        """Return an object that is about to be written."""
        blob = self._blob(change.key)
        blob.metadata = change.metadata
        blob.content_type = kind.content_type
        if kind.cache_control:
            blob.cache_control = kind.cache_control
        return blob

    def _reading(self) -> Retrying:
        return Retrying(pacing=self._pacing, patience=READ_PATIENCE)

    def _writing(self, *, waits_for_turn: bool) -> Retrying:
        return Retrying(pacing=self._pacing, patience=WRITE_PATIENCE, waits_for_turn=waits_for_turn)

    @contextmanager
    def _faults(self, permission: str) -> Iterator[None]:
        try:
            yield
        except GOOGLE_FAULTS as error:
            fault = unavailable(error, self._place, permission)
            if not isinstance(error, SilentBucket):
                self._say(fault.message)
            raise fault from error
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            # what the library says when it is answered by something that is no bucket
            nonsense = requests.ConnectionError("this is no answer of a bucket")
            raise unavailable(nonsense, self._place, permission) from error

    def _say(self, what: str) -> None:
        """Tell the log, but not for every request that meets the same trouble."""
        now = self._pacing.monotonic()
        if self._said != what or now - self._said_at >= SAID_AGAIN:
            self._said, self._said_at = what, now
            logger.warning("%s", what)


def _listed(blobs: HTTPIterator) -> Iterator[Blob]:
    """
    Yield what is listed.

    Raises:
        RequestException: What came is no listing, or one that never ends.
    """
    empty = 0
    for page in blobs.pages:
        empty = 0 if page.num_items else empty + 1
        if empty > EMPTY_PAGES:
            raise requests.ConnectionError("the listing never ends")
        for blob in page:
            if blob.time_created is None or blob.size is None:
                raise requests.ConnectionError("the listing lacks what was asked for")
            yield blob
