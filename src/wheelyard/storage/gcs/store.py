"""
The store in a Google Cloud Storage bucket.

An object's version is its generation. Every conditional write names a generation as its
precondition, so the bucket itself decides races.

A failed precondition is a lost race. But after a try whose answer was lost it may be the result of
that try. Then the object is read: if it has the bytes of the write, the write has succeeded, else
the outcome is unknown.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from datetime import timedelta
from threading import BoundedSemaphore
from typing import Any, BinaryIO, Final

import requests
from google.api_core import exceptions as api
from google.api_core.page_iterator import HTTPIterator
from google.cloud.storage import Blob, Bucket, Client

from wheelyard.concurrency.log_rate_limit import LogRateLimit
from wheelyard.errors import RETRY_AFTER_SECONDS, Conflict, NotFound, Unavailable
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
from wheelyard.storage.filesystem import storage_faults
from wheelyard.storage.gcs.error_mapping import (
    GOOGLE_ERRORS,
    READ_PERMISSION,
    bucket_faults,
    is_missing_bucket,
    unavailable,
)
from wheelyard.storage.gcs.object_download import ObjectDownload
from wheelyard.storage.gcs.retry import (
    PROBE_RETRY_SECONDS,
    READ_RETRY_SECONDS,
    WRITE_RETRY_SECONDS,
    RetryEnvironment,
    RetryPolicy,
)
from wheelyard.storage.location import BucketLocation

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
MAX_EMPTY_PAGES: Final = 100
"""Pages without an entry that a listing may have in a row."""
LIST_FIELDS: Final = "items(name,size,timeCreated),nextPageToken"
NO_GENERATION: Final = 1
"""A generation that no object has: generations count microseconds since 1970."""
MAX_GENERATION_DIGITS: Final = 18

logger = logging.getLogger("wheelyard")

UrlFactory = Callable[[str, str, timedelta], str]
"""Returns the download URL of a bucket's object for a lifetime; may raise Unavailable."""


class GcsStore(Store):
    """A store in a bucket; safe to share between threads, not across a fork."""

    def __init__(
        self,
        client: Client,
        location: BucketLocation,
        env: RetryEnvironment,
        url_factory: UrlFactory | None,
        cache_control: str = "",
    ) -> None:
        self._client = client
        self._location = location
        self._bucket: Bucket = client.bucket(location.bucket)
        self._env = env
        self._url_factory = url_factory
        self._cache_control = cache_control
        self._upload_slots = BoundedSemaphore(MAX_CONCURRENT_UPLOADS)
        self._log_limits = defaultdict[str, LogRateLimit](
            lambda: LogRateLimit(LOG_LINES_PER_MINUTE, env.runtime.monotonic)
        )
        """By error code, so that a frequent failure does not hide another one."""

    def get(self, key: Key, unless: ObjectVersion | None = None) -> Found:
        """See `Store`."""
        with self._faults(READ_PERMISSION):
            try:
                found = self._stream(key).read_whole(generation_of(unless) or None)
            except api.NotFound as error:
                if is_missing_bucket(error):
                    raise
                return None
        # an emulator may ignore the condition
        if found is None or found[1] == unless:
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
        self, key: Key, body: bytes, expect: ObjectVersion | None, kind: WebType | None = None
    ) -> ObjectVersion:
        """See `Store`."""
        blob, policy = self._new_blob(key, kind), self._write_policy()
        # a writer that expects a version must read again after another write, not wait
        policy.retries_rate_limit = not expect
        timeouts = WRITE_TIMEOUTS if len(body) <= SMALL_BODY_BYTES else UPLOAD_TIMEOUTS
        with self._faults("storage.objects.create"):
            try:
                # without a content type the library sends text/plain, which the bucket refuses
                blob.upload_from_string(
                    body,
                    content_type=blob.content_type,
                    if_generation_match=generation_of(expect),
                    retry=policy,
                    timeout=timeouts,
                )
            except GOOGLE_ERRORS as error:
                return self._settled(key, body, policy, error)
        return version_of(blob)

    def put_file(self, key: Key, body: FileBody, kind: WebType | None = None) -> None:
        """See `Store`."""
        if isinstance(body, bytes):
            self.put(key, body, None, kind)
            return
        with storage_faults("the upload"):
            file, size = body.open("rb"), body.stat().st_size
        with file, self._upload_slots, self._faults("storage.objects.create"):
            try:
                self._send(self._new_blob(key, kind), file, size)
            except GOOGLE_ERRORS:
                blob = self._current_blob(key)  # the last answer may have been lost
                if blob is None or blob.size != size:
                    raise

    def copy(self, source: BucketLocation, name: str, key: Key, kind: WebType) -> None:
        """
        Have the bucket copy an object of this or another bucket, over one that is there.

        `name` is the original's whole name in the bucket of `source`; raises NotFound if it does
        not exist. `key` and `kind` are those of the copy, as in `put`.
        """
        blob, original = self._new_blob(key, kind), self._client.bucket(source.bucket).blob(name)
        arguments: dict[str, Any] = {"retry": self._write_policy(), "timeout": UPLOAD_TIMEOUTS}
        with self._faults("storage.objects.create"):
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

    def delete(self, key: Key) -> None:
        """See `Store`."""
        blob = self._bucket.blob(self._location.name_of(key))
        with self._faults("storage.objects.delete"):
            try:
                blob.delete(timeout=READ_TIMEOUTS, retry=self._write_policy())
            except api.NotFound as error:
                if is_missing_bucket(error):
                    raise

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
                yield Entry(key, blob.size, blob.time_created.timestamp())

    def sign(self, key: Key, lifetime: timedelta) -> str | None:
        """See `Store`; None if the server streams downloads itself."""
        if self._url_factory is None:
            return None
        return self._url_factory(self._location.bucket, self._location.name_of(key), lifetime)

    def _send(self, blob: Blob, file: BinaryIO, size: int) -> None:
        arguments: dict[str, Any] = {"retry": self._write_policy(), "timeout": UPLOAD_TIMEOUTS}
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

    def _settled(
        self, key: Key, body: bytes, policy: RetryPolicy, error: Exception
    ) -> ObjectVersion:
        """
        Return the version that a write with this error has made, or raise what has come of it.

        Conflict is raised only if no try of the write can have succeeded.
        """
        has_lost = isinstance(error, api.PreconditionFailed)
        is_rate_limit = isinstance(error, api.TooManyRequests) and not policy.retries_rate_limit
        if policy.may_have_succeeded:
            stored = self._current_document(key)
            if stored is not None and stored[0] == body:
                return ObjectVersion(stored[1])
        elif has_lost or is_rate_limit:
            raise Conflict(conflict_message(key)) from error
        if not has_lost:
            raise error
        raise Unavailable(
            f"Another writer has changed {key}, and whether this change came first is not known. "
            "Read it again.",
            short="Too many writers at once.",
            retry_after=RETRY_AFTER_SECONDS,
        ) from error

    def _current_document(self, key: Key) -> tuple[bytes, str] | None:
        """Return an object's bytes and generation after an unclear write, if they can be read."""
        name = self._location.name_of(key)
        stream = ObjectDownload(self._client, self._location, name, self._settle_policy())
        with suppress(*GOOGLE_ERRORS):
            return stream.read_whole(None)
        return None

    def _current_blob(self, key: Key) -> Blob | None:
        name = self._location.name_of(key)
        return self._bucket.get_blob(name, timeout=SETTLE_TIMEOUTS, retry=self._settle_policy())

    def _settle_policy(self) -> RetryPolicy:
        # short, because the caller has waited for the write already
        return RetryPolicy(env=self._env, retry_seconds=PROBE_RETRY_SECONDS, ignores_circuit=True)

    def _chunks(self, stream: ObjectDownload) -> Iterator[bytes]:
        with self._faults(READ_PERMISSION):
            yield from stream.chunks()

    def _stream(self, key: Key) -> ObjectDownload:
        policy = RetryPolicy(env=self._env, retry_seconds=READ_RETRY_SECONDS)
        return ObjectDownload(self._client, self._location, self._location.name_of(key), policy)

    def _write_policy(self) -> RetryPolicy:
        return RetryPolicy(env=self._env, retry_seconds=WRITE_RETRY_SECONDS)

    def _new_blob(self, key: Key, kind: WebType | None) -> Blob:
        content_type = "application/json" if key.endswith(".json") else "application/octet-stream"
        kind = kind or WebType(content_type, self._cache_control)
        blob = self._bucket.blob(self._location.name_of(key))
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
