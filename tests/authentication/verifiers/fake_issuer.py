"""
A fake OIDC issuer, which signs JWTs, and a fake of Google's token endpoints.

It listens on a real port, or in a network of this process. It signs with the cryptography library,
not with the JWT library of the product, so that it can sign invalid tokens, too.
"""

import hashlib
import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, cached_property
from http.server import BaseHTTPRequestHandler
from itertools import cycle
from threading import Event
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.fake_time import Clock
from tests.http_server import serving
from tests.in_process_network import NetworkOrPorts
from wheelyard.authentication.verifiers.google_endpoints import GoogleEndpoints, endpoints_at
from wheelyard.authentication.verifiers.issuer_keys import IssuerKeys
from wheelyard.http_client.json_client import JsonClient
from wheelyard.model.access import Credential
from wheelyard.wiring.stores import system_runtime

NOW = 1_795_000_000
"""The time of these tests, in seconds since the epoch."""
TIMEOUT_SECONDS = 60.0
"""Seconds that a silent response lasts at most; the end of the test ends it."""


def b64(data: bytes) -> str:
    """Return base64url without padding, as in a JWT."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


@dataclass(frozen=True)
class SigningKey:
    """A key pair of an issuer, made when it is first used."""

    kid: str
    make: Callable[[], rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey] = field(repr=False)

    @cached_property
    def private(self) -> rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey:
        """The private half."""
        return self.make()

    @property
    def algorithm(self) -> str:
        """The algorithm of its signatures."""
        return "RS256" if isinstance(self.private, rsa.RSAPrivateKey) else "ES256"

    def jwk(self) -> dict[str, object]:
        """Return the public half as a JWK."""
        common = {"kid": self.kid, "use": "sig", "alg": self.algorithm}
        numbers = self.private.public_key().public_numbers()
        if isinstance(numbers, rsa.RSAPublicNumbers):
            return {**common, "kty": "RSA", "n": _number(numbers.n), "e": _number(numbers.e)}
        return {
            **common,
            "kty": "EC",
            "crv": "P-256",
            "x": b64(numbers.x.to_bytes(32)),
            "y": b64(numbers.y.to_bytes(32)),
        }

    def pem(self) -> bytes:
        """Return the public half as PEM."""
        public = self.private.public_key()
        return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def der(self) -> bytes:
        """Return the public half as DER."""
        public = self.private.public_key()
        return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def signature(self, message: bytes) -> bytes:
        """Sign as JWTs are signed."""
        if isinstance(self.private, rsa.RSAPrivateKey):
            return self.private.sign(message, PKCS1v15(), SHA256())
        r, s = decode_dss_signature(self.private.sign(message, ec.ECDSA(SHA256())))
        return r.to_bytes(32) + s.to_bytes(32)

    def token(self, claims: Mapping[str, object] | bytes, **header: object) -> str:
        """
        Return a signed token.

        Args:
            claims: The payload, or its bytes.
            **header: What differs from an honest header; None leaves a field out.
        """
        head = {"alg": self.algorithm, "kid": self.kid, "typ": "JWT", **header}
        return sealed(_without_none(head), claims, self.signature)


def sealed(
    header: Mapping[str, object] | bytes,
    claims: Mapping[str, object] | bytes,
    sign: Callable[[bytes], bytes],
) -> str:
    """Return a token with any header, any payload and any signature."""
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    body = claims if isinstance(claims, bytes) else json.dumps(_without_none(claims)).encode()
    message = f"{b64(head)}.{b64(body)}"
    return f"{message}.{b64(sign(message.encode()))}"


def hmac_signature(secret: bytes) -> Callable[[bytes], bytes]:
    """Return a function that signs with HS256 and a public secret."""
    return lambda message: hmac.digest(secret, message, hashlib.sha256)


def always(signature: bytes) -> Callable[[bytes], bytes]:
    """Return a function that returns this signature for any message."""
    return lambda _: signature


@cache
def rsa_key(kid: str, bits: int = 2048) -> SigningKey:
    """Return an RSA key; the same one for the same arguments, for making one takes long."""
    return SigningKey(kid, lambda: rsa.generate_private_key(65537, bits))


@cache
def ec_key(kid: str) -> SigningKey:
    """Return a key on the curve P-256."""
    return SigningKey(kid, lambda: ec.generate_private_key(ec.SECP256R1()))


def bearer(token: str) -> Credential:
    """Return the credential of a request that sends a token as Bearer."""
    return Credential("", token, is_bearer=True)


@dataclass(frozen=True)
class CannedResponse:
    """The response of the server on one path."""

    body: bytes = b"{}"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    is_silent: bool = False
    """Whether nothing is sent until `released` is set."""
    is_endless: bool = False
    """Whether the body is repeated for ever."""
    drip: float = 0.0
    """Seconds between two bytes of the body."""


@dataclass(frozen=True)
class ReceivedRequest:
    """A received request."""

    method: str
    path: str
    authorization: str | None
    body: bytes
    agent: str | None = None


@dataclass(frozen=True)
class Bearer:
    """The owner and the permissions of an access token."""

    permissions: frozenset[str] = frozenset()
    scope: str = "https://www.googleapis.com/auth/cloud-platform"
    expires_in: int = 3599
    email: str = "ana@acme.dev"


@dataclass
class FakeIssuer:
    """The fake issuer: its URL, its canned responses, and the access tokens that it accepts."""

    url: str
    answers: dict[str, CannedResponse] = field(default_factory=dict)
    """By path; these take precedence."""
    handlers: dict[str, "Callable[[ReceivedRequest], CannedResponse]"] = field(default_factory=dict)
    """By path; what is not in `answers`."""
    bearers: dict[str, Bearer] = field(default_factory=dict)
    """By access token."""
    bucket: str = "acme-authz"
    seen: list[ReceivedRequest] = field(default_factory=list)
    released: Event = field(default_factory=Event)
    """Ends every silent response."""

    @property
    def keys_url(self) -> str:
        """The URL of the keys."""
        return f"{self.url}/keys"

    @property
    def google(self) -> GoogleEndpoints:
        """The endpoints that make an index ask this server instead of Google."""
        return endpoints_at(self.url)

    @property
    def environment(self) -> dict[str, str]:
        """The environment variable that does so in another process."""
        return {"WHEELYARD_GOOGLE_STAND_IN": self.url}

    def serve_keys(self, *keys: SigningKey) -> None:
        """Serve exactly these keys."""
        self.serve_jwks([key.jwk() for key in keys])

    def serve_jwks(self, keys: object) -> None:
        """Serve any value as the keys of a JWKS document."""
        self.answers["/keys"] = CannedResponse(json.dumps({"keys": keys}).encode())

    def serve_discovery(self, **document: object) -> None:
        """Serve a valid discovery document, with these fields changed."""
        honest = {"issuer": self.url, "jwks_uri": self.keys_url}
        body = json.dumps({**honest, **document}).encode()
        self.answers["/.well-known/openid-configuration"] = CannedResponse(body)

    def asked(self, path: str) -> int:
        """Return how many requests there were for a path."""
        return sum(urlsplit(request.path).path == path for request in self.seen)

    def answer(self, request: ReceivedRequest) -> CannedResponse:
        """Return the response to a request."""
        where = urlsplit(request.path)
        if where.path in self.answers:
            return self.answers[where.path]
        if where.path in self.handlers:
            return self.handlers[where.path](request)
        if request.method == "GET" and where.path.endswith("/iam/testPermissions"):
            return self._permissions(where.path, parse_qs(where.query), request)
        if request.method == "POST" and where.path == "/tokeninfo":
            return self._tokeninfo(request)
        return CannedResponse(status=404)

    def _permissions(
        self, path: str, query: Mapping[str, list[str]], request: ReceivedRequest
    ) -> CannedResponse:
        bearer = self.bearers.get((request.authorization or "").removeprefix("Bearer "))
        if bearer is None:
            return as_json({"error": {"code": 401, "message": "Invalid Credentials"}}, 401)
        if path != f"/storage/v1/b/{self.bucket}/iam/testPermissions":
            return as_json({"error": {"code": 404, "message": "Not Found"}}, 404)
        held = [name for name in query["permissions"] if name in bearer.permissions]
        kind = {"kind": "storage#testIamPermissionsResponse"}
        return as_json({**kind, "permissions": held} if held else kind)

    def _tokeninfo(self, request: ReceivedRequest) -> CannedResponse:
        (token,) = parse_qs(request.body.decode())["access_token"]
        bearer = self.bearers.get(token)
        if bearer is None:
            return as_json({"error": "invalid_token"}, 400)
        info = {"email": bearer.email, "email_verified": "true", "scope": bearer.scope}
        return as_json({**info, "expires_in": str(bearer.expires_in)})


def google_claims(email: str, audience: str, issued_at: int = NOW) -> dict[str, object]:
    """Return the claims of Google's ID token for a person, or for a service account."""
    is_robot = email.endswith(".gserviceaccount.com")
    return {
        "iss": "https://accounts.google.com",
        "aud": audience,
        "azp": "112233.apps.googleusercontent.com",
        "sub": "104857600123456789012",
        "email": email,
        "email_verified": True,
        "hd": None if is_robot else email.partition("@")[2],
        "iat": issued_at,
        "exp": issued_at + 3600,
    }


def iap_claims(email: str, audience: str, now: int = NOW) -> dict[str, object]:
    """Return the claims of an assertion of Identity-Aware Proxy."""
    return {
        "iss": "https://cloud.google.com/iap",
        "aud": audience,
        "sub": "accounts.google.com:104857600123456789012",
        "email": email,
        "hd": email.partition("@")[2],
        "iat": now - 10,
        "exp": now + 590,
    }


@contextmanager
def running_issuer(network: NetworkOrPorts = None) -> Iterator[FakeIssuer]:
    """Run a fake issuer on loopback, or in a network, until the block ends."""
    issuer = FakeIssuer("")
    with serving(type("Handler", (_Handler,), {"issuer": issuer}), network) as issuer.url:
        try:
            yield issuer
        finally:
            issuer.released.set()


@contextmanager
def loopback_fetcher() -> Iterator[JsonClient]:
    """Yield an HTTPS client that may connect to loopback."""
    fetcher = JsonClient(system_runtime(), allow_private=True)
    try:
        yield fetcher
    finally:
        fetcher.close()


def issuer_clock() -> Clock:
    """Return a clock that stands still at the time of the tokens."""
    return Clock(datetime.fromtimestamp(NOW, UTC))


@dataclass(frozen=True)
class VerifierHarness:
    """A fake issuer, and the HTTPS client and clock with which an index asks it."""

    issuer: FakeIssuer
    fetcher: JsonClient
    clock: Clock = field(default_factory=issuer_clock)

    def keys(self, name: str, *algorithms: str, url: str | None = None) -> IssuerKeys:
        """Return the keys of an issuer, of which nothing is known yet; by default they are here."""
        where = self.issuer.keys_url if url is None else url
        return IssuerKeys(name, frozenset(algorithms), self.fetcher, self.clock.seconds, where)


class _Handler(BaseHTTPRequestHandler):
    issuer: FakeIssuer

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        sender, agent = self.headers.get("Authorization"), self.headers.get("User-Agent")
        request = ReceivedRequest(self.command, self.path, sender, body, agent)
        self.issuer.seen.append(request)
        answer = self.issuer.answer(request)
        if answer.is_silent:
            self.issuer.released.wait(TIMEOUT_SECONDS)
        self._send(answer)

    do_POST = do_GET  # noqa: N815 - the names that http.server looks for

    def _send(self, answer: CannedResponse) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if not answer.is_endless:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        pieces = [bytes([byte]) for byte in answer.body] if answer.drip else [answer.body]
        for piece in cycle(pieces) if answer.is_endless else pieces:
            self.wfile.write(piece)
            if answer.drip and self.issuer.released.wait(answer.drip):
                return


def as_json(document: object, status: int = 200) -> CannedResponse:
    """Return a response with a JSON document."""
    return CannedResponse(
        json.dumps(document).encode(), status, {"Content-Type": "application/json"}
    )


def _without_none(found: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in found.items() if value is not None}


def _number(value: int) -> str:
    return b64(value.to_bytes((value.bit_length() + 7) // 8))
