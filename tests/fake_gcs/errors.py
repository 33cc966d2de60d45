"""
The errors of the service: one class, and its three response formats.

The JSON API answers in JSON, but a download (`alt=media`) in plain text; the XML API answers in
XML. Clients may rely on the status, and on the `reason` if there is one.
"""

import json
from typing import Literal
from xml.sax.saxutils import escape

Style = Literal["json", "text", "xml"]

REASONS = {
    304: "notModified",
    400: "invalid",
    401: "authError",
    403: "forbidden",
    404: "notFound",
    408: "requestTimeout",
    409: "conflict",
    410: "gone",
    412: "conditionNotMet",
    416: "requestedRangeNotSatisfiable",
    429: "rateLimitExceeded",
    499: "clientClosedRequest",
    501: "notImplemented",
    502: "backendError",
    503: "backendError",
    504: "backendError",
}
XML_CODES = {
    400: "InvalidArgument",
    401: "AuthenticationRequired",
    403: "AccessDenied",
    404: "NoSuchKey",
    412: "PreconditionFailed",
    416: "InvalidRange",
    429: "SlowDown",
    503: "ServiceUnavailable",
}


class ApiError(Exception):
    """An error of the service; `reason` is its short name, by default that of the status."""

    def __init__(
        self, status: int, message: str, reason: str = "", headers: tuple[tuple[str, str], ...] = ()
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.reason = reason or REASONS.get(status, "internalError")
        self.headers = headers

    def written(self, style: Style) -> tuple[str, bytes]:
        """Return the content type and the body."""
        if self.status == 304:
            return "", b""
        if style == "text":
            return "text/html; charset=UTF-8", self.message.encode()
        if style == "xml":
            code = self.reason if self.reason[:1].isupper() else XML_CODES.get(self.status, "Error")
            text = f"<Code>{code}</Code><Message>{escape(self.message)}</Message>"
            text = f"<?xml version='1.0' encoding='UTF-8'?><Error>{text}</Error>"
            return "application/xml; charset=UTF-8", text.encode()
        return "application/json; charset=UTF-8", json.dumps(self._document()).encode()

    def _document(self) -> dict[str, object]:
        domain = "usageLimits" if self.status == 429 else "global"
        detail = {"message": self.message, "domain": domain, "reason": self.reason}
        if self.status == 412:
            detail |= {"locationType": "header", "location": "If-Match"}
        elif self.status == 401:
            detail |= {"locationType": "header", "location": "Authorization"}
        return {"error": {"code": self.status, "message": self.message, "errors": [detail]}}


def no_bucket() -> ApiError:
    """Return the refusal of a bucket that is not there."""
    return ApiError(404, "The specified bucket does not exist.", "notFound")


def no_object(bucket: str, name: str) -> ApiError:
    """Return the refusal of an object that is not there."""
    return ApiError(404, f"No such object: {bucket}/{name}", "notFound")


def not_held() -> ApiError:
    """Return the refusal of a failed precondition."""
    return ApiError(412, "At least one of the pre-conditions you specified did not hold.")


def invalid(message: str) -> ApiError:
    """Return the refusal of a request that makes no sense."""
    return ApiError(400, message)


def denied(who: str, name: str, resource: str = "object") -> ApiError:
    """Return the refusal of a right."""
    return ApiError(
        403,
        f"{who} does not have {name} access to the Google Cloud Storage {resource}. "
        f"Permission '{name}' denied on resource (or it may not exist).",
    )


def unauthenticated() -> ApiError:
    """Return the error for expired or unknown credentials."""
    header = ("WWW-Authenticate", 'Bearer realm="https://accounts.google.com/"')
    return ApiError(401, "Invalid Credentials", headers=(header,))
