"""
The reader of an S3 bucket or an Azure container; the version of an object is its ETag.

obstore strips the slash at the end of a name, so it cannot ask for the object of a folder (`NAME/`,
where s3pypi has its pages), and lists it like a file. It is read by a client of its own, whose
endpoint is the URL of the object. Azure has no such objects.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import obstore

from wheelyard.errors import Invalid
from wheelyard.storage.bucket_reader import BucketObject, BucketReader
from wheelyard.storage.failures import UNLISTED, Failure, FailureKind
from wheelyard.storage.location import AZURE, BucketLocation
from wheelyard.storage.objects.store import (
    Client,
    Clients,
    answer_of,
    chunks_of,
    make_clients,
    version_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from obstore import GetOptions, GetResult, ListStream, ObjectMeta

PAGE_ENTRIES: Final = 1000
"""Objects of a page of a listing."""
HEADERS: Final = frozenset(
    {
        "cache-control",
        "content-disposition",
        "content-encoding",
        "content-language",
        "content-type",
        "storage-class",
    }
)
"""What obstore returns beside custom metadata."""


class ObjectReader(BucketReader):
    """
    See `BucketReader`.

    Args:
        location: The bucket and the prefix.
        config: What obstore needs for the bucket.
        base: The URL of the bucket, with a slash at its end.
    """

    def __init__(self, location: BucketLocation, config: Mapping[str, Any], base: str) -> None:
        super().__init__(location)
        self._config = config
        self._base = base
        self._clients = make_clients(location, config)

    def close(self) -> None:
        """See `BucketReader`; obstore closes the connections of a client that nobody has."""

    def _objects(self) -> Iterator[BucketObject]:
        # objects of folders are left out, unless nothing is in the folder
        folder = self._location.prefix.rstrip("/") or None
        pages = obstore.list(self._clients.reads, folder, chunk_size=PAGE_ENTRIES)
        last: BucketObject | None = None
        while page := self._page(pages):
            for meta in page:
                if f"{meta['path']}/" == self._location.prefix:
                    continue
                name = meta["path"].removeprefix(self._location.prefix)
                if last is not None and not name.startswith(f"{last.name}/"):
                    yield last
                last = _described(name, meta)
        if last is not None:
            yield last

    def _find(self, name: str) -> BucketObject:
        clients, whole_name = self._place(name)
        found = _get(clients.reads, whole_name, {"head": True})
        return _described(name, found.meta, found.attributes)

    def _read(self, name: str, version: str) -> Iterator[bytes]:
        clients, whole_name = self._place(name)
        found = _get(clients.downloads, whole_name, {})
        # not by If-Match, as some services refuse it; what obstore resumes is this version
        if version_of(found.meta["e_tag"]) != version:
            raise Failure(FailureKind.ABSENT)
        return chunks_of(found)

    def _page(self, pages: "ListStream[Sequence[ObjectMeta]]") -> "Sequence[ObjectMeta]":
        """Return the next page of a listing; empty at its end."""
        try:
            return answer_of(partial(next, pages, ()))
        except Failure as failure:
            if failure.kind is not FailureKind.BAD_NAME:
                raise
        raise Invalid(
            f"{self} has an object whose name has {UNLISTED}. Choose a prefix without one, or copy "
            "the packages.",
            code="bad_source",
        )

    def _place(self, name: str) -> tuple[Clients, str]:
        """Return the clients for an object and its name for them; raise Failure if it has none."""
        whole = self._location.name_of(name)
        if not whole.endswith("/"):
            return self._clients, whole
        if self._location.scheme == AZURE:
            raise Failure(FailureKind.ABSENT)
        url = self._base + quote(whole.rstrip("/"))
        own = {**self._config, "endpoint": url, "virtual_hosted_style_request": True}
        return make_clients(self._location, own), ""


def _get(client: Client, name: str, options: "GetOptions") -> "GetResult":
    return answer_of(partial(obstore.get, client, name, options=options))


def _described(
    name: str, meta: "ObjectMeta", attributes: Mapping[str, str] | None = None
) -> BucketObject:
    if attributes is not None:
        attributes = {key: text for key, text in attributes.items() if key.lower() not in HEADERS}
    return BucketObject(
        name=name,
        version=version_of(meta["e_tag"]),
        size=meta["size"],
        created=meta["last_modified"],
        metadata=attributes,
    )
