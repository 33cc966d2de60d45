"""
The store in a Google Cloud Storage bucket.

An object's version is its generation. Every conditional write names a generation as its
precondition, so the bucket itself decides races.

A failed precondition is a lost race. But if an earlier try may have succeeded, or if the same
precondition fails in the next call, too, the object is read to find out what happened. Every write
puts a random `write-id` into the object's metadata, and a conditional write the generation that it
expects to replace (`write-over`). If the id is there, the write has succeeded. If another write has
replaced the expected generation, this one has failed. If the object still has the expected
generation, the precondition held, so the answer was wrong.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import timedelta
from threading import BoundedSemaphore
from typing import Any, Final

import requests
from google.api_core import exceptions as api
from google.api_core.page_iterator import HTTPIterator
from google.cloud.storage import Blob, Bucket, Client
from msgspec import Struct
from msgspec.structs import replace

from wheelyard.concurrency.log_rate_limit import LogRateLimit
from wheelyard.errors import RETRY_AFTER_SECONDS, Conflict, NotFound, Unavailable
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
from wheelyard.storage.filesystem import storage_faults
from wheelyard.storage.gcs.error_mapping import (
    GOOGLE_ERRORS,
    READ_PERMISSION,
    bucket_faults,
    is_missing_bucket,
    unavailable,
)
from wheelyard.storage.gcs.location import BucketLocation
from wheelyard.storage.gcs.object_download import ObjectDownload
from wheelyard.storage.gcs.retry import (
    PROBE_RETRY_SECONDS,
    READ_RETRY_SECONDS,
    WRITE_RETRY_SECONDS,
    RetryEnvironment,
    RetryPolicy,
)

UPLOAD_CHUNK_BYTES: Final = 4 * 1024**2
"""Bytes of the largest body that is sent in one request, and of each chunk of a larger one."""
MAX_CONCURRENT_UPLOADS: Final = 16
"""Files from disk that are sent at a time: each takes up to three chunks of memory."""
SETTLE_TIMEOUTS: Final = (2.0, 2.0)
READ_TIMEOUTS: Final = (3.0, 6.0)
WRITE_TIMEOUTS: Final = (3.0, 10.0)
UPLOAD_TIMEOUTS: Final = (3.0, 60.0)
"""Seconds to connect, and to wait for an answer; for a large body the answer comes late."""
SMALL_BODY_BYTES: Final = 256 * 1024
"""Bytes of the largest body that is sent with `WRITE_TIMEOUTS`."""
LOST_SESSION_STATUSES: Final = frozenset({404, 410})
"""Statuses of a chunk whose upload session the bucket has lost; the upload is restarted once."""
LOG_LINES_PER_MINUTE: Final = 6
"""Log lines a minute for each kind of failure of a bucket."""
MAX_PRECONDITION_TRIES: Final = 2
"""Tries after which a failed precondition on an unchanged object is an error."""
LOST_RACES_LIMIT: Final = 1000
"""Keys whose last lost race is remembered, at most."""
MAX_EMPTY_PAGES: Final = 100
"""Pages without an entry that a listing may have in a row."""
LIST_FIELDS: Final = "items(name,generation,size,timeCreated),nextPageToken"
WRITE_ID: Final = "write-id"
"""The object metadata that holds the random id of the last write."""
WRITE_OVER: Final = "write-over"
"""The object metadata that holds the generation that the last write replaced, 0 for none."""
NO_GENERATION: Final = 1
"""A generation that no object has: generations count microseconds since 1970."""
MAX_GENERATION_DIGITS: Final = 18

logger = logging.getLogger("wheelyard")

UrlFactory = Callable[[str, str, timedelta], str]
"""Returns the download URL of a bucket's object for a lifetime; may raise Unavailable."""


class ImmutablePrefix(Struct, frozen=True, kw_only=True):
    """The key prefix of objects that never change, and their `Cache-Control` header."""

    prefix: str
    cache_control: str


class Mutation(Struct, frozen=True, kw_only=True):
    """A write or a deletion of one object."""

    key: Key
    expect: ObjectVersion | None
    """The version that it replaces; None for any."""
    policy: RetryPolicy
    write_id: str = ""
    """Random; empty for a deletion, which leaves no metadata."""

    @property
    def arguments(self) -> dict[str, Any]:
        """The keyword arguments for Google's library that set the precondition and the retries."""
        return {"if_generation_match": generation_of(self.expect), "retry": self.policy}

    def resolve(self, found: Blob | None, error: Exception) -> ObjectVersion | None:
        """
        Return the version that the mutation has made, or None if the bucket contradicts itself.

        `found` is the object, read after the last try, which has raised `error`; None if it does
        not exist. Raises Conflict if another version was there before, Unavailable if the outcome
        is unknown, and `error` if it is not a failed precondition.
        """
        metadata = (found and found.metadata) or {}
        if found is not None and metadata.get(WRITE_ID) == self.write_id:
            return version_of(found)
        if not isinstance(error, api.PreconditionFailed):
            raise error
        expected = generation_of(self.expect)
        if expected is None or expected == (0 if found is None else found.generation):
            return None
        if not self.policy.may_have_succeeded or metadata.get(WRITE_OVER) == str(expected):
            raise Conflict(conflict_message(self.key)) from error
        raise Unavailable(
            f"Another writer has changed {self.key}, and whether this change came first is not "
            "known. Read it again.",
            short="Too many writers at once.",
            retry_after=RETRY_AFTER_SECONDS,
        ) from error


class GcsStore(Store):
    """A store in a bucket; safe to share between threads, not across a fork."""

    def __init__(
        self,
        client: Client,
        location: BucketLocation,
        env: RetryEnvironment,
        url_factory: UrlFactory | None,
        immutable: ImmutablePrefix,
    ) -> None:
        self._client = client
        self._location = location
        self._bucket: Bucket = client.bucket(location.bucket)
        self._env = env
        self._url_factory = url_factory
        self._immutable = immutable
        self._upload_slots = BoundedSemaphore(MAX_CONCURRENT_UPLOADS)
        self._log_limits = defaultdict[str, LogRateLimit](
            lambda: LogRateLimit(LOG_LINES_PER_MINUTE, env.runtime.monotonic)
        )
        """By error code, so that a frequent failure does not hide another one."""
        self._lost: dict[Key, ObjectVersion | None] = {}
        """The version that a lost race expected, until a write of the key succeeds."""

    def get(self, key: Key, unless_version: ObjectVersion | None = None) -> Found:
        """See `Store`."""
        unless = generation_of(unless_version) or None
        with self._faults(READ_PERMISSION):
            try:
                found = self._stream(key).read_whole(unless)
            except api.NotFound as error:
                if is_missing_bucket(error):
                    raise
                return None
        # an emulator may ignore the condition
        if found is None or found[1] == unless_version:
            return NOT_MODIFIED
        return Stored(found[0], ObjectVersion(found[1]))

    def read(self, key: Key, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """See `Store`; the stream resumes after a broken connection."""
        stream = self._stream(key)
        with self._faults(READ_PERMISSION):
            exists = stream.open(start, stop)
        if not exists:
            raise NotFound(f"The store holds nothing at {key}.")
        return self._chunks(stream)

    def put(
        self, key: Key, body: ObjectBody, expect: ObjectVersion | None, kind: WebType | None = None
    ) -> ObjectVersion:
        """See `Store`."""
        # a writer that expects a version must read again after another write, not wait
        change = self._change(key, expect, retries_rate_limit=expect is None or expect == ABSENT)
        blob = self._new_blob(change, kind or self._default_kind(key))
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
        Have the bucket copy an object of this or another bucket; return the copy's version.

        `name` is the original's whole name in the bucket of `source`; raises NotFound if it does
        not exist. `key`, `expect` and `kind` are those of the copy, as in `put`.
        """
        change = self._change(key, expect)
        blob = self._new_blob(change, kind)
        original = self._client.bucket(source.bucket).blob(name)
        arguments = change.arguments | {"timeout": UPLOAD_TIMEOUTS}

        def rewrite() -> None:
            try:
                token, *_ = blob.rewrite(original, **arguments)
                while token is not None:  # between distant regions it takes several requests
                    token, *_ = blob.rewrite(original, token=token, **arguments)
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
        change = replace(self._change(key, expect), write_id="")
        blob = self._bucket.blob(self._location.name_of(key))

        def remove() -> None:
            try:
                blob.delete(timeout=READ_TIMEOUTS, **change.arguments)
            except api.NotFound as error:
                if is_missing_bucket(error):
                    raise
                # after a lost answer, the object is missing because this call deleted it
                if expect and not change.policy.may_have_succeeded:
                    raise Conflict(conflict_message(key)) from error

        with self._faults("storage.objects.delete"):
            self._apply(change, remove)

    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        """See `Store`."""
        blobs = self._client.list_blobs(
            self._bucket,
            prefix=self._location.name_of(prefix),
            start_offset=self._location.name_of(after) if after else None,
            fields=LIST_FIELDS,
            timeout=READ_TIMEOUTS,
            retry=RetryPolicy(env=self._env, retry_seconds=READ_RETRY_SECONDS),
        )
        last = after
        with self._faults("storage.objects.list"):
            for blob in _blobs_of(blobs):
                key = Key(blob.name.removeprefix(self._location.prefix))
                if key == after:
                    continue
                if key <= last:  # a repeating listing would never end
                    raise requests.ConnectionError("the listing repeats itself")
                last = key
                yield Entry(key, blob.size, version_of(blob), blob.time_created.timestamp())

    def sign(self, key: Key, lifetime: timedelta) -> str | None:
        """See `Store`; None if the server streams downloads itself."""
        if self._url_factory is None:
            return None
        return self._url_factory(self._location.bucket, self._location.name_of(key), lifetime)

    def _send(self, blob: Blob, body: ObjectBody, change: Mutation) -> None:
        with storage_faults("the upload"):
            size = len(body) if isinstance(body, bytes) else body.stat().st_size
        timeouts = WRITE_TIMEOUTS if size <= SMALL_BODY_BYTES else UPLOAD_TIMEOUTS
        arguments = change.arguments | {"timeout": timeouts}
        if isinstance(body, bytes):
            # without a content type the library sends text/plain, which the bucket refuses
            blob.upload_from_string(body, content_type=blob.content_type, **arguments)
            return
        with storage_faults("the upload"):
            file = body.open("rb")
        with file, self._upload_slots:
            if size <= UPLOAD_CHUNK_BYTES:
                blob.upload_from_file(file, size=size, **arguments)
                return
            # without a size the library sends chunks of `chunk_size` bytes
            blob.chunk_size = UPLOAD_CHUNK_BYTES
            try:
                blob.upload_from_file(file, **arguments)
            except api.ClientError as error:
                if error.code not in LOST_SESSION_STATUSES:
                    raise
                blob.upload_from_file(file, rewind=True, **arguments)
            except ValueError as error:
                # the bucket may keep a part of a chunk, and the library cannot resume there
                raise ConnectionError from error

    def _apply(self, change: Mutation, make: Callable[[], None]) -> ObjectVersion | None:
        """
        Run `make`, which carries out `change`; if its outcome is unclear, read the object.

        Returns None if `make` has succeeded, else the version that the object, once read, shows for
        `change`. A failed precondition is a lost race (Conflict); if the same precondition fails in
        the next call, too, the object is read.
        """
        for _ in self._env.attempts(MAX_PRECONDITION_TRIES):
            try:
                make()
            except GOOGLE_ERRORS as error:
                has_failed = isinstance(error, api.PreconditionFailed)
                # a deletion leaves no write id that could be read
                if not (change.policy.may_have_succeeded and (change.write_id or has_failed)):
                    self._raise_unless_repeated(change, error)
                version = change.resolve(self._current_blob(change.key), error)
                if version is not None:
                    return version
            else:
                self._lost.pop(change.key, None)
                return None
        raise _precondition_error(change.key, self._location)

    def _raise_unless_repeated(self, change: Mutation, error: Exception) -> None:
        """
        Raise Conflict for a failed precondition, unless it has failed in an earlier call, too.

        Returns then, and if the write has no precondition, so that the caller reads the object.
        Status 429 is a Conflict if it is not retried. Any other `error` is raised.
        """
        policy = change.policy
        if isinstance(error, api.TooManyRequests) and not policy.retries_rate_limit:
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
        # short, because the caller has waited for the write already
        policy = RetryPolicy(env=self._env, retry_seconds=PROBE_RETRY_SECONDS, ignores_circuit=True)
        name = self._location.name_of(key)
        return self._bucket.get_blob(name, timeout=SETTLE_TIMEOUTS, retry=policy)

    def _chunks(self, stream: ObjectDownload) -> Iterator[bytes]:
        with self._faults(READ_PERMISSION):
            yield from stream.chunks()

    def _stream(self, key: Key) -> ObjectDownload:
        policy = RetryPolicy(env=self._env, retry_seconds=READ_RETRY_SECONDS)
        return ObjectDownload(self._client, self._location, self._location.name_of(key), policy)

    def _change(
        self, key: Key, expect: ObjectVersion | None, *, retries_rate_limit: bool = True
    ) -> Mutation:
        write_id = f"{self._env.runtime.random.getrandbits(128):032x}"
        policy = RetryPolicy(env=self._env, retry_seconds=WRITE_RETRY_SECONDS)
        policy.retries_rate_limit = retries_rate_limit
        return Mutation(key=key, expect=expect, policy=policy, write_id=write_id)

    def _default_kind(self, key: Key) -> WebType:
        content_type = "application/json" if key.endswith(".json") else "application/octet-stream"
        is_immutable = key.startswith(self._immutable.prefix)
        caching = self._immutable.cache_control if is_immutable else ""
        return WebType(content_type, caching)

    def _new_blob(self, change: Mutation, kind: WebType) -> Blob:
        over = {} if change.expect is None else {WRITE_OVER: str(generation_of(change.expect))}
        blob = self._bucket.blob(self._location.name_of(change.key))
        blob.metadata = {WRITE_ID: change.write_id} | over
        blob.content_type = kind.content_type
        if kind.cache_control:
            blob.cache_control = kind.cache_control
        return blob

    def _faults(self, permission: str) -> AbstractContextManager[None]:
        return bucket_faults(self._location, permission, self._log_fault)

    def _log_fault(self, fault: Unavailable) -> None:
        left_out = self._log_limits[fault.code].acquire()
        if left_out is not None:
            more = f" ({left_out} more since the last such line)" if left_out else ""
            logger.warning("%s%s", fault.message, more)


def _blobs_of(blobs: HTTPIterator) -> Iterator[Blob]:
    empty = 0
    for page in blobs.pages:
        empty = 0 if page.num_items else empty + 1
        if empty > MAX_EMPTY_PAGES:
            raise requests.ConnectionError("the listing never ends")
        for blob in page:
            if blob.time_created is None or blob.size is None:
                raise requests.ConnectionError("the listing lacks required fields")
            yield blob


def generation_of(version: ObjectVersion | None) -> int | None:
    """
    Return the generation for a precondition: 0 if the object must be absent, None for any.

    A version of another kind of store gives a generation that no object has.
    """
    if version is None:
        return None
    if not version:
        return 0
    # another store's version is not a generation: it must match none, and the bucket refuses it
    is_valid = version.isascii() and version.isdigit() and len(version) <= MAX_GENERATION_DIGITS
    return int(version) if is_valid else NO_GENERATION


def version_of(blob: Blob) -> ObjectVersion:
    """Return the version of an object of the bucket: its generation."""
    return ObjectVersion(str(blob.generation))


def _precondition_error(key: Key, location: BucketLocation) -> Unavailable:
    return Unavailable(
        f"The bucket gs://{location.bucket} answers each write of {key} with 412 (a precondition "
        "failed) although that object does not change: check whether a proxy or an emulator that "
        "alters requests stands between this machine and Cloud Storage.",
        code="precondition_failed",
        short="The store refuses to write.",
    )
