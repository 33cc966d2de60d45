"""
A provider of OpenID Connect on a real port, which can be as hostile as a test wants.

It is honest unless a test changes it: codes and refresh tokens work once, a code only for the
client and the redirect URI that it was made for, and with its code verifier. A refresh token that
comes a second time takes all of the person's away, as many providers do.
"""

from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import count
from typing import Final
from urllib.parse import parse_qsl, unquote_plus, urlsplit

from tests.authentication.verifiers.fake_issuer import (
    CannedResponse,
    FakeIssuer,
    ReceivedRequest,
    SigningKey,
    as_json,
    b64,
    rsa_key,
    running_issuer,
)
from tests.in_process_network import NetworkOrPorts

KEY: Final = rsa_key("provider")
SECRET: Final = "s3cret/of+the client"
CLIENT: Final = "wheelyard"
ANA: Final = {"sub": "ana-of-acme", "email": "ana@acme.dev", "email_verified": True}
BO: Final = {"sub": "bo-of-acme", "email": "bo@acme.dev", "email_verified": True}


@dataclass
class FakeProvider:
    """A provider, whose issuer is a path of a server."""

    server: FakeIssuer
    path: str
    now: Callable[[], float]
    """Returns the time of its clock, in seconds since the epoch."""
    claims: dict[str, object] = field(default_factory=lambda: dict(ANA))
    """What it says of whoever signs in."""
    in_userinfo: tuple[str, ...] = ()
    """The claims of which only userinfo tells."""
    token_changes: dict[str, object] = field(default_factory=dict)
    """What is wrong in its ID tokens."""
    sign: Callable[[Mapping[str, object]], str] = KEY.token
    """Makes an ID token of claims."""
    userinfo_changes: dict[str, object] = field(default_factory=dict)
    answer_changes: dict[str, object] = field(default_factory=dict)
    """What is wrong in the answers of its token endpoint."""
    gives_refresh_tokens: bool = True
    error: str = ""
    """The error with which its token endpoint refuses everything."""
    before_answer: Callable[[], None] = lambda: None
    """Is called before a renewal is answered."""
    before_exchange: Callable[[], object] = lambda: None
    """Is called before a code is exchanged."""
    takes_codes_again: bool = False
    """Whether a code works more than once."""
    is_refusing: bool = False
    """Whether every renewal is refused."""
    renewals: list[str] = field(default_factory=list)
    """The refresh tokens that it was sent."""
    _codes: dict[str, dict[str, str]] = field(default_factory=dict)
    _refreshable: dict[str, dict[str, object]] = field(default_factory=dict)
    _used: set[str] = field(default_factory=set)
    _numbers: Iterator[int] = field(default_factory=count)

    def __post_init__(self) -> None:
        self.serve()
        self.server.handlers[f"{self.path}/token"] = self._answer_token
        self.server.handlers[f"{self.path}/userinfo"] = self._answer_userinfo

    @property
    def issuer(self) -> str:
        """Its issuer."""
        return f"{self.server.url}{self.path}"

    def serve(self, *keys: SigningKey, **document: object) -> None:
        """Serve keys, and a valid discovery document with these fields changed."""
        jwks = {"keys": [key.jwk() for key in keys or (KEY,)]}
        self.server.answers[f"{self.path}/keys"] = as_json(jwks)
        honest = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "jwks_uri": f"{self.issuer}/keys",
        }
        shown = {name: value for name, value in {**honest, **document}.items() if value is not None}
        self.server.answers[f"{self.path}/.well-known/openid-configuration"] = as_json(shown)

    def break_off(self) -> None:
        """Answer no discovery, and no request for a token."""
        broken = CannedResponse(b"out of order", 503)
        self.server.answers[f"{self.path}/token"] = broken
        self.server.answers[f"{self.path}/.well-known/openid-configuration"] = broken

    def repair(self) -> None:
        """Answer again."""
        self.server.answers.pop(f"{self.path}/token", None)
        self.serve()

    def authorize(self, url: str) -> dict[str, str]:
        """Sign somebody in, whom a browser has brought to `url`; return the parameters back."""
        asked = dict(parse_qsl(urlsplit(url).query, strict_parsing=True))
        assert asked["client_id"] == CLIENT
        assert asked["response_type"] == "code"
        assert asked["code_challenge_method"] == "S256"
        code = f"code-{next(self._numbers)}"
        self._codes[code] = asked
        return {"code": code, "state": asked["state"]}

    def revoke(self) -> None:
        """Take all refresh tokens away, as if the account was deleted."""
        self._refreshable.clear()

    def _answer_token(self, request: ReceivedRequest) -> CannedResponse:
        form = dict(parse_qsl(request.body.decode(), strict_parsing=True))
        if not self._is_client(request, form):
            return as_json({"error": "invalid_client"}, 401)
        if self.error:
            return as_json({"error": self.error, "error_description": "No, ana@acme.dev."}, 400)
        if form["grant_type"] == "refresh_token":
            return self._renew(form["refresh_token"])
        self.before_exchange()
        asked = self._codes.get(form["code"], {})
        if not self.takes_codes_again:
            self._codes.pop(form["code"], None)
        challenge = b64(sha256(form["code_verifier"].encode()).digest())
        if (
            asked.get("code_challenge") != challenge
            or asked["redirect_uri"] != form["redirect_uri"]
        ):
            return as_json({"error": "invalid_grant"}, 400)
        return self._tokens(self.claims, nonce=asked["nonce"])

    def _renew(self, refresh_token: str) -> CannedResponse:
        self.renewals.append(refresh_token)
        if refresh_token in self._used:  # a thief may have the other one
            self.revoke()
        claims = self._refreshable.pop(refresh_token, None)
        if claims is None:
            return as_json({"error": "invalid_grant"}, 400)
        self._used.add(refresh_token)
        self.before_answer()
        if self.is_refusing:
            return as_json({"error": "invalid_grant"}, 400)
        return self._tokens({**claims, **self.claims}, nonce=None)

    def _tokens(self, claims: dict[str, object], nonce: str | None) -> CannedResponse:
        access_token = f"access-{next(self._numbers)}"
        now = int(self.now())
        shown = {name: claims[name] for name in claims if name not in self.in_userinfo}
        id_token = self.sign(
            {
                "iss": self.issuer,
                "aud": CLIENT,
                "iat": now,
                "exp": now + 300,
                "nonce": nonce,
                "at_hash": b64(sha256(access_token.encode()).digest()[:16]),
                **shown,
                **self.token_changes,
            }
        )
        answer = {"access_token": access_token, "token_type": "Bearer", "id_token": id_token}
        if self.gives_refresh_tokens:
            answer["refresh_token"] = f"refresh-{next(self._numbers)}"
            self._refreshable[answer["refresh_token"]] = dict(claims)
        self._userinfo = {**claims, **self.userinfo_changes}
        changed = {**answer, **self.answer_changes}
        return as_json({name: value for name, value in changed.items() if value is not None})

    def _answer_userinfo(self, request: ReceivedRequest) -> CannedResponse:
        assert (request.authorization or "").startswith("Bearer access-")
        return as_json(self._userinfo)

    @staticmethod
    def _is_client(request: ReceivedRequest, form: Mapping[str, str]) -> bool:
        if "client_secret" in form:
            return (form["client_id"], form["client_secret"]) == (CLIENT, SECRET)
        kind, _, pair = (request.authorization or "").partition(" ")
        user, _, password = b64decode(pair).decode().partition(":")
        return (kind, unquote_plus(user), unquote_plus(password)) == ("Basic", CLIENT, SECRET)


@dataclass(frozen=True)
class ProviderServer:
    """Makes providers on one port."""

    server: FakeIssuer
    _numbers: Iterator[int] = field(default_factory=count)

    def provider(self, now: Callable[[], float]) -> FakeProvider:
        """Return a new provider, with this clock."""
        return FakeProvider(self.server, f"/p{next(self._numbers)}", now)


@contextmanager
def running_providers(network: NetworkOrPorts = None) -> Iterator[ProviderServer]:
    """Run a server of providers until the block ends."""
    with running_issuer(network) as server:
        yield ProviderServer(server)
