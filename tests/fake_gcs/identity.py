"""
Who the caller is: a service account with a key, its access tokens, and those who sign for it.

Three services in one: the metadata server of a machine in the cloud, the token endpoint that a key
file names, and `signBlob`, which signs for an account that has no key at hand.
"""

import base64
import json
import secrets
from functools import cached_property
from typing import Any
from urllib.parse import parse_qs

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.fake_gcs.calls import Call
from tests.fake_gcs.errors import ApiError, denied, invalid, unauthenticated
from tests.fake_gcs.wire import Header, Reply, Request

SIGN_BLOB = "iam.serviceAccounts.signBlob"
EMAIL = "index@stand-in.iam.gserviceaccount.com"
PROJECT = "stand-in"
ACCOUNT = "instance/service-accounts/default"
SCOPES = ["https://www.googleapis.com/auth/cloud-platform"]
TOKEN_LIFE = 3600
"""Seconds."""

FLAVOR: Header = ("Metadata-Flavor", "Google")
JSON: Header = ("Content-Type", "application/json")
TEXT: Header = ("Content-Type", "application/text")


class Permissions:
    """
    The permissions of the account: all, until a test denies some.

    Attributes:
        expired: Whether its credentials have expired: then everything is answered with 401.
        token_required: Whether a request needs an access token that this server has handed out;
            without, any caller will do, as in other emulators.
    """

    def __init__(self) -> None:
        self._denied: set[str] = set()
        self.expired = False
        self.token_required = False

    def deny(self, *names: str) -> None:
        """Take away rights, such as `storage.objects.create`."""
        self._denied |= set(names)

    def allow(self) -> None:
        """Give all rights back."""
        self._denied.clear()

    def held(self, name: str) -> bool:
        """Return whether the account has a right."""
        return name not in self._denied

    def require(self, name: str, resource: str = "object") -> None:
        """Return if the account has a right, or raise 403 in the service's words."""
        if name in self._denied:
            raise denied(EMAIL, name, resource)


class Identity:
    """The one account; its key is made when it is first needed, if none is given."""

    def __init__(self, permissions: Permissions, private_key: RSAPrivateKey | None = None) -> None:
        self.email = EMAIL
        self._permissions = permissions
        self._given_key = private_key
        self._tokens: set[str] = set()
        self.asked: list[dict[str, Any]] = []
        """The bodies of what was asked to be signed."""

    @cached_property
    def private_key(self) -> RSAPrivateKey:
        """The key that signs."""
        return self._given_key or generate_private_key(65537, 2048)

    def issue_token(self) -> str:
        """Return a new access token."""
        token = f"ya29.{secrets.token_hex(16)}"
        self._tokens.add(token)
        return token

    def revoke_tokens(self) -> None:
        """Make every token that was handed out worthless."""
        self._tokens.clear()

    def knows(self, request: Request) -> bool:
        """Return whether a request carries a token that was handed out."""
        scheme, _, token = (request.header("authorization") or "").partition(" ")
        return scheme.lower() == "bearer" and token in self._tokens

    def key_file(self, root: str) -> dict[str, str]:
        """Return the account's key as a service account file; `root` is the server's URL."""
        pem = self.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return {
            "type": "service_account",
            "project_id": PROJECT,
            "private_key_id": "stand-in-key",
            "private_key": pem.decode(),
            "client_email": self.email,
            "client_id": "1",
            "token_uri": f"{root}/token",
        }

    def sign(self, message: bytes) -> bytes:
        """Return the account's signature."""
        return self.private_key.sign(message, PKCS1v15(), SHA256())

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Return whether a signature is the account's."""
        try:
            self.private_key.public_key().verify(signature, message, PKCS1v15(), SHA256())
        except InvalidSignature:
            return False
        return True

    def sign_blob(self, call: Call, request: Request) -> Reply:
        """Sign for a caller with a valid token and the permission."""
        if self._permissions.expired or not self.knows(request):
            raise unauthenticated()
        if call.name not in {self.email, "-"} or not self._permissions.held(SIGN_BLOB):
            raise ApiError(
                403, f"Permission '{SIGN_BLOB}' denied on resource (or it may not exist)."
            )
        try:
            asked = json.loads(request.body.read_all())
            message = base64.b64decode(asked["payload"], validate=True)
            self.asked.append(asked)
        except (ValueError, KeyError, TypeError):
            raise invalid("Invalid value at 'payload'.") from None
        signed = base64.b64encode(self.sign(message)).decode()
        return _json({"keyId": "stand-in-key", "signedBlob": signed})

    def exchange(self, call: Call, request: Request) -> Reply:
        """Give a token for an assertion that the account's key has signed."""
        del call
        form = parse_qs(request.body.read_all().decode())
        signed, _, signature = form.get("assertion", [""])[0].rpartition(".")
        if self._permissions.expired or not self.verifies(_decoded(signature), signed.encode()):
            body = {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}
            return Reply(400, [JSON], json.dumps(body).encode())
        return _json(self._token())

    def metadata(self, call: Call, request: Request) -> Reply:
        """Answer as the metadata server of a machine that runs as the account."""
        if (request.header("metadata-flavor") or "").lower() != "google":
            return Reply(403, [FLAVOR, TEXT], b"Missing Metadata-Flavor:Google header.")
        path = call.name.replace(f"/{self.email}/", "/default/").rstrip("/")
        if path == f"{ACCOUNT}/token":
            return _json(self._token())
        if path == ACCOUNT and request.parameter("recursive") == "true":
            return _json({"aliases": ["default"], "email": self.email, "scopes": SCOPES})
        texts = {
            "": "computeMetadata/",
            f"{ACCOUNT}/email": self.email,
            f"{ACCOUNT}/scopes": "\n".join(SCOPES),
            "project/project-id": PROJECT,
            "universe/universe-domain": "googleapis.com",
        }
        if path in texts:
            return Reply(200, [FLAVOR, TEXT], texts[path].encode())
        return Reply(404, [FLAVOR, TEXT], b"Not Found")

    def _token(self) -> dict[str, Any]:
        token = self.issue_token()
        return {"access_token": token, "expires_in": TOKEN_LIFE, "token_type": "Bearer"}


def _decoded(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        return b""


def _json(document: dict[str, Any]) -> Reply:
    return Reply(200, [FLAVOR, JSON], json.dumps(document).encode())
