"""Azure's blobs, as Azurite speaks it: the account is in the path."""

import base64
import hmac
import re
from typing import Final
from urllib.parse import quote, unquote, urlencode
from xml.etree import ElementTree as ET

from tests.fake_gcs.faults import StatusAfter, StatusBefore
from tests.fake_gcs.wire import Header, Reply, Request
from tests.services.dialect import PART, Asked, Dialect, Page, deleted_name, xml_error

ACCOUNT: Final = "wheelyard"
KEY: Final = base64.b64encode(b"a key of the tests, which opens nothing").decode()
VERSION: Final = "2019-12-12"
CODES: Final = {
    400: "InvalidInput",
    401: "NoAuthenticationInformation",
    403: "AuthenticationFailed",
    404: "BlobNotFound",
    408: "OperationTimedOut",
    409: "BlobAlreadyExists",
    412: "ConditionNotMet",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServerBusy",
}
KINDS: Final = {"HEAD": "get", "DELETE": "delete", "PUT": "insert", "GET": "media"}
"""Of requests for a blob without another `comp`."""
_DELETED: Final = re.compile(rb"DELETE (?:https?://[^/]*)?/[^/ ]*/[^/ ]*/([^? ]*)")


class Azure(Dialect):
    """Azure with the key of the account."""

    scheme = "az"
    metadata_prefix = "x-ms-meta-"

    def asked(self, request: Request) -> Asked:
        """See `Dialect`."""
        _, _account, container, name = [*request.path.split("/", 3), "", ""][:4]
        kind, name = "unknown", unquote(name)
        match request.method, request.parameter("comp"):
            case "GET", "list":
                kind, name = "list", request.parameter("prefix") or ""
            case "POST", "batch":
                kind, name = "delete", deleted_name(request, _DELETED)
            case "PUT", "block":
                kind = PART
            case "PUT", "blocklist":
                kind = "resumable-end"
            case "GET", None if name and request.parameter("sig"):
                kind = "signed"
            case method, None if name:
                kind = KINDS.get(method, kind)
        return Asked(kind, container, name)

    def refusal(self, fault: StatusBefore | StatusAfter) -> Reply:
        """See `Dialect`."""
        code = fault.reason or CODES.get(fault.status, "InternalError")
        return xml_error(fault, code, ("x-ms-error-code", code))

    def environment(self, url: str) -> dict[str, str]:
        """See `Dialect`."""
        parts = {
            "DefaultEndpointsProtocol": "http",
            "AccountName": ACCOUNT,
            "AccountKey": KEY,
            "BlobEndpoint": f"{url}/{ACCOUNT}",
        }
        text = ";".join(f"{name}={value}" for name, value in parts.items())
        return {"AZURE_STORAGE_CONNECTION_STRING": text}

    def creation(self, bucket: str) -> tuple[str, str]:
        """See `Dialect`."""
        return "PUT", f"/{ACCOUNT}/{bucket}?restype=container&{_signature()}"

    def target(self, bucket: str, name: str) -> str:
        """See `Dialect`."""
        return f"/{ACCOUNT}/{bucket}/{quote(name)}?{_signature()}"

    def listing(self, bucket: str, prefix: str, begin: str) -> str:
        """See `Dialect`."""
        asked = {"restype": "container", "comp": "list", "prefix": prefix}
        more = {"marker": begin} if begin else {}
        return f"/{ACCOUNT}/{bucket}?{urlencode(asked | more)}&{_signature()}"

    def page(self, body: bytes) -> Page:
        """See `Dialect`."""
        root = ET.fromstring(body)  # noqa: S314 - an emulator of ours wrote it
        names = [name.text or "" for name in root.iterfind("Blobs/Blob/Name")]
        return Page(names, root.findtext("NextMarker") or "")

    def headers(self) -> list[Header]:
        """See `Dialect`."""
        return [("x-ms-blob-type", "BlockBlob"), ("x-ms-version", VERSION)]


def _signature() -> str:
    """Return the parameters of a shared access signature for the account, which may do anything."""
    may, until = "rwdlac", "2099-01-01T00:00:00Z"
    signed = [ACCOUNT, may, "b", "sco", "", until, "", "http", VERSION, ""]
    digest = hmac.digest(base64.b64decode(KEY), "\n".join(signed).encode(), "sha256")
    return urlencode(
        {
            "sv": VERSION,
            "ss": "b",
            "srt": "sco",
            "sp": may,
            "se": until,
            "spr": "http",
            "sig": base64.b64encode(digest).decode(),
        }
    )
