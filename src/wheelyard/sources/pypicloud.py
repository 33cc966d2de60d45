"""
pypicloud's files, in an object store or on disk.

In an object store: `NAME/FILE`, with the first four digits of the filename's MD5 before it unless
`storage.prepend_hash` was off. What it knows is the object's own metadata: `hash_sha256`,
`hash_md5`, `uploader`, which some libraries have written with `-` for `_`. The date that pypicloud
showed was when the object was last touched, its metadata included; taken here is when it was made.

On disk: `NAME/VERSION/FILE`, and the same keys as JSON in `FILE.meta`. The date is the file's.
Summary and requires_python are kept there as well, damaged and cut; the file itself says them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from hashlib import md5

import msgspec
from msgspec.structs import asdict

from wheelyard.sources.candidate import Candidate, PassedOver
from wheelyard.sources.digests import DamagedDigest, checked
from wheelyard.sources.facts import author
from wheelyard.sources.files import distributions
from wheelyard.sources.places import Item, Place, candidate_at, read_small, where

SUFFIX = ".meta"


class Facts(msgspec.Struct):
    """What a .meta file says that is taken over."""

    hash_sha256: str | None = None
    hash_md5: str | None = None
    uploader: str | None = None


@dataclass(frozen=True, slots=True)
class PypicloudSource:
    """
    What pypicloud has kept.

    Args:
        place: Its bucket, with its prefix, or its folder.
    """

    place: Place

    def offers(self) -> Iterator[Candidate | PassedOver]:
        """Yield what there is."""
        for found in distributions(self.place):
            if isinstance(found, PassedOver):
                yield found
            else:
                yield from self._offers_of(found)

    def _offers_of(self, item: Item) -> Iterator[Candidate | PassedOver]:
        candidate = candidate_at(self.place, item)
        try:
            said = item.attributes or self._beside(item)
            claimed = {"sha256": said.get("hash_sha256"), "md5": said.get("hash_md5")}
            hashes = checked({name: value for name, value in claimed.items() if value})
        except (OSError, ValueError, RecursionError) as error:
            yield PassedOver(where(self.place, item.path), _ignored(error), is_fault=True)
        else:
            candidate = replace(
                candidate,
                hashes={**candidate.hashes, **hashes},
                uploaded_by=author(said.get("uploader")),
            )
        yield candidate

    def _beside(self, item: Item) -> Mapping[str, str | None]:
        beside = self.place.find(item.path + SUFFIX)
        if beside is None:
            return {}
        return asdict(msgspec.json.decode(read_small(self.place, beside), type=Facts))


def has_hash(item: Item) -> bool:
    """Return whether a file lies below its hash, as pypicloud puts it."""
    digest = md5(item.filename.encode(errors="surrogatepass"), usedforsecurity=False).hexdigest()
    return item.parts[-3:-2] == [digest[:4]]


def has_facts(item: Item) -> bool:
    """Return whether an object has the metadata that pypicloud gives it."""
    return bool(item.attributes.get("name") and item.attributes.get("version"))


def _ignored(error: Exception) -> str:
    if isinstance(error, DamagedDigest):
        return f"{error}; the file is taken without it"
    return "its .meta cannot be used; the file is taken without it"
