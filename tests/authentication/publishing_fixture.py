"""Trusted publishing over a store, as one process has it, and the statements of jobs."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tests.model.jobs import AUDIENCE, GOOGLE, JOBS, NOON
from wheelyard.authentication.trusted_publishing import (
    ReplayProtection,
    TrustedPublishing,
    VerifyIdToken,
)
from wheelyard.catalog.used_id_tokens import UsedIdTokens
from wheelyard.errors import Invalid
from wheelyard.model.access import Caller
from wheelyard.model.api_token import ApiToken
from wheelyard.model.publisher import Publisher, parse_publisher
from wheelyard.operations.publishers import Publishers, PublishersInForce
from wheelyard.operations.publishing_cleanup import PublishingCleanup
from wheelyard.wiring.index import Index


@dataclass(frozen=True, kw_only=True)
class PublishingRules:
    """The trusted publishers of an index, and the lifetime of their tokens."""

    publishers: tuple[Publisher, ...]
    audiences: tuple[str, ...]
    lifetime: timedelta = timedelta(minutes=15)


RULES = PublishingRules(
    publishers=tuple(parse_publisher(table) for table, _ in JOBS), audiences=(AUDIENCE,)
)


MOMENT = datetime.fromtimestamp(NOON + 1, UTC)


SINGLE_USE = [says for table, says in JOBS if table is not GOOGLE]


def signed(says: Mapping[str, object], signature: str = "c2lnbmVk") -> str:
    """Return a statement as a JWT; nothing here looks at its signature."""
    payload = urlsafe_b64encode(json.dumps(says).encode()).rstrip(b"=").decode()
    return f"eyJhbGciOiJSUzI1NiJ9.{payload}.{signature}"


def genuine(statement: str, _publishers: object = ()) -> Mapping[str, object]:
    """Return the claims of an ID token without verifying it."""
    payload = statement.split(".")[1]
    claims = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert isinstance(claims, dict)
    return claims


class FixedPublishers(Publishers):
    """Publishers of which nobody adds others."""

    def __init__(self, publishers: tuple[Publisher, ...]) -> None:
        self._in_force = PublishersInForce(publishers, {})

    def load(self) -> PublishersInForce:
        """Return them."""
        return self._in_force


def publishing(
    index: Index, rules: PublishingRules = RULES, verify: VerifyIdToken = genuine
) -> TrustedPublishing:
    """Return the trusted publishing of an index, as one process has it."""
    cleanup = spent(index, rules.lifetime)
    return TrustedPublishing(
        publishers=FixedPublishers(rules.publishers),
        audiences=rules.audiences,
        tokens=index.tokens,
        cleanup=cleanup,
        verify=verify,
        replay_protection=ReplayProtection(cleanup.used_id_tokens, index.server.runtime.monotonic),
    )


def spent(index: Index, lifetime: timedelta) -> PublishingCleanup:
    """Return what trusted publishing has used up in an index."""
    credentials = index.tokens.records
    return PublishingCleanup(
        UsedIdTokens(credentials.store), credentials, index.server.runtime, lifetime
    )


def refusal(service: TrustedPublishing, says: Mapping[str, object]) -> str:
    """Return the code with which a statement is refused, empty if there is a token for it."""
    try:
        service.mint(signed(says))
    except Invalid as fault:
        return fault.code
    return ""


def bearer(service: TrustedPublishing, token: ApiToken) -> Caller:
    """Return the caller that a minted token authenticates now."""
    record = service.tokens.records.get(token.id).value
    assert record is not None
    identity = service.identity(record)
    return Caller(identity.principal, identity.scopes) if identity else Caller("", ())
