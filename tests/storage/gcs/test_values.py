"""Parsed values: locations of buckets, owners of credentials, requests, and failures."""

import json
from base64 import urlsafe_b64encode
from types import SimpleNamespace

import pytest
import requests
from google.api_core import exceptions as api
from google.cloud.storage.exceptions import DataCorruption, InvalidResponse

from tests.refused import refused
from wheelyard.errors import Invalid
from wheelyard.storage.failures import FailureKind
from wheelyard.storage.gcs.connect import operation_of
from wheelyard.storage.gcs.store import email_of, failure_of
from wheelyard.storage.location import PREFIX_LIMIT, parse_location

EMAIL = "index@project.example"


@pytest.mark.parametrize(
    ("text", "bucket", "prefix"),
    [
        ("gs://wheels", "wheels", ""),
        ("gs://wheels/", "wheels", ""),
        ("gs://wheels/a", "wheels", "a/"),
        ("gs://wheels/a/b.c-d_e/", "wheels", "a/b.c-d_e/"),
        ("gs://wheels/with space/ü+%2F", "wheels", "with space/ü+%2F/"),
        ("gs://wheels/...", "wheels", ".../"),
        ("gs://a1b", "a1b", ""),
        ("gs://wheels.example.com", "wheels.example.com", ""),
        ("gs://a_b-c.d", "a_b-c.d", ""),
        ("gs://" + "b" * 222, "b" * 222, ""),
        ("gs://wheels/" + "p" * (PREFIX_LIMIT - 1), "wheels", "p" * (PREFIX_LIMIT - 1) + "/"),
    ],
)
def test_a_place_in_a_bucket(text: str, bucket: str, prefix: str) -> None:
    """A URL names a bucket and a prefix, with one slash at its end or none."""
    found = parse_location(text)

    assert (found.bucket, found.prefix) == (bucket, prefix)
    assert str(found) == text.rstrip("/")
    assert parse_location(str(found)) == found
    assert found.name_of("projects/a.json") == f"{prefix}projects/a.json"


NO_PLACES = """
    wheels /srv/wheels ftp://wheels GS://wheels gs:/wheels gs:// gs:///a gs://ab gs://Wheels
    gs://-wheels gs://wheels- gs://.wheels gs://wheels@x gs://wheels:80 gs://wheels/a//b
    gs://wheels/./a gs://wheels/a/..
"""
ODD_PLACES = ["", "gs://whe els", "gs://wheels/a\nb", "gs://wheels/a\x7fb", "gs://wheels/a\u2028b"]
LONG_PLACES = ["gs://" + "b" * 223, "gs://wheels/" + "ü" * (PREFIX_LIMIT // 2)]


@pytest.mark.parametrize(
    "text", [*NO_PLACES.split(), *ODD_PLACES, *LONG_PLACES, "gs://wheels/\ud800"]
)
def test_no_place_in_a_bucket(text: str) -> None:
    """What no bucket can be called, or would confuse two names, is refused with the way out."""
    with refused(Invalid, "bad_setting", match=r"is no place in a bucket\. Write gs://BUCKET"):
        parse_location(text)


def token(claims: object) -> str:
    """Return an unsigned ID token with these claims."""
    payload = urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"e30.{payload}.c2ln"


@pytest.mark.parametrize(
    ("attributes", "email"),
    [
        ({}, None),
        ({"service_account_email": EMAIL}, EMAIL),
        ({"service_account_email": "default"}, None),
        ({"service_account_email": None, "account": EMAIL}, EMAIL),
        ({"service_account_email": "default", "account": "", "id_token": token({})}, None),
        ({"account": "", "id_token": token({"email": EMAIL})}, EMAIL),
        ({"id_token": token({"email": EMAIL, "pad": "x"})}, EMAIL),
        ({"id_token": token({"email": EMAIL, "pad": "xy"})}, EMAIL),
        ({"id_token": token({"email": EMAIL, "pad": "ü"})}, EMAIL),
        ({"id_token": token({"email": "nobody"})}, None),
        ({"id_token": token({"email": 7})}, None),
        ({"id_token": token([EMAIL])}, None),
        ({"id_token": token(EMAIL)}, None),
        ({"id_token": "a.b.c"}, None),
        ({"id_token": "a.!.c"}, None),
        ({"id_token": "a.ü.c"}, None),
        ({"id_token": f"{token({'email': EMAIL})}.more"}, None),
        ({"id_token": "opaque"}, None),
        ({"id_token": 7}, None),
        ({"id_token": None}, None),
    ],
)
def test_whose_credentials_these_are(attributes: dict[str, object], email: str | None) -> None:
    """Credentials tell an e-mail by one of three ways, or none; nothing that they say can fail."""
    assert email_of(SimpleNamespace(**attributes)) == email


@pytest.mark.parametrize(
    ("method", "target", "kind"),
    [
        ("GET", "/storage/v1/b/o/o", "list"),
        ("GET", "/storage/v1/b/o/o?prefix=o%2Fo", "list"),
        ("GET", "/storage/v1/b/w/o/o", "get"),
        ("GET", "/storage/v1/b/w/o/a%2Fo?alt=json", "get"),
        ("GET", "/download/storage/v1/b/w/o/a?alt=media", "read"),
        ("POST", "/upload/storage/v1/b/w/o?uploadType=multipart", "insert"),
        ("POST", "/resumable/upload/storage/v1/b/w/o?uploadType=resumable", "insert"),
        ("PUT", "/upload/storage/v1/b/w/o?uploadType=resumable&upload_id=1", "piece"),
        ("DELETE", "/storage/v1/b/w/o/a", "delete"),
        ("POST", "/v1/projects/-/serviceAccounts/a:signBlob", ""),
        ("GET", "/computeMetadata/v1/instance", ""),
    ],
)
def test_which_operation_a_request_is(method: str, target: str, kind: str) -> None:
    """A request is known by its method and its path, whatever the bucket and the object are."""
    operation = operation_of(method, target)

    assert (operation.kind if operation else "") == kind


def answer(status: int, text: str = "") -> requests.Response:
    """Return an answer of the service with these words."""
    response = requests.Response()
    response.status_code = status
    response._content = text.encode()  # noqa: SLF001 - else it would be read
    return response


@pytest.mark.parametrize(
    ("header", "seconds"),
    [(None, 0.0), ("120", 120.0), ("Wed, 21 Oct 2026 07:28:00 GMT", 0.0)]
    + [(each, 0.0) for each in ("0", "", "-1", "1.5", "1e3", "nan", "٣", "²")],
)
def test_how_long_to_wait(header: str | None, seconds: float) -> None:
    """An answer asks for whole seconds; everything else in its place asks for nothing."""
    response = answer(429)
    if header is not None:
        response.headers["Retry-After"] = header
    refused: Exception = api.from_http_status(429, "no", response=response)  # type: ignore[no-untyped-call]

    for error in (refused, InvalidResponse(response)):
        failure = failure_of(error)
        assert (failure.status, failure.retry_after) == (429, seconds)


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        (404, "The specified bucket does not exist.", FailureKind.NO_BUCKET),
        (404, "No such object: wheels/a", FailureKind.ABSENT),
        (404, "", FailureKind.ABSENT),
        (403, "The caller has no access, or the bucket does not exist", FailureKind.DENIED),
    ],
    ids=["no-bucket", "no-object", "no-words", "denied"],
)
def test_a_missing_bucket_is_no_missing_object(status: int, text: str, kind: FailureKind) -> None:
    """If an answer says that nothing is there, its words tell a bucket from an object."""
    assert failure_of(InvalidResponse(answer(status, text))).kind is kind


def test_damaged_bytes() -> None:
    """Bytes with another checksum than the bucket says are told apart from what was refused."""
    response = requests.Response()
    response.status_code = 404

    failure = failure_of(DataCorruption(response, "checksum"))

    assert (failure.kind, failure.code) == (FailureKind.UNCLEAR, "and damaged bytes")
