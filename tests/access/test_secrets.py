"""No secret in a log, an answer, a URL or a metric, whatever is sent and however it fails."""

import logging
from base64 import b64decode, b64encode
from collections.abc import Iterator

import pytest

from tests.access.access_fixture import (
    EXISTING,
    PASSWORD,
    AccessHarness,
    RecordedResponse,
    open_harness,
)
from tests.access.principals import BAD, PROXIED, REQUESTERS, Headers
from tests.distributions import make_wheel
from tests.in_process_network import InProcessNetwork

PATHS = (
    "/",
    "/simple/",
    "/simple/shut-lib/",
    "/simple/Shut_Lib/",
    "/simple/shut-not/",
    "/project/secret-lib/",
    "/pypi/open-lib/json",
    "/api/v1/projects/shut-lib/journal",
    "/metrics",
    "/nowhere/at/all",
    "/%zz",
)


@pytest.fixture(scope="module")
def harness(
    tmp_path_factory: pytest.TempPathFactory, process_network: InProcessNetwork
) -> Iterator[AccessHarness]:
    """An index where some projects may be read by anybody."""
    with open_harness(tmp_path_factory.mktemp("place"), network=process_network) as harness:
        yield harness


def secrets_in(headers: Headers) -> set[str]:
    """Return the parts of a credential that must not be shown anywhere."""
    ((_, value),) = headers or (("", ""),)
    sent = value.rpartition(" ")[2]
    found = {sent} if len(sent) > 8 else set()
    try:
        _, _, secret = b64decode(sent, validate=True).decode().partition(":")
    except ValueError:
        secret = sent
    # a signed token without its signature, and the half of an API token that is secret
    parts = {secret, secret.rpartition(".")[2], secret[14:]}
    return found | {part for part in parts if len(part) > 8}


def ask_everything(harness: AccessHarness, headers: Headers) -> list[RecordedResponse]:
    """Send a credential everywhere, also to where it does not belong."""
    answers = [harness.request("GET", path, headers) for path in PATHS]
    answers += [harness.request("POST", "/api/v1/projects/shut-lib/yank", headers, b"{}")]
    answers += [harness.upload(make_wheel(name), headers) for name in EXISTING]
    return answers


@pytest.mark.slow
@pytest.mark.parametrize("person", [*REQUESTERS, *PROXIED], ids=str)
def test_nobody_sees_a_credential(
    harness: AccessHarness, person: object, caplog: pytest.LogCaptureFixture
) -> None:
    """With everything logged that can be, no credential, good or bad, is in a log or an answer."""
    headers = next(
        requester for requester in (*REQUESTERS, *PROXIED) if requester is person
    ).headers(harness)
    secrets = secrets_in(headers)
    with caplog.at_level(logging.DEBUG):
        answers = ask_everything(harness, headers)
    logged = caplog.text + "".join(f"{answer.headers}{answer.body!r}" for answer in answers)
    logged += "".join(str(record.__dict__) for record in caplog.records)
    assert [secret for secret in secrets if secret in logged] == []


@pytest.mark.parametrize("kind", BAD)
def test_a_credential_in_the_wrong_place(
    harness: AccessHarness, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A credential in a URL is ignored, and never logged."""
    secrets = secrets_in(BAD[kind])
    with caplog.at_level(logging.DEBUG):
        answers = [
            harness.request("GET", f"/simple/shut-lib/?access_token={secret.replace(' ', '+')}")
            for secret in secrets
        ]
    assert {answer.status for answer in answers} <= {400, 401}
    logged = caplog.text + "".join(f"{each.headers}{each.body!r}" for each in answers)
    assert [each for each in secrets if each in logged] == []


def test_typed_user_names_are_not_logged(
    harness: AccessHarness, caplog: pytest.LogCaptureFixture
) -> None:
    """A user's name with a control character is refused, and makes no line in the log."""
    with caplog.at_level(logging.DEBUG):
        for name in ("ana\nroot", "ana\r\nX-Evil: 1", "ana\x00", "ana\x7f"):
            pair = b64encode(f"{name}:{PASSWORD}".encode()).decode()
            answer = harness.request("GET", "/simple/", (("authorization", f"Basic {pair}"),))
            assert answer.status == 401
    assert "root" not in caplog.text
    assert "evil" not in caplog.text.lower()


def test_no_secret_is_in_a_repr(harness: AccessHarness) -> None:
    """Neither access settings nor static tokens show a secret in their representation."""
    shown = repr(harness.index.settings.access) + repr(harness.index.authenticator.static_tokens)
    assert "StaticTokens" in shown
    assert "a-static-token-of" not in shown
    assert PASSWORD not in shown
