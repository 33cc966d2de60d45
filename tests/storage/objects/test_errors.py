"""What the texts of obstore's errors say, and what an operator reads."""

import pytest
from obstore import exceptions as obstore

from wheelyard.storage.failures import READ, WRITE, FailureKind, unavailable
from wheelyard.storage.location import parse_location
from wheelyard.storage.objects.obstore_errors import THROTTLED_PAUSE_SECONDS, failure_of

S3, AZURE = parse_location("s3://wheels/team"), parse_location("az://wheels")
SAID = "Error performing PUT https://host/x in 3ms - Server returned non-2xx status code: {}: {}"
XML = '<?xml version="1.0"?>\n<Error>\n  <Code>{}</Code><Message>{}</Message></Error>'
NO_ANSWER = "Error performing GET {} in 3ms - HTTP error: error sending request"


def answer(status: str, code: str = "", message: str = "") -> obstore.GenericError:
    """Return an error for an answer, with another status in what the library says of itself."""
    text = SAID.format(status, XML.format(code, message) if code else "")
    return obstore.GenericError(f"{text}\n\nDebug source:\nstatus code: 999 <Code>Other</Code>")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (answer("404 Not Found", "NoSuchKey"), FailureKind.ABSENT),
        (answer("404 Not Found"), FailureKind.ABSENT),
        (answer("404 Not Found", "NoSuchBucket"), FailureKind.NO_BUCKET),
        (answer("404 Not Found", "ContainerNotFound"), FailureKind.NO_BUCKET),
        (
            FileNotFoundError("failed for x: The specified container does not exist. (code: 404)"),
            FailureKind.NO_BUCKET,
        ),
        (
            FileNotFoundError("failed for x: The specified blob does not exist. (code: 404)"),
            FailureKind.ABSENT,
        ),
        (answer("304 Not Modified"), FailureKind.UNCHANGED),
        (answer("412 Precondition Failed", "PreconditionFailed"), FailureKind.CONFLICT),
        (answer("409 Conflict", "BlobAlreadyExists"), FailureKind.CONFLICT),
        (answer("409 Conflict", "ConditionalRequestConflict"), FailureKind.BUSY),
        (answer("429 Too Many Requests"), FailureKind.THROTTLED),
        (answer("503 Service Unavailable", "SlowDown"), FailureKind.THROTTLED),
        (answer("503 Service Unavailable", "ServerBusy"), FailureKind.THROTTLED),
        (answer("503 Service Unavailable"), FailureKind.UNCLEAR),
        (answer("500 Internal Server Error", "InternalError"), FailureKind.UNCLEAR),
        (answer("416 Range Not Satisfiable", "InvalidRange"), FailureKind.OUT_OF_RANGE),
        (
            obstore.GenericError("Wanted range starting at 9, but object was 9"),
            FailureKind.OUT_OF_RANGE,
        ),
        (answer("403 Forbidden", "AccessDenied"), FailureKind.DENIED),
        (answer("403 Forbidden", "AuthorizationPermissionMismatch"), FailureKind.DENIED),
        (answer("403 Forbidden"), FailureKind.DENIED),
        (answer("403 Forbidden", "InvalidAccessKeyId"), FailureKind.BAD_CREDENTIALS),
        (answer("403 Forbidden", "SignatureDoesNotMatch"), FailureKind.BAD_CREDENTIALS),
        (answer("403 Forbidden", "AuthenticationFailed"), FailureKind.BAD_CREDENTIALS),
        (answer("401 Unauthorized", "InvalidAuthenticationInfo"), FailureKind.BAD_CREDENTIALS),
        (answer("400 Bad Request", "ExpiredToken"), FailureKind.EXPIRED_CREDENTIALS),
        (answer("403 Forbidden", "RequestTimeTooSkewed"), FailureKind.CLOCK),
        (answer("301 Moved Permanently", "PermanentRedirect"), FailureKind.ELSEWHERE),
        (
            obstore.GenericError("PUT https://host/x in 3ms - Received redirect without LOCATION"),
            FailureKind.ELSEWHERE,
        ),
        (answer("501 Not Implemented", "NotImplemented"), FailureKind.REFUSED),
        (
            answer("400 Bad Request", "AuthorizationHeaderMalformed", "the region 'x' is wrong"),
            FailureKind.ELSEWHERE,
        ),
        (answer("400 Bad Request", "KeyTooLongError"), FailureKind.REFUSED),
        (obstore.GenericError(NO_ANSWER.format("https://host/x")), FailureKind.UNCLEAR),
        (
            obstore.GenericError(NO_ANSWER.format("http://127.0.0.1:1/latest/api/token")),
            FailureKind.NO_CREDENTIALS,
        ),
        (
            obstore.GenericError(
                "Error performing POST https://login.example.com/t/oauth2/v2.0/token in 1s - "
                "Server returned non-2xx status code: 401 Unauthorized: no"
            ),
            FailureKind.BAD_CREDENTIALS,
        ),
        (obstore.UnauthenticatedError("a provider failed"), FailureKind.BAD_CREDENTIALS),
        (obstore.InvalidPathError('Path "a//b" contained empty path'), FailureKind.BAD_NAME),
    ],
)
def test_each_error_of_a_service_has_its_kind(error: Exception, kind: FailureKind) -> None:
    """Each kind of error is told from the others by the status and the code of the answer."""
    assert failure_of(error).kind is kind


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (answer("503 Service Unavailable", "SlowDown"), THROTTLED_PAUSE_SECONDS),
        (answer("429 Too Many Requests"), THROTTLED_PAUSE_SECONDS),
        (answer("503 Service Unavailable"), 0),
        (answer("409 Conflict", "ConditionalRequestConflict"), 0),
    ],
    ids=["slow down", "too many requests", "unavailable", "busy"],
)
def test_a_service_with_too_many_requests_gets_a_pause(error: Exception, seconds: float) -> None:
    """A service that takes no more requests for the moment is left alone longer than others."""
    assert failure_of(error).retry_after == seconds


def test_a_name_that_looks_like_an_answer() -> None:
    """The name of an object never passes for the answer of the service."""
    error = FileNotFoundError(
        "Object at location files/NoSuchBucket/status code: 403.zip not found: "
        + SAID.format("404 Not Found", XML.format("NoSuchKey", ""))
    )

    assert failure_of(error).kind is FailureKind.ABSENT


@pytest.mark.parametrize(
    ("location", "error", "code", "words"),
    [
        (S3, answer("403 F", "AccessDenied"), "storage_denied", "the right s3:PutObject on"),
        (
            S3,
            answer("403 F", "AccessDenied", "x is not authorized to perform: kms:Decrypt on y"),
            "storage_denied",
            "the right kms:Decrypt on s3://wheels",
        ),
        (
            AZURE,
            answer("403 F", "AuthorizationPermissionMismatch"),
            "storage_denied",
            "the role Storage Blob Data Contributor on az://wheels",
        ),
        (S3, answer("404 N", "NoSuchBucket"), "bucket_missing", "s3://wheels does not exist"),
        (S3, answer("400 B", "ExpiredToken"), "storage_credentials", "have expired"),
        (AZURE, answer("403 F", "AuthenticationFailed"), "storage_credentials", "not accepted"),
        (S3, answer("403 F", "RequestTimeTooSkewed"), "storage_credentials", "Set the clock"),
        (S3, answer("301 M", "PermanentRedirect"), "storage_refused", "Set AWS_REGION"),
        (S3, answer("503 S", "SlowDown"), "overloaded", "takes no more requests"),
        (S3, answer("500 I", "InternalError"), "storage_unavailable", "status 500 InternalError"),
        (S3, answer("400 B", "KeyTooLongError"), "storage_refused", "400 KeyTooLongError"),
        (S3, obstore.InvalidPathError("a//b"), "storage_refused", "an empty part ('//')"),
        (S3, obstore.GenericError(NO_ANSWER), "storage_unavailable", "does not answer"),
    ],
)
def test_each_message_says_what_to_do(
    location: object, error: Exception, code: str, words: str
) -> None:
    """Each message says what is wrong and what to do, and has the code that Google's have."""
    assert location in (S3, AZURE)
    fault = unavailable(failure_of(error), S3 if location is S3 else AZURE, WRITE)

    assert fault.code == code
    assert words in fault.message


def test_reading_on_s3_needs_the_right_to_list() -> None:
    """Without the right to list, S3 denies what is absent: the message says so."""
    fault = unavailable(failure_of(answer("403 Forbidden", "AccessDenied")), S3, READ)

    assert "s3:ListBucket, without which an absent object is a denial" in fault.message


def test_no_secret_leaves() -> None:
    """A signature in the text of an error is in nothing that is raised or shown."""
    error = obstore.GenericError(
        "Error performing GET https://host/x?sig=s3cr3t in 1s - Server returned non-2xx status "
        "code: 403 Forbidden: <Error><Code>AuthenticationFailed</Code></Error>"
    )
    failure = failure_of(error)

    for text in (repr(failure), str(failure), unavailable(failure, AZURE, READ).message):
        assert "s3cr3t" not in text
