"""
Buckets of objects in memory, with the service's preconditions and its limit on writes.

An object is a value: a write replaces it in the bucket, and does not change it. Every operation
that reads and then writes holds the lock of the bucket.

A write is refused with 412 before it is refused with 429: a failed precondition changes nothing, so
it is no mutation, and the loser of a race learns so at once. The service promises no order.
"""

import base64
from bisect import bisect_left, insort
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import md5
from itertools import takewhile
from threading import RLock
from typing import Any
from urllib.parse import quote

import google_crc32c

from tests.fake_gcs.errors import ApiError, invalid, no_object, not_held
from tests.fake_time import RunningClock

SETTABLE = ("contentType", "cacheControl", "contentEncoding")
LONGEST_NAME = 1024
MOST_METADATA = 8 << 10
"""Bytes of all names and values of an object's own metadata."""

Resource = dict[str, Any]
Guard = Callable[[str], None]
"""Raises if the caller lacks a permission."""


@dataclass(frozen=True, slots=True)
class Body:
    """Bytes, with their checksum and digest in base64, as the service has them."""

    data: bytes
    crc32c: str
    md5: str

    @property
    def size(self) -> int:
        """The number of bytes."""
        return len(self.data)

    def piece(self, start: int, stop: int) -> memoryview:
        """Return the bytes from `start` up to but not including `stop`."""
        return memoryview(self.data)[start:stop]


def body_of(data: bytes) -> Body:
    """Return a body of these bytes."""
    crc32c = base64.b64encode(int(google_crc32c.value(data)).to_bytes(4, "big")).decode()
    digest = base64.b64encode(md5(data, usedforsecurity=False).digest()).decode()
    return Body(data, crc32c, digest)


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One generation of an object; `fields` are those of SETTABLE that are set."""

    bucket: str
    name: str
    body: Body
    generation: int
    fields: Mapping[str, str]
    metadata: Mapping[str, str]
    created: float
    updated: float

    @property
    def data(self) -> bytes:
        """The bytes."""
        return self.body.data

    @property
    def etag(self) -> str:
        """Changes with every write."""
        return f"{self.generation:x}"

    def resource(self, root: str) -> Resource:
        """Return the object as the JSON API describes it; `root` is the server's URL."""
        path = f"storage/v1/b/{self.bucket}/o/{quote(self.name, safe='~')}"
        shown: Resource = {
            "kind": "storage#object",
            "id": f"{self.bucket}/{self.name}/{self.generation}",
            "selfLink": f"{root}/{path}",
            "mediaLink": f"{root}/download/{path}?generation={self.generation}&alt=media",
            "name": self.name,
            "bucket": self.bucket,
            "generation": str(self.generation),
            "metageneration": "1",
            "storageClass": "STANDARD",
            "size": str(self.body.size),
            "crc32c": self.body.crc32c,
            "md5Hash": self.body.md5,
            "etag": self.etag,
            "timeCreated": _stamp(self.created),
            "updated": _stamp(self.updated),
            **self.fields,
        }
        return {**shown, "metadata": dict(self.metadata)} if self.metadata else shown


@dataclass(frozen=True, slots=True)
class Conditions:
    """The preconditions of a request; None is one that was not sent."""

    generation: int | None = None
    not_generation: int | None = None

    def check(self, found: StoredObject | None, *, reading: bool = False) -> None:
        """Return if all of them hold; raise 412, or 304 where a reader has the object already."""
        generation = found.generation if found else 0
        if self.generation not in (None, generation):
            raise not_held()
        if generation == self.not_generation:
            raise ApiError(304, "") if reading else not_held()


@dataclass(frozen=True, slots=True)
class UploadRequest:
    """The metadata and preconditions of an upload."""

    body: Body
    resource: Mapping[str, Any] = field(default_factory=dict)


class Bucket:
    """
    Objects by name.

    Attributes:
        public: Whether anybody may read it without a signature.
        write_interval: Seconds between two accepted mutations of one name; 0 is no limit.
        page_size: How many names a page of a listing has at most, whatever is asked.
        rewrite_piece: How many bytes a copy to here goes on in one request; 0 for all of them.
        empty_pages: Whether every other page of a listing is empty, and yet has a token.
    """

    def __init__(self, name: str, clock: RunningClock) -> None:
        self.name = name
        self.public = False
        self.write_interval = 0.0
        self.page_size = 1000
        self.empty_pages = False
        self.rewrite_piece = 0
        self._clock = clock
        self._last = 0
        self._lock = RLock()
        self._objects: dict[str, StoredObject] = {}
        self._names: list[str] = []
        self._mutated: dict[str, float] = {}

    def names(self, prefix: str = "") -> list[str]:
        """Return the names of all objects with a prefix, sorted."""
        return [each.name for each in self.after("", prefix)]

    def after(self, start: str, prefix: str = "") -> list[StoredObject]:
        """Return the objects with a prefix from the name `start` on, in the order of names."""
        with self._lock:
            found = self._names[bisect_left(self._names, max(start, prefix)) :]
            begun = takewhile(lambda name: name.startswith(prefix), found)
            return [self._objects[name] for name in begun]

    def get(self, name: str) -> StoredObject | None:
        """Return an object, None if there is none."""
        with self._lock:
            return self._objects.get(name)

    def put(self, name: str, data: bytes, **resource: Any) -> StoredObject:  # noqa: ANN401 - JSON
        """Store bytes with the test's own hand: past limits, permissions, faults and the log."""
        with self._lock:
            return self._store(name, UploadRequest(body_of(data), resource))

    def remove(self, name: str) -> None:
        """Delete with the test's own hand."""
        with self._lock:
            if self._objects.pop(name, None):
                self._names.remove(name)

    def find(self, name: str, generation: int | None = None) -> StoredObject:
        """Return the live object, if it has that generation, or raise 404."""
        found = self.get(name)
        if found is None or generation not in (None, found.generation):
            raise no_object(self.name, name)
        return found

    def insert(
        self, name: str, arrival: UploadRequest, conditions: Conditions, guard: Guard
    ) -> StoredObject:
        """Store an object whole, if the preconditions hold."""
        check_name(name)
        with self._lock:
            before = self._objects.get(name)
            conditions.check(before)
            self._check_limit(name)
            if before is not None:
                guard("storage.objects.delete")
            self._count(name)
            return self._store(name, arrival)

    def delete(self, name: str, generation: int | None, conditions: Conditions) -> None:
        """Remove an object, if the preconditions hold."""
        with self._lock:
            conditions.check(self.find(name, generation))
            self._check_limit(name)
            self._count(name)
            self.remove(name)

    def _check_limit(self, name: str) -> None:
        last = self._mutated.get(name)
        if not self.write_interval or last is None:
            return
        if self._clock.seconds() < last + self.write_interval:
            raise ApiError(
                429,
                f"The object {self.name}/{name} exceeded the rate limit for object mutation "
                "operations (create, update, and delete). Please reduce your request rate.",
            )

    def _count(self, name: str) -> None:
        if self.write_interval:
            self._mutated[name] = self._clock.seconds()

    def _store(self, name: str, arrival: UploadRequest) -> StoredObject:
        now = self._clock.seconds()
        # microseconds, as the service's look; they rise, and never repeat
        self._last = max(self._last + 1, int(now * 1_000_000))
        stored = StoredObject(
            bucket=self.name,
            name=name,
            body=arrival.body,
            generation=self._last,
            fields=_fields({"contentType": "application/octet-stream", **arrival.resource}),
            metadata=checked_metadata(arrival.resource.get("metadata") or {}),
            created=now,
            updated=now,
        )
        if name not in self._objects:
            insort(self._names, name)
        self._objects[name] = stored
        return stored


def check_name(name: str) -> None:
    """Return if an object may have this name, or raise 400."""
    if not name:
        raise ApiError(400, "Required", "required")
    if len(name.encode()) > LONGEST_NAME or name in {".", ".."} or {"\r", "\n"} & set(name):
        raise invalid(f"The specified object name is not valid: {name[:80]!r}.")


def _fields(resource: Mapping[str, Any]) -> dict[str, str]:
    return {each: str(resource[each]) for each in SETTABLE if resource.get(each) is not None}


def checked_metadata(given: Mapping[str, Any]) -> dict[str, str]:
    """Return the metadata of its own that an object gets, or raise 400."""
    if not all(isinstance(value, str) and value for value in given.values()):
        raise invalid("A value of custom metadata has to be a text.")
    if sum(len((name + value).encode()) for name, value in given.items()) > MOST_METADATA:
        raise invalid("The total size of custom metadata exceeds 8 KiB.")
    return dict(given)


def _stamp(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
