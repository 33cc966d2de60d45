"""
Trusted publishing: exchanges the ID token of a CI job for a short-lived API token.

The order of the steps matters. An ID token of an issuer that is not configured is rejected before
anything is fetched. The use of an ID token is recorded after all other checks, so that a rejected
ID token can be sent again. The API token is stored last: a crash costs the job one use of its ID
token, and never gives the job a second API token.

An ID token of a single-use issuer needs a `jti` claim, and is good for one API token: its use is
recorded in the store. ID tokens of issuers without `jti` (Google) are limited to some uses an hour,
which each process counts for itself.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import count
from threading import Lock
from typing import Final

from msgspec import Struct

from wheelyard.authentication.api_tokens import ApiTokens
from wheelyard.authentication.verifiers.verifier import CredentialRejected, decode_segment
from wheelyard.catalog.used_id_tokens import UsedIdTokens
from wheelyard.concurrency.caches import ExpiringCache
from wheelyard.concurrency.runtime import Clock
from wheelyard.errors import (
    INVALID_PUBLISHER,
    INVALID_REUSE,
    Conflict,
    Invalid,
    WheelyardError,
    quoted,
)
from wheelyard.model.access import ANONYMOUS, Identity, Pattern, intersection
from wheelyard.model.api_token import ApiToken, IndexScope, TokenRecord, new_token, parse_token
from wheelyard.model.claim_matchers import Claims, numeric_date
from wheelyard.model.index_name import EVERY_INDEX
from wheelyard.model.publisher import (
    Publisher,
    job_name,
    nearest_mismatch,
    publishing_log_fields,
)
from wheelyard.operations.audit_log import log_token
from wheelyard.operations.publishers import Publishers
from wheelyard.operations.publishing_cleanup import PublishingCleanup

INVALID_TOKEN: Final = "invalid-token"  # noqa: S105 - an error code
"""The error code of an ID token that is not valid."""
INVALID_PAYLOAD: Final = "invalid-payload"
"""The error code of a malformed ID token."""
ID_TOKEN_LIMIT_CHARS: Final = 8192
JWT_PARTS: Final = 3
"""The segments of a JWT: header, payload and signature."""
MAX_USES: Final = 20
"""Uses of one ID token without a `jti`, in each process and window."""
USE_WINDOW_SECONDS: Final = 3600.0
MAX_COUNTED_ID_TOKENS: Final = 10_000
"""The most ID tokens without a `jti` whose uses are in memory."""
CLEANED_PER_MINT: Final = 8
"""Records of used ID tokens that `mint` checks for removal: more than the one that it adds."""

VerifyIdToken = Callable[[str, tuple[Publisher, ...]], Claims]
"""
Returns the claims of an ID token whose issuer one of these publishers names.

Raises CredentialRejected unless the ID token is valid now.
"""


class ReplayProtection:
    """
    Limits how often an ID token can be exchanged for an API token.

    Threads may share it. Callers pass verified ID tokens alone, so that strangers cannot fill the
    memory.
    """

    def __init__(self, used_id_tokens: UsedIdTokens, monotonic: Clock) -> None:
        self._used_id_tokens = used_id_tokens
        self._lock = Lock()
        self._use_counters = ExpiringCache[bytes, Iterator[int]](monotonic, MAX_COUNTED_ID_TOKENS)

    def consume(self, id_token: str, claims: Claims, token_id: str, *, is_single_use: bool) -> str:
        """
        Record that a verified ID token is exchanged for the API token with the id `token_id`.

        Returns the SHA-256 of the ID token without its signature, hexadecimal, for the log. An ID
        token that is not single-use has `MAX_USES` in an hour. Raises Invalid if the ID token has
        no uses left (code `invalid-reuse-token`), or if it `is_single_use` and has no `jti` (code
        `invalid-token`). Raises Unavailable if the store does not answer.
        """
        # a use without a jti is recorded as well, so that cleanup finds the API token
        jti = token_id
        if is_single_use:
            jti = _jti_of(claims)

        # without the signature, whose last letter can be written in several ways
        signed_part, _, _signature = id_token.rpartition(".")
        digest = sha256(signed_part.encode()).digest()
        if not is_single_use and not self._count_use(digest):
            raise Invalid(
                f"This ID token was used {MAX_USES} times in an hour. Use one API token for all "
                "files, or ask for a new ID token.",
                code=INVALID_REUSE,
            )

        # the checks of every publisher include `exp`
        expiry = numeric_date(claims.get("exp")) or 0.0
        expires_at = datetime.fromtimestamp(expiry, UTC)

        # create-only: of two processes that get the ID token at once, one gets the conflict
        try:
            self._used_id_tokens.consume(str(claims["iss"]), jti, expires_at, token_id)
        except Conflict as fault:
            raise Invalid(
                "This ID token was used before, and each is good for one API token. Publish all "
                "files in one go, or ask for a new ID token.",
                code=INVALID_REUSE,
            ) from fault
        return digest.hex()

    def _count_use(self, digest: bytes) -> bool:
        """Count a use of an ID token in this process, and return whether the use is allowed."""
        # in one lock, so that two threads never count from one number
        with self._lock:
            counter = self._use_counters.get(digest)
            if counter is None:
                counter = count()
                self._use_counters.put(digest, counter, USE_WINDOW_SECONDS)
            earlier_uses = next(counter)
        return earlier_uses < MAX_USES


class MintedToken(Struct, frozen=True):
    """A new API token and its record."""

    token: ApiToken
    record: TokenRecord

    @property
    def expires(self) -> int:
        """The time at which the API token expires, in whole seconds since the epoch."""
        return int(self.record.expires_at.timestamp())


class TrustedPublishing(Struct, frozen=True, kw_only=True):
    """Exchanges ID tokens of CI jobs for API tokens, and revokes these API tokens."""

    publishers: Publishers
    audiences: tuple[str, ...]
    """The accepted `aud` claims, of which messages name the first."""
    tokens: ApiTokens
    cleanup: PublishingCleanup
    verify: VerifyIdToken
    replay_protection: ReplayProtection

    def mint(self, id_token: str) -> MintedToken:
        """
        Store and return a new API token for all publishers in force that an ID token fits.

        The use of the ID token is recorded first. Some records of used ID tokens that have expired
        are removed, with their API tokens. The job is written to the audit log.

        Raises Invalid if the ID token is malformed or of no known issuer (code `invalid-payload`),
        is not valid or not for this index (code `invalid-token`), fits no publisher (code
        `invalid-publisher`), or has no uses left (code `invalid-reuse-token`). Raises Unavailable
        if the store or the issuer does not answer.
        """
        # not verified yet, so that an issuer that is not configured costs no request
        issuer = _issuer_of(id_token)
        publishers_in_force = self.publishers.load().all
        candidates = [
            publisher for publisher in publishers_in_force if issuer in publisher.issuer.names
        ]
        if not candidates:
            raise Invalid(
                f"No job gets a token here for ID tokens of the issuer {quoted(issuer)}. An "
                "administrator of this index adds a trusted publisher for it.",
                code=INVALID_PAYLOAD,
            )
        claims = self._verified_claims(id_token, publishers_in_force)
        publishers = [publisher for publisher in candidates if publisher.mismatch(claims) is None]
        if not publishers:
            raise Invalid(
                f"The ID token is genuine, and no trusted publisher of this index fits it: "
                f"{nearest_mismatch(candidates, claims)}.",
                code=INVALID_PUBLISHER,
            )
        token = new_token(self.tokens.runtime.random)
        is_single_use = any(publisher.is_single_use for publisher in publishers)
        digest = self.replay_protection.consume(
            id_token, claims, token.id, is_single_use=is_single_use
        )

        # a crash before this step costs the job its ID token, and makes no API token
        token, record = self._store_token(token, publishers, job_name(publishers[0], claims))

        # the job has its token: after an error, a later run cleans up
        with suppress(WheelyardError):
            self.cleanup.run(CLEANED_PER_MINT)
        fields = publishing_log_fields(publishers[0], claims) | {"statement": digest}
        log_token("token_minted", record.created_by, record.id, fields)
        return MintedToken(token, record)

    def revoke(self, text: str) -> bool:
        """
        Revoke the minted API token with this text, and return whether the text is a minted token.

        A token that was revoked before gives True, too. Raises Unavailable if the store does not
        answer.
        """
        token = parse_token(text)
        if token is None:
            return False
        # a caller proves by the whole token that it may revoke it, and sends no other credential
        record = self.tokens.records.find(token.id)
        if record is None or not record.matches(token) or not record.publishers:
            return False
        self.tokens.revoke(token.id, by=record.created_by)
        return True

    def identity(self, record: TokenRecord) -> Identity | None:
        """
        Return the identity of a minted API token, or None if none of its publishers is in force.

        The scopes of the identity are those that the publishers of the token have now, limited to
        the scope that the token was minted with. Raises Unavailable if the publishers of the store
        cannot be read.
        """
        publishers_in_force = self.publishers.load().all
        publishers = [
            publisher for publisher in publishers_in_force if publisher.id in record.publishers
        ]
        if not publishers:
            return None
        principals = {publisher.principal for publisher in publishers}
        publisher_scopes = [publisher.scope for publisher in publishers]
        return Identity(
            _job_principal(publishers),
            frozenset(principals | {ANONYMOUS}),
            intersection(record.scope, publisher_scopes),
        )

    def _verified_claims(self, id_token: str, publishers_in_force: tuple[Publisher, ...]) -> Claims:
        """
        Return the claims of an ID token.

        Raises Invalid (code `invalid-token`) unless the ID token is valid, and is for this index.
        """
        expected_audience = quoted(self.audiences[0])
        try:
            claims = self.verify(id_token, publishers_in_force)
        except CredentialRejected as fault:
            raise Invalid(
                "The ID token is not genuine, has expired, or is not for this index. Ask for a "
                f"new one, with the audience {expected_audience}.",
                code=INVALID_TOKEN,
            ) from fault
        audience = claims.get("aud")
        if not isinstance(audience, str) or audience not in self.audiences:
            raise Invalid(
                f"The ID token is not for this index: the claim aud is {quoted(audience)}. Ask "
                f"for one with the audience {expected_audience}.",
                code=INVALID_TOKEN,
            )
        return claims

    def _store_token(
        self, token: ApiToken, publishers: list[Publisher], name: str
    ) -> tuple[ApiToken, TokenRecord]:
        """Store the API token of a job for these publishers, and return it with its record."""
        now = self.tokens.runtime.now()

        # rounded up, as the job is told whole seconds
        rounded_now = now
        if now.microsecond != 0:
            rounded_now = now.replace(microsecond=0) + timedelta(seconds=1)
        scope = _widest_scope(publishers)
        record = TokenRecord(
            id=token.id,
            sha256=token.digest,
            name=name,
            actions=scope.actions,
            projects=scope.projects,
            in_index=scope,
            created_at=now,
            created_by=_job_principal(publishers),
            expires_at=rounded_now + self.cleanup.token_lifetime,
            publishers=tuple(publisher.id for publisher in publishers),
        )
        return self.tokens.store(token, record)


def _widest_scope(publishers: Iterable[Publisher]) -> IndexScope:
    """
    Return one scope that is as wide as the scopes of all publishers together.

    A record has one scope. `TrustedPublishing.identity` limits it to the scope of each publisher at
    every use.
    """
    projects = list[Pattern]()
    indexes = set[str]()
    highest_actions = 0
    for publisher in publishers:
        projects += publisher.projects
        indexes.update(publisher.scope.indexes)
        highest_actions = max(highest_actions, int(publisher.actions))
    if EVERY_INDEX in indexes:
        indexes = {EVERY_INDEX}
    distinct_projects = tuple(dict.fromkeys(projects))
    return IndexScope(",".join(sorted(indexes)), highest_actions, distinct_projects)


def _jti_of(claims: Claims) -> str:
    """Return the claim `jti`, or raise Invalid (code `invalid-token`) if it is missing."""
    jti = claims.get("jti")
    if not isinstance(jti, str) or not jti:
        raise Invalid(
            "The ID token has no claim jti, so it cannot be told whether it was used before.",
            code=INVALID_TOKEN,
        )
    return jti


def _issuer_of(id_token: str) -> str:
    """
    Return the unverified `iss` claim of an ID token.

    Raises Invalid (code `invalid-payload`) if the text is no JWT with such a claim.
    """
    # anybody may send any text here, without a credential
    segments = list[str]()
    if len(id_token) <= ID_TOKEN_LIMIT_CHARS:
        segments = id_token.split(".")
    if len(segments) == JWT_PARTS and all(segments) and id_token.isascii():
        with suppress(CredentialRejected):
            issuer = decode_segment(segments[1]).get("iss")
            if isinstance(issuer, str):
                return issuer
    raise Invalid(
        "This is no ID token: a signed JWT of three parts that names its issuer, in at most "
        f"{ID_TOKEN_LIMIT_CHARS} characters.",
        code=INVALID_PAYLOAD,
    )


def _job_principal(publishers: list[Publisher]) -> str:
    """Return the principal of a CI job that these publishers fit."""
    ids = [publisher.id for publisher in publishers]
    return f"publisher:{','.join(ids)}"
