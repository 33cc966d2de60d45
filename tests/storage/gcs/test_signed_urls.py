"""Signed URLs: Google's published vectors, windows of time, and who signs for which credentials."""

import json
import subprocess
import sys
from base64 import b64decode
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from random import Random
from traceback import walk_stack
from types import CodeType
from typing import Any, Final, cast
from urllib.parse import parse_qs, quote, unquote, urlsplit

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from google.auth import impersonated_credentials
from google.auth.credentials import AnonymousCredentials, Credentials
from google.auth.identity_pool import Credentials as PoolCredentials
from google.oauth2.credentials import Credentials as UserCredentials
from google.oauth2.service_account import Credentials as AccountCredentials
from hypothesis import given, strategies
from msgspec.structs import replace

from tests.fake_gcs.faults import DropBefore, Fault, Hold, StatusBefore
from tests.fake_gcs.identity import EMAIL as HELD
from tests.fake_gcs.server import FakeGcs, running_fake_gcs
from tests.refused import refused
from tests.waiting import until
from wheelyard.errors import Unavailable
from wheelyard.storage.gcs.retry import RetryEnvironment
from wheelyard.storage.gcs.signed_urls import (
    IamSigner,
    KeySigner,
    Signer,
    SigningRequest,
    UrlSigner,
    object_path,
    signed_url,
    signer_for,
    signing_time,
)
from wheelyard.wiring.stores import system_runtime

VECTORS: Final = Path(__file__).with_name("vectors")
ACCOUNT: Final = json.loads((VECTORS / "service_account.json").read_text())
EMAIL: Final = ACCOUNT["client_email"]
KEY: Final = cast(
    "RSAPrivateKey", serialization.load_pem_private_key(ACCOUNT["private_key"].encode(), None)
)
HOUR: Final = timedelta(hours=1)
NOON: Final = datetime(2026, 5, 4, 12, tzinfo=UTC).timestamp()
PUBLISHED: Final = json.loads((VECTORS / "v4_signatures.json").read_text())["signingV4Tests"]

# google-auth and its credentials have no types to call them by
pool_credentials: Callable[..., Credentials] = PoolCredentials
account_credentials: Callable[[Any], Credentials] = AccountCredentials.from_service_account_info
impersonating: Callable[..., Credentials] = impersonated_credentials.Credentials
nobody: Callable[[], Credentials] = AnonymousCredentials
user_credentials: Callable[[str], Credentials] = UserCredentials


def sign(message: bytes) -> bytes:
    """Return the signature of a message by the account."""
    return KEY.sign(message, PKCS1v15(), hashes.SHA256())


def verify(url: str) -> None:
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
    key = KEY.public_key()
    key.verify(bytes.fromhex(signature), signed.encode(), PKCS1v15(), hashes.SHA256())


@pytest.fixture
def pauses() -> list[float]:
    """Return the seconds that were waited, none of which pass."""
    return []


@pytest.fixture
def iam() -> Iterator[FakeGcs]:
    """Yield what signs with the published key, for an account of its own."""
    with running_fake_gcs(private_key=KEY) as running:
        yield running


def retry_env(pauses: list[float]) -> RetryEnvironment:
    """Return pauses that are noted, and take no time."""
    runtime = replace(system_runtime(), monotonic=lambda: 0.0, pause=pauses.append)
    return RetryEnvironment(replace(runtime, random=Random(7)))


@pytest.fixture
def signer(iam: FakeGcs, pauses: list[float]) -> Signer:
    """IAM as signer for a user with a token."""
    return IamSigner(token_of(iam), HELD, retry_env(pauses), iam.url)


def token_of(iam: FakeGcs) -> Credentials:
    """Return the credentials of a user with a token."""
    return user_credentials(iam.identity.issue_token())


def url_of(signer: Signer, name: str = "o", lifetime: timedelta = HOUR) -> str:
    """Return a URL that is signed at noon, and was not asked for before."""
    return UrlSigner(signer, lambda: NOON).url("b", name, lifetime)


@pytest.mark.parametrize("vector", PUBLISHED, ids=lambda vector: vector["description"])
def test_published_urls(vector: dict[str, Any]) -> None:
    """Every URL for a download that Google has published comes out letter for letter."""
    where = f"storage.{vector.get('universeDomain', 'googleapis.com')}"
    for option in ("emulatorHostname", "clientEndpoint", "hostname"):
        where = vector.get(option, where)
    scheme, found, host = where.rpartition("://")
    ask = SigningRequest(
        scheme=scheme if found else vector.get("scheme", "https"),
        host=host,
        path=object_path(vector["bucket"], vector["object"]),
        signed_at=datetime.fromisoformat(vector["timestamp"]),
        lifetime=timedelta(seconds=vector["expiration"]),
    )

    assert signed_url(ask, EMAIL, sign) == vector["expectedUrl"]


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("files/foo-1!2.0+cpu.tar.gz", "/b/files/foo-1%212.0%2Bcpu.tar.gz"),
        ("files/~a b@c", "/b/files/~a%20b%40c"),
        ("files/100%2B.zip", "/b/files/100%252B.zip"),
        ("files/smörgås-☃", "/b/files/sm%C3%B6rg%C3%A5s-%E2%98%83"),
        ("files/a?b#c&d=e", "/b/files/a%3Fb%23c%26d%3De"),
    ],
)
def test_names_that_need_care(name: str, path: str) -> None:
    """A name with '+', '!', '~', blanks or letters from anywhere is quoted once, and verifies."""
    url = url_of(KeySigner(EMAIL, sign), name)

    assert urlsplit(url).path == path
    verify(url)


@given(strategies.text(strategies.characters(exclude_categories=["Cs"]), min_size=1))
def test_a_path_is_the_name_quoted_once(name: str) -> None:
    """A path is plain ASCII, and decodes to the object's name in one step."""
    path = object_path("wheels", name)

    assert path.isascii()
    assert not set(path) & set(' +!?#"<>@:')
    assert unquote(path, errors="strict") == f"/wheels/{name}"


@given(
    now=strategies.floats(0, 4e9),
    seconds=strategies.integers(1, 7 * 86400),
    later=strategies.floats(0, 1),
)
def test_a_window(now: float, seconds: int, later: float) -> None:
    """All URLs of a window have one signing time, with at least half the lifetime left."""
    lifetime = timedelta(seconds=seconds)
    window = max(1, seconds // 2)

    start = signing_time(now, lifetime).timestamp()

    assert start <= now < start + window
    assert start + seconds - now >= seconds / 2 or seconds == 1
    assert signing_time(start + later * (window - 1), lifetime).timestamp() == start
    assert signing_time(start + window, lifetime).timestamp() == start + window


def test_a_key_signs_by_itself(pauses: list[float]) -> None:
    """A private key needs no network; its URL names who signed, from when on, and for how long."""
    found = signer_for(account_credentials(ACCOUNT), retry_env(pauses))
    assert isinstance(found, KeySigner)

    url = UrlSigner(found, lambda: NOON + 3599).url("wheels", "a", 2 * HOUR)

    verify(url)
    query = parse_qs(urlsplit(url).query)
    assert url.startswith("https://storage.googleapis.com/wheels/a?X-Goog-Algorithm=")
    assert query["X-Goog-Credential"] == [f"{EMAIL}/20260504/auto/storage/goog4_request"]
    assert query["X-Goog-Date"] == ["20260504T120000Z"]
    assert query["X-Goog-Expires"] == ["7200"]


@pytest.mark.parametrize(
    "credentials", [user_credentials("the-token"), nobody()], ids=["a person", "nobody"]
)
def test_who_cannot_sign(credentials: Credentials, pauses: list[float]) -> None:
    """User credentials and anonymous credentials cannot sign."""
    assert signer_for(credentials, retry_env(pauses)) is None


@pytest.mark.parametrize("account", [EMAIL, None])
def test_federated_identities(account: str | None, pauses: list[float]) -> None:
    """An identity from elsewhere signs as the service account it acts for, if it does."""
    url = f"https://iam.example/v1/projects/-/serviceAccounts/{account}:generateAccessToken"
    credentials = pool_credentials(
        audience="//iam.googleapis.com/x",
        subject_token_type="urn:ietf:params:oauth:token-type:jwt",
        token_url="https://sts.example/v1/token",
        credential_source={"file": "nowhere"},
        service_account_impersonation_url=url if account else None,
    )

    found = signer_for(credentials, retry_env(pauses))

    assert (found and found.email) == account


@pytest.mark.integration
def test_impersonation(iam: FakeGcs, pauses: list[float]) -> None:
    """Who acts for a service account signs for it with the rights of their own."""
    delegate = "projects/-/serviceAccounts/between@project.example"
    credentials = impersonating(token_of(iam), HELD, ["scope"], delegates=[delegate])
    signer = signer_for(credentials, retry_env(pauses), iam.url)
    assert signer is not None

    verify(url_of(signer))

    (asked,) = iam.identity.asked
    assert asked["delegates"] == [delegate]


MACHINE: Final = """
import sys
from datetime import timedelta
from google.auth.compute_engine import Credentials
from wheelyard.storage.gcs.retry import RetryEnvironment
from wheelyard.storage.gcs.signed_urls import UrlSigner, signer_for
from wheelyard.wiring.stores import system_runtime

retry_env = RetryEnvironment(system_runtime())
signer = signer_for(Credentials(), retry_env, sys.argv[1])
print("made", flush=True)
input()
print(UrlSigner(signer, lambda: 1777896000.0).url("b", "o", timedelta(hours=1)))
"""


@pytest.mark.integration
def test_a_machine_that_does_not_know_its_name(iam: FakeGcs) -> None:
    """On a machine of Google's, nothing is asked before the first URL; then it signs as itself."""
    with subprocess.Popen(
        [sys.executable, "-c", MACHINE, iam.url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=iam.environment(metadata=True),
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "made\n"
        assert iam.log.count() == 0
        url, _ = process.communicate("\n", timeout=60)

    assert process.returncode == 0
    verify(url.strip())
    assert f"X-Goog-Credential={quote(HELD)}%2F20260504%2F" in url
    assert [each.name for each in iam.log.records("sign")] == [HELD]


@pytest.mark.integration
def test_one_call_for_everybody_in_a_window(iam: FakeGcs, signer: Signer) -> None:
    """Within a window IAM is asked once for an object; in the next one it is asked again."""
    clock = [NOON]
    urls = UrlSigner(signer, lambda: clock[0])

    first = urls.url("b", "o", 2 * HOUR)
    verify(first)
    clock[0] += 3599
    assert urls.url("b", "o", 2 * HOUR) == first
    (asked,) = iam.identity.asked
    assert b64decode(asked["payload"]).startswith(b"GOOG4-RSA-SHA256\n20260504T120000Z\n")
    clock[0] += 1
    assert urls.url("b", "o", 2 * HOUR) != first
    assert iam.log.count(kind="sign") == 2


def threads_in(code: CodeType) -> int:
    """Return how many threads execute the code of a function."""
    stacks = (walk_stack(frame) for frame in sys._current_frames().values())  # noqa: SLF001
    return sum(any(frame.f_code is code for frame, _ in each) for each in stacks)


@pytest.mark.integration
@pytest.mark.parametrize("refusals", [0, 1])
def test_many_at_once_share_a_call(iam: FakeGcs, signer: Signer, refusals: int) -> None:
    """When many want one wheel in the same moment, IAM is asked once, and all hear its answer."""
    urls = UrlSigner(signer, lambda: NOON)
    hold = Hold("after")
    iam.faults.add(hold, "sign")
    if refusals:
        iam.permissions.deny("iam.serviceAccounts.signBlob")
    with ThreadPoolExecutor(4) as pool:
        wanted = [pool.submit(urls.url, "b", "o", HOUR) for _ in range(4)]
        hold.wait()
        until(lambda: threads_in(Future.result.__code__) == 3)
        hold.release()
        outcomes = [each.exception(30) for each in wanted]

    assert [isinstance(each, Unavailable) for each in outcomes] == [refusals == 1] * 4
    iam.permissions.allow()
    verify(urls.url("b", "o", HOUR))
    assert iam.log.count(kind="sign") == 1 + refusals


@pytest.mark.integration
def test_a_missing_permission(iam: FakeGcs, signer: Signer, pauses: list[float]) -> None:
    """Who may not sign is told at once which permission on which account is missing."""
    iam.permissions.deny("iam.serviceAccounts.signBlob")

    with refused(Unavailable, "signing_denied") as caught:
        url_of(signer)

    assert f"iam.serviceAccounts.signBlob on {HELD}" in caught.value.message
    assert "may not exist" not in caught.value.message  # what IAM says is not repeated
    assert (iam.log.count(kind="sign"), pauses) == (1, [])


@pytest.mark.integration
@pytest.mark.parametrize(
    "faults",
    [
        [StatusBefore(503)],
        [StatusBefore(429), StatusBefore(500)],
        [DropBefore()],
        [StatusBefore(502), DropBefore()],
    ],
)
def test_a_hiccup_of_iam(
    iam: FakeGcs, signer: Signer, pauses: list[float], faults: list[Fault]
) -> None:
    """IAM may stumble twice; it is asked again after a short pause."""
    for fault in faults:
        iam.faults.add(fault, "sign")

    verify(url_of(signer))

    assert iam.log.count(kind="sign") == len(faults) + 1
    assert len(pauses) == len(faults)
    assert all(0 < pause < 1 for pause in pauses)


@pytest.mark.integration
@pytest.mark.parametrize(
    ("fault", "calls"),
    [(StatusBefore(503), 3), (DropBefore(), 3), (StatusBefore(404), 1), (StatusBefore(200), 1)],
)
def test_iam_does_not_answer(iam: FakeGcs, signer: Signer, fault: Fault, calls: int) -> None:
    """When IAM gives no signature, the refusal says so, and names the account."""
    iam.faults.add(fault, "sign", count=3)

    with refused(Unavailable, "signing_unavailable", match=f"IAM does not sign for {HELD}"):
        url_of(signer)

    assert iam.log.count(kind="sign") == calls
