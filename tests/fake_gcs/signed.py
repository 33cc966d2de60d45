"""
The XML API, as far as downloads go: signed URLs, and objects of a public bucket.

A signature is checked against path and query byte for byte as they came, and both have to be
encoded as the documentation says: what a client rewrites on the way, and what a signer encodes
otherwise, is refused here, where the service may be kinder. A date in the future is refused by the
second.
"""

import re
from datetime import UTC, datetime
from hashlib import sha256
from urllib.parse import quote, unquote

from tests.fake_gcs.calls import Call
from tests.fake_gcs.errors import ApiError, denied
from tests.fake_gcs.in_process import FakeGcsState
from tests.fake_gcs.media import media_reply
from tests.fake_gcs.objects import StoredObject
from tests.fake_gcs.wire import Reply, Request

ALGORITHM = "GOOG4-RSA-SHA256"
LONGEST = 604800
"""Seconds that a signature may live."""


class XmlApi:
    """Answers GET and HEAD of `/{bucket}/{object}`."""

    def __init__(self, state: FakeGcsState) -> None:
        self._state = state

    def signed(self, call: Call, request: Request) -> Reply:
        """Answer a request with a signature in its query."""
        _refuse_second_credentials(request)
        self._check_signature(request)
        self._state.permissions.require("storage.objects.get")
        return _download(self._find(call, request), request)

    def public(self, call: Call, request: Request) -> Reply:
        """Answer a request without any credentials."""
        _refuse_second_credentials(request)
        bucket = self._state.buckets.get(call.bucket)
        if bucket and not bucket.public:
            raise denied("Anonymous caller", "storage.objects.get")
        return _download(self._find(call, request), request)

    def _find(self, call: Call, request: Request) -> StoredObject:
        if request.method not in {"GET", "HEAD"}:
            raise ApiError(405, "The specified method is not allowed.", "MethodNotAllowed")
        if call.bucket not in self._state.buckets:
            raise ApiError(404, "The specified bucket does not exist.", "NoSuchBucket")
        found = self._state.buckets[call.bucket].get(call.name)
        generation = request.parameter("generation")
        if found is None or generation not in (None, str(found.generation)):
            raise ApiError(404, "The specified key does not exist.", "NoSuchKey")
        return found

    def _check_signature(self, request: Request) -> None:
        email, date, scope = self._credential(request)
        expires = request.parameter("X-Goog-Expires") or ""
        if not expires.isdecimal() or not 1 <= int(expires) <= LONGEST:
            raise _malformed("X-Goog-Expires must be between 1 and 604800.")
        signature = _bytes_of(request.parameter("X-Goog-Signature") or "")
        identity = self._state.identity
        canonical = canonical_request(request)
        text = "\n".join([ALGORITHM, date, scope, _digest(canonical)])
        if email != identity.email or not identity.verifies(signature, text.encode()):
            raise _mismatch(f"{text}\n\n{canonical}")
        self._check_time(date, int(expires))

    def _credential(self, request: Request) -> tuple[str, str, str]:
        if request.parameter("X-Goog-Algorithm") != ALGORITHM:
            raise _malformed(f"X-Goog-Algorithm must be {ALGORITHM}.")
        date = request.parameter("X-Goog-Date") or ""
        if not re.fullmatch(r"\d{8}T\d{6}Z", date, re.ASCII):
            raise _malformed("X-Goog-Date must be written YYYYMMDDTHHMMSSZ.")
        email, _, scope = (request.parameter("X-Goog-Credential") or "").partition("/")
        if not re.fullmatch(rf"{date[:8]}/[^/]+/storage/goog4_request", scope):
            raise _malformed("X-Goog-Credential has no valid scope.")
        return email, date, scope

    def _check_time(self, date: str, expires: int) -> None:
        signed = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
        now = self._state.clock.seconds()
        if now < signed:
            raise ApiError(403, "Request is not valid yet.", "AccessDenied")
        if now >= signed + expires:
            raise ApiError(400, "Invalid argument: the signature has expired.", "ExpiredToken")


def canonical_request(request: Request) -> str:
    """Return what has to have been signed."""
    pieces = [each for each in request.query.split("&") if "X-Goog-Signature=" not in each]
    pairs = [tuple(each.partition("=")[::2]) for each in pieces]
    for text, safe in [(request.path, "/~"), *((text, "~") for pair in pairs for text in pair)]:
        if quote(unquote(text), safe=safe) != text:
            raise _mismatch(f"not encoded as the signature needs it: {text}")
    if request.parameter("X-Goog-SignedHeaders") != "host":
        raise _mismatch("the fake server knows no other signed header than host")
    host = request.header("host") or ""
    query = "&".join(f"{name}={value}" for name, value in sorted(pairs))
    parts = (request.method, request.path, query, f"host:{host}", "", "host", "UNSIGNED-PAYLOAD")
    return "\n".join(parts)


def _download(found: StoredObject, request: Request) -> Reply:
    if request.header("if-none-match") == f'"{found.etag}"':
        raise ApiError(304, "", headers=(("ETag", f'"{found.etag}"'),))
    return media_reply(request, found)


def _refuse_second_credentials(request: Request) -> None:
    if request.header("authorization") is not None:
        raise ApiError(
            400, "An Authorization header came along with a URL that needs none.", "InvalidArgument"
        )


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def _bytes_of(text: str) -> bytes:
    return bytes.fromhex(text) if re.fullmatch(r"(?:[0-9a-f]{2})+", text) else b""


def _malformed(message: str) -> ApiError:
    return ApiError(400, message, "AuthorizationQueryParametersError")


def _mismatch(detail: str) -> ApiError:
    return ApiError(
        403,
        "The request signature we calculated does not match the signature you provided. "
        f"Check your key and signing method. {detail}",
        "SignatureDoesNotMatch",
    )
