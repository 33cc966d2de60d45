"""
Failures of requests to a bucket: their kinds, and the Unavailable that an operator gets.

The text of a library may contain a secret (a signature in a URL, a token sent to a login server, a
whole key file), so none of it goes into a message.
"""

from enum import Enum, auto
from typing import Final

from msgspec import Struct

from wheelyard.errors import OVERLOADED, RETRY_AFTER_SECONDS, Unavailable
from wheelyard.storage.base import STORAGE_DENIED
from wheelyard.storage.location import AZURE, GOOGLE, S3, BucketLocation

STORAGE_CREDENTIALS: Final = "storage_credentials"
"""The error code for credentials that are missing or not accepted."""
SERVER_ERROR: Final = 500
NOT_IMPLEMENTED: Final = 501
UNLISTED: Final = "an empty part ('//'), '.' or '..', and such names cannot be listed"

_GIVE: Final = {
    GOOGLE: "Run 'gcloud auth application-default login', or name a service account's key file in "
    "GOOGLE_APPLICATION_CREDENTIALS.",
    S3: "Give the server a role, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
    AZURE: "Give the server a managed identity, or set AZURE_STORAGE_CONNECTION_STRING, or "
    "AZURE_STORAGE_ACCOUNT_NAME with AZURE_STORAGE_ACCOUNT_KEY.",
}
"""How a server gets credentials, by service."""
_MISSING_BUCKET: Final = {
    GOOGLE: "does not exist, or these credentials may not see it (storage.objects.list is what "
    "they need). Check the name, or create it.",
    S3: "does not exist. Check its name and the account, or create it.",
    AZURE: "does not exist. Check its name and the storage account, or create it.",
}
"""How a sentence about a missing bucket ends, by service."""
_LACKING_RIGHT: Final = {
    GOOGLE: "the permission {right} on {0}. Grant them roles/storage.objectUser there "
    "(roles/storage.objectViewer is enough for reading).",
    S3: "the right {right} on {0}. Allow it in the policy of the user or role, and look for what "
    "denies it.",
    AZURE: "the role {1.azure} on {0}. Grant them the role {1.azure} on {1.azure_scope}; if they "
    "have it, look at the network rules of the storage account.",
}
"""
Which right credentials lack, and how they get it, by service. {0} is the bucket, and {1} are the
rights that the request needs.
"""


class FailureKind(Enum):
    """The kinds of failed requests, by which it is decided what is done next."""

    ABSENT = auto()
    UNCHANGED = auto()
    CONFLICT = auto()
    """A condition did not hold: nothing was written by this request."""
    BUSY = auto()
    """
    Another write of the same object is under way. Some services answer so, too, if the object to
    make exists.
    """
    THROTTLED = auto()
    """Too many requests: nothing was done, and the same request succeeds later."""
    UNCLEAR = auto()
    """No answer, or the answer of a broken server: the request may have been executed."""
    NO_TOKEN = auto()
    """The servers that give tokens do not answer, so no request was sent to the bucket."""
    OUTAGE = auto()
    """An earlier call had no answer, so no request was sent."""
    OUT_OF_RANGE = auto()
    NO_BUCKET = auto()
    DENIED = auto()
    BAD_CREDENTIALS = auto()
    EXPIRED_CREDENTIALS = auto()
    NO_CREDENTIALS = auto()
    CLOCK = auto()
    ELSEWHERE = auto()
    """The bucket is in another region."""
    BAD_NAME = auto()
    """A listing has a name that the library does not take, so that it ends there."""
    REFUSED = auto()
    """Any other answer that a repeated request would get again."""


SILENCE: Final = frozenset({FailureKind.UNCLEAR, FailureKind.NO_TOKEN})
"""Failures without an answer of the bucket, with which an outage begins."""
TRANSIENT: Final = SILENCE | {FailureKind.BUSY, FailureKind.THROTTLED}
"""Failures after which a request is repeated."""
_BY_STATUS: Final = {
    301: FailureKind.ELSEWHERE,
    304: FailureKind.UNCHANGED,
    307: FailureKind.ELSEWHERE,
    401: FailureKind.BAD_CREDENTIALS,
    403: FailureKind.DENIED,
    404: FailureKind.ABSENT,
    408: FailureKind.UNCLEAR,
    409: FailureKind.BUSY,
    410: FailureKind.ABSENT,
    412: FailureKind.CONFLICT,
    416: FailureKind.OUT_OF_RANGE,
    429: FailureKind.THROTTLED,
    NOT_IMPLEMENTED: FailureKind.REFUSED,
}


class Failure(Exception):
    """A failed request, without the text of a library, which leaves a store as an Unavailable."""

    def __init__(
        self,
        kind: FailureKind,
        status: int = 0,
        code: str = "",
        right: str = "",
        *,
        retry_after: float = 0.0,
    ) -> None:
        super().__init__(kind, status, code, right)
        self.kind = kind
        self.status = status
        """The HTTP status. 0 if there was no answer."""
        self.code = code
        """The code in the body of the answer, or what is wrong with the answer in words."""
        self.right = right
        """The right that the answer names as missing."""
        self.retry_after = retry_after
        """Seconds that the service asks to wait."""
        self.is_unclear = kind is FailureKind.UNCLEAR
        """Whether this try, or an earlier one of the same request, may have been executed."""

    @property
    def answer_text(self) -> str:
        """The status and the code of the answer, or an empty text if there was no answer."""
        status = str(self.status) if self.status else ""
        return f"{status} {self.code}".strip()


def kind_of_status(status: int) -> FailureKind:
    """Return the kind of a failure of which nothing but the HTTP status is known."""
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    # a gateway answers 502 or 504 for a service that may have executed the request
    if status >= SERVER_ERROR:
        return FailureKind.UNCLEAR
    return FailureKind.REFUSED


def repeated_listing() -> Failure:
    """Return the failure for a listing that names an object again, or is not sorted."""
    return Failure(FailureKind.REFUSED, 200, "and a listing that repeats itself")


class Rights(Struct, frozen=True):
    """The right that a request needs, in the words of each service."""

    google: str
    s3: str
    azure: str = "Storage Blob Data Contributor"
    azure_scope: str = "that container"


READ: Final = Rights(
    "storage.objects.get",
    "s3:GetObject (and s3:ListBucket, without which an absent object is a denial)",
    "Storage Blob Data Reader",
)
WRITE: Final = Rights("storage.objects.create", "s3:PutObject")
DELETE: Final = Rights("storage.objects.delete", "s3:DeleteObject")
LIST: Final = Rights("storage.objects.list", "s3:ListBucket", "Storage Blob Data Reader")
SIGN: Final = Rights(
    "iam.serviceAccounts.signBlob", "s3:GetObject", "Storage Blob Delegator", "its storage account"
)

_TEXTS: Final = {
    FailureKind.DENIED: "These credentials lack {lacking}",
    FailureKind.UNCLEAR: "The bucket {0} answers with status {status}.",
    FailureKind.OUTAGE: "The bucket {0} does not answer.",
    FailureKind.NO_TOKEN: "There is no token for {0}: the servers that give it do not answer.",
    FailureKind.THROTTLED: "The bucket {0} takes no more requests for the moment.",
    FailureKind.NO_BUCKET: "The bucket {0} {missing}",
    FailureKind.CLOCK: "The credentials for {0} are not accepted at the time of this machine's "
    "clock. Set the clock.",
    FailureKind.NO_CREDENTIALS: "There are no credentials for {0}: none are set, and no service of "
    "the platform gives any. {give}",
    FailureKind.BAD_CREDENTIALS: "The credentials for {0} are not accepted{said}. Renew them. "
    "{give}",
    FailureKind.EXPIRED_CREDENTIALS: "The credentials for {0} have expired{said}. Renew them. "
    "{give}",
    FailureKind.ELSEWHERE: "The bucket {0} is in another region. Set AWS_REGION to its region.",
    FailureKind.BAD_NAME: f"The bucket {{0}} has an object whose name has {UNLISTED}. wheelyard "
    "never writes such names: remove the object with the tools of the service.",
    FailureKind.REFUSED: "The bucket {0} refuses a request with status {status}, and would refuse "
    "it again. Check whether a proxy or an emulator stands between this machine and the service; "
    "if none does, update wheelyard, or report it.",
}
"""The message for each kind. Any other kind has the message of REFUSED."""
_CODES: Final = {
    FailureKind.THROTTLED: OVERLOADED,
    FailureKind.NO_BUCKET: "bucket_missing",
    FailureKind.DENIED: STORAGE_DENIED,
    FailureKind.CLOCK: STORAGE_CREDENTIALS,
    FailureKind.NO_CREDENTIALS: STORAGE_CREDENTIALS,
    FailureKind.BAD_CREDENTIALS: STORAGE_CREDENTIALS,
    FailureKind.EXPIRED_CREDENTIALS: STORAGE_CREDENTIALS,
}


def unavailable(failure: Failure, location: BucketLocation, rights: Rights) -> Unavailable:
    """
    Return the Unavailable for a failed request: what is wrong, and what an operator can do.

    `rights` are the rights that the request needs. If the answer names another right, the message
    names that. A failure of the kind ABSENT is reported as a missing bucket (code
    `bucket_missing`). Only the error of a failure that passes by itself has a `retry_after`.
    """
    kind = failure.kind
    if kind in (FailureKind.UNCLEAR, FailureKind.OUTAGE):
        # in an outage, the status is that of the call with which it began
        kind = FailureKind.UNCLEAR if failure.status else FailureKind.OUTAGE
    elif kind is FailureKind.ABSENT:
        # stores handle an absent object themselves, so here the bucket is absent
        kind = FailureKind.NO_BUCKET
    right = failure.right
    if not right:
        # not for Azure, whose text names the role, and no right
        right = rights.google if location.scheme == GOOGLE else rights.s3
    answer_text = failure.answer_text
    in_brackets = f" ({answer_text})" if answer_text else ""
    lacking_right = _LACKING_RIGHT[location.scheme].format(location.root, rights, right=right)
    template = _TEXTS.get(kind, _TEXTS[FailureKind.REFUSED])
    message = template.format(
        location.root,
        status=answer_text,
        said=in_brackets,
        give=_GIVE[location.scheme],
        missing=_MISSING_BUCKET[location.scheme],
        lacking=lacking_right,
    )
    if kind in (FailureKind.OUTAGE, FailureKind.THROTTLED, *SILENCE):
        return Unavailable(message, code=_CODES.get(kind), retry_after=RETRY_AFTER_SECONDS)
    return Unavailable(message, code=_CODES.get(kind, "storage_refused"))
