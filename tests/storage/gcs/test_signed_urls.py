"""Signed URLs of Google: who signs for which credentials, and what is said when nobody does."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from google.auth import iam as google_iam
from google.auth import impersonated_credentials
from google.auth.credentials import AnonymousCredentials
from google.auth.identity_pool import Credentials as PoolCredentials
from google.cloud.storage import Client
from google.oauth2.credentials import Credentials as UserCredentials
from google.oauth2.service_account import Credentials as AccountCredentials

from tests.fake_gcs.faults import DropBefore, Fault, StatusBefore
from tests.fake_gcs.identity import EMAIL
from tests.fake_gcs.server import FakeGcs, running_fake_gcs
from tests.refused import refused
from wheelyard.errors import Unavailable
from wheelyard.storage.gcs.connect import GoogleSigner
from wheelyard.storage.gcs.store import Credentials, can_sign

HOUR: Final = timedelta(hours=1)
STORAGE: Final = "https://storage.googleapis.com"

# google-auth and its credentials have no types to call them by
pool_credentials: Callable[..., Credentials] = PoolCredentials
account_credentials: Callable[..., Credentials] = AccountCredentials.from_service_account_info
impersonating: Callable[..., Credentials] = impersonated_credentials.Credentials
nobody: Callable[[], Credentials] = AnonymousCredentials
user_credentials: Callable[[str], Credentials] = UserCredentials


@pytest.fixture
def iam(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGcs]:
    """Yield what signs for an account of its own."""
    with running_fake_gcs() as running:
        path = "/v1/projects/-/serviceAccounts/{}:signBlob"
        monkeypatch.setattr(google_iam, "_IAM_SIGN_ENDPOINT", running.url + path)
        yield running


def url_of(credentials: Credentials, name: str = "o", lifetime: timedelta = HOUR) -> str:
    """Return a URL that credentials sign."""
    bucket = Client(project="p", credentials=nobody()).bucket("b")
    return GoogleSigner(bucket, credentials, STORAGE).sign(name, lifetime)


def federated(account: str | None, token: str = "") -> Credentials:
    """Return the credentials of an identity from elsewhere, with an access token if it has one."""
    url = f"https://iam.example/v1/projects/-/serviceAccounts/{account}:generateAccessToken"
    credentials = pool_credentials(
        audience="//iam.googleapis.com/x",
        subject_token_type="urn:ietf:params:oauth:token-type:jwt",
        token_url="https://sts.example/v1/token",
        credential_source={"file": "nowhere"},
        service_account_impersonation_url=url if account else None,
    )
    credentials.token = token or None
    return credentials


def verify(url: str, iam: FakeGcs) -> None:
    """Check a URL for GET as the service does: from the URL alone, with the public key."""
    parts = urlsplit(url)
    query, _, signature = parts.query.partition("&X-Goog-Signature=")
    said = parse_qs(query)
    request = f"GET\n{parts.path}\n{query}\nhost:{parts.hostname}\n\nhost\nUNSIGNED-PAYLOAD"
    scope = said["X-Goog-Credential"][0].partition("/")[2]
    signed = (
        f"GOOG4-RSA-SHA256\n{said['X-Goog-Date'][0]}\n{scope}\n"
        f"{sha256(request.encode()).hexdigest()}"
    )
    key = iam.identity.private_key.public_key()
    key.verify(bytes.fromhex(signature), signed.encode(), PKCS1v15(), hashes.SHA256())


@pytest.mark.integration
@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("files/foo-1!2.0+cpu.tar.gz", "/b/files/foo-1%212.0%2Bcpu.tar.gz"),
        ("files/~a b@c", "/b/files/~a%20b%40c"),
        ("files/100%2B.zip", "/b/files/100%252B.zip"),
        ("files/smörgås-☃", "/b/files/sm%C3%B6rg%C3%A5s-%E2%98%83"),
    ],
)
def test_a_key_signs_by_itself(iam: FakeGcs, name: str, path: str) -> None:
    """A private key needs no network; its URL names who signed, the object, and for how long."""
    url = url_of(account_credentials(iam.identity.key_file(iam.url)), name, 2 * HOUR)

    verify(url, iam)
    query = parse_qs(urlsplit(url).query)
    assert url.startswith(f"{STORAGE}{path}?X-Goog-Algorithm=")
    assert query["X-Goog-Credential"][0].startswith(f"{EMAIL}/")
    assert query["X-Goog-Expires"] == ["7200"]
    assert iam.log.count() == 0


def test_who_can_sign() -> None:
    """User credentials and anonymous credentials cannot sign, nor can an identity by itself."""
    assert not can_sign(user_credentials("the-token"))
    assert not can_sign(nobody())
    assert not can_sign(federated(None))
    assert can_sign(federated(EMAIL))


@pytest.mark.integration
def test_who_acts_for_an_account_signs_for_it(iam: FakeGcs) -> None:
    """Who acts for a service account signs for it with the rights of their own."""
    delegate = "projects/-/serviceAccounts/between@project.example"
    token = user_credentials(iam.identity.issue_token())
    credentials = impersonating(token, EMAIL, ["scope"], delegates=[delegate])

    verify(url_of(credentials), iam)

    (asked,) = iam.identity.asked
    assert asked["delegates"] == [delegate]


MACHINE: Final = """
import sys
from datetime import timedelta
from google.auth import iam
from google.auth.compute_engine import Credentials
from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Client
from wheelyard.storage.gcs.connect import GoogleSigner

iam._IAM_SIGN_ENDPOINT = sys.argv[1] + "/v1/projects/-/serviceAccounts/{}:signBlob"
bucket = Client(project="p", credentials=AnonymousCredentials()).bucket("b")
signer = GoogleSigner(bucket, Credentials(), "https://storage.googleapis.com")
print("made", flush=True)
input()
print(signer.sign("o", timedelta(hours=1)))
"""


@pytest.mark.integration
def test_a_machine_that_does_not_know_its_name(iam: FakeGcs, tmp_path: Path) -> None:
    """A machine of Google's asks nothing before a URL; then it signs as itself, despite netrc."""
    passwords = tmp_path / "netrc"
    passwords.write_text("default login ana password secret\n")
    with subprocess.Popen(
        [sys.executable, "-c", MACHINE, iam.url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=iam.environment(metadata=True) | {"NETRC": str(passwords)},
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "made\n"
        assert iam.log.count() == 0
        url, _ = process.communicate("\n", timeout=60)

    assert process.returncode == 0
    verify(url.strip(), iam)
    assert f"X-Goog-Credential={quote(EMAIL, safe='')}%2F" in url
    assert [each.name for each in iam.log.records("sign")] == [EMAIL]


@pytest.mark.integration
def test_a_missing_permission(iam: FakeGcs) -> None:
    """Who may not sign is told at once which permission on which account is missing."""
    iam.permissions.deny("iam.serviceAccounts.signBlob")
    credentials = impersonating(user_credentials(iam.identity.issue_token()), EMAIL, ["scope"])

    with refused(Unavailable, "signing_denied") as caught:
        url_of(credentials)

    assert f"iam.serviceAccounts.signBlob on {EMAIL}" in caught.value.message
    assert "may not exist" not in caught.value.message  # what IAM says is not repeated
    assert iam.log.count(kind="sign") == 1


@pytest.mark.integration
@pytest.mark.parametrize("fault", [DropBefore(), StatusBefore(404), StatusBefore(200)])
def test_iam_does_not_answer(iam: FakeGcs, fault: Fault) -> None:
    """When IAM gives no signature, the refusal says so, and names the account."""
    iam.faults.add(fault, "sign", count=3)
    credentials = impersonating(user_credentials(iam.identity.issue_token()), EMAIL, ["scope"])

    with refused(Unavailable, "signing_unavailable", match=f"IAM does not sign for {EMAIL}"):
        url_of(credentials)
