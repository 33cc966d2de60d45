"""Locations in Cloud Storage, parsed: `gs://BUCKET` or `gs://BUCKET/PREFIX`."""

import re
from typing import Final

from msgspec import Struct

from wheelyard.errors import Invalid, quoted

SCHEME: Final = "gs://"
PREFIX_LIMIT: Final = 512
"""Bytes of a prefix; an object name has at most 1024, and the longest store key needs 410."""

_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")


class BucketLocation(Struct, frozen=True):
    """A bucket, and the prefix of the object names in it."""

    bucket: str
    prefix: str = ""
    """Empty, or path segments that each end in a slash."""

    def name_of(self, key: str) -> str:
        """Return the object name of a store key: the prefix, then the key."""
        return self.prefix + key

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}/{self.prefix}".rstrip("/")


def is_bucket(location: str) -> bool:
    """Return whether a location begins with `gs://`."""
    return location.startswith(SCHEME)


def parse_location(text: str) -> BucketLocation:
    """Return the location that a `gs://` URL names; raise Invalid (`bad_setting`) if malformed."""
    bucket, _, path = text.removeprefix(SCHEME).partition("/")
    parts = path.strip("/").split("/") if path.strip("/") else []
    prefix = "".join(f"{part}/" for part in parts)
    is_valid = (
        is_bucket(text)
        and _BUCKET.fullmatch(bucket)
        and not any(part in ("", ".", "..") for part in parts)
        and len(prefix.encode(errors="replace")) <= PREFIX_LIMIT
        and prefix.isprintable()  # which excludes control characters
    )
    if not is_valid:
        raise Invalid(
            f"{quoted(text)} is no place in a bucket. Write gs://BUCKET or gs://BUCKET/PREFIX.",
            code="bad_setting",
        )
    return BucketLocation(bucket, prefix)
