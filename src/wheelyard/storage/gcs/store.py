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
    conflict_message,
)
from wheelyard.storage.disk import storage_faults
from wheelyard.storage.gcs.location import BucketLocation
from wheelyard.storage.gcs.resumable_download import ResumableDownload
from wheelyard.storage.gcs.retry import (
    GOOGLE_ERRORS,
    PROBE_RETRY_SECONDS,
    READ_PERMISSION,
    READ_RETRY_SECONDS,
    WRITE_RETRY_SECONDS,
    RetryEnvironment,
    RetryPolicy,
    bucket_faults,
    is_missing_bucket,
    unavailable,
)

UPLOAD_CHUNK_BYTES: Final = 4 * 1024**2
"""Bytes of a body up to which it is one request; above that, of each piece."""
MAX_CONCURRENT_UPLOADS: Final = 16
"""Bodies from disk that are sent at a time: each takes a piece or three of memory."""
SETTLE_TIMEOUTS: Final = (2.0, 2.0)
READ_TIMEOUTS: Final = (3.0, 6.0)
WRITE_TIMEOUTS: Final = (3.0, 10.0)
UPLOAD_TIMEOUTS: Final = (3.0, 60.0)
"""Seconds: to connect, and to wait for an answer, which is late where much is sent."""
SMALL_BODY_BYTES: Final = 256 * 1024
"""Bytes of a body up to which it is sent at once."""
LOST_SESSION_STATUSES: Final = frozenset({404, 410})
"""Statuses of a piece whose upload the bucket has forgotten; it begins anew, once."""
LOG_LINES_PER_MINUTE: Final = 6
"""Lines a minute in the log about what is wrong with a bucket."""
MAX_PRECONDITION_TRIES: Final = 2
"""Tries after which a precondition that fails, though the object does not change, is an error."""
LOST_RACES_LIMIT: Final = 1000
"""Lost races that are remembered, at most."""
MAX_EMPTY_PAGES: Final = 100
"""Pages of a listing without an entry that may come one after the other."""
LIST_FIELDS: Final = "items(name,generation,size,timeCreated),nextPageToken"
WRITE_ID: Final = "write-id"
"""The name of the mark of a write, in an object's own metadata."""
WRITE_OVER: Final = "write-over"
"""The name of the generation that a conditional write replaced, 0 for none; there too."""
NO_GENERATION: Final = 1
"""A generation that no object has: they count microseconds since 1970."""
MAX_GENERATION_DIGITS: Final = 18
"""Of a generation, at most."""

logger = logging.getLogger("wheelyard")

UrlFactory = Callable[[str, str, timedelta], str]
"""Returns the URL of an object, of a bucket and a name, for a time; may raise Unavailable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImmutablePrefix:
    """Objects whose bytes never change, and what caches on the way to a client are told of them."""

    prefix: str
    """Of their keys."""
    cache_control: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutation:
    """A write or a deletion that is to be made."""

    key: Key
    expect: ObjectVersion | None
    """The version that it replaces; None for any."""
    retry_policy: RetryPolicy
    mark: str = ""
    """Of a write; a deletion leaves none."""

    @property
    def common(self) -> dict[str, Any]:
        """What each of the library's verbs is told of it."""
        return {"if_generation_match": generation_of(self.expect), "retry": self.retry_policy}

    def resolve(self, found: Blob | None, error: Exception) -> ObjectVersion | None:
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
        if found is not None and metadata.get(WRITE_ID) == self.mark:
            return version_of(found)
        if not isinstance(error, api.PreconditionFailed):
            raise error
        expected = generation_of(self.expect)
        if expected is None or expected == (0 if found is None else found.generation):
            return None
        if not self.retry_policy.may_have_succeeded or metadata.get(WRITE_OVER) == str(expected):
            raise Conflict(conflict_message(self.key)) from error
        raise Unavailable(
            f"Somebody else has changed {self.key} meanwhile, and whether this change came first "
            "is not known. Read it again.",
            short="Too many writers at once.",
        ) from error


class GcsStore(Store):
    """A store in a bucket; safe to share between threads, not across a fork."""

    def __init__(
        self,
        client: Client,
        place: BucketLocation,
        retry_env: RetryEnvironment,
        links: UrlFactory | None,
        unchanging: ImmutablePrefix,
    ) -> None:
        self._client = client
        self._place = place
        self._bucket: Bucket = client.bucket(place.bucket)
        self._retry_env = retry_env
        self._links = links
        self._unchanging = unchanging
        self._upload_slots = BoundedSemaphore(MAX_CONCURRENT_UPLOADS)
        self._log_limits = defaultdict[str, LogRateLimit](
            lambda: LogRateLimit(LOG_LINES_PER_MINUTE, retry_env.monotonic)
        )
        """By the code of a fault, so that a frequent one does not hide another."""
        self._lost: dict[Key, ObjectVersion | None] = {}
        """What was expected where a race was lost, and no write has succeeded since."""

    def get(self, key: Key, unless_version: ObjectVersion | None = None) -> Found:
        """See `Store`."""
        unless = generation_of(unless_version) or None
        with self._faults(READ_PERMISSION):
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
        with self._faults(READ_PERMISSION):
            is_there = stream.open(start, stop)
        if not is_there:
            raise NotFound(f"The store holds nothing at {key}.")
        return self._chunks(stream)

    def put(
        self,
        key: Key,
        body: ObjectBody,
        expect: ObjectVersion | None,
        kind: WebType | None = None,
    ) -> ObjectVersion:
        """See `Store`."""
        # who expects a version has to read again after somebody else's write, not to wait
        change = self._change(key, expect, retries_rate_limit=expect is None or expect == ABSENT)
        blob = self._described(change, kind or self._usual_kind(key))
        with self._faults("storage.objects.create"):
            return self._apply(change, lambda: self._send(blob, body, change)) or version_of(blob)

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
                    more = blob.rewrite(
                        original, token=token, timeout=UPLOAD_TIMEOUTS, **change.common
                    )
                    token = more[0]
                    is_done = token is None
            except api.NotFound as error:
                if is_missing_bucket(error):
                    raise
                raise NotFound(f"There is nothing at {name} in gs://{source.bucket}.") from error
            except api.Forbidden as error:
                if READ_PERMISSION not in str(error):
                    raise
                raise unavailable(error, source, READ_PERMISSION) from error

        with self._faults("storage.objects.create"):
            return self._apply(change, rewrite) or version_of(blob)

    def delete(self, key: Key, expect: ObjectVersion | None) -> None:
        """See `Store`."""
        change = replace(self._change(key, expect), mark="")

        def remove() -> None:
            try:
                self._bucket.blob(self._place.name_of(key)).delete(
                    timeout=READ_TIMEOUTS, **change.common
                )
            except api.NotFound as error:
                if is_missing_bucket(error):
                    raise
                # after a lost answer: the version that was to go is gone
                if expect and not change.retry_policy.may_have_succeeded:
                    raise Conflict(conflict_message(key)) from error

        with self._faults("storage.objects.delete"):
            self._apply(change, remove)

    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        """See `Store`."""
        blobs = self._client.list_blobs(
            self._bucket,
            prefix=self._place.name_of(prefix),
            start_offset=self._place.name_of(after) if after else None,
            fields=LIST_FIELDS,
            timeout=READ_TIMEOUTS,
            retry=RetryPolicy(retry_env=self._retry_env, retry_seconds=READ_RETRY_SECONDS),
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

    def _send(self, blob: Blob, body: ObjectBody, change: Mutation) -> None:
        with storage_faults("the upload"):
            size = len(body) if isinstance(body, bytes) else body.stat().st_size
        common = change.common | {
            "timeout": WRITE_TIMEOUTS if size <= SMALL_BODY_BYTES else UPLOAD_TIMEOUTS
        }
        if isinstance(body, bytes):
            # the library would say that these bytes are text, and the bucket refuse them for that
            blob.upload_from_string(body, content_type=blob.content_type, **common)
            return
        with storage_faults("the upload"):
            file = body.open("rb")
        with file, self._upload_slots:
            if size <= UPLOAD_CHUNK_BYTES:
                blob.upload_from_file(file, size=size, **common)
                return
            # without a size the library sends pieces, of so many bytes
            blob.chunk_size = UPLOAD_CHUNK_BYTES
            try:
                blob.upload_from_file(file, **common)
            except api.ClientError as error:
                if error.code not in LOST_SESSION_STATUSES:
                    raise
                blob.upload_from_file(file, rewind=True, **common)
            except ValueError as error:
                # the bucket may keep a part of a piece, and the library cannot go on from there
                raise ConnectionError from error

    def _apply(self, change: Mutation, make: Callable[[], None]) -> ObjectVersion | None:
        """
        Make a change; where its answer does not tell, find out by reading what it has led to.

        Returns the version that was found then. A precondition that fails is a lost race; where the
        same one fails again, it is looked at.
        """
        for _ in self._retry_env.attempts(MAX_PRECONDITION_TRIES):
            try:
                make()
            except GOOGLE_ERRORS as error:
                has_failed = isinstance(error, api.PreconditionFailed)
                # of a deletion no mark is left that a look would find
                if not (change.retry_policy.may_have_succeeded and (change.mark or has_failed)):
                    self._check_precondition(change, error)
                landed = change.resolve(self._current_blob(change.key), error)
                if landed is not None:
                    return landed
            else:
                self._lost.pop(change.key, None)
                return None
        raise _contradicted(change.key, self._place)

    def _check_precondition(self, change: Mutation, error: Exception) -> None:
        """Return if a precondition failed again that failed before, or that nobody has set."""
        retry_policy = change.retry_policy
        if isinstance(error, api.TooManyRequests) and not retry_policy.retries_rate_limit:
            raise Conflict(conflict_message(change.key)) from error
        if not isinstance(error, api.PreconditionFailed):
            raise error
        if change.expect is None or self._lost.get(change.key) == change.expect:
            return
        if len(self._lost) >= LOST_RACES_LIMIT:
            self._lost.clear()
        self._lost[change.key] = change.expect
        raise Conflict(conflict_message(change.key)) from error

    def _current_blob(self, key: Key) -> Blob | None:
        # so short that a bucket which answers nobody keeps nobody much longer
        settling = RetryPolicy(
            retry_env=self._retry_env, retry_seconds=PROBE_RETRY_SECONDS, ignores_circuit=True
        )
        return self._bucket.get_blob(
            self._place.name_of(key), timeout=SETTLE_TIMEOUTS, retry=settling
        )

    def _chunks(self, stream: ResumableDownload) -> Iterator[bytes]:
        with self._faults(READ_PERMISSION):
            yield from stream.chunks()

    def _stream(self, key: Key) -> ResumableDownload:
        retry_policy = RetryPolicy(retry_env=self._retry_env, retry_seconds=READ_RETRY_SECONDS)
        return ResumableDownload(self._client, self._place, self._place.name_of(key), retry_policy)

    def _change(
        self, key: Key, expect: ObjectVersion | None, *, retries_rate_limit: bool = True
    ) -> Mutation:
        mark = f"{self._retry_env.random.getrandbits(128):032x}"
        retry_policy = RetryPolicy(
            retry_env=self._retry_env,
            retry_seconds=WRITE_RETRY_SECONDS,
            retries_rate_limit=retries_rate_limit,
        )
        return Mutation(key=key, expect=expect, retry_policy=retry_policy, mark=mark)

    def _usual_kind(self, key: Key) -> WebType:
        content_type = "application/json" if key.endswith(".json") else "application/octet-stream"
        is_unchanging = key.startswith(self._unchanging.prefix)
        caching = self._unchanging.cache_control if is_unchanging else ""
        return WebType(content_type, caching)

    def _described(self, change: Mutation, kind: WebType) -> Blob:
        over = {} if change.expect is None else {WRITE_OVER: str(generation_of(change.expect))}
        blob = self._bucket.blob(self._place.name_of(change.key))
        blob.metadata = {WRITE_ID: change.mark} | over
        blob.content_type = kind.content_type
        if kind.cache_control:
            blob.cache_control = kind.cache_control
        return blob

    def _faults(self, permission: str) -> AbstractContextManager[None]:
        return bucket_faults(self._place, permission, self._log_fault)

    def _log_fault(self, fault: Unavailable) -> None:
        left_out = self._log_limits[fault.code].acquire()
        if left_out is not None:
            more = f" ({left_out} more since the last such line)" if left_out else ""
            logger.warning("%s%s", fault.message, more)


def _listed(blobs: HTTPIterator) -> Iterator[Blob]:
    empty = 0
    for page in blobs.pages:
        empty = 0 if page.num_items else empty + 1
        if empty > MAX_EMPTY_PAGES:
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
    is_ours = version.isascii() and version.isdigit() and len(version) <= MAX_GENERATION_DIGITS
    return int(version) if is_ours else NO_GENERATION


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
