"""
Trusted publishing: a job's signed statement becomes a token for a quarter of an hour.

The order matters. An issuer that nobody has configured is refused before anything is fetched. A
statement is used up when all else holds, so that a mistake does not cost it. The token is written
after that, so that a crash costs the job another statement and never makes two tokens of one.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import count
from threading import Lock
from typing import Final

from wheelyard.authentication.api_tokens import NAME_LIMIT_CHARS, ApiTokens
from wheelyard.authentication.verifiers.verifier import CredentialRejected, decode_segment
from wheelyard.concurrency.caches import ExpiringCache
from wheelyard.errors import Conflict, Invalid, Unauthenticated, WheelyardError, quoted
from wheelyard.model.access import ANONYMOUS, Action, Identity, Pattern, Scope
from wheelyard.model.claim_matchers import Claims as Statement
from wheelyard.model.claim_matchers import numeric_date
from wheelyard.model.publisher import Publisher, nearest_mismatch, publishing_log_fields
from wheelyard.model.token import ApiToken, TokenRecord, new_token, parse_token
from wheelyard.operations.audit_log import log_token
from wheelyard.operations.publishing_cleanup import MAX_COUNTED_ID_TOKENS, PublishingCleanup

MAX_USES: Final = 20
"""Tokens an hour that one statement is good for that may be used again, in each process."""
USE_WINDOW_SECONDS: Final = 3600.0
"""Seconds."""
INVALID_PAYLOAD: Final = "invalid-payload"
INVALID_TOKEN: Final = "invalid-token"  # noqa: S105 - what clients call a statement that fails
INVALID_PUBLISHER: Final = "invalid-publisher"
INVALID_REUSE: Final = "invalid-reuse-token"
"""The codes of what `mint` refuses."""

ID_TOKEN_LIMIT_CHARS: Final = 8192
"""Characters of a statement."""
JWT_PARTS: Final = 3
"""Of a JWT: header, payload and signature."""
CLEANED_PER_MINT: Final = 8
"""Used statements that a mint looks through, which is more than it adds."""

VerifyIdToken = Callable[[str], Statement]
"""Returns what a statement says; raises Unauthenticated unless signature and times hold."""


class TokenReuseLimit:
    """
    How often each statement was used in this process that may be used again.

    Only statements that hold are counted, so there are never many.

    Args:
        monotonic: Seconds that never jump.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._lock = Lock()
        self._uses = ExpiringCache[bytes, Iterator[int]](monotonic, MAX_COUNTED_ID_TOKENS)

    def allow(self, digest: bytes) -> bool:
        """Count one use, and return whether it is among the first twenty of an hour."""
        with self._lock:
            uses = self._uses.get(digest)
            if uses is None:
                uses = count()
                self._uses.put(digest, uses, USE_WINDOW_SECONDS)
            return next(uses) < MAX_USES


@dataclass(frozen=True, slots=True)
class MintedToken:
    """A new token, and where it came from."""

    token: ApiToken = field(repr=False)
    record: TokenRecord

    @property
    def expires(self) -> int:
        """Seconds since the epoch."""
        return int(self.record.expires_at.timestamp())


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedPublishing:
    """Trusted publishing, wired."""

    publishers: tuple[Publisher, ...]
    audiences: tuple[str, ...]
    """What a statement may be made for; clients are told the first."""
    tokens: ApiTokens
    cleanup: PublishingCleanup
    verify: VerifyIdToken
    reuse_limit: TokenReuseLimit = field(repr=False)

    def mint(self, statement: str) -> MintedToken:
        """
        Return a token for whoever holds `statement`, a JWT.

        Raises:
            Invalid: There is none for them; the code is one of the four above.
            Unavailable: The store or the issuer does not answer; there is no token.
        """
        issuer = _issuer_of(statement)
        candidates = [each for each in self.publishers if issuer in each.issuer.names]
        if not candidates:
            raise _refused(
                INVALID_PAYLOAD,
                f"Nobody publishes here with statements of the issuer {quoted(issuer)}. Its "
                "operator adds a [[publisher]] for it.",
            )
        said = self._verified(statement)
        publishers = [each for each in candidates if each.mismatch(said) is None]
        if not publishers:
            raise _refused(
                INVALID_PUBLISHER,
                f"The statement is genuine, and no [[publisher]] of this index fits it: "
                f"{nearest_mismatch(candidates, said)}.",
            )
        token = new_token(self.tokens.runtime.random)
        mark = self._use_up(statement, said, publishers, token)
        token, record = self._record(token, publishers)
        with suppress(WheelyardError):  # others will do it
            self.cleanup.run(CLEANED_PER_MINT)
        found = publishing_log_fields(publishers[0], said) | {"statement": mark}
        log_token("token_minted", record.created_by, record.id, found)
        return MintedToken(token, record)

    def revoke(self, text: str) -> bool:
        """Revoke a minted token that its bearer needs no longer; return whether it was one."""
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
        Return who bears a minted token; None if its publishers are gone.

        It opens what its publishers may do now, and never more than when it was minted.
        """
        publishers = [each for each in self.publishers if each.id in record.publishers]
        if not publishers:
            return None
        now = {Pattern(name) for each in publishers for name in each.projects}
        projects = tuple(each for each in record.projects if each in now)
        return Identity(
            _principal(publishers),
            frozenset({ANONYMOUS, *(each.principal for each in publishers)}),
            (Scope(Action(record.actions), projects),),
        )

    def _verified(self, statement: str) -> Statement:
        wanted = quoted(self.audiences[0])
        try:
            said = self.verify(statement)
        except (Invalid, Unauthenticated) as fault:
            raise _refused(
                INVALID_TOKEN,
                "The statement is not genuine, has expired, or is not for this index. Ask for a "
                f"new one, with the audience {wanted}.",
            ) from fault
        audience = said.get("aud")
        if not isinstance(audience, str) or audience not in self.audiences:
            raise _refused(
                INVALID_TOKEN,
                f"The statement is not for this index: the claim aud is {quoted(audience)}. Ask "
                f"for one with the audience {wanted}.",
            )
        return said

    def _use_up(
        self, statement: str, said: Statement, publishers: list[Publisher], token: ApiToken
    ) -> str:
        """Use `said` up, or one of its uses; return a digest that names it in a log."""
        is_single_use = any(each.is_single_use for each in publishers)
        # without a mark of its own it is noted as well, so that its token is found and swept
        mark = _mark_of(said) if is_single_use else token.id
        # of the signed part alone: the last letter of a signature can be written in several ways
        signed = sha256(statement.rpartition(".")[0].encode()).digest()
        if not is_single_use and not self.reuse_limit.allow(signed):
            raise _refused(
                INVALID_REUSE,
                f"This statement was used {MAX_USES} times in an hour. Use one token for all "
                "files, or ask for a new statement.",
            )
        # every publisher's rules have looked at `exp`
        expiry = datetime.fromtimestamp(numeric_date(said.get("exp")) or 0.0, UTC)
        try:
            self.cleanup.used_id_tokens.take(str(said["iss"]), mark, expiry, token.id)
        except Conflict as fault:
            raise _refused(
                INVALID_REUSE,
                "This statement was used before, and each is good for one token. Publish all files "
                "in one go, or ask for a new statement.",
            ) from fault
        return signed.hex()

    def _record(self, token: ApiToken, publishers: list[Publisher]) -> tuple[ApiToken, TokenRecord]:
        now, principal = self.tokens.runtime.now(), _principal(publishers)
        whole = now if now.microsecond == 0 else now.replace(microsecond=0) + timedelta(seconds=1)
        names = dict.fromkeys(name for each in publishers for name in each.projects)
        record = TokenRecord(
            id=token.id,
            sha256=token.digest,
            name=principal[:NAME_LIMIT_CHARS],
            actions=int(Action.UPLOAD.with_implied),
            projects=tuple(map(Pattern, names)),
            created_at=now,
            created_by=principal,
            expires_at=whole + self.cleanup.token_lifetime,
            publishers=tuple(each.id for each in publishers),
        )
        return self.tokens.store(token, record)


def _issuer_of(statement: str) -> str:
    parts = statement.split(".") if len(statement) <= ID_TOKEN_LIMIT_CHARS else []
    if len(parts) == JWT_PARTS and all(parts) and statement.isascii():
        with suppress(CredentialRejected):
            issuer = decode_segment(parts[1]).get("iss")
            if isinstance(issuer, str):
                return issuer
    raise _refused(
        INVALID_PAYLOAD,
        f"This is no signed statement: a JWT of three parts that says who issued it, in at most "
        f"{ID_TOKEN_LIMIT_CHARS} characters.",
    )


def _mark_of(said: Statement) -> str:
    mark = said.get("jti")
    if not isinstance(mark, str) or not mark:
        raise _refused(
            INVALID_TOKEN,
            "The statement has no claim jti, so nobody could tell whether it was used before.",
        )
    return mark


def _principal(publishers: list[Publisher]) -> str:
    return f"publisher:{','.join(each.id for each in publishers)}"


def _refused(code: str, message: str) -> Invalid:
    return Invalid(message, code=code)
