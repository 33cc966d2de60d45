"""
Read-only access to a bucket that is not a wheelyard store, as a source of imports: the protocol.

An object is read at the version that was listed, so its bytes are those that the listing describes.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Protocol

from msgspec import Struct

from wheelyard.errors import NotFound


class BucketObject(Struct, frozen=True, kw_only=True):
    """The metadata of one object in a bucket."""

    name: str
    """Without the prefix."""
    version: str
    """Differs after each write."""
    size: int
    """Bytes as stored."""
    created: datetime
    """When this version was written, UTC."""
    metadata: Mapping[str, str] | None = None
    """Custom metadata, as the uploader set it; None if a listing lacks it, and `find` has it."""
    md5: str = ""
    """Hexadecimal; empty if the service does not tell it."""
    is_compressed: bool = False
    """Whether a download may have another size and other digests than the object."""


class BucketReader(Protocol):
    """
    Lists and reads the objects below a location; safe to share between threads.

    `str` of it is that location. Every method may raise Unavailable.
    """

    def close(self) -> None:
        """Close the connections of this reader."""

    def objects(self) -> Iterator[BucketObject]:
        """
        Yield every object below the prefix, sorted by name; a folder's own object may be left out.

        Raise Unavailable (`storage_refused`) if the service has names that cannot be listed.
        """

    def find(self, name: str) -> BucketObject | None:
        """
        Return the object `name` below the prefix, with its metadata; None if it does not exist.

        A name that ends with a slash is that of a folder's own object.
        """

    def read(self, name: str, version: str) -> Iterator[bytes]:
        """Return an iterator of the bytes of one version; raise NotFound if it was replaced."""


def was_replaced() -> NotFound:
    """Return the NotFound for an object that no longer has the version that was listed."""
    return NotFound("It was replaced or deleted after it was listed.")
