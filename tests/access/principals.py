"""The principals of the access tests, with valid and invalid credentials of every kind."""

from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from tests.access.access_fixture import (
    HERE,
    MANAGERS,
    OTHER,
    PASSWORD,
    READERS,
    RIGHTS,
    UPLOADERS,
    AccessHarness,
    assertion,
    id_token,
    static_token,
    times,
)
from tests.authentication.verifiers.fake_issuer import Bearer, b64, rsa_key
from wheelyard.model.api_token import new_token

Headers = tuple[tuple[str, str], ...]

ANONYMOUS, INVALID, STRANGER, ADMIN = "anonymous", "invalid", "stranger", "admin"
APPROVER = "approver"
PUBLISHER, OTHER_PUBLISHER = "publisher", "other publisher"
PATTERNS = ("open-*", "shut-*", "secret-*")
PERMISSIONS = {
    READERS: ("get",),
    UPLOADERS: ("get", "create"),
    MANAGERS: ("get", "create", "delete"),
    STRANGER: (),
}


@dataclass(frozen=True)
class Requester:
    """A principal of a test, with the headers that identify it."""

    role: str
    kind: str
    headers: Callable[[AccessHarness], Headers]

    def __str__(self) -> str:
        return f"{self.role} by {self.kind}"


def basic(user: str, password: str) -> Headers:
    """Return a Basic header."""
    pair = b64encode(f"{user}:{password}".encode()).decode()
    return (("authorization", f"Basic {pair}"),)


def bearer(token: str) -> Headers:
    """Return a Bearer header."""
    return (("authorization", f"Bearer {token}"),)


def by_api_token(role: str) -> Callable[[AccessHarness], Headers]:
    """Return a function that makes the headers for an API token with these rights."""
    if role == STRANGER:
        return lambda harness: basic("__token__", harness.token(OTHER, can="upload"))
    if role == APPROVER:
        return lambda harness: basic("__token__", harness.token("*", can="approve"))
    return lambda harness: basic("__token__", harness.token(*PATTERNS, can=RIGHTS[role]))


def by_own_token(role: str) -> Callable[[AccessHarness], Headers]:
    """Return a function that makes the headers for a personal token of a user."""
    owner = f"user:{role}@acme.dev"
    return lambda harness: bearer(harness.token("*", can="manage", owner=owner, names=(owner,)))


def by_token_of_password(role: str) -> Callable[[AccessHarness], Headers]:
    """Return a function that makes the headers for a personal token of a name with a password."""
    return lambda harness: bearer(harness.token_of(f"htpasswd:{role}"))


def by_access_token(role: str) -> Callable[[AccessHarness], Headers]:
    """Return a function that makes the headers for a Google access token of this role."""

    def headers(harness: AccessHarness) -> Headers:
        token = f"ya29.access-token-of-{role}"
        held = frozenset(f"storage.objects.{permission}" for permission in PERMISSIONS[role])
        harness.google.bearers[token] = Bearer(held)
        return basic("oauth2accesstoken", token)

    return headers


def by_minted_token(publisher: str) -> Callable[[AccessHarness], Headers]:
    """Return a function that makes the headers for a token minted for a CI job."""
    return lambda harness: basic("__token__", harness.minted(publisher))


def by_assertion(role: str) -> Callable[[AccessHarness], Headers]:
    """Return the headers of IAP for a user; an assertion is valid for ten minutes at most."""
    return lambda _: (("x-goog-iap-jwt-assertion", assertion(f"{role}@acme.dev")),)


def robot(role: str) -> str:
    """Return the ID token of a service account."""
    return id_token(f"{role}@acme.iam.gserviceaccount.com", hd=None)


def forged() -> str:
    """Return an ID token whose key only calls itself Google's."""
    genuine = id_token("admin@acme.dev").rpartition(".")[0]
    signature = rsa_key("not-google").signature(genuine.encode())
    return f"{genuine}.{b64(signature)}"


def _always(kind: str, role: str, headers: Headers) -> Requester:
    return Requester(role, kind, lambda _: headers)


EXPIRED = id_token("reader@acme.dev", **times(-86_400))
UNKNOWN = new_token(Random(7)).text
"""An API token in every respect, but of another index."""
BAD: dict[str, Headers] = {
    "API token": basic("__token__", UNKNOWN),
    "mistyped API token": bearer(f"{UNKNOWN[:-1]}!"),
    "password": basic("reader", "wrong horse battery"),
    "password for nobody": basic("nobody-of-this-name", PASSWORD),
    "empty password": basic("reader", ""),
    "forged ID token": bearer(forged()),
    "expired ID token": basic("oauth2accesstoken", EXPIRED),
    "ID token for another place": basic("oidc", id_token("admin@acme.dev", aud=f"{HERE}.evil")),
    "access token": basic("oauth2accesstoken", "ya29.an-access-token-that-google-rejects"),
    "service account key": basic("_json_key", '{"private_key": "-----BEGIN PRIVATE KEY-----"}'),
    "nonsense": (("authorization", "Basic ????"),),
    "unknown scheme": (("authorization", "Digest username=reader"),),
}

EVERYBODY = (STRANGER, *RIGHTS, ADMIN)
REQUESTERS: tuple[Requester, ...] = (
    _always("nothing", ANONYMOUS, ()),
    *(_always(kind, INVALID, headers) for kind, headers in BAD.items()),
    *(Requester(role, "API token", by_api_token(role)) for role in (STRANGER, APPROVER, *RIGHTS)),
    *(Requester(role, "own API token", by_own_token(role)) for role in RIGHTS),
    *(Requester(role, "API token of password", by_token_of_password(role)) for role in RIGHTS),
    *(_always("static token", r, basic("anybody", static_token(r))) for r in (STRANGER, *RIGHTS)),
    *(_always("password", role, basic(role, PASSWORD)) for role in EVERYBODY),
    *(_always("ID token", role, bearer(id_token(f"{role}@acme.dev"))) for role in EVERYBODY),
    *(_always("domain", r, basic("oidc", id_token(f"somebody@{r}.example"))) for r in RIGHTS),
    *(_always("service account", role, basic("__token__", robot(role))) for role in RIGHTS),
    *(Requester(role, "access token", by_access_token(role)) for role in PERMISSIONS),
    Requester(PUBLISHER, "minted token", by_minted_token("this")),
    Requester(OTHER_PUBLISHER, "minted token", by_minted_token("that")),
)

PROXIED: tuple[Requester, ...] = (
    _always("no assertion", ANONYMOUS, ()),
    _always("wrong assertion", INVALID, (("x-goog-iap-jwt-assertion", EXPIRED),)),
    Requester(INVALID, "API token alone", by_api_token(READERS)),
    *(Requester(role, "assertion", by_assertion(role)) for role in EVERYBODY),
)
"""Users of the web UI behind IAP."""
