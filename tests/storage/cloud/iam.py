"""A stand-in for IAM that signs with the key that Google has published, and how to verify that."""

import json
from base64 import b64decode, b64encode
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any, Final, cast
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from google.auth.credentials import Credentials
from google.oauth2.credentials import Credentials as UserCredentials

VECTORS: Final = Path(__file__).with_name("vectors")
ACCOUNT: Final = json.loads((VECTORS / "service_account.json").read_text())
EMAIL: Final = ACCOUNT["client_email"]
KEY: Final = cast(
    "RSAPrivateKey", serialization.load_pem_private_key(ACCOUNT["private_key"].encode(), None)
)
HOUR: Final = timedelta(hours=1)
NOON: Final = datetime(2026, 5, 4, 12, tzinfo=UTC).timestamp()
SIGN_BLOB: Final = f"/v1/projects/-/serviceAccounts/{EMAIL.replace('@', '%40')}:signBlob"

# google-auth and its credentials have no types to call them by
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
        signature = sign(b64decode(json.loads(body)["payload"]))
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


@contextmanager
def running_iam() -> Iterator[Iam]:
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
