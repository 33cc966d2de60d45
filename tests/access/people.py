"""Everybody whom the index of these tests knows, by each kind of credential, good and bad."""

from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from tests.access.places import (
    HERE,
    MANAGERS,
    OTHER,
    PASSWORD,
    READERS,
    RIGHTS,
    UPLOADERS,
    Place,
    assertion,
    id_token,
    static_token,
    times,
)
from tests.trust.issuer import Bearer, b64, rsa_key
from wheelyard.model.token import new_token

Headers = tuple[tuple[str, str], ...]

ANONYMOUS, INVALID, STRANGER, ADMIN = "anonymous", "invalid", "stranger", "admin"
PUBLISHER, OTHER_PUBLISHER = "publisher", "other publisher"
PATTERNS = ("open-*", "shut-*", "secret-*")
PERMISSIONS = {
    READERS: ("get",),
    UPLOADERS: ("get", "create"),
    MANAGERS: ("get", "create", "delete"),
    STRANGER: (),
}


@dataclass(frozen=True)
class Person:
    """Somebody who asks, and how they say who they are."""

    role: str
    kind: str
    headers: Callable[[Place], Headers]

    def __str__(self) -> str:
        return f"{self.role} by {self.kind}"


def basic(user: str, password: str) -> Headers:
    """Return a Basic header."""
    pair = b64encode(f"{user}:{password}".encode()).decode()
    return (("authorization", f"Basic {pair}"),)


def bearer(token: str) -> Headers:
    """Return a Bearer header."""
    return (("authorization", f"Bearer {token}"),)


def by_api_token(role: str) -> Callable[[Place], Headers]:
    """Return what sends an API token of somebody with these rights."""

    def headers(place: Place) -> Headers:
        if role == STRANGER:
            return basic("__token__", place.token(OTHER, can="upload"))
        return basic("__token__", place.token(*PATTERNS, can=RIGHTS[role]))

    return headers


def by_own_token(role: str) -> Callable[[Place], Headers]:
    """Return what sends a token that somebody made for themselves: theirs, and no wider."""

    def headers(place: Place) -> Headers:
        owner = f"user:{role}@acme.dev"
        return bearer(place.token("*", can="manage", owner=owner, names=(owner,)))

    return headers


def by_access_token(role: str) -> Callable[[Place], Headers]:
    """Return what sends a Google access token that Google says these things of."""

    def headers(place: Place) -> Headers:
        token = f"ya29.access-token-of-{role}"
        held = frozenset(f"storage.objects.{each}" for each in PERMISSIONS[role])
        place.google.bearers[token] = Bearer(held)
        return basic("oauth2accesstoken", token)

    return headers


def by_minted_token(publisher: str) -> Callable[[Place], Headers]:
    """Return what sends a token that was minted for a CI job."""
    return lambda place: basic("__token__", place.minted(publisher))


def expired() -> str:
    """Return an ID token that was good yesterday."""
    return id_token("reader@acme.dev", **times(-86_400))


def forged() -> str:
    """Return an ID token whose key only calls itself Google's."""
    genuine = id_token("admin@acme.dev").rpartition(".")[0]
    signature = rsa_key("not-google").signature(genuine.encode())
    return f"{genuine}.{b64(signature)}"


def by_assertion(role: str) -> Callable[[Place], Headers]:
    """Let Google's proxy vouch for somebody now: it is believed for ten minutes at most."""

    def headers(place: Place) -> Headers:
        del place
        return (("x-goog-iap-jwt-assertion", assertion(f"{role}@acme.dev")),)

    return headers


def _always(headers: Headers) -> Callable[[Place], Headers]:
    return lambda _: headers


UNKNOWN = new_token(Random(7)).text
"""An API token in every respect, but of another index."""
BAD: dict[str, Headers] = {
    "API token": basic("__token__", UNKNOWN),
    "mistyped API token": bearer(f"{UNKNOWN[:-1]}!"),
    "password": basic("reader", "wrong horse battery"),
    "password for nobody": basic("nobody-of-this-name", PASSWORD),
    "empty password": basic("reader", ""),
    "forged ID token": bearer(forged()),
    "expired ID token": basic("oauth2accesstoken", expired()),
    "ID token for another place": basic("oidc", id_token("admin@acme.dev", aud=f"{HERE}.evil")),
    "access token": basic("oauth2accesstoken", "ya29.an-access-token-that-google-rejects"),
    "service account key": basic("_json_key", '{"private_key": "-----BEGIN PRIVATE KEY-----"}'),
    "nonsense": (("authorization", "Basic ????"),),
    "unknown scheme": (("authorization", "Digest username=reader"),),
}

PEOPLE: tuple[Person, ...] = (
    Person(ANONYMOUS, "nothing", _always(())),
    *(Person(INVALID, kind, _always(headers)) for kind, headers in BAD.items()),
    *(Person(role, "API token", by_api_token(role)) for role in (STRANGER, *RIGHTS)),
    *(Person(role, "own API token", by_own_token(role)) for role in RIGHTS),
    *(
        Person(role, "static token", _always(basic("anybody", static_token(role))))
        for role in (STRANGER, *RIGHTS)
    ),
    *(
        Person(role, "password", _always(basic(role, PASSWORD)))
        for role in (STRANGER, *RIGHTS, ADMIN)
    ),
    *(
        Person(role, "ID token", _always(bearer(id_token(f"{role}@acme.dev"))))
        for role in (STRANGER, *RIGHTS, ADMIN)
    ),
    *(
        Person(role, "domain", _always(basic("oidc", id_token(f"somebody@{role}.example"))))
        for role in RIGHTS
    ),
    *(
        Person(
            role,
            "service account",
            _always(basic("__token__", id_token(f"{role}@acme.iam.gserviceaccount.com", hd=None))),
        )
        for role in RIGHTS
    ),
    *(Person(role, "access token", by_access_token(role)) for role in PERMISSIONS),
    Person(PUBLISHER, "minted token", by_minted_token("this")),
    Person(OTHER_PUBLISHER, "minted token", by_minted_token("that")),
)

PROXIED: tuple[Person, ...] = (
    Person(ANONYMOUS, "no assertion", _always(())),
    Person(INVALID, "wrong assertion", _always((("x-goog-iap-jwt-assertion", expired()),))),
    Person(INVALID, "API token alone", by_api_token(READERS)),
    *(
        Person(
            role,
            "assertion",
            by_assertion(role),
        )
        for role in (STRANGER, *RIGHTS, ADMIN)
    ),
)
"""Who comes to the pages for people by way of Google's proxy."""
