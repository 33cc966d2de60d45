"""The service account that Google has published, and how the service checks what it has signed."""

import json
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Final, cast
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

VECTORS: Final = Path(__file__).with_name("vectors")
ACCOUNT: Final = json.loads((VECTORS / "service_account.json").read_text())
EMAIL: Final = ACCOUNT["client_email"]
KEY: Final = cast(
    "RSAPrivateKey", serialization.load_pem_private_key(ACCOUNT["private_key"].encode(), None)
)
HOUR: Final = timedelta(hours=1)
NOON: Final = datetime(2026, 5, 4, 12, tzinfo=UTC).timestamp()


def sign(message: bytes) -> bytes:
    """Return the signature of a message by the account."""
    return KEY.sign(message, PKCS1v15(), hashes.SHA256())


def verify(url: str, method: str) -> None:
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
