"""
Replay protection for the ID tokens of trusted publishing.

An ID token of a single-use issuer needs a `jti` claim, and is good for one API token: its use is
recorded in the store. ID tokens of issuers without `jti` (Google) are limited to some uses an hour,
counted in this process.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from hashlib import sha256
from itertools import count
from threading import Lock
from typing import Final

from wheelyard.catalog.token_records import UsedIdTokens
from wheelyard.concurrency.caches import ExpiringCache
from wheelyard.errors import Conflict, Invalid
from wheelyard.model.claim_matchers import Claims, numeric_date

MAX_USES: Final = 20
"""Uses of one ID token without a `jti`, in each process and window."""
USE_WINDOW_SECONDS: Final = 3600.0
MAX_COUNTED_ID_TOKENS: Final = 10_000
"""ID tokens without a `jti` whose uses are in memory."""
INVALID_TOKEN: Final = "invalid-token"  # noqa: S105 - an error code
INVALID_REUSE: Final = "invalid-reuse-token"
"""Error codes of trusted publishing for rejected ID tokens."""


class ReplayProtection:
    """
    Limits how often an ID token can be exchanged for an API token; thread-safe.

    Only for verified ID tokens, so that strangers cannot fill the memory.
    """

    def __init__(self, used_id_tokens: UsedIdTokens, monotonic: Callable[[], float]) -> None:
        self._used_id_tokens = used_id_tokens
        self._lock = Lock()
        self._uses = ExpiringCache[bytes, Iterator[int]](monotonic, MAX_COUNTED_ID_TOKENS)

    def consume(self, id_token: str, claims: Claims, token_id: str, *, is_single_use: bool) -> str:
        """
        Record that a verified ID token is exchanged for the API token with the id `token_id`.

        Return the SHA-256 of the ID token without its signature, hexadecimal, for the log. Raise
        Invalid if it has no uses left, or `is_single_use` and it has no `jti`.
        """
        # A use without a jti is recorded as well, so that cleanup finds the API token.
        jti = claims.get("jti") if is_single_use else token_id
        if not isinstance(jti, str) or not jti:
            raise Invalid(
                "The ID token has no claim jti, so it cannot be told whether it was used before.",
                code=INVALID_TOKEN,
            )
        # of the signed part alone: the last letter of a signature can be written in several ways
        digest = sha256(id_token.rpartition(".")[0].encode()).digest()
        if not is_single_use and not self._count_use(digest):
            raise Invalid(
                f"This ID token was used {MAX_USES} times in an hour. Use one API token for all "
                "files, or ask for a new ID token.",
                code=INVALID_REUSE,
            )
        # the claim rules of every publisher have checked `exp`
        expires_at = datetime.fromtimestamp(numeric_date(claims.get("exp")) or 0.0, UTC)
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
        with self._lock:
            uses = self._uses.get(digest)
            if uses is None:
                uses = count()
                self._uses.put(digest, uses, USE_WINDOW_SECONDS)
            return next(uses) < MAX_USES
