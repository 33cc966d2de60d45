"""A place in a bucket: read at the generations that were listed, and never written."""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from wheelyard.errors import NotFound
from wheelyard.model.ambient import Ambient
from wheelyard.sources.candidate import NO_HASHES
from wheelyard.sources.faults import bad_source, unreadable
from wheelyard.sources.places import Item
from wheelyard.storage.cloud.location import BucketLocation
from wheelyard.storage.tally import Tally

if TYPE_CHECKING:
    from wheelyard.storage.cloud.foreign import ForeignBucket, ForeignObject


@dataclass(frozen=True, slots=True)
class BucketPlace:
    """
    A bucket, or what begins with a prefix in it.

    Args:
        bucket: The bucket, open.
    """

    bucket: "ForeignBucket"

    def __str__(self) -> str:
        return str(self.bucket)

    def close(self) -> None:
        """Close every connection."""
        self.bucket.close()

    def items(self) -> Iterator[Item]:
        """Yield every object that is a file: a name with a slash at its end stands for a folder."""
        for found in self.bucket.objects():
            if found.name and not found.name.endswith("/"):
                yield _item(found)

    def find(self, path: str) -> Item | None:
        """Return one object by its name below the prefix."""
        found = self.bucket.find(path)
        return None if found is None else _item(found)

    @contextmanager
    def read(self, item: Item) -> Iterator[Iterator[bytes]]:
        """Open an object."""
        if item.size is None:
            raise unreadable(
                "it is kept packed (Content-Encoding: gzip), so its bytes are not those that were "
                "uploaded; store it again without that"
            )
        try:
            pieces = self.bucket.read(item.path, item.version)
        except NotFound as fault:
            raise unreadable(fault.message.rstrip(".").lower()) from fault
        with closing(pieces):  # type: ignore[type-var]
            yield pieces


def open_bucket_place(location: BucketLocation, ambient: Ambient) -> BucketPlace:
    """
    Return a place in a bucket; nothing is asked of it yet.

    Raises:
        Invalid: Google's library is not installed (code `bad_source`).
        Unavailable: There are no credentials (code `storage_credentials`).
    """
    try:
        # 40 MB of memory, which a folder has no use for
        from wheelyard.storage.cloud.opening import Surroundings, open_foreign  # noqa: PLC0415
    except ImportError as error:
        raise bad_source(
            "A bucket needs google-cloud-storage, which is not installed. Install "
            "'wheelyard[gcs]', or in a clone requirements/gcs.txt."
        ) from error
    surroundings = Surroundings(
        now=lambda: ambient.now().timestamp(),
        monotonic=ambient.monotonic,
        pause=ambient.pause,
        random=ambient.random,
        tally=Tally(),
    )
    return BucketPlace(open_foreign(location, surroundings))


def _item(found: "ForeignObject") -> Item:
    hashes = {"md5": found.md5} if found.md5 and not found.is_packed else NO_HASHES
    return Item(
        path=found.name,
        size=None if found.is_packed else found.size,
        created_at=found.created,
        changed_at=found.created.timestamp(),
        attributes=_spelled(found.metadata),
        hashes=hashes,
        version=found.generation,
    )


def _spelled(metadata: Mapping[str, str]) -> Mapping[str, str]:
    """Return an object's own metadata with the names as they were before libraries changed them."""
    return MappingProxyType({k.lower().replace("-", "_"): v for k, v in metadata.items()})
