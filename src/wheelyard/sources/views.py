"""Opens what somebody wants to watch: a folder or a bucket where the store is not in the way."""

from collections.abc import Iterable
from pathlib import Path

from wheelyard.errors import Invalid, quoted
from wheelyard.model.ambient import Ambient
from wheelyard.sources.buckets import open_bucket_place
from wheelyard.sources.faults import bad_source
from wheelyard.sources.places import FolderPlace, Place
from wheelyard.sources.web.urls import is_url, shown
from wheelyard.storage.cloud.location import is_bucket, parse_location


def open_view(text: str, stores: Iterable[str], files: str, ambient: Ambient) -> Place:
    """
    Return a folder or a bucket to look at; a store in a folder of it is passed by.

    Args:
        text: Its path, or `gs://BUCKET/PREFIX`.
        stores: Where the parts of the store are.
        files: What the keys of distributions begin with there.
        ambient: Clock and pauses of the requests to a bucket.

    Raises:
        Invalid: There is no such folder, it cannot be read (code `bad_source`), or the store would
            be seen there (code `bad_setting`).
        Unavailable: There are no credentials for a bucket (code `storage_credentials`).
    """
    for store in stores:
        if _is_in_the_way(text, store, files):
            raise Invalid(
                f"{quoted(text)} cannot be watched: the store {quoted(store)} is there. Watch a "
                "place beside it.",
                code="bad_setting",
            )
    if is_bucket(text):
        return open_bucket_place(parse_location(text), ambient)
    if is_url(text):
        raise bad_source("A URL cannot be watched. Give a folder, or gs://BUCKET/PREFIX.")
    root = Path(text).expanduser()
    try:
        next(root.iterdir(), None)  # a typing error must not become a place where nothing appears
    except OSError as error:
        raise bad_source(
            f"The folder {quoted(shown(text))} cannot be read: {error.strerror}. "
            "Name one that is there, with packages in it or without."
        ) from error
    return FolderPlace(root, tuple(Path(store) for store in stores if not is_bucket(store)))


def _is_in_the_way(text: str, store: str, files: str) -> bool:
    if is_bucket(text) != is_bucket(store):
        return False
    if is_bucket(text):
        ours, theirs = parse_location(store), parse_location(text)
        below = theirs.prefix.removeprefix(ours.prefix)
        return ours.bucket == theirs.bucket and (
            ours.prefix.startswith(theirs.prefix)
            or (theirs.prefix.startswith(ours.prefix) and below.startswith(files))
        )
    root, kept = Path(text).expanduser().resolve(), Path(store).resolve()
    return root == kept or root.is_relative_to(kept / files)
