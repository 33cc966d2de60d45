"""
The reader of a bucket of Google Cloud Storage; the version of an object is its generation.

An object stored with `Content-Encoding: gzip` may have another size and other digests than its
download; `is_compressed` marks it for the importer.
"""

from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Iterator
from functools import partial
from typing import Final

from google.cloud.storage import Blob

from wheelyard.storage.bucket_reader import BucketObject, BucketReader
from wheelyard.storage.gcs.store import GcsStore, google_failures

RETRY_SECONDS: Final = 30.0
"""Seconds after which a call is not retried; long, because no client waits for an import."""
TIMEOUTS: Final = (5.0, 30.0)
"""Seconds to connect, and without a byte."""
OBJECT_FIELDS: Final = "name,generation,size,timeCreated,md5Hash,metadata,contentEncoding"


class GcsReader(BucketReader):
    """See `BucketReader`."""

    def __init__(self, store: GcsStore) -> None:
        super().__init__(store.location)
        self._store = store

    def close(self) -> None:
        """See `BucketReader`."""
        self._store.client.close()

    def _objects(self) -> Iterator[BucketObject]:
        with google_failures():
            blobs = self._store.client.list_blobs(
                self._location.bucket,
                prefix=self._location.prefix or None,
                fields=f"items({OBJECT_FIELDS}),nextPageToken",
                timeout=TIMEOUTS,
                retry=self._store.repeated,
            )
            for blob in blobs:
                yield self._described(blob)

    def _find(self, name: str) -> BucketObject:
        blob = self._store.client.bucket(self._location.bucket).blob(self._location.name_of(name))
        with google_failures():
            blob.reload(timeout=TIMEOUTS, retry=self._store.repeated)
            return self._described(blob)

    def _read(self, name: str, version: str) -> Iterator[bytes]:
        whole_name = self._location.name_of(name)
        request = partial(self._store.stream_once, whole_name, 0, None, version)
        return self._store.repeat(request, RETRY_SECONDS)

    def _described(self, blob: Blob) -> BucketObject:
        return BucketObject(
            name=blob.name.removeprefix(self._location.prefix),
            version=str(int(blob.generation)),
            size=int(blob.size),
            created=blob.time_created,
            metadata=dict(blob.metadata or {}),
            md5=_hexadecimal(blob.md5_hash),
            is_compressed=bool(blob.content_encoding),
        )


def _hexadecimal(encoded: str | None) -> str:
    try:
        return b64decode(encoded or "", validate=True).hex()
    except NotBase64:
        return ""
