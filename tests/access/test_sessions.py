"""Sessions of browsers: they open what their credential opens, and nothing else."""

import logging
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest

from tests.access.access_fixture import (
    EXISTING,
    HERE,
    MISSING,
    OTHER,
    AccessHarness,
    open_harness,
)
from tests.access.principals import ANONYMOUS, INVALID, REQUESTERS, Headers, Requester
from tests.access.test_secrets import secrets_in
from tests.in_process_network import InProcessNetwork
from wheelyard.http.request_authentication import parse_authorization
from wheelyard.model.api_token import decoded_session

SIGN_IN = "/-/sign-in/"
NO_SESSION = ("access token",)
"""Credentials with which nobody signs in."""
VALID = [each for each in REQUESTERS if each.role not in (ANONYMOUS, INVALID)]
BAD = [each for each in REQUESTERS if each.role == INVALID and each.kind != "unknown scheme"]


@pytest.fixture(scope="module")
def harness(
    tmp_path_factory: pytest.TempPathFactory, process_network: InProcessNetwork
) -> Iterator[AccessHarness]:
    """Serve an index on which people sign in, and anybody may read `open-*`."""

    def adjust(document: dict[str, object]) -> None:
        access = document["access"]
        assert isinstance(access, dict)
        access["cookie_login"] = True
        document["server"] = {"public_url": HERE}

    with open_harness(
        tmp_path_factory.mktemp("sessions"), network=process_network, adjust=adjust
    ) as opened:
        yield opened


def sign_in(harness: AccessHarness, headers: Headers) -> tuple[int, Headers]:
    """Type the credential of a header into the form; return the status, and a Cookie header."""
    typed = parse_authorization(headers[0][1].encode())
    fields = urlencode({"user": typed.user, "password": typed.secret}).encode()
    kind = ("content-type", "application/x-www-form-urlencoded")
    answer = harness.in_process.get(SIGN_IN, kind, ("origin", HERE), method="POST", body=[fields])
    cookie = answer.headers.get("set-cookie", "").partition(";")[0]
    return answer.status, (("cookie", cookie),) if cookie else ()


def paths(harness: AccessHarness) -> Iterator[str]:
    """Yield paths of every kind that can be read."""
    for name in (*EXISTING, *MISSING, OTHER):
        filename = harness.packages[name].filename
        yield from (f"/simple/{name}/", f"/files/{name}/{filename}", f"/project/{name}/")
    yield from ("/simple/", "/search.json", "/", "/api/v1/whoami", "/api/v1/tokens", "/feed.xml")


@pytest.mark.slow
@pytest.mark.parametrize("requester", VALID, ids=str)
def test_a_session_reads_what_its_credential_reads(
    harness: AccessHarness, requester: Requester
) -> None:
    """For every credential and path, the cookie is answered as the credential is, to the byte."""
    headers = requester.headers(harness)
    status, cookie = sign_in(harness, headers)
    if requester.kind in NO_SESSION:
        assert (status, cookie) == (401, ())
        return

    assert status == 303
    for path in paths(harness):
        by_header = harness.request("GET", path, headers)
        by_cookie = harness.request("GET", path, cookie)
        assert by_cookie.without("date") == by_header.without("date"), path


@pytest.mark.parametrize("requester", VALID, ids=str)
def test_a_session_changes_nothing_by_the_api(harness: AccessHarness, requester: Requester) -> None:
    """No upload and no call of the API is authenticated by a cookie."""
    _, cookie = sign_in(harness, requester.headers(harness))
    nobody = [
        harness.request("POST", path, ())
        for path in ("/legacy/", f"/api/v1/projects/{OTHER}/yank", "/api/v1/tokens")
    ]
    by_cookie = [
        harness.request("POST", path, cookie)
        for path in ("/legacy/", f"/api/v1/projects/{OTHER}/yank", "/api/v1/tokens")
    ]

    assert [each.without("date") for each in by_cookie] == [each.without("date") for each in nobody]
    assert {each.status for each in by_cookie} <= {400, 401}


def test_no_log_has_a_credential_or_a_cookie(
    harness: AccessHarness, caplog: pytest.LogCaptureFixture
) -> None:
    """No log and no page has a typed credential or a cookie; no cookie has a credential."""
    for requester in VALID:
        headers = requester.headers(harness)
        with caplog.at_level(logging.DEBUG):
            _, cookie = sign_in(harness, headers)
            answers = [
                harness.request("GET", path, cookie) for path in ("/", "/-/account/", "/%zz")
            ]
        logged = caplog.text + "".join(f"{answer.headers}{answer.body!r}" for answer in answers)
        logged += "".join(str(record.__dict__) for record in caplog.records)
        value = "".join(text.partition("=")[2] for _, text in cookie)
        secrets = secrets_in(headers)

        assert [secret for secret in (*secrets, value[:40]) if secret and secret in logged] == []
        assert [each for each in secrets if each in f"{value}{decoded_session(value)}"] == []
        caplog.clear()


@pytest.mark.parametrize("requester", BAD, ids=str)
def test_what_is_invalid_signs_nobody_in(harness: AccessHarness, requester: Requester) -> None:
    """A credential that is invalid in a header signs nobody in at the form."""
    headers = requester.headers(harness)
    if requester.kind == "nonsense":
        headers = (("authorization", "Basic Og=="),)  # neither a name nor a password
    assert sign_in(harness, headers) == (401, ())
