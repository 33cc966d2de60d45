"""
What Cloud Storage refuses by its documentation, and emulators let pass.

What is refused is a mistake of the client, which the service answers with 400 and no repetition
mends. Names, custom metadata and preconditions have their rules where they are read: `objects.py`,
`calls.py`. Sources: the pages "Objects: insert", "Upload objects" and "Resumable uploads" of the
JSON API, and for content types what googleapis/google-cloud-go quotes in its issue 306.
"""

import re
from dataclasses import dataclass

from tests.fake_gcs.errors import invalid
from tests.fake_gcs.objects import Body, Resource, checked_metadata
from tests.fake_gcs.wire import Request

UNIT = 256 << 10
"""Bytes of which a piece of a resumable upload is a multiple, unless it is the last."""

_CONTENT_TYPE = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+(;.*)?", re.ASCII)
_SPAN = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)", re.ASCII)


def check_resource(resource: Resource) -> None:
    """Return if an object can be described like this, or raise 400."""
    checked_metadata(resource.get("metadata") or {})
    content_type = resource.get("contentType")
    if content_type is not None and not _CONTENT_TYPE.fullmatch(content_type):
        raise invalid(f"Invalid value for contentType: {content_type}")


def described(resource: Resource, content_type: str | None) -> Resource:
    """Return the description of an object, with the content type that its bytes came with."""
    said = resource.get("contentType")
    if content_type and said is not None and said != content_type:
        raise invalid(
            f"Content-Type specified in the upload ({content_type}) does not match Content-Type "
            f"specified in metadata ({said})."
        )
    whole = {"contentType": content_type, **resource} if content_type else resource
    check_resource(whole)
    return whole


def check_hashes(body: Body, resource: Resource, request: Request) -> None:
    """Return if the bytes are those whose digests came along, in description and header."""
    said = request.header("x-goog-hash") or ""
    pairs = [each.strip().partition("=") for each in said.split(",") if each]
    given = [(name, value) for name, _, value in pairs]
    given += [("crc32c", resource.get("crc32c", "")), ("md5", resource.get("md5Hash", ""))]
    for name, value in given:
        right = {"crc32c": body.crc32c, "md5": body.md5}.get(name)
        if value and value != right:
            raise invalid(f'Provided {name} "{value}" doesn\'t match calculated "{right}".')


@dataclass(frozen=True, slots=True)
class ContentRange:
    """The Content-Range of a resumable upload; None for a part that is not given."""

    start: int | None
    stop: int | None
    total: int | None


def parse_content_range(request: Request, announced: int | None) -> ContentRange:
    """Return what `Content-Range` says of a piece; `announced` was its total when it began."""
    text = request.header("content-range")
    if text is None:
        return ContentRange(0, None, announced)
    match = _SPAN.fullmatch(text)
    if match is None:
        raise invalid(f"Failed to parse Content-Range header: {text}")
    first, last, whole = match.groups()
    total = announced if whole == "*" else int(whole)
    if announced not in (None, total):
        raise invalid("The total is not what X-Upload-Content-Length has announced.")
    if first is None:
        return ContentRange(None, None, total if whole != "*" else None)
    start, stop = int(first), int(last) + 1
    length = request.header("content-length")
    if stop <= start or (total is not None and stop > total):
        raise invalid(f"Content-Range contradicts itself: {text}")
    if length is not None and int(length) != stop - start:
        raise invalid("The body has not as many bytes as its Content-Range says.")
    if stop != total and (stop - start) % UNIT:
        raise invalid("A chunk that is not the last must be a multiple of 256 KiB.")
    return ContentRange(start, stop, total)
