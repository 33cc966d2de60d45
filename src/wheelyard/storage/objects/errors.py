"""
Errors of obstore: what kind each is, and the Unavailable that an operator gets.

obstore has few classes of errors, and the status and the code of an answer only within a text. That
text may contain a secret (a signature in a URL, a token sent to a login server), so it goes into no
message, and no exception that leaves this package refers to it.
"""

import re
from enum import Enum, auto
from typing import Final

from msgspec import Struct
from obstore import exceptions as obstore

from wheelyard.errors import OVERLOADED, RETRY_AFTER_SECONDS, Unavailable
from wheelyard.storage.base import STORAGE_DENIED
from wheelyard.storage.location import AZURE, BucketLocation

STORAGE_CREDENTIALS: Final = "storage_credentials"
"""The error code for credentials that are missing or not accepted."""
OBSTORE_ERRORS: Final = (obstore.BaseError, OSError)
"""All exceptions that a request by obstore may raise; OSError for what does not exist."""


class FailureKind(Enum):
    """What an error says, and so what may be done after it."""

    ABSENT = auto()
    UNCHANGED = auto()
    CONFLICT = auto()
    """A condition did not hold: nothing was written by this request."""
    BUSY = auto()
    """Another write of the same object is under way, or (of some services) it exists already."""
    THROTTLED = auto()
    """Nothing was done; later it will be."""
    UNCLEAR = auto()
    """No answer, or that of a broken server: the request may have been executed."""
    OUT_OF_RANGE = auto()
    NO_BUCKET = auto()
    DENIED = auto()
    BAD_CREDENTIALS = auto()
    EXPIRED_CREDENTIALS = auto()
    NO_CREDENTIALS = auto()
    CLOCK = auto()
    ELSEWHERE = auto()
    """The bucket is in another region."""
    REFUSED = auto()
    """Any other answer that would come again."""


class Failure(Exception):
    """An error of obstore without its text; it leaves this package only as an Unavailable."""

    def __init__(self, kind: FailureKind, status: int = 0, code: str = "", right: str = "") -> None:
        super().__init__(kind, status, code, right)
        self.kind = kind
        self.status = status
        """The HTTP status; 0 if there was no answer."""
        self.code = code
        """The code in the body of the answer."""
        self.right = right
        """The right that the answer names as missing."""

    @property
    def said(self) -> str:
        """The status and the code of the answer."""
        return f"{self.status} {self.code}".strip()


class Rights(Struct, frozen=True):
    """The right that a request needs, in the words of each service."""

    s3: str
    azure: str = "Storage Blob Data Contributor"


READ: Final = Rights(
    "s3:GetObject (and s3:ListBucket, without which an absent object is a denial)",
    "Storage Blob Data Reader",
)
WRITE: Final = Rights("s3:PutObject")
DELETE: Final = Rights("s3:DeleteObject")
LIST: Final = Rights("s3:ListBucket", "Storage Blob Data Reader")

_ANSWER: Final = re.compile(r"non-2xx status code: (\d{3})|\(code: (\d{3})\)")
_CODE: Final = re.compile(r"<Code>\s*(\w+)\s*</Code>|\"(?:code|error)\":\s*\"(\w+)\"")
_RIGHT: Final = re.compile(r"not authorized to perform: ([a-z0-9-]+:\w+)")
_LOGIN: Final = re.compile(
    r"Error performing (?:GET|PUT|POST) \S*(?:/latest/api/token|/latest/meta-data|/oauth2/|/token\?"
    r"|//sts[.-]|Action=AssumeRole|169\.254\.170\.)"
)
"""A request for credentials, not to the bucket."""
_KINDS: Final = {
    FailureKind.NO_BUCKET: "NoSuchBucket ContainerNotFound ContainerBeingDeleted ContainerDisabled",
    FailureKind.ABSENT: "NoSuchKey BlobNotFound",
    FailureKind.CONFLICT: "PreconditionFailed ConditionNotMet BlobAlreadyExists",
    FailureKind.THROTTLED: "SlowDown Throttling TooManyRequests RequestLimitExceeded ServerBusy",
    FailureKind.EXPIRED_CREDENTIALS: "ExpiredToken ExpiredTokenException TokenRefreshRequired",
    FailureKind.BAD_CREDENTIALS: "InvalidAccessKeyId SignatureDoesNotMatch InvalidToken "
    "InvalidSecurity AuthenticationFailed InvalidAuthenticationInfo NoAuthenticationInformation "
    "AuthorizationHeaderMalformed UnrecognizedClientException InvalidClientTokenId",
    FailureKind.CLOCK: "RequestTimeTooSkewed RequestExpired",
    FailureKind.ELSEWHERE: "PermanentRedirect TemporaryRedirect IllegalLocationConstraintException",
}
_BY_CODE: Final = {code: kind for kind, codes in _KINDS.items() for code in codes.split()}
_BY_WORDS: Final = (
    ("", "specified container does not exist", FailureKind.NO_BUCKET),  # deletions have no codes
    ("", "Wanted range starting at", FailureKind.OUT_OF_RANGE),  # from the start of an answer
    ("AuthenticationFailed", "Request date header too old", FailureKind.CLOCK),
    ("AuthorizationHeaderMalformed", "the region", FailureKind.ELSEWHERE),
)
_BY_STATUS: Final = {
    301: FailureKind.ELSEWHERE,
    304: FailureKind.UNCHANGED,
    307: FailureKind.ELSEWHERE,
    401: FailureKind.BAD_CREDENTIALS,
    403: FailureKind.DENIED,
    404: FailureKind.ABSENT,
    408: FailureKind.UNCLEAR,
    409: FailureKind.BUSY,
    412: FailureKind.CONFLICT,
    416: FailureKind.OUT_OF_RANGE,
    429: FailureKind.THROTTLED,
}
_BY_CLASS: Final[dict[type[Exception], FailureKind]] = {
    obstore.NotModifiedError: FailureKind.UNCHANGED,
    obstore.PermissionDeniedError: FailureKind.DENIED,
    obstore.UnauthenticatedError: FailureKind.BAD_CREDENTIALS,
}
_CREDENTIALS: Final = (
    FailureKind.BAD_CREDENTIALS,
    FailureKind.EXPIRED_CREDENTIALS,
    FailureKind.NO_CREDENTIALS,
    FailureKind.CLOCK,
)
SERVER_ERROR: Final = 500


def failure_of(error: Exception) -> Failure:
    """Return what an exception of obstore says; its class counts if its text has no answer."""
    text = str(error).partition("\n\nDebug source:")[0]
    answer, named = _ANSWER.search(text), _CODE.search(text)
    status = int(answer[1] or answer[2]) if answer else 0
    code = (named[1] or named[2]) if named and status else ""
    missing = _RIGHT.search(text)
    return Failure(_kind(error, text, status, code), status, code, missing[1] if missing else "")


def _kind(error: Exception, text: str, status: int, code: str) -> FailureKind:
    if _LOGIN.search(text):
        # what a login server says is about the credentials; without an answer there are none
        return (
            FailureKind.BAD_CREDENTIALS if SERVER_ERROR > status > 0 else FailureKind.NO_CREDENTIALS
        )
    for named_code, words, kind in _BY_WORDS:
        if code == named_code and words in text:
            return kind
    if code in _BY_CODE:
        return _BY_CODE[code]
    if not status:
        return _BY_CLASS.get(type(error), FailureKind.UNCLEAR)
    return _BY_STATUS.get(
        status, FailureKind.UNCLEAR if status >= SERVER_ERROR else FailureKind.REFUSED
    )


def unavailable(failure: Failure, location: BucketLocation, rights: Rights) -> Unavailable:
    """
    Return the Unavailable for a failed request: what is wrong, and what an operator can do.

    `rights` are those that the request needs; if the answer names another one, the message does.
    """
    if failure.kind is FailureKind.DENIED:
        return _denied(failure, location, rights)
    if failure.kind in _CREDENTIALS:
        return _credentials(failure, location)
    if failure.kind in (FailureKind.UNCLEAR, FailureKind.THROTTLED):
        return _not_now(failure, location)
    return _refused(failure, location)


def _not_now(failure: Failure, location: BucketLocation) -> Unavailable:
    if failure.kind is FailureKind.THROTTLED:
        return Unavailable(
            f"The bucket {location.root} takes no more requests for the moment.",
            code=OVERLOADED,
            short="Too many writers at once.",
            retry_after=RETRY_AFTER_SECONDS,
        )
    answers = f"answers with status {failure.said}" if failure.status else "does not answer"
    return Unavailable(
        f"The bucket {location.root} {answers}.",
        short="Storage is not available.",
        retry_after=RETRY_AFTER_SECONDS,
    )


def _refused(failure: Failure, location: BucketLocation) -> Unavailable:
    code, short = "storage_refused", "The store refuses a request."
    if failure.kind is FailureKind.NO_BUCKET:
        code, short = "bucket_missing", "The store's bucket is missing."
        account = "storage account" if location.scheme == AZURE else "account"
        message = f"does not exist. Check its name and the {account}, or create it."
    elif failure.kind is FailureKind.ELSEWHERE:
        message = f"is in another region ({failure.said}). Set AWS_REGION to its region."
    else:
        message = (
            f"refuses a request with {failure.said}, and would refuse it again. Check whether a "
            "proxy or an emulator stands between this machine and the service; if none does, "
            "update wheelyard, or report it."
        )
    return Unavailable(f"The bucket {location.root} {message}", code=code, short=short)


def _denied(failure: Failure, location: BucketLocation, rights: Rights) -> Unavailable:
    if location.scheme == AZURE:
        what = f"the role {rights.azure}"
        advice = (
            f"Grant them {what} on that container; if they have it, look at the network rules of "
            "the storage account."
        )
    else:
        what = f"the right {failure.right or rights.s3}"
        advice = "Allow it in the policy of the user or role, and look for what denies it."
    return Unavailable(
        f"These credentials lack {what} on {location.root}. {advice}",
        code=STORAGE_DENIED,
        short=f"The server lacks {what}.",
    )


def _credentials(failure: Failure, location: BucketLocation) -> Unavailable:
    if location.scheme == AZURE:
        how = (
            "Give the server a managed identity, or set AZURE_STORAGE_CONNECTION_STRING, or "
            "AZURE_STORAGE_ACCOUNT_NAME with AZURE_STORAGE_ACCOUNT_KEY."
        )
    else:
        how = "Give the server a role, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
    short, of = "The store's credentials are not accepted.", f"The credentials for {location.root}"
    if failure.kind is FailureKind.CLOCK:
        short = "The clock of the server is wrong."
        message = f"{of} are not accepted at the time of this machine's clock. Set the clock."
    elif failure.kind is FailureKind.NO_CREDENTIALS:
        short = "There are no credentials for the store."
        message = (
            f"There are no credentials for {location.root}: none are set, and no service of the "
            f"platform gives any. {how}"
        )
    else:
        are = (
            "have expired"
            if failure.kind is FailureKind.EXPIRED_CREDENTIALS
            else "are not accepted"
        )
        message = f"{of} {are} ({failure.said}). Renew them. {how}"
    return Unavailable(message, code=STORAGE_CREDENTIALS, short=short)
