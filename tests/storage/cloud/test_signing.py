"""Signed URLs: Google's published vectors, names that need care, IAM, and one call for many."""

import json
import subprocess
import sys
from base64 import b64decode, b64encode
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from threading import Event, Thread
from typing import Any, Final, cast
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from google.auth import impersonated_credentials
from google.auth.compute_engine import Credentials as MachineCredentials
from google.auth.credentials import AnonymousCredentials, Credentials
from google.auth.identity_pool import Credentials as PoolCredentials
from google.oauth2.credentials import Credentials as UserCredentials
from google.oauth2.service_account import Credentials as AccountCredentials
from hypothesis import given, strategies

from wheelyard.errors import Unavailable
from wheelyard.storage.cloud.signers import BlobSigner, KeySigner, Signer, UrlSigner, signer_of
from wheelyard.storage.cloud.signing import (
    Ask,
    canonical_request,
    object_path,
    quantised,
    signed_url,
    string_to_sign,
)

VECTORS: Final = Path(__file__).with_name("vectors")
ACCOUNT: Final = json.loads((VECTORS / "service_account.json").read_text())
PUBLISHED: Final = json.loads((VECTORS / "v4_signatures.json").read_text())["signingV4Tests"]
EMAIL: Final = ACCOUNT["client_email"]
KEY: Final = cast(
    "RSAPrivateKey", serialization.load_pem_private_key(ACCOUNT["private_key"].encode(), None)
)
HOUR: Final = timedelta(hours=1)
NOON: Final = datetime(2026, 5, 4, 12, tzinfo=UTC).timestamp()
SIGN_BLOB: Final = f"/v1/projects/-/serviceAccounts/{EMAIL.replace('@', '%40')}:signBlob"

# google-auth and its credentials have no types to call them by
pool_credentials: Callable[..., Credentials] = PoolCredentials
machine_credentials: Callable[[], Credentials] = MachineCredentials
user_credentials: Callable[[str], Credentials] = UserCredentials
account_credentials: Callable[[Any], Credentials] = AccountCredentials.from_service_account_info
impersonating: Callable[..., Credentials] = impersonated_credentials.Credentials
nobody: Callable[[], Credentials] = AnonymousCredentials


class Iam:
    """A stand-in for IAM and for the metadata server, that signs with the published key."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.calls: list[tuple[str, str, dict[str, Any]]] = []
        """Path, Authorization header and body of each signBlob."""
        self.failures: deque[tuple[int, bytes]] = deque()
        """Replies to give before it signs: a status (0: none, and the connection ends), a body."""
        self.open = Event()
        """It answers as long as this is set."""
        self.open.set()
        self.tokens = 0

    def answer(self, path: str, authorization: str, body: bytes) -> tuple[int, bytes]:
        """Return the reply to a signBlob."""
        self.calls.append((path, authorization, json.loads(body)))
        self.open.wait(30)
        if self.failures:
            return self.failures.popleft()
        signature = KEY.sign(b64decode(json.loads(body)["payload"]), PKCS1v15(), hashes.SHA256())
        return 200, json.dumps({"keyId": "1", "signedBlob": b64encode(signature).decode()}).encode()

    def metadata(self, path: str) -> bytes:
        """Return what the metadata server of a machine tells."""
        if "/token" in path:
            self.tokens += 1
            token = {"access_token": "of-the-machine", "expires_in": 3600, "token_type": "Bearer"}
            return json.dumps(token).encode()
        if "/service-accounts/" in path:
            return json.dumps({"email": "packages@project.example", "scopes": []}).encode()
        return b"googleapis.com"


def _handler(stand_in: Callable[[], Iam]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            authorization = self.headers.get("Authorization", "")
            self._reply(*stand_in().answer(self.path, authorization, body))

        def do_GET(self) -> None:
            kind = "text/plain" if "universe" in self.path else "application/json"
            self._reply(200, stand_in().metadata(self.path), kind)

        def _reply(self, status: int, body: bytes, kind: str = "application/json") -> None:
            if not status:
                self.close_connection = True
                return
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Metadata-Flavor", "Google")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            """Say nothing."""

    return Handler


@pytest.fixture
def iam() -> Iterator[Iam]:
    """IAM, on a port of this machine."""
    found: list[Iam] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(lambda: found[0])) as server:
        found.append(Iam(f"http://127.0.0.1:{server.server_port}"))
        thread = Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield found[0]
        found[0].open.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def pauses() -> list[float]:
    """Return the seconds that were waited, none of which pass."""
    return []


@pytest.fixture
def signer(iam: Iam, pauses: list[float]) -> Iterator[Signer]:
    """IAM as a signer for somebody who has a token."""
    signer = signer_of(
        user_credentials("the-token"),
        pause=pauses.append,
        random=Random(7),
        email=EMAIL,
        iam_url=iam.url,
    )
    assert isinstance(signer, BlobSigner)
    yield signer
    signer.close()


@pytest.mark.parametrize("vector", PUBLISHED, ids=lambda vector: vector["description"])
def test_published_urls(vector: dict[str, Any]) -> None:
    """Every URL that Google has published comes out letter for letter."""
    ask = _asked(vector)

    assert signed_url(ask, EMAIL, _signature) == vector["expectedUrl"]
    if "expectedStringToSign" in vector:
        assert canonical_request(ask, EMAIL) == vector["expectedCanonicalRequest"]
        assert string_to_sign(ask, EMAIL) == vector["expectedStringToSign"]


def test_all_vectors_are_here() -> None:
    """None of the published vectors got lost."""
    assert len({vector["description"] for vector in PUBLISHED}) == 29


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("files/foo-1.0+cpu.whl", "/wheels/files/foo-1.0%2Bcpu.whl"),
        ("files/foo-1!2.0.tar.gz", "/wheels/files/foo-1%212.0.tar.gz"),
        ("files/~foo~", "/wheels/files/~foo~"),
        ("files/a b.zip", "/wheels/files/a%20b.zip"),
        ("files/100%2B.zip", "/wheels/files/100%252B.zip"),
        ("files/a@b", "/wheels/files/a%40b"),
        ("files/smörgås-☃", "/wheels/files/sm%C3%B6rg%C3%A5s-%E2%98%83"),
        ("files/a?b#c&d=e", "/wheels/files/a%3Fb%23c%26d%3De"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_names_that_need_care(name: str, path: str, method: str) -> None:
    """A name with '+', '!', '~', blanks or letters from anywhere is quoted once, and verifies."""
    url = _urls(lambda: NOON).url("wheels", name, method, 2 * HOUR)

    assert urlsplit(url).path == path
    _verify(url, method)


def test_every_method_has_a_url_of_its_own() -> None:
    """A URL for GET is not one for HEAD."""
    urls = _urls(lambda: NOON)

    assert urls.url("b", "o", "GET", HOUR) != urls.url("b", "o", "HEAD", HOUR)


def test_what_the_url_says() -> None:
    """A URL names who signed, from when on it is good, and for how long."""
    url = _urls(lambda: NOON + 3599).url("wheels", "a", "GET", 2 * HOUR)

    query = parse_qs(urlsplit(url).query)
    assert url.startswith("https://storage.googleapis.com/wheels/a?X-Goog-Algorithm=")
    assert query["X-Goog-Credential"] == [f"{EMAIL}/20260504/auto/storage/goog4_request"]
    assert query["X-Goog-Date"] == ["20260504T120000Z"]
    assert query["X-Goog-Expires"] == ["7200"]
    assert query["X-Goog-SignedHeaders"] == ["host"]


def test_an_endpoint_of_ones_own() -> None:
    """At an emulator the URL has its scheme and port, and the signature is for its name."""
    urls = UrlSigner(_key_signer(), lambda: NOON, "http://127.0.0.1:4443")

    url = urls.url("wheels", "a", "GET", HOUR)

    assert url.startswith("http://127.0.0.1:4443/wheels/a?")
    _verify(url, "GET")


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
    """Whoever asks within a window gets one time, past, with half the lifetime left or more."""
    lifetime = timedelta(seconds=seconds)
    window = max(1, seconds // 2)

    start = quantised(now, lifetime).timestamp()

    assert start <= now < start + window
    assert start + seconds - now >= seconds / 2 or seconds == 1
    assert quantised(start + later * (window - 1), lifetime).timestamp() == start
    assert quantised(start + window, lifetime).timestamp() == start + window


@given(offset=strategies.integers(0, 3599), windows=strategies.integers(1, 1000))
def test_the_same_url_within_a_window(offset: int, windows: int) -> None:
    """Within half its lifetime a URL repeats, whoever makes it; after that comes another."""
    first = _urls(lambda: NOON).url("b", "o", "GET", 2 * HOUR)

    assert _urls(lambda: NOON + offset).url("b", "o", "GET", 2 * HOUR) == first
    assert _urls(lambda: NOON + offset + 3600 * windows).url("b", "o", "GET", 2 * HOUR) != first


@pytest.mark.parametrize("lifetime", [timedelta(0), timedelta(days=7, seconds=1)])
def test_a_lifetime_that_the_service_refuses(lifetime: timedelta) -> None:
    """No URL is made that lives longer than a week, or not at all."""
    with pytest.raises(ValueError, match="1 second to 7 days"):
        _urls(lambda: NOON).url("b", "o", "GET", lifetime)


def test_sign_blob(iam: Iam, signer: Signer) -> None:
    """Without a private key, IAM is asked for a signature, and the URL is as good as any."""
    url = UrlSigner(signer, lambda: NOON).url("wheels", "a+b", "GET", HOUR)

    _verify(url, "GET")
    ((path, authorization, body),) = iam.calls
    assert path == SIGN_BLOB
    assert authorization == "Bearer the-token"
    assert b64decode(body["payload"]).startswith(b"GOOG4-RSA-SHA256\n20260504T120000Z\n")


def test_one_call_for_everybody_in_a_window(iam: Iam, signer: Signer) -> None:
    """Within a window IAM is asked once for an object; in the next one it is asked again."""
    clock = [NOON]
    urls = UrlSigner(signer, lambda: clock[0])

    first = urls.url("b", "o", "GET", 2 * HOUR)
    clock[0] += 3599
    assert urls.url("b", "o", "GET", 2 * HOUR) == first
    assert len(iam.calls) == 1
    clock[0] += 1
    assert urls.url("b", "o", "GET", 2 * HOUR) != first
    assert len(iam.calls) == 2


def test_many_at_once_share_a_call(iam: Iam, signer: Signer) -> None:
    """When many want one wheel in the same moment, IAM is asked once."""
    urls = UrlSigner(signer, lambda: NOON)
    iam.open.clear()
    with ThreadPoolExecutor(16) as pool:
        wanted = [pool.submit(urls.url, "b", "o", "GET", HOUR) for _ in range(16)]
        Event().wait(0.1)
        iam.open.set()
        found = {each.result(30) for each in wanted}

    assert len(found) == 1
    assert len(iam.calls) == 1


def test_many_at_once_share_a_failure(iam: Iam, signer: Signer) -> None:
    """When the one call for many is refused, all of them hear of it, and the next may try again."""
    urls = UrlSigner(signer, lambda: NOON)
    iam.failures.append((403, b"{}"))
    iam.open.clear()
    with ThreadPoolExecutor(4) as pool:
        wanted = [pool.submit(urls.url, "b", "o", "GET", HOUR) for _ in range(4)]
        while not iam.calls:
            Event().wait(0.01)
        Event().wait(0.1)
        iam.open.set()
        outcomes = [each.exception(30) for each in wanted]

    assert [type(each) for each in outcomes] == [Unavailable] * 4
    _verify(urls.url("b", "o", "GET", HOUR), "GET")


def test_memory_is_bounded(iam: Iam, signer: Signer) -> None:
    """Of the URLs in memory the oldest go first."""
    urls = UrlSigner(signer, lambda: NOON, capacity=2)

    for name in ("a", "b", "c", "c", "b", "a"):
        urls.url("bucket", name, "GET", HOUR)

    assert len(iam.calls) == 4


def test_a_missing_permission(iam: Iam, signer: Signer, pauses: list[float]) -> None:
    """Who may not sign is told at once which permission on which account is missing."""
    iam.failures.append((403, b'{"error": {"code": 403, "message": "secret-hint"}}'))

    with pytest.raises(Unavailable) as caught:
        UrlSigner(signer, lambda: NOON).url("b", "o", "GET", HOUR)

    assert caught.value.code == "signing_denied"
    assert EMAIL in caught.value.message
    assert "iam.serviceAccounts.signBlob" in caught.value.message
    assert "secret-hint" not in caught.value.message
    assert "the-token" not in caught.value.message
    assert (len(iam.calls), pauses) == (1, [])


@pytest.mark.parametrize("failures", [[503], [429, 500], [0], [502, 0]])
def test_a_hiccup_of_iam(
    iam: Iam, signer: Signer, pauses: list[float], failures: list[int]
) -> None:
    """IAM may stumble twice; it is asked again after a short pause."""
    iam.failures.extend((status, b"") for status in failures)

    _verify(UrlSigner(signer, lambda: NOON).url("b", "o", "GET", HOUR), "GET")

    assert len(iam.calls) == len(failures) + 1
    assert len(pauses) == len(failures)
    assert all(0 < pause < 1 for pause in pauses)


@pytest.mark.parametrize(
    ("status", "body", "calls"),
    [
        (503, b"", 3),
        (0, b"", 3),
        (404, b"{}", 1),
        (200, b"<html>", 1),
        (200, b"{}", 1),
        (200, b'{"signedBlob": "?"}', 1),
    ],
)
def test_iam_does_not_answer(
    iam: Iam, signer: Signer, status: int, body: bytes, calls: int
) -> None:
    """When IAM gives no signature, the refusal says so, and names the account."""
    iam.failures.extend([(status, body)] * 3)

    with pytest.raises(Unavailable, match="IAM does not sign for") as caught:
        UrlSigner(signer, lambda: NOON).url("b", "o", "GET", HOUR)

    assert caught.value.code == "signing_unavailable"
    assert EMAIL in caught.value.message
    assert len(iam.calls) == calls


def test_iam_is_not_there(pauses: list[float]) -> None:
    """When nothing listens where IAM should be, three tries are enough to say so."""
    signer = signer_of(
        user_credentials("the-token"),
        pause=pauses.append,
        random=Random(7),
        email=EMAIL,
        iam_url="http://127.0.0.1:1",
    )
    assert signer is not None

    with pytest.raises(Unavailable, match="cannot be reached") as caught:
        UrlSigner(signer, lambda: NOON).url("b", "o", "GET", HOUR)

    assert caught.value.code == "signing_unavailable"
    assert len(pauses) == 2
    signer.close()


def test_a_key_signs_by_itself(pauses: list[float]) -> None:
    """A private key needs no network."""
    found = signer_of(account_credentials(ACCOUNT), pause=pauses.append, random=Random(7))

    assert isinstance(found, KeySigner)
    assert found.email == EMAIL
    _verify(UrlSigner(found, lambda: NOON).url("b", "o", "GET", HOUR), "GET")


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

    _verify(UrlSigner(signer, lambda: NOON).url("b", "o", "GET", HOUR), "GET")

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
    _verify(url.strip(), "GET")
    assert "X-Goog-Credential=packages%40project.example%2F20260504%2F" in url
    ((path, authorization, _),) = iam.calls
    assert path == "/v1/projects/-/serviceAccounts/packages%40project.example:signBlob"
    assert authorization == "Bearer of-the-machine"


def _signature(message: bytes) -> bytes:
    return KEY.sign(message, PKCS1v15(), hashes.SHA256())


def _key_signer() -> Signer:
    return KeySigner(EMAIL, _signature)


def _urls(now: Callable[[], float]) -> UrlSigner:
    return UrlSigner(_key_signer(), now)


def _asked(vector: dict[str, Any]) -> Ask:
    """Return what a published vector asks for."""
    scheme, host = _origin(vector)
    whole = vector.get("urlStyle", "PATH_STYLE") == "PATH_STYLE"
    name = vector.get("object", "")
    path = object_path(vector["bucket"], name)
    if not whole or not name:
        path = path.removeprefix(f"/{vector['bucket']}") if name else f"/{vector['bucket']}"
    return Ask(
        method=vector["method"],
        scheme=scheme,
        host=host,
        path=path,
        headers=tuple(vector.get("headers", {}).items()),
        query=tuple(vector.get("queryParameters", {}).items()),
        signed_at=datetime.fromisoformat(vector["timestamp"]),
        lifetime=timedelta(seconds=vector["expiration"]),
    )


def _origin(vector: dict[str, Any]) -> tuple[str, str]:
    storage = f"storage.{vector.get('universeDomain', 'googleapis.com')}"
    style = vector.get("urlStyle")
    if style == "VIRTUAL_HOSTED_STYLE":
        storage = f"{vector['bucket']}.{storage}"
    if style == "BUCKET_BOUND_HOSTNAME":
        storage = vector["bucketBoundHostname"]
    for option in ("hostname", "clientEndpoint", "emulatorHostname"):
        if option in vector:
            storage = vector[option]
            break
    scheme, found, host = storage.rpartition("://")
    return scheme if found else vector.get("scheme", "https"), host


def _verify(url: str, method: str) -> None:
    """Check a URL as the service does: from the URL alone, with the public key."""
    parts = urlsplit(url)
    query, _, signature = parts.query.partition("&X-Goog-Signature=")
    said = parse_qs(query)
    request = (
        f"{method}\n{parts.path}\n{query}\nhost:{parts.hostname}\n\n"
        f"{said['X-Goog-SignedHeaders'][0]}\nUNSIGNED-PAYLOAD"
    )
    scope = said["X-Goog-Credential"][0].partition("/")[2]
    signed = (
        f"{said['X-Goog-Algorithm'][0]}\n{said['X-Goog-Date'][0]}\n{scope}\n"
        f"{sha256(request.encode()).hexdigest()}"
    )
    key = KEY.public_key()
    key.verify(bytes.fromhex(signature), signed.encode(), PKCS1v15(), hashes.SHA256())
