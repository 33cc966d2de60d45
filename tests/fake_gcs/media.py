"""The answer that carries an object's bytes, the same for both APIs: headers, ranges, HEAD."""

import re
from email.utils import formatdate

from tests.fake_gcs.errors import ApiError
from tests.fake_gcs.objects import StoredObject
from tests.fake_gcs.wire import Header, Reply, Request, Slice

UNCACHED = "private, max-age=0"
"""The Cache-Control of objects without a cacheControl of their own."""

_RANGE = re.compile(r"bytes=(?:(\d+)-(\d*)|-(\d+))", re.ASCII)


def media_reply(request: Request, found: StoredObject) -> Reply:
    """Return an object's bytes, or the part that is asked for; 416 for one behind the end."""
    size = found.body.size
    span = _span(request.header("range"), size)
    start, stop = span or (0, size)
    headers = media_headers(found)
    if span:
        headers.append(("Content-Range", f"bytes {start}-{stop - 1}/{size}"))
    content = Slice(found.body, start, stop)
    return Reply(206 if span else 200, headers, content, bare=request.method == "HEAD")


def media_headers(found: StoredObject) -> list[Header]:
    """Return the headers of an object's response."""
    own = found.fields
    headers = [
        ("Content-Type", own["contentType"]),
        ("Cache-Control", own.get("cacheControl", UNCACHED)),
        ("ETag", f'"{found.etag}"'),
        ("Last-Modified", formatdate(found.updated, usegmt=True)),
        ("Accept-Ranges", "bytes"),
        ("X-Goog-Generation", str(found.generation)),
        ("X-Goog-Hash", f"crc32c={found.body.crc32c},md5={found.body.md5}"),
        ("X-Goog-Storage-Class", "STANDARD"),
        ("X-Goog-Stored-Content-Encoding", own.get("contentEncoding", "identity")),
        ("X-Goog-Stored-Content-Length", str(found.body.size)),
    ]
    if "contentEncoding" in own:
        headers.append(("Content-Encoding", own["contentEncoding"]))
    return headers + [(f"X-Goog-Meta-{name}", value) for name, value in found.metadata.items()]


def _span(header: str | None, size: int) -> tuple[int, int] | None:
    match = _RANGE.fullmatch(header or "")
    if match is None:
        return None  # several ranges, or none: the whole
    first, last, suffix = match.groups()
    start = max(0, size - int(suffix)) if suffix else int(first)
    stop = min(int(last) + 1, size) if last else size
    if last and int(last) < start:
        return None
    if start >= size or suffix == "0":
        raise ApiError(
            416,
            "The requested range cannot be satisfied.",
            headers=(("Content-Range", f"bytes */{size}"),),
        )
    return start, stop
