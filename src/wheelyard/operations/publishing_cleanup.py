"""
What trusted publishing leaves behind: statements that were used, and tokens that are dead.

Both have to be known for a while longer than they are good for, and are forgotten after that,
whether or not anybody publishes that way still. A statement that may be used again, because its
issuer does not mark it, is counted in memory.
"""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

from wheelyard.catalog import keys
from wheelyard.catalog.tokens import TokenRecords, UsedIdTokens
from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import Conflict, Unavailable
from wheelyard.model.token import is_token_id

RETENTION: Final = timedelta(hours=1)
"""How long the record of a minted token stays once the token is dead."""
CLOCK_SKEW: Final = timedelta(minutes=2)
"""By how much clocks may differ before a statement is forgotten that somebody still takes."""
MAX_COUNTED_ID_TOKENS: Final = 10_000
"""How many of them are counted in memory."""


@dataclass(frozen=True, slots=True)
class PublishingCleanup:
    """
    The used statements of a store, with the tokens that were minted for them.

    Args:
        claims: The statements.
        credentials: Where the tokens are.
        runtime: The clock.
        lifetime: Of a minted token.
    """

    used_id_tokens: UsedIdTokens
    token_records: TokenRecords
    runtime: Runtime
    token_lifetime: timedelta

    def run(self, at_most: int | None = None) -> int:
        """
        Forget statements and tokens dead for more than an hour, and return how many that were.

        Args:
            at_most: Statements to look at; None for all.

        Raises:
            Unavailable: The store does not answer.
        """
        now = self.runtime.now()
        swept = 0
        past = self.used_id_tokens.before(now - self.token_lifetime - RETENTION - CLOCK_SKEW)
        for key in list(islice(past, at_most)):
            token_id = self.used_id_tokens.token_of(key)
            if token_id is None or self._forget(token_id, now - RETENTION):
                self.used_id_tokens.drop(key)
                swept += 1
        return swept

    def _forget(self, token_id: str, limit: datetime) -> bool:
        """Remove the record of a minted token that expired by `limit`; return if none is left."""
        if not is_token_id(token_id):
            return True
        try:
            snapshot = self.token_records.documents.get(keys.token(token_id), "now")
        except Unavailable as fault:
            if fault.code == "damaged_document":
                return True  # it opens nothing, and `check` tells of it
            raise
        record = snapshot.value
        if record is None or not record.publishers:
            return True
        if record.expires_at > limit:
            return False
        with suppress(Conflict):  # it was burnt just now, by a clock that is far behind
            self.token_records.store.delete(keys.token(token_id), snapshot.version)
            return True
        return False
