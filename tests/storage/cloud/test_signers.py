"""Which credentials can sign, and how: a key by itself, others by IAM, some not at all."""

import subprocess
import sys
from collections.abc import Callable
from random import Random
from typing import Any, Final

import pytest
from google.auth import impersonated_credentials
from google.auth.credentials import AnonymousCredentials, Credentials
from google.auth.identity_pool import Credentials as PoolCredentials
from google.oauth2.service_account import Credentials as AccountCredentials

from tests.storage.cloud.iam import SIGN_BLOB, Iam, user_credentials
from tests.storage.cloud.signatures import ACCOUNT, EMAIL, HOUR, NOON, verify
from wheelyard.storage.cloud.signers import KeySigner, UrlSigner, signer_of

pytestmark = pytest.mark.integration

# google-auth and its credentials have no types to call them by
pool_credentials: Callable[..., Credentials] = PoolCredentials
account_credentials: Callable[[Any], Credentials] = AccountCredentials.from_service_account_info
impersonating: Callable[..., Credentials] = impersonated_credentials.Credentials
nobody: Callable[[], Credentials] = AnonymousCredentials


def test_a_key_signs_by_itself(pauses: list[float]) -> None:
    """A private key needs no network."""
    found = signer_of(account_credentials(ACCOUNT), pause=pauses.append, random=Random(7))

    assert isinstance(found, KeySigner)
    assert found.email == EMAIL
    verify(UrlSigner(found, lambda: NOON).url("b", "o", "GET", HOUR), "GET")


@pytest.mark.parametrize(
    "credentials", [user_credentials("the-token"), nobody()], ids=["a person", "nobody"]
)
def test_who_cannot_sign(credentials: Credentials, pauses: list[float]) -> None:
    """A person's own credentials cannot sign, nor can nobody's."""
    assert signer_of(credentials, pause=pauses.append, random=Random(7)) is None


def test_federated_identities(pauses: list[float]) -> None:
    """An identity from elsewhere signs as the service account it acts for, if it does."""
    for account in (EMAIL, None):
        url = f"https://iam.example/v1/projects/-/serviceAccounts/{account}:generateAccessToken"
        credentials = pool_credentials(
            audience="//iam.googleapis.com/x",
            subject_token_type="urn:ietf:params:oauth:token-type:jwt",
            token_url="https://sts.example/v1/token",
            credential_source={"file": "nowhere"},
            service_account_impersonation_url=url if account else None,
        )

        found = signer_of(credentials, pause=pauses.append, random=Random(7))

        assert (found and found.email) == account
        if found:
            found.close()


def test_impersonation(iam: Iam, pauses: list[float]) -> None:
    """Who acts for a service account signs for it with the rights of their own."""
    delegate = "projects/-/serviceAccounts/between@project.example"
    credentials = impersonating(
        user_credentials("the-token"), EMAIL, ["scope"], delegates=[delegate]
    )
    signer = signer_of(credentials, pause=pauses.append, random=Random(7), iam_url=iam.url)
    assert signer is not None

    verify(UrlSigner(signer, lambda: NOON).url("b", "o", "GET", HOUR), "GET")

    ((path, authorization, body),) = iam.calls
    assert (path, authorization) == (SIGN_BLOB, "Bearer the-token")
    assert body["delegates"] == [delegate]
    signer.close()


MACHINE: Final = """
import sys, time
from random import Random
from datetime import timedelta
from google.auth.compute_engine import Credentials
from wheelyard.storage.cloud.signers import UrlSigner, signer_of

signer = signer_of(Credentials(), pause=time.sleep, random=Random(), iam_url=sys.argv[1])
print("made", flush=True)
input()
print(UrlSigner(signer, lambda: 1777896000.0).url("b", "o", "GET", timedelta(hours=1)))
"""


def test_a_machine_that_does_not_know_its_name(iam: Iam) -> None:
    """On a machine of Google's, nothing is asked before the first URL; then it signs as itself."""
    with subprocess.Popen(
        [sys.executable, "-c", MACHINE, iam.url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"GCE_METADATA_HOST": iam.url.removeprefix("http://")},
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "made\n"
        assert (iam.tokens, iam.calls) == (0, [])
        url, _ = process.communicate("\n", timeout=60)

    assert process.returncode == 0
    verify(url.strip(), "GET")
    assert "X-Goog-Credential=packages%40project.example%2F20260504%2F" in url
    ((path, authorization, _),) = iam.calls
    assert path == "/v1/projects/-/serviceAccounts/packages%40project.example:signBlob"
    assert authorization == "Bearer of-the-machine"
