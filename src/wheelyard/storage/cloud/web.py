"""
A bucket as a web server sees it: objects with what is to be said of them.

What anyone may read is cached on its way, even by Google's own servers and for as long as the
object says. So the bucket is first asked which generation is there, which no cache answers, and
then for that one.
"""

from typing import Final

from google.api_core import exceptions as api
from google.cloud.storage import Blob, Client

from wheelyard.errors import NotFound, Unavailable
from wheelyard.storage.base import Entry, Key, ObjectVersion, Stored, WebType
from wheelyard.storage.cloud.faults import (
    READ,
    is_missing_bucket,
    unavailable,
)
from wheelyard.storage.cloud.location import BucketLocation
from wheelyard.storage.cloud.retrying import Pacing, Retrying
from wheelyard.storage.cloud.settling import Change, generation_of, version_of
from wheelyard.storage.cloud.store import (
    READING,
    SENDING,
    CloudStore,
    Unchanging,
)
from wheelyard.storage.cloud.streams import read_generation

LOOKS: Final = 20
"""How often an object may change between the two questions of one read: 35 seconds, about."""


class CloudWeb(CloudStore):
    """
    A store whose objects are served from the bucket; safe to share between threads.

    Args:
        client: Google's client, with the credentials.
        place: The bucket, and the prefix in it.
        pacing: Clock, pauses and chance of every retry.
    """

    def __init__(self, client: Client, place: BucketLocation, pacing: Pacing) -> None:
        plain = Unchanging(prefix="", cache_control="")
        super().__init__(client, place, pacing, None, plain)

    def look(self, key: Key) -> Entry | None:
        """Return what a listing says of one object, None if it is not there."""
        found = self._found(key)
        if found is None:
            return None
        return Entry(key, found.size, version_of(found), found.time_created.timestamp())

    def fetch(self, key: Key) -> Stored | None:
        """
        Return a small object as it is stored, past all caches; None if it is not there.

        Raises:
            Unavailable: It changes all the time.
        """
        for _ in self._pacing.attempts(LOOKS):
            found = self._found(key)
            if found is None:
                return None
            body = self._body(found)
            if body is not None:
                return Stored(body, version_of(found))
        raise Unavailable(f"{key} changes faster than it can be read. Try again.")

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
            kind: How the copy is to be served.

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

    def size_of(self, source: BucketLocation, name: str) -> int | None:
        """Return the bytes of an object of this or another bucket, None if it is not there."""
        found = self._loaded(self._client.bucket(source.bucket).blob(name))
        return None if found is None else int(found.size)

    def close(self) -> None:
        """Close every connection."""
        self._client.close()

    def _rewrite(
        self, blob: Blob, source: Blob, expect: ObjectVersion | None, retrying: Retrying
    ) -> None:
        """Copy, which between places far apart takes several requests."""
        token: str | None = None
        while True:
            token, _, _ = blob.rewrite(
                source,
                token=token,
                if_generation_match=generation_of(expect),
                timeout=SENDING,
                retry=retrying,
            )
            if token is None:
                return

    def _found(self, key: Key) -> Blob | None:
        return self._loaded(self._blob(key))

    def _loaded(self, blob: Blob) -> Blob | None:
        """Return a blob with what the bucket knows of it, None if it is not there."""
        with self._faults(READ):
            try:
                blob.reload(timeout=READING, retry=self._reading())
            except api.NotFound as error:
                if is_missing_bucket(error):
                    raise
                return None
        return blob

    def _body(self, found: Blob) -> bytes | None:
        """Return the bytes of a generation, None if it is there no more."""

        def read() -> bytes:
            return read_generation(
                self._client,
                self._place,
                found.name,
                str(found.generation),
                found.content_encoding or "",
                self._pacing.monotonic,
            )

        with self._faults(READ):
            try:
                return self._reading().run(read)
            except api.NotFound as error:
                if is_missing_bucket(error):
                    raise
                return None
