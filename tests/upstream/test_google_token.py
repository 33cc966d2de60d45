"""Access tokens for Artifact Registry, from the credentials that the machine has."""

import json
import sys
from pathlib import Path

import google.auth
import pytest
from google.auth.exceptions import DefaultCredentialsError, RefreshError, TransportError

from tests.fake_gcs.server import running_fake_gcs
from wheelyard.errors import Invalid
from wheelyard.http_client.hosts import FetchError
from wheelyard.upstream.google_token import GoogleToken


@pytest.mark.integration
def test_tokens_of_a_key_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token is fetched once while it is valid; a failure does not repeat the key."""
    with running_fake_gcs("wheels") as server:
        file = server.write_key_file(tmp_path)
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
        token = GoogleToken()
        assert token.authorization().startswith("Bearer ya29.")
        assert token.authorization() == token.authorization()
        assert server.log.kinds() == ["token"]

    key = json.loads(file.read_text())
    file.write_text(json.dumps(key | {"token_uri": "http://127.0.0.1:9/token"}))
    with pytest.raises(FetchError) as found:
        GoogleToken().authorization()
    assert found.value.is_transient
    file.write_text(json.dumps(key | {"private_key": key["private_key"][:200]}))
    with pytest.raises(FetchError, match="no usable credentials") as found:
        GoogleToken().authorization()
    assert not found.value.is_transient
    assert key["private_key"][40:80] not in repr(found.value.__cause__) + str(found.value)


@pytest.mark.parametrize(
    ("fault", "why", "is_transient"),
    [
        (TransportError, "gives no access token for it now", True),
        (RefreshError, "no usable credentials", False),
        (DefaultCredentialsError, "no usable credentials", False),
        (PermissionError, "no usable credentials", False),
    ],
    ids=["no answer", "refused", "none", "unreadable"],
)
def test_a_machine_without_a_token(
    monkeypatch: pytest.MonkeyPatch, fault: type[Exception], why: str, *, is_transient: bool
) -> None:
    """Without a token nothing is asked; the reason is said, and whether it may pass."""

    def fail(**_: object) -> None:
        raise fault

    monkeypatch.setattr(google.auth, "default", fail)

    with pytest.raises(FetchError, match=why) as found:
        GoogleToken().authorization()

    assert found.value.is_transient is is_transient


def test_a_library_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Google's library is not installed, the server does not start, and names the extra."""
    monkeypatch.setitem(sys.modules, "google.auth.transport.requests", None)

    with pytest.raises(Invalid, match=r"upstream\.google needs google-auth.*'wheelyard\[gcs\]'"):
        GoogleToken()
