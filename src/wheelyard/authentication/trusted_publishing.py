"""
Trusted publishing: exchanges the ID token of a CI job for a short-lived API token.

The order matters. An issuer that is not configured is rejected before anything is fetched. The use
of an ID token is recorded after all other checks, so that a mistake does not cost it. The API token
is stored after that: a crash costs the job one use, and never gives it one API token too many.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from wheelyard.authentication.api_tokens import ApiTokens
from wheelyard.authentication.replay_protection import INVALID_TOKEN, ReplayProtection
from wheelyard.authentication.verifiers.verifier import CredentialRejected, decode_segment
from wheelyard.errors import INVALID_PUBLISHER, Invalid, Unauthenticated, WheelyardError, quoted
from wheelyard.model.access import ANONYMOUS, Identity, intersection
from wheelyard.model.claim_matchers import Claims
from wheelyard.model.publisher import (
    Publisher,
    job_name,
    nearest_mismatch,
    publishing_log_fields,
)
from wheelyard.model.token import ApiToken, TokenRecord, new_token, parse_token
from wheelyard.operations.audit_log import log_token
from wheelyard.operations.publishing_cleanup import PublishingCleanup

INVALID_PAYLOAD: Final = "invalid-payload"
"""The error code of an ID token that is malformed."""
ID_TOKEN_LIMIT_CHARS: Final = 8192
JWT_PARTS: Final = 3
"""The segments of a JWT: header, payload and signature."""
CLEANED_PER_MINT: Final = 8
"""Used ID tokens that `mint` checks for removal: more than it adds."""

VerifyIdToken = Callable[[str], Claims]
"""Returns the claims of an ID token; raises Unauthenticated unless it is valid now."""


@dataclass(frozen=True, slots=True)
class MintedToken:
    """A new API token and its record."""

    token: ApiToken = field(repr=False)
    record: TokenRecord

    @property
    def expires(self) -> int:
        """The time at which the API token expires, in whole seconds since the epoch."""
        return int(self.record.expires_at.timestamp())


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedPublishing:
    """Exchanges ID tokens of CI jobs for API tokens, and revokes these."""

    publishers: tuple[Publisher, ...]
    audiences: tuple[str, ...]
    """The accepted `aud` claims; clients are told the first."""
    tokens: ApiTokens
    cleanup: PublishingCleanup
    verify: VerifyIdToken
    replay_protection: ReplayProtection = field(repr=False)

    def mint(self, id_token: str) -> MintedToken:
        """
        Store and return a new API token for all publishers that an ID token fits.

        Raise Invalid, with a code of the publishing protocol, if the ID token is rejected; raise
        Unavailable, without returning a token, if the store or the issuer does not answer.
        """
        issuer = _issuer_of(id_token)
        candidates = [each for each in self.publishers if issuer in each.issuer.names]
        if not candidates:
            raise Invalid(
                f"No job gets a token here for ID tokens of the issuer {quoted(issuer)}. The "
                "operator of this index adds a [[publisher]] for it.",
                code=INVALID_PAYLOAD,
            )
        claims = self._verified_claims(id_token)
        publishers = [each for each in candidates if each.mismatch(claims) is None]
        if not publishers:
            raise Invalid(
                f"The ID token is genuine, and no [[publisher]] of this index fits it: "
                f"{nearest_mismatch(candidates, claims)}.",
                code=INVALID_PUBLISHER,
            )
        token = new_token(self.tokens.runtime.random)
        is_single_use = any(each.is_single_use for each in publishers)
        digest = self.replay_protection.consume(
            id_token, claims, token.id, is_single_use=is_single_use
        )
        token, record = self._store(token, publishers, job_name(publishers[0], claims))
        with suppress(WheelyardError):  # a later run does it
            self.cleanup.run(CLEANED_PER_MINT)
        fields = publishing_log_fields(publishers[0], claims) | {"statement": digest}
        log_token("token_minted", record.created_by, record.id, fields)
        return MintedToken(token, record)

    def revoke(self, text: str) -> bool:
        """Revoke the minted API token with this text; return False if it is no minted token."""
        token = parse_token(text)
        if token is None:
            return False
        record = self.tokens.records.get(token.id).value
        if record is None or not record.matches(token) or not record.publishers:
            return False
        self.tokens.revoke(token.id, by=record.created_by)
        return True

    def identity(self, record: TokenRecord) -> Identity | None:
        """
        Return the identity of a minted API token; None if none of its publishers is configured.

        Its scopes are those of its publishers, as far as they were in it when it was minted.
        """
        publishers = [each for each in self.publishers if each.id in record.publishers]
        if not publishers:
            return None
        return Identity(
            _principal(publishers),
            frozenset({ANONYMOUS, *(each.principal for each in publishers)}),
            intersection(record.scope, (each.scope for each in publishers)),
        )

    def _verified_claims(self, id_token: str) -> Claims:
        expected = quoted(self.audiences[0])
        try:
            claims = self.verify(id_token)
        except (Invalid, Unauthenticated) as fault:
            raise Invalid(
                "The ID token is not genuine, has expired, or is not for this index. Ask for a "
                f"new one, with the audience {expected}.",
                code=INVALID_TOKEN,
            ) from fault
        audience = claims.get("aud")
        if not isinstance(audience, str) or audience not in self.audiences:
            raise Invalid(
                f"The ID token is not for this index: the claim aud is {quoted(audience)}. Ask "
                f"for one with the audience {expected}.",
                code=INVALID_TOKEN,
            )
        return claims

    def _store(
        self, token: ApiToken, publishers: list[Publisher], name: str
    ) -> tuple[ApiToken, TokenRecord]:
        now, principal = self.tokens.runtime.now(), _principal(publishers)
        whole = now if now.microsecond == 0 else now.replace(microsecond=0) + timedelta(seconds=1)
        projects = dict.fromkeys(each for publisher in publishers for each in publisher.projects)
        record = TokenRecord(
            id=token.id,
            sha256=token.digest,
            name=name,
            actions=max(int(each.actions) for each in publishers),
            projects=tuple(projects),
            created_at=now,
            created_by=principal,
            expires_at=whole + self.cleanup.token_lifetime,
            publishers=tuple(each.id for each in publishers),
        )
        return self.tokens.store(token, record)


def _issuer_of(id_token: str) -> str:
    """Return the unverified `iss` claim of an ID token; raise Invalid if it cannot be read."""
    parts = id_token.split(".") if len(id_token) <= ID_TOKEN_LIMIT_CHARS else []
    if len(parts) == JWT_PARTS and all(parts) and id_token.isascii():
        with suppress(CredentialRejected):
            issuer = decode_segment(parts[1]).get("iss")
            if isinstance(issuer, str):
                return issuer
    raise Invalid(
        "This is no ID token: a signed JWT of three parts that names its issuer, in at most "
        f"{ID_TOKEN_LIMIT_CHARS} characters.",
        code=INVALID_PAYLOAD,
    )


def _principal(publishers: list[Publisher]) -> str:
    return f"publisher:{','.join(each.id for each in publishers)}"
