"""
From a request to what it asks for, by method, raw path and query.

An object's name is one segment of a JSON path, decoded once; `/` in it comes as `%2F`. Of an upload
the name may be in the body, so a call can be without one here.
"""

from dataclasses import dataclass, replace
from urllib.parse import unquote

from tests.fake_gcs.errors import ApiError, Style, invalid
from tests.fake_gcs.objects import Conditions
from tests.fake_gcs.wire import Request

NO_BUCKETS = frozenset({"", "computeMetadata", "download", "storage", "upload", "v1"})
MOST = (1 << 63) - 1
"""The largest number that a parameter may be."""
ACCOUNTS = ["", "v1", "projects", "-", "serviceAccounts"]


@dataclass(frozen=True, slots=True)
class Call:
    """The parsed call of a request."""

    kind: str
    bucket: str = ""
    name: str = ""
    style: Style = "json"
    to_bucket: str = ""
    to_name: str = ""


def parse(request: Request) -> Call:
    """Return the call; its kind is "unknown" where there is none such."""
    segments = request.path.split("/")
    found = _storage(request, segments) or _around(request, segments) or _xml(request, segments)
    return found or Call("unknown", name=request.path)


def _storage(request: Request, segments: list[str]) -> Call | None:
    """Return a call of the JSON API."""
    match segments:
        case ["", "storage", "v1", "b", bucket, "o", name, *rest]:
            return _of_object(request, Call("", bucket, unquote(name)), rest)
        case ["", "storage", "v1", "b", bucket, "o"] if request.method == "GET":
            return Call("list", bucket, request.parameter("prefix") or "")
        case ["", "download", "storage", "v1", "b", bucket, "o", name]:
            return Call("media", bucket, unquote(name), "text")
        case ["", "upload", "storage", "v1", "b", bucket, "o"]:
            return _upload(request, bucket)
    return None


def _around(request: Request, segments: list[str]) -> Call | None:
    """Return a call of the services around the storage."""
    match segments:
        case ["", "computeMetadata", "v1", *rest]:
            return Call("metadata", name="/".join(rest))
        case ["", ""] if request.header("metadata-flavor"):
            return Call("metadata")
        case ["", "token"]:
            return Call("token")
        case [*start, account] if start == ACCOUNTS and account.endswith(":signBlob"):
            return Call("sign", name=unquote(account.removesuffix(":signBlob")))
    return None


def _xml(request: Request, segments: list[str]) -> Call | None:
    """Return a download by URL."""
    match segments:
        case ["", bucket, _, *_] if bucket not in NO_BUCKETS:
            signed = "x-goog-signature=" in request.query.lower()
            name = unquote(request.path.removeprefix(f"/{bucket}/"))
            return Call("signed" if signed else "public", bucket, name, "xml")
    return None


def _of_object(request: Request, call: Call, rest: list[str]) -> Call | None:
    match request.method, rest:
        case "GET", [] if request.parameter("alt") == "media":
            return replace(call, kind="media", style="text")
        case "GET" | "DELETE", []:
            return replace(call, kind=request.method.lower())
        case "POST", ["rewriteTo", "b", bucket, "o", name]:
            return replace(call, kind="rewrite", to_bucket=bucket, to_name=unquote(name))
    return None


def _upload(request: Request, bucket: str) -> Call | None:
    session = request.parameter("upload_id")
    asked = (request.header("content-range") or "").startswith("bytes */")
    match request.method, request.parameter("uploadType"):
        case "POST", "multipart":
            return Call("insert", bucket)
        case "POST", "resumable":
            return Call("resumable-start", bucket)
        case "PUT", _ if session:
            return Call("resumable-status" if asked else "resumable-chunk", bucket)
    return None


def number(request: Request, name: str) -> int | None:
    """Return a parameter that is a number, None if it was not sent; raise 400 if it is none."""
    text = request.parameter(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal()) or int(text) > MOST:
        raise invalid(f"Invalid value for {name}: {text}")
    return int(text)


def conditions(request: Request, of: str = "") -> Conditions:
    """Return the preconditions of a request; `of` is "Source" for those of a copy's source."""
    found = Conditions(
        number(request, f"if{of}GenerationMatch"), number(request, f"if{of}GenerationNotMatch")
    )
    if None not in (found.generation, found.not_generation):
        raise invalid(f"if{of}GenerationMatch and if{of}GenerationNotMatch exclude each other.")
    return found


def not_known(request: Request) -> ApiError:
    """Return the error for a request that the fake server does not support."""
    return ApiError(404, f"The fake server knows no {request.method} {request.path}.", "notFound")
