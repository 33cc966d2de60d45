"""
What Cloud Storage refuses by its documentation, and emulators let pass.

The rules are functions of a request, so that they hold in the project's own stand-in and, by the
proxy in `strict_proxy.py`, before any other one. What is refused is a mistake of the client, which
the service answers with 400 and no repetition mends. Names, custom metadata and preconditions have
their rules where they are read: `objects.py`, `calls.py`.

Sources: the pages "Objects: insert", "Objects: rewrite", "Objects: list", "Upload objects",
"Resumable uploads" and "Quotas & limits" of the JSON API, the constants of `google.storage.v1`, and
for content types the announcement that googleapis/google-cloud-go quotes in its issue 306.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass

from tests.bucket.bodies import Body
from tests.bucket.calls import Call, conditions
from tests.bucket.errors import ApiError, invalid
from tests.bucket.objects import Resource, checked_metadata
from tests.bucket.wire import Request

UNIT = 256 << 10
"""Bytes of which a piece of a resumable upload is a multiple, unless it is the last."""
REWRITTEN = 1 << 20
"""Bytes of which `maxBytesRewrittenPerCall` is a multiple."""
DIGESTS = {"crc32c": 4, "md5": 16}
"""The digests of `X-Goog-Hash`, and how many bytes each has."""
WITH_BODY = frozenset({"POST", "PUT"})
JSON_BODIES = frozenset({"resumable-start", "rewrite"})
"""Kinds of requests whose body is a document."""
TEXTS = (
    "cacheControl",
    "contentDisposition",
    "contentEncoding",
    "contentLanguage",
    "contentType",
    "storageClass",
)
"""What is said of an object and comes back as a header or a word."""

_FIELD = re.compile(
    r"bucket|cacheControl|componentCount|contentDisposition|contentEncoding|contentLanguage|"
    r"contentType|crc32c|done|etag|generation|hardDeleteTime|id|items|kind|location|"
    r"locationType|md5Hash|mediaLink|metadata|metageneration|name|nextPageToken|objectSize|"
    r"permissions|prefixes|projectNumber|resource|rewriteToken|selfLink|size|softDeleteTime|"
    r"storageClass|timeCreated|timeFinalized|totalBytesRewritten|updated"
)
"""What `fields` may select of the answers that the index asks for."""

_CONTENT_TYPE = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+(;.*)?", re.ASCII)
_SPAN = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)", re.ASCII)


def check_request(call: Call, request: Request) -> None:
    """
    Return if method, path, query and headers can be those of a request that is carried out.

    Raises:
        ApiError: 400, or 411 for a body of which nobody says how long it is.
    """
    _check_method(call, request)
    for of in ("", "Source"):
        conditions(request, of)
    if call.kind == "unknown":
        return
    _check_length(call, request)
    _check_choice(request, "alt", {"json", "media"})
    _check_choice(request, "projection", {"full", "noAcl"})
    _check_fields(request.parameter("fields"))
    rewritten = request.parameter("maxBytesRewrittenPerCall")
    if rewritten is not None and (not rewritten.isdecimal() or int(rewritten) % REWRITTEN):
        raise invalid("maxBytesRewrittenPerCall has to be a multiple of 1 MiB.")
    is_document = request.header("content-length") not in (None, "0")
    content_type = (request.header("content-type") or "").partition(";")[0].strip()
    if call.kind in JSON_BODIES and is_document and content_type != "application/json":
        raise invalid(f"A document of type {content_type!r} is no application/json.")
    if request.parameter("predefinedAcl") or request.parameter("destinationPredefinedAcl"):
        raise invalid("Cannot use ACLs: uniform bucket-level access is on.")


def check_resource(resource: Resource) -> None:
    """
    Return if an object can be described like this.

    Raises:
        ApiError: 400.
    """
    checked_metadata(resource.get("metadata") or {})
    for name in TEXTS:
        value = resource.get(name)
        if value is not None and (not isinstance(value, str) or not value.isprintable()):
            raise invalid(f"Invalid value for {name}.")
    content_type = resource.get("contentType")
    if content_type is not None and not _CONTENT_TYPE.fullmatch(content_type):
        raise invalid(f"Invalid value for contentType: {content_type}")
    if "acl" in resource:
        raise invalid("Cannot use ACLs: uniform bucket-level access is on.")


def described(resource: Resource, content_type: str | None) -> Resource:
    """
    Return the description of an object, with the content type that its bytes came with.

    Args:
        resource: The description.
        content_type: Of the second part of a multipart body, of a simple upload, or what
            `X-Upload-Content-Type` says of a resumable one.

    Raises:
        ApiError: 400, the two name different content types, or something else is wrong.
    """
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
    """
    Return if the bytes are those whose digests came along, in the description and in a header.

    Raises:
        ApiError: 400.
    """
    said = {"crc32c": resource.get("crc32c"), "md5": resource.get("md5Hash")}
    for given in (said, _header_digests(request)):
        for name, value in (("crc32c", body.crc32c), ("md5", body.md5)):
            if given.get(name) is not None and given[name] != value:
                raise invalid(
                    f'Provided {name.upper()} "{given[name]}" doesn\'t match calculated '
                    f'{name.upper()} "{value}".'
                )


@dataclass(frozen=True, slots=True)
class Span:
    """What a request of a resumable upload says of its bytes; None stands for "not said"."""

    start: int | None
    stop: int | None
    total: int | None


def span_of(request: Request, announced: int | None) -> Span:
    """
    Return what `Content-Range` says of a piece.

    Args:
        request: Of a resumable upload.
        announced: How many bytes were announced when it began.

    Raises:
        ApiError: 400, it cannot be understood or contradicts itself, what was announced or the
            length of the body; or the piece is not the last one and no multiple of 256 KiB.
    """
    text = request.header("content-range")
    if text is None:
        return Span(0, None, announced)
    match = _SPAN.fullmatch(text)
    if match is None:
        raise invalid(f"Failed to parse Content-Range header: {text}")
    first, last, whole = match.groups()
    total = announced if whole == "*" else int(whole)
    if announced not in (None, total):
        raise invalid("The total is not what X-Upload-Content-Length has announced.")
    if first is None:
        return Span(None, None, total if whole != "*" else None)
    start, stop = int(first), int(last) + 1
    length = request.header("content-length")
    if stop <= start or (total is not None and stop > total):
        raise invalid(f"Content-Range contradicts itself: {text}")
    if length is not None and int(length) != stop - start:
        raise invalid("The body has not as many bytes as its Content-Range says.")
    if stop != total and (stop - start) % UNIT:
        raise invalid("A chunk that is not the last must be a multiple of 256 KiB.")
    return Span(start, stop, total)


def _check_method(call: Call, request: Request) -> None:
    if call.kind == "unknown" and request.path.startswith("/upload/storage/"):
        raise invalid(f"Invalid upload: {request.method} {request.query}")
    is_objects = call.kind == "unknown" and re.fullmatch(r"/storage/v1/b/[^/]+/o", request.path)
    if is_objects and request.method == "POST":
        raise invalid("An object has bytes; a description alone makes none.")


def _check_length(call: Call, request: Request) -> None:
    """Return if a body says how long it is, or that it says so piece by piece."""
    if request.method not in WITH_BODY or call.kind in {"resumable-status", "token", "sign"}:
        return
    length, coding = request.header("content-length"), request.header("transfer-encoding")
    if length is None and coding != "chunked":
        raise ApiError(411, "You must provide the Content-Length HTTP header.", "lengthRequired")
    if length is not None and not (length.isascii() and length.isdecimal()):
        raise invalid(f"Invalid value for Content-Length: {length}")


def _check_choice(request: Request, name: str, choice: set[str]) -> None:
    value = request.parameter(name)
    if value is not None and value not in choice:
        raise invalid(f"Invalid value for {name}: {value}")


def _check_fields(selection: str | None) -> None:
    if selection is None:
        return
    named = re.findall(r"[\w.-]+", selection)
    unknown = {each for each in named if not _FIELD.fullmatch(each)}
    if unknown or not selection or selection.count("(") != selection.count(")"):
        raise invalid(f"Invalid field selection {', '.join(sorted(unknown)) or selection}")


def _header_digests(request: Request) -> Mapping[str, str]:
    """Return the digests that `X-Goog-Hash` names."""
    found = dict[str, str]()
    for each in (request.header("x-goog-hash") or "").split(","):
        name, _, value = each.strip().partition("=")
        if not name:
            continue
        if name not in DIGESTS or name in found or _size_of(value) != DIGESTS[name]:
            raise invalid(f"Invalid value for X-Goog-Hash: {each}")
        found[name] = value
    return found


def _size_of(encoded: str) -> int:
    try:
        return len(base64.b64decode(encoded, validate=True))
    except binascii.Error:
        return -1
