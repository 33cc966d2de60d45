"""Locations in buckets, parsed: `gs://BUCKET/PREFIX`, `s3://BUCKET/PREFIX`, `az://CONTAINER/PREFIX`."""

import re
from typing import Final

from msgspec import Struct

from wheelyard.errors import Invalid, missing_extra, quoted

GOOGLE: Final = "gs"
S3: Final = "s3"
AZURE: Final = "az"
SCHEMES: Final = (GOOGLE, S3, AZURE)
BUCKET_FORMS: Final = "gs://BUCKET/PREFIX, s3://BUCKET/PREFIX or az://CONTAINER/PREFIX"
"""The forms of a location, as messages name them."""
PREFIX_LIMIT: Final = 512
"""
The most bytes of a prefix. An object name has at most 1024 bytes, and the longest store key 410.
"""

WEBSITE: Final = "$web"
"""The container that Azure serves as a web site."""

_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
"""A name of a bucket that some service allows. Each service allows fewer names."""
_LIBRARIES: Final = {
    GOOGLE: ("google-cloud-storage", "gcs", "gcs"),
    S3: ("obstore", "s3", "objects"),
    AZURE: ("obstore", "azure", "objects"),
}
"""The library of each service, the extra that it is in, and the lock file."""


class BucketLocation(Struct, frozen=True):
    """A bucket (on Azure a container), and the prefix of the object names in it."""

    bucket: str
    prefix: str = ""
    """An empty text, or path segments that each end with a slash."""
    scheme: str = GOOGLE

    @property
    def root(self) -> str:
        """The location of the bucket as a whole."""
        return f"{self.scheme}://{self.bucket}"

    def name_of(self, key: str) -> str:
        """Return the object name of a store key: the prefix, then the key."""
        return self.prefix + key

    def __str__(self) -> str:
        return f"{self.root}/{self.prefix}".rstrip("/")


def is_bucket(location: str) -> bool:
    """Return whether a location begins with `gs://`, `s3://` or `az://`."""
    scheme, separator, _ = location.partition("://")
    return bool(separator) and scheme in SCHEMES


def parse_location(text: str) -> BucketLocation:
    """
    Return the location that the URL of a bucket names.

    Raises Invalid (code `bad_setting`) if the URL is malformed.
    """
    scheme, _, bucket_and_path = text.partition("://")
    bucket, _, path = bucket_and_path.partition("/")
    prefix = path.strip("/")
    has_safe_segments = True
    if prefix:
        # obstore strips or refuses these segments, and Google takes them as they are
        segments = prefix.split("/")
        has_safe_segments = not any(segment in {"", ".", ".."} for segment in segments)
        prefix += "/"
    is_website = scheme == AZURE and bucket == WEBSITE
    is_bucket_name = is_website or _BUCKET.fullmatch(bucket)
    is_valid = (
        is_bucket(text)
        and is_bucket_name
        and has_safe_segments
        and len(prefix.encode(errors="replace")) <= PREFIX_LIMIT
        and prefix.isprintable()  # which excludes control characters
    )
    if not is_valid:
        raise Invalid(
            f"{quoted(text)} is no place in a bucket. Write {BUCKET_FORMS}; the prefix may be "
            "left out.",
            code="bad_setting",
        )
    return BucketLocation(bucket, prefix, scheme)


def missing_library(scheme: str) -> Invalid:
    """Return the error for buckets of a scheme whose library is not installed."""
    return missing_extra(f"A bucket of {scheme}://", *_LIBRARIES[scheme])
