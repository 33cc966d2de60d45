"""
Errors of obstore as failures.

obstore has few classes of errors, and the status and the code of an answer only within a text. That
text may contain a secret, so no exception that leaves this package refers to it.
"""

import re
from typing import Final

from obstore import exceptions as obstore

from wheelyard.storage.failures import SERVER_ERROR, Failure, FailureKind, kind_of_status

OBSTORE_ERRORS: Final = (obstore.BaseError, OSError)
"""All exceptions that a request by obstore may raise. OSError for what does not exist."""
THROTTLED_PAUSE_SECONDS: Final = 1.0
"""
The shortest pause after a service has asked for fewer requests. obstore hides what pause the
service asks for.
"""

_ANSWER: Final = re.compile(r"non-2xx status code: (\d{3})|\(code: (\d{3})\)")
_CODE: Final = re.compile(r"<Code>\s*(\w+)\s*</Code>|\"(?:code|error)\":\s*\"(\w+)\"")
_RIGHT: Final = re.compile(r"not authorized to perform: ([a-z0-9-]+:\w+)")
_LOGIN: Final = re.compile(
    r"Error performing (?:GET|PUT|POST) \S*(?:/latest/api/token|/latest/meta-data|/oauth2/|/token\?"
    r"|//sts[.-]|Action=AssumeRole|169\.254\.170\.)"
)
"""The text of a request for credentials, which is not sent to the bucket."""
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
    ("", "redirect without LOCATION", FailureKind.ELSEWHERE),  # instead of the status, 301
    ("AuthorizationHeaderMalformed", "the region", FailureKind.ELSEWHERE),
)
_BY_CLASS: Final[dict[type[Exception], FailureKind]] = {
    obstore.InvalidPathError: FailureKind.BAD_NAME,
    obstore.NotModifiedError: FailureKind.UNCHANGED,
    obstore.PermissionDeniedError: FailureKind.DENIED,
    obstore.UnauthenticatedError: FailureKind.BAD_CREDENTIALS,
}


def failure_of(error: Exception) -> Failure:
    """Return the Failure for an exception of obstore, by its text, or else by its class."""
    text = str(error).partition("\n\nDebug source:")[0]
    status = 0
    code = ""
    answer = _ANSWER.search(text)
    if answer is not None:
        status = int(answer[1] or answer[2])
    code_match = _CODE.search(text)
    # without a status there was no answer, and obstore itself has written the text
    if code_match is not None and status:
        code = code_match[1] or code_match[2]
    kind = _kind_of(error, text, status, code)
    right_match = _RIGHT.search(text)
    right = right_match[1] if right_match else ""
    pause = THROTTLED_PAUSE_SECONDS if kind is FailureKind.THROTTLED else 0.0
    return Failure(kind, status, code, right, retry_after=pause)


def _kind_of(error: Exception, text: str, status: int, code: str) -> FailureKind:
    """Return the kind of a failure: by its server, or else its words, code, class or status."""
    if _LOGIN.search(text):
        # a login server answers about the credentials; if it does not answer, there are none
        if 0 < status < SERVER_ERROR:
            return FailureKind.BAD_CREDENTIALS
        return FailureKind.NO_CREDENTIALS
    # before the codes: these words say more than the code that comes with them
    for word_code, words, kind in _BY_WORDS:
        if code == word_code and words in text:
            return kind
    if code in _BY_CODE:
        return _BY_CODE[code]
    if not status:
        return _BY_CLASS.get(type(error), FailureKind.UNCLEAR)
    return kind_of_status(status)
