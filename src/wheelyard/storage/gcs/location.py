"""Where in which bucket: `gs://BUCKET` or `gs://BUCKET/PREFIX`."""

import re
from dataclasses import dataclass
from typing import Final

from wheelyard.errors import Invalid, quoted

SCHEME: Final = "gs://"
PREFIX_LIMIT: Final = 512
"""Bytes of a prefix; an object's name has 1024 at most, and the longest of our keys needs 410."""

_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")


@dataclass(frozen=True, slots=True)
class BucketLocation:
    """A bucket, and what all names of our objects in it begin with."""

    bucket: str
    prefix: str = ""
    """Empty, or segments with a slash behind each."""

    def name_of(self, key: str) -> str:
        """Return the name of the object that a key stands for."""
        return self.prefix + key

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}/{self.prefix}".rstrip("/")


def is_bucket(location: str) -> bool:
    """Return whether a location is meant to be a bucket."""
    return location.startswith(SCHEME)


def parse_location(text: str) -> BucketLocation:
    """Return the place that a `gs://` URL names; raise Invalid (`bad_setting`) if it is none."""
    bucket, _, path = text.removeprefix(SCHEME).partition("/")
    parts = path.strip("/").split("/") if path.strip("/") else []
    prefix = "".join(f"{part}/" for part in parts)
    is_right = (
        is_bucket(text)
        and _BUCKET.fullmatch(bucket)
        and not any(part in ("", ".", "..") for part in parts)
        and len(prefix.encode(errors="replace")) <= PREFIX_LIMIT
        and prefix.isprintable()  # so without control characters, too
    )
    if not is_right:
        raise Invalid(
            f"{quoted(text)} is no place in a bucket. Write gs://BUCKET or gs://BUCKET/PREFIX.",
            code="bad_setting",
        )
    return BucketLocation(bucket, prefix)
