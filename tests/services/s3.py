"""S3, as clients of a server on this machine speak it: the bucket is in the path."""

import re
from typing import Final
from urllib.parse import quote, unquote
from xml.etree import ElementTree as ET

from tests.fake_gcs.faults import StatusAfter, StatusBefore
from tests.fake_gcs.wire import Header, Reply, Request
from tests.services.dialect import PART, Asked, Dialect, Page, deleted_name, xml_error

KEY: Final = "test-key"
SECRET: Final = "test-secret"
REGION: Final = "us-east-1"
CODES: Final = {
    400: "InvalidRequest",
    403: "AccessDenied",
    404: "NoSuchKey",
    408: "RequestTimeout",
    409: "ConditionalRequestConflict",
    412: "PreconditionFailed",
    429: "TooManyRequests",
    500: "InternalError",
    503: "SlowDown",
}
NAMESPACE: Final = "{http://s3.amazonaws.com/doc/2006-03-01/}"
_DELETED: Final = re.compile(rb"<Key>([^<]*)</Key>")


class S3(Dialect):
    """S3 with a key."""

    scheme = "s3"
    metadata_prefix = "x-amz-meta-"

    def asked(self, request: Request) -> Asked:
        """See `Dialect`."""
        _, bucket, *rest = request.path.split("/", 2)
        name = unquote(rest[0]) if rest else ""
        names = {key for key, _ in request.parameters}
        kind = "unknown"
        match request.method:
            case "GET" if not name:
                kind, name = "list", request.parameter("prefix") or ""
            case "POST" if "delete" in names:
                kind, name = "delete", deleted_name(request, _DELETED)
            case "POST" if "uploads" in names or "uploadId" in names:
                kind = "resumable-start" if "uploads" in names else "resumable-end"
            case "PUT" if name:
                kind = PART if "partNumber" in names else "insert"
            case "GET":
                kind = "signed" if "X-Amz-Signature" in names else "media"
            case "HEAD" if name:
                kind = "get"
            case "DELETE" if name and "uploadId" not in names:
                kind = "delete"
        return Asked(kind, bucket, name)

    def refusal(self, fault: StatusBefore | StatusAfter) -> Reply:
        """See `Dialect`."""
        return xml_error(fault, fault.reason or CODES.get(fault.status, "InternalError"))

    def environment(self, url: str) -> dict[str, str]:
        """See `Dialect`."""
        return {
            "AWS_ENDPOINT_URL": url,
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            # no client may ever ask the address of an instance's metadata
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def creation(self, bucket: str) -> tuple[str, str]:
        """See `Dialect`."""
        return "PUT", f"/{bucket}"

    def target(self, bucket: str, name: str) -> str:
        """See `Dialect`."""
        return f"/{bucket}/{quote(name)}"

    def listing(self, bucket: str, prefix: str, begin: str) -> str:
        """See `Dialect`."""
        more = f"&continuation-token={quote(begin, safe='')}" if begin else ""
        return f"/{bucket}?list-type=2&prefix={quote(prefix, safe='')}{more}"

    def page(self, body: bytes) -> Page:
        """See `Dialect`."""
        root = ET.fromstring(body)  # noqa: S314 - an emulator of ours wrote it
        names = [key.text or "" for key in root.iterfind(f"{NAMESPACE}Contents/{NAMESPACE}Key")]
        return Page(names, root.findtext(f"{NAMESPACE}NextContinuationToken") or "")

    def headers(self) -> list[Header]:
        """See `Dialect`."""
        # moto verifies no signature, but wants to know whose request it is
        scope = f"{KEY}/20260101/{REGION}/s3/aws4_request"
        return [("Authorization", f"AWS4-HMAC-SHA256 Credential={scope}, Signature=none")]
